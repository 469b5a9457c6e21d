/* A tracer's registers for its tracee: debug registers, flags, selectors, addresses and extended state that no program may have. */
#include "escape.h"
#include <elf.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

static const unsigned long values[] = {
    0, 1, -1UL, 0x7fff00000000, 0x7fff00000040, 0x7fff00100000, 0x7fff10000000, 0x7fffffffefff, 0x7ffffffff000,
    0x800000000000, 0xffff800000000000, 0xffffffffff600000, 0x8000000000000000, 0x23, 0x33, 0x2b, 0xffff,
    0x3000 | 0x202, 0x4000 | 0x202, 0x100 | 0x202, 0x20000 | 0x202, 0x155, 0xffff0ff0};

/* A stopped child that would go on by itself. */
static pid_t tracee(void)
{
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        for (volatile int i = 0; i < 1000; i++)
            syscall(SYS_getppid);
        _exit(0);
    }
    if (waitpid(child, NULL, 0) != child)
        ESCAPE("no tracee: %s", strerror(errno));
    return child;
}

/* Lets it run with what it was given, and ends it. */
static void let_run(pid_t child, int how)
{
    int status;
    for (int i = 0; i < 20; i++) {
        if (ptrace(how, child, 0, 0) != 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
            break;
        struct user_regs_struct now;
        if (ptrace(PTRACE_GETREGS, child, 0, &now) == 0 && (now.eflags & 0x3000))
            ESCAPE("the tracee has an I/O privilege level");
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
}

static void words(void *from)
{
    /* Every eighth byte of struct user: registers, debug registers, and what is between them and behind. */
    for (unsigned long at = (unsigned long)from; at < sizeof(struct user) + 64; at += 32) {
        pid_t child = tracee();
        for (unsigned i = 0; i < LENGTH(values); i++) {
            ptrace(PTRACE_POKEUSER, child, at, values[i]);
            ptrace(PTRACE_PEEKUSER, child, at, 0);
        }
        ptrace(PTRACE_POKEUSER, child, at, values[at / 8 % LENGTH(values)]);
        let_run(child, PTRACE_CONT);
    }
    for (int n = 0; n < 8; n++) {
        pid_t child = tracee();
        unsigned long at = offsetof(struct user, u_debugreg) + n * 8;
        ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg), STUB);
        ptrace(PTRACE_POKEUSER, child, at, 0xffffffffffffffff);
        ptrace(PTRACE_POKEUSER, child, at, 0x7fff00000155);
        let_run(child, PTRACE_CONT);
    }
}

static void whole(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < LENGTH(values); i++) {
        pid_t child = tracee();
        struct user_regs_struct regs;
        ptrace(PTRACE_GETREGS, child, 0, &regs);
        regs.rip = values[i];
        regs.rsp = values[(i + 3) % LENGTH(values)];
        regs.eflags = values[(i + 5) % LENGTH(values)];
        regs.cs = values[(i + 7) % LENGTH(values)];
        regs.ss = values[(i + 9) % LENGTH(values)];
        regs.fs_base = values[(i + 11) % LENGTH(values)];
        regs.gs_base = values[(i + 13) % LENGTH(values)];
        regs.orig_rax = values[(i + 15) % LENGTH(values)];
        ptrace(PTRACE_SETREGS, child, 0, &regs);
        let_run(child, i % 2 ? PTRACE_SINGLESTEP : PTRACE_SYSCALL);
    }
}

static void extended(void *unused)
{
    (void)unused;
    static unsigned char state[1 << 16];
    uint64_t random = 77;
    for (int round = 0; round < 24; round++) {
        pid_t child = tracee();
        struct iovec vector = {state, sizeof state};
        if (ptrace(PTRACE_GETREGSET, child, NT_X86_XSTATE, &vector) == 0) {
            for (int n = 0; n < 40; n++)
                state[next_random(&random) % vector.iov_len] = next_random(&random);
            if (round % 3 == 0)
                memset(state + 512, 0xff, 64);
            vector.iov_len -= round % 5 == 4 ? next_random(&random) % vector.iov_len : 0;
            ptrace(PTRACE_SETREGSET, child, NT_X86_XSTATE, &vector);
        }
        for (unsigned kind = 0; kind < 0x600; kind += 0x77) {
            vector.iov_len = next_random(&random) % sizeof state;
            ptrace(PTRACE_SETREGSET, child, kind, &vector);
        }
        let_run(child, PTRACE_CONT);
    }
}

int main(void)
{
    TRIED("words of struct user");
    attack(words, (void *)0, 100);
    attack(words, (void *)8, 100);
    TRIED("all registers at once");
    attack(whole, NULL, 100);
    TRIED("extended state");
    attack(extended, NULL, 100);
    CONTAINED();
}
