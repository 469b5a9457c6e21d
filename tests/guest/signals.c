/* Handlers, masks, queues, alternate stacks, restarts, faults. */
#include "check.h"
#include <fenv.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

static volatile sig_atomic_t count, last, depth, max_depth;
static siginfo_t last_info;

static void on_signal(int sig)
{
    count++;
    last = sig;
}

static void on_info(int sig, siginfo_t *info, void *context)
{
    (void)context;
    count++;
    last = sig;
    last_info = *info;
}

static void install(int sig, void (*handler)(int), int flags)
{
    struct sigaction action = {0};
    action.sa_handler = handler;
    action.sa_flags = flags;
    CHECK(sigaction(sig, &action, NULL) == 0);
}

static void install_info(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {0};
    action.sa_sigaction = handler;
    action.sa_flags = flags | SA_SIGINFO;
    CHECK(sigaction(sig, &action, NULL) == 0);
}

static void basics(void)
{
    install(SIGUSR1, on_signal, 0);
    CHECK(raise(SIGUSR1) == 0 && count == 1 && last == SIGUSR1);
    sigset_t set, old, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0);
    raise(SIGUSR1);
    raise(SIGUSR1);
    CHECK(count == 1);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
    CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
    CHECK(count == 2);
    install(SIGUSR2, on_signal, SA_RESETHAND);
    raise(SIGUSR2);
    struct sigaction now;
    CHECK(sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
    struct sigaction bad = {0};
    FAILS(sigaction(SIGKILL, &bad, NULL), EINVAL);
    FAILS(kill(getpid(), 65), EINVAL);
    CHECK(kill(getpid(), 0) == 0);
}

static void real_time(void)
{
    int sig = SIGRTMIN + 1;
    install_info(sig, on_info, 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, sig);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 5; i++) {
        union sigval value = {.sival_int = i};
        CHECK(sigqueue(getpid(), sig, value) == 0);
    }
    for (int i = 0; i < 5; i++) {
        siginfo_t info;
        struct timespec zero = {0, 0};
        CHECK(sigtimedwait(&set, &info, &zero) == sig);
        CHECK(info.si_value.sival_int == i && info.si_code == SI_QUEUE && info.si_pid == getpid());
    }
    siginfo_t info;
    struct timespec brief = {0, 1000000};
    FAILS(sigtimedwait(&set, &info, &brief), EAGAIN);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void on_nested(int sig)
{
    depth++;
    if (depth > max_depth)
        max_depth = depth;
    if (depth < 3)
        raise(sig);
    depth--;
}

static void nesting(void)
{
    install(SIGUSR1, on_nested, SA_NODEFER);
    raise(SIGUSR1);
    CHECK(max_depth == 3);
    max_depth = 0;
    install(SIGUSR1, on_signal, 0);
}

static char stack[65536];
static volatile sig_atomic_t on_alt;

static void on_altstack(int sig)
{
    char here;
    (void)sig;
    on_alt = &here >= stack && &here < stack + sizeof stack;
    stack_t now;
    CHECK(sigaltstack(NULL, &now) == 0 && (now.ss_flags & SS_ONSTACK));
}

static void altstack(void)
{
    stack_t alt = {.ss_sp = stack, .ss_size = sizeof stack}, old;
    CHECK(sigaltstack(&alt, &old) == 0 && (old.ss_flags & SS_DISABLE));
    install(SIGUSR2, on_altstack, SA_ONSTACK);
    raise(SIGUSR2);
    CHECK(on_alt == 1);
    alt.ss_size = 10;
    FAILS(sigaltstack(&alt, NULL), ENOMEM);
    alt.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&alt, NULL) == 0);
}

static sigjmp_buf jump;
static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    last = sig;
    last_info = *info;
    siglongjmp(jump, 1);
}

static void faults(void)
{
    install_info(SIGSEGV, on_fault, 0);
    install_info(SIGBUS, on_fault, 0);
    install_info(SIGFPE, on_fault, 0);
    install_info(SIGILL, on_fault, 0);
    install_info(SIGTRAP, on_fault, 0);
    if (sigsetjmp(jump, 1) == 0)
        *(volatile int *)16 = 1;
    CHECK(last == SIGSEGV && last_info.si_addr == (void *)16 && last_info.si_code == SEGV_MAPERR);
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sigsetjmp(jump, 1) == 0)
        *(volatile char *)(page + 5) = 1;
    CHECK(last == SIGSEGV && last_info.si_addr == page + 5 && last_info.si_code == SEGV_ACCERR);
    volatile int zero = 0, one = 1;
    if (sigsetjmp(jump, 1) == 0)
        one = one / zero;
    CHECK(last == SIGFPE && last_info.si_code == FPE_INTDIV);
    if (sigsetjmp(jump, 1) == 0)
        __asm__ volatile("ud2");
    CHECK(last == SIGILL);
    if (sigsetjmp(jump, 1) == 0)
        __asm__ volatile("int3");
    CHECK(last == SIGTRAP);
    if (sigsetjmp(jump, 1) == 0)
        __asm__ volatile("mov $0xdead000000000000, %%rax; mov (%%rax), %%rax" ::: "rax");
    CHECK(last == SIGSEGV && last_info.si_code == SI_KERNEL);
    munmap(page, 4096);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGTRAP, SIG_DFL);
}

