/* ptrace(2): stops at signals, calls, steps and events; memory and registers. */
#include "check.h"
#include <elf.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

static volatile long shared = 11;

static int stopped_with(pid_t pid, int want)
{
    int status;
    CHECK(waitpid(pid, &status, __WALL) == pid);
    return WIFSTOPPED(status) && status >> 8 == want;
}

static void calls_and_memory(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        syscall(SYS_getppid);
        _exit(shared == 42 ? 5 : 6);
    }
    CHECK(stopped_with(pid, SIGSTOP));
    CHECK(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD) == 0);
    CHECK(ptrace(PTRACE_PEEKDATA, pid, &shared, 0) == 11);
    CHECK(ptrace(PTRACE_POKEDATA, pid, &shared, 42) == 0);
    struct user_regs_struct regs;
    int seen = 0;
    for (;;) {
        CHECK(ptrace(PTRACE_SYSCALL, pid, 0, 0) == 0);
        CHECK(stopped_with(pid, SIGTRAP | 0x80));
        CHECK(ptrace(PTRACE_GETREGS, pid, 0, &regs) == 0);
        if (regs.orig_rax == SYS_getppid) {
            CHECK((long)regs.rax == -ENOSYS);
            seen = 1;
            break;
        }
        CHECK(ptrace(PTRACE_SYSCALL, pid, 0, 0) == 0);
        CHECK(stopped_with(pid, SIGTRAP | 0x80));
    }
    CHECK(ptrace(PTRACE_SYSCALL, pid, 0, 0) == 0 && stopped_with(pid, SIGTRAP | 0x80));
    struct iovec vector = {&regs, sizeof regs};
    CHECK(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &vector) == 0 && vector.iov_len == sizeof regs);
    CHECK(seen && (pid_t)regs.rax == getpid());
    CHECK(ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user_regs_struct, rip), 0) == (long)regs.rip);
    /* Some steps. */
    for (int i = 0; i < 20; i++) {
        unsigned long before = regs.rip;
        CHECK(ptrace(PTRACE_SINGLESTEP, pid, 0, 0) == 0 && stopped_with(pid, SIGTRAP));
        CHECK(ptrace(PTRACE_GETREGS, pid, 0, &regs) == 0);
        CHECK(regs.rip != before);
    }
    CHECK(ptrace(PTRACE_CONT, pid, 0, 0) == 0);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 5);
}

static volatile sig_atomic_t got;
static void on_signal(int sig)
{
    got = sig;
}

static void signals(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGUSR1, on_signal);
        signal(SIGUSR2, on_signal);
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGUSR1);
        int first = got;
        got = 0;
        raise(SIGUSR1);
        _exit(first == SIGUSR2 && got == 0 ? 0 : 1);
    }
    CHECK(stopped_with(pid, SIGUSR1));
    siginfo_t info;
    CHECK(ptrace(PTRACE_GETSIGINFO, pid, 0, &info) == 0 && info.si_signo == SIGUSR1 && info.si_code == SI_TKILL);
    CHECK(ptrace(PTRACE_CONT, pid, 0, SIGUSR2) == 0);
    CHECK(stopped_with(pid, SIGUSR1));
    CHECK(ptrace(PTRACE_CONT, pid, 0, 0) == 0);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void *nothing(void *arg)
{
    return arg;
}

static void events(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGSTOP);
        pthread_t thread;
        pthread_create(&thread, NULL, nothing, NULL);
        pthread_join(thread, NULL);
        if (fork() == 0)
            _exit(1);
        execl("/bin/true", "true", NULL);
        _exit(9);
    }
    int status;
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    CHECK(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT) == 0);
    kill(pid, SIGCONT);
    int clones = 0, forks = 0, execs = 0, exits = 0, ends = 0;
    for (;;) {
        pid_t which = waitpid(-1, &status, __WALL);
        if (which == -1 && errno == ECHILD)
            break;
        CHECK(which > 0);
        if (!WIFSTOPPED(status)) {
            ends++;
            continue;
        }
        int event = status >> 16, sig = WSTOPSIG(status);
        unsigned long message;
        CHECK(ptrace(PTRACE_GETEVENTMSG, which, 0, &message) == 0);
        clones += event == PTRACE_EVENT_CLONE;
        forks += event == PTRACE_EVENT_FORK;
        execs += event == PTRACE_EVENT_EXEC;
        exits += event == PTRACE_EVENT_EXIT;
        CHECK(ptrace(PTRACE_CONT, which, 0, event || sig == SIGTRAP || sig == SIGSTOP ? 0 : sig) == 0);
    }
    CHECK(clones == 1 && forks == 1 && execs == 1 && exits == 3);
    /* As pid 1 this process also inherits the grandchild. */
    CHECK(ends == 3 || (getpid() == 1 && ends == 4));
}

static void seize_and_interrupt(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            __asm__ volatile("");
    CHECK(ptrace(PTRACE_SEIZE, pid, 0, 0) == 0);
    FAILS(ptrace(PTRACE_SEIZE, pid, 0, 0), EPERM);
    struct user_regs_struct regs;
    FAILS(ptrace(PTRACE_GETREGS, pid, 0, &regs), ESRCH);
    CHECK(ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0);
    CHECK(stopped_with(pid, SIGTRAP | PTRACE_EVENT_STOP << 8));
    CHECK(ptrace(PTRACE_GETREGS, pid, 0, &regs) == 0);
    CHECK(ptrace(PTRACE_DETACH, pid, 0, 0) == 0);
    kill(pid, SIGKILL);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGKILL);
    FAILS(ptrace(PTRACE_ATTACH, 999999, 0, 0), ESRCH);
}

int main(void)
{
    calls_and_memory();
    signals();
    events();
    seize_and_interrupt();
    OK();
}
