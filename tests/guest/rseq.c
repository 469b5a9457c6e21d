/* rseq(2): registration, processor numbers that stay true, critical sections that are restarted. */
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include "check.h"

#define SIGN 0x53053053
#define UNREGISTER 1
#define ROUNDS 200000

static __thread struct rseq own __attribute__((aligned(32)));

static long call(void *area, unsigned len, int flags, unsigned sig)
{
    return syscall(SYS_rseq, area, len, flags, sig);
}

/* Takes the C library's registration away. It makes none in threads that one without starts. */
static void leave_library(void)
{
    struct rseq *theirs = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
    if ((int)theirs->cpu_id < 0)
        return;
    CHECK(call(theirs, 32, UNREGISTER, SIGN) == 0);
    CHECK(theirs->cpu_id == (unsigned)RSEQ_CPU_ID_UNINITIALIZED);
}

static void enter(void)
{
    leave_library();
    CHECK(call(&own, 32, 0, SIGN) == 0);
}

/* Adds one to *count if the thread runs on `cpu` from begin to end. 0: done, 1: restarted or on another processor. */
static int add_on(long *count, int cpu)
{
    __asm__ volatile goto(
        ".pushsection __rseq_cs, \"aw\"\n"
        ".balign 32\n"
        "3: .long 0, 0\n"
        ".quad 1f, 2f - 1f, 4f\n"
        ".popsection\n"
        "leaq 3b(%%rip), %%rax\n"
        "movq %%rax, %c3(%0)\n"
        "1: cmpl %2, %c4(%0)\n"
        "jnz 4f\n"
        "movq (%1), %%rax\n"
        "pause\n"
        "pause\n"
        "incq %%rax\n"
        "movq %%rax, (%1)\n"
        "2:\n"
        ".pushsection __rseq_failure, \"ax\"\n"
        ".byte 0x0f, 0xb9, 0x3d\n"
        ".long 0x53053053\n"
        "4: jmp %l[aborted]\n"
        ".popsection\n"
        :
        : "r"(&own), "r"(count), "r"(cpu), "i"(offsetof(struct rseq, rseq_cs)), "i"(offsetof(struct rseq, cpu_id))
        : "memory", "cc", "rax"
        : aborted);
    return 0;
aborted:
    return 1;
}

/* Stays in a critical section until it is restarted. */
#define WAIT_FOR_RESTART(name, signature)                                                        \
    static void name(void)                                                                       \
    {                                                                                            \
        __asm__ volatile(".pushsection __rseq_cs, \"aw\"\n"                                      \
                         ".balign 32\n"                                                          \
                         "3: .long 0, 0\n"                                                       \
                         ".quad 1f, 2f - 1f, 4f\n"                                               \
                         ".popsection\n"                                                         \
                         "leaq 3b(%%rip), %%rax\n"                                               \
                         "movq %%rax, %c1(%0)\n"                                                 \
                         "1: pause\n"                                                            \
                         "jmp 1b\n"                                                              \
                         "2:\n"                                                                  \
                         ".pushsection __rseq_failure, \"ax\"\n"                                 \
                         ".byte 0x0f, 0xb9, 0x3d\n"                                              \
                         ".long " #signature "\n"                                                \
                         "4: jmp 7f\n"                                                           \
                         ".popsection\n"                                                         \
                         "7:\n"                                                                  \
                         :                                                                       \
                         : "r"(&own), "i"(offsetof(struct rseq, rseq_cs))                        \
                         : "memory", "cc", "rax");                                               \
    }
WAIT_FOR_RESTART(wait_for_restart, 0x53053053)
WAIT_FOR_RESTART(wait_for_bad_restart, 0x12345678)