static void restarts(void)
{
    struct itimerval soon = {.it_value = {0, 20000}};
    int fds[2];
    char byte;
    CHECK(pipe(fds) == 0);
    install(SIGALRM, on_signal, 0);
    setitimer(ITIMER_REAL, &soon, NULL);
    FAILS(read(fds[0], &byte, 1), EINTR);
    install(SIGALRM, on_signal, SA_RESTART);
    pid_t pid = fork();
    if (pid == 0) {
        usleep(60000);
        CHECK(write(fds[1], "r", 1) == 1);
        _exit(0);
    }
    int before = count;
    setitimer(ITIMER_REAL, &soon, NULL);
    CHECK(read(fds[0], &byte, 1) == 1 && byte == 'r');
    CHECK(count == before + 1);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    struct timespec want = {0, 50000000}, left = {0, 0};
    install(SIGALRM, on_signal, SA_RESTART);
    setitimer(ITIMER_REAL, &soon, NULL);
    FAILS(nanosleep(&want, &left), EINTR);
    CHECK(left.tv_sec == 0 && left.tv_nsec > 0 && left.tv_nsec <= 40000000);
    sigset_t empty;
    sigemptyset(&empty);
    setitimer(ITIMER_REAL, &soon, NULL);
    FAILS(sigsuspend(&empty), EINTR);
    close(fds[0]);
    close(fds[1]);
}

/* Floating point and vector registers survive a handler that destroys them. */
static void on_clobber(int sig)
{
    (void)sig;
    __asm__ volatile("pxor %%xmm0, %%xmm0; pxor %%xmm7, %%xmm7; pxor %%xmm15, %%xmm15" ::: "xmm0", "xmm7", "xmm15");
    volatile double x = 3.5;
    x = x * x;
    count++;
}

static void vector_state(void)
{
    install(SIGUSR1, on_clobber, 0);
    pid_t pid = getpid();
    for (int i = 0; i < 200; i++) {
        unsigned long want = 0x1234567800000000UL + i, got0, got15;
        long result;
        __asm__ volatile("movq %[want], %%xmm0; movq %[want], %%xmm15; syscall;"
                         "movq %%xmm0, %[got0]; movq %%xmm15, %[got15]"
                         : "=a"(result), [got0] "=r"(got0), [got15] "=r"(got15)
                         : "0"(62L), "D"((long)pid), "S"((long)SIGUSR1), [want] "r"(want)
                         : "rcx", "r11", "xmm0", "xmm15", "memory");
        CHECK(result == 0 && got0 == want && got15 == want);
    }
}

static void on_context(int sig, siginfo_t *info, void *raw)
{
    (void)sig;
    (void)info;
    ucontext_t *context = raw;
    context->uc_mcontext.gregs[REG_RAX] = 77;
    context->uc_mcontext.gregs[REG_RIP] += 2;
}

static void changed_context(void)
{
    install_info(SIGILL, on_context, 0);
    long value = 0;
    __asm__ volatile("ud2" : "=a"(value) : "0"(1L));
    CHECK(value == 77);
}

static void *kick_target(void *arg)
{
    (void)arg;
    sigset_t set;
    int sig;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    CHECK(sigwait(&set, &sig) == 0 && sig == SIGUSR2);
    return NULL;
}

static void threads(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, kick_target, NULL) == 0);
    CHECK(pthread_kill(thread, SIGUSR2) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* A busy loop without calls is interrupted. */
static void busy(void)
{
    install(SIGALRM, on_signal, 0);
    int before = count;
    struct itimerval soon = {.it_value = {0, 10000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    while (count == before)
        ;
}

int main(void)
{
    basics();
    real_time();
    nesting();
    altstack();
    faults();
    restarts();
    vector_state();
    changed_context();
    threads();
    busy();
    OK();
}