static void registration(void)
{
    static struct rseq other[2] __attribute__((aligned(32)));
    CHECK(__rseq_size >= 20);
    char *theirs = (char *)__builtin_thread_pointer() + __rseq_offset;
    FAILS(call(theirs, 32, 0, SIGN), EBUSY);
    FAILS(call(theirs, 32, 0, SIGN + 1), EPERM);
    FAILS(call(&own, 32, 0, SIGN), EINVAL);
    FAILS(call(theirs, 32, 2, SIGN), EINVAL);
    FAILS(call(theirs, 32, UNREGISTER | 2, SIGN), EINVAL);
    FAILS(call(theirs, 31, UNREGISTER, SIGN), EINVAL);
    FAILS(call(&own, 32, UNREGISTER, SIGN), EINVAL);
    FAILS(call(theirs, 32, UNREGISTER, SIGN + 1), EPERM);
    CHECK(((struct rseq *)theirs)->cpu_id < 4096);
    CHECK(call(theirs, 32, UNREGISTER, SIGN) == 0);
    FAILS(call(theirs, 32, UNREGISTER, SIGN), EINVAL);
    FAILS(call(NULL, 32, UNREGISTER, 0), EINVAL);
    FAILS(call(other, 16, 0, SIGN), EINVAL);
    FAILS(call((char *)other + 8, 32, 0, SIGN), EINVAL);
    FAILS(call((void *)-32UL, 32, 0, SIGN), EFAULT);
    FAILS(call((void *)0xffffffff80000000UL, 32, 0, SIGN), EFAULT);
    CHECK(call(other, 32, 0, 7) == 0);
    CHECK(other->cpu_id == other->cpu_id_start && other->cpu_id < 4096);
    CHECK(call(other, 32, UNREGISTER, 7) == 0);
    CHECK(other->cpu_id == (unsigned)RSEQ_CPU_ID_UNINITIALIZED && other->cpu_id_start == 0);
    if (getauxval(27)) {
        CHECK(getauxval(27) >= 20 && getauxval(28) == 32);
        char *longer = (char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(call(longer, 256, 0, 7) == 0);
        FAILS(call(longer, 32, UNREGISTER, 7), EINVAL);
        CHECK(call(longer, 256, UNREGISTER, 7) == 0);
    }
    CHECK(call(theirs, 32, 0, SIGN) == 0);
}

static void numbers(void)
{
    cpu_set_t all, one;
    enter();
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    for (int round = 0; round < 50; round++)
        for (int cpu = 0; cpu < 64; cpu++) {
            if (!CPU_ISSET(cpu, &all))
                continue;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
            CHECK(*(volatile uint32_t *)&own.cpu_id == (unsigned)cpu);
            CHECK(*(volatile uint32_t *)&own.cpu_id_start == (unsigned)cpu);
            unsigned now = ~0U;
            CHECK(syscall(SYS_getcpu, &now, NULL, NULL) == 0 && now == (unsigned)cpu);
            CHECK(sched_getcpu() == cpu);
        }
    CHECK(sched_setaffinity(0, sizeof all, &all) == 0);
}

static volatile sig_atomic_t handled;
static volatile uintptr_t interrupted_at, section_then;

static void on_signal(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info;
    ucontext_t *uc = context;
    interrupted_at = uc->uc_mcontext.gregs[REG_RIP];
    section_then = own.rseq_cs;
    handled++;
}

static void restarts_by_signals(void)
{
    struct sigaction act = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    struct itimerval soon = {{0, 0}, {0, 2000}};
    CHECK(sigaction(SIGALRM, &act, NULL) == 0);
    int restarted = 0;
    for (int i = 0; i < 20; i++) {
        handled = 0;
        CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
        while (!handled)
            wait_for_restart();
        CHECK(section_then == 0 && own.rseq_cs == 0);
        restarted += *(uint32_t *)(interrupted_at - 4) == SIGN;
    }
    CHECK(restarted > 0);
}

static void bad_signature_kills(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_IGN);
        CHECK(own.cpu_id < 4096); /* the registration is inherited */
        FAILS(call(&own, 32, 0, SIGN), EBUSY);
        alarm(1);
        wait_for_bad_restart();
        for (;;)
            ;
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

struct slot {
    long count;
    char pad[120];
};
static struct slot slots[64];
static long failures;

static void *adds(void *arg)
{
    (void)arg;
    enter();
    long failed = 0;
    for (int i = 0; i < ROUNDS;) {
        int cpu = *(volatile uint32_t *)&own.cpu_id_start;
        CHECK(cpu < 64);
        if (add_on(&slots[cpu].count, cpu) == 0)
            i++;
        else
            failed++;
        if (i % 4096 == 0)
            sched_yield();
    }
    __atomic_fetch_add(&failures, failed, __ATOMIC_RELAXED);
    CHECK(call(&own, 32, UNREGISTER, SIGN) == 0);
    return NULL;
}

static void nothing_is_lost(void)
{
    pthread_t threads[6];
    for (int i = 0; i < 6; i++)
        CHECK(pthread_create(&threads[i], NULL, adds, NULL) == 0);
    for (int i = 0; i < 6; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    long sum = 0;
    for (int i = 0; i < 64; i++)
        sum += slots[i].count;
    CHECK(sum == 6L * ROUNDS);
}

/* A thread that ended with its registration leaves its memory alone. */
static void *registers_elsewhere(void *area)
{
    leave_library();
    CHECK(call(area, 32, 0, SIGN) == 0);
    return NULL;
}

static void memory_of_ended_threads_is_free(void)
{
    for (int i = 0; i < 6; i++) {
        unsigned char *area = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, registers_elsewhere, area) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        memset(area, 0x55, 4096);
        if (i % 2)
            CHECK(munmap(area, 4096) == 0);
        CHECK(pthread_create(&thread, NULL, adds, NULL) == 0 && pthread_join(thread, NULL) == 0);
        for (int at = 0; i % 2 == 0 && at < 4096; at++)
            CHECK(area[at] == 0x55);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "again") == 0) {
        /* The new program's C library has registered anew. */
        char *theirs = (char *)__builtin_thread_pointer() + __rseq_offset;
        FAILS(call(theirs, 32, 0, SIGN), EBUSY);
        OK();
    }
    registration();
    numbers();
    restarts_by_signals();
    bad_signature_kills();
    nothing_is_lost();
    memory_of_ended_threads_is_free();
    execl("/proc/self/exe", "rseq", "again", NULL);
    return 1;
}
