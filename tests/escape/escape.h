/* Attacks on the sandbox. A program tries one idea, prints what it tried, and exits 0 only if it was contained.
 * They run inside only; `crates/runtime/tests/escape` looks at the sandbox and the host from outside afterwards. */
#ifndef ESCAPE_H
#define ESCAPE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Where the engine's own mappings lie (crates/systrap/src/layout.rs). */
#define STUB 0x7fff00000000UL
#define STUB_CODE 0x3000UL
#define STUB_LEN 0x4000UL
#define COMMAND 0x7fff00100000UL
#define COMMAND_LEN 0x4000UL
#define HINT (COMMAND + COMMAND_LEN)
#define HELPER_STACK 0x7fff00200000UL
#define AREA_LEN 0x40000UL
/* Offsets in a thread area. */
#define A_STATE 0x00
#define A_KICK 0x04
#define A_SIG 0x08
#define A_UC 0x10
#define A_FAST 0xa000

/* What main() exits with when an attack had an effect that it must not have. */
#define ESCAPED 66

#define LENGTH(array) (sizeof(array) / sizeof *(array))

#define ESCAPE(...)                                                                              \
    do {                                                                                         \
        printf("ESCAPED: %s:%d: ", __FILE__, __LINE__);                                          \
        printf(__VA_ARGS__);                                                                     \
        puts("");                                                                                \
        fflush(stdout);                                                                          \
        _exit(ESCAPED);                                                                          \
    } while (0)

/* The attack must fail with one of the errors that a reader would expect; which one is the conformance tests' business. */
#define REFUSED(call)                                                                            \
    do {                                                                                         \
        errno = 0;                                                                               \
        long result_ = (long)(call);                                                             \
        if (result_ != -1)                                                                       \
            ESCAPE("%s gave %ld", #call, result_);                                               \
    } while (0)

#define TRIED(...)                                                                               \
    do {                                                                                         \
        printf("tried: ");                                                                       \
        printf(__VA_ARGS__);                                                                     \
        puts("");                                                                                \
        fflush(stdout);                                                                          \
    } while (0)

#define CONTAINED()                                                                              \
    do {                                                                                         \
        puts("contained");                                                                       \
        return 0;                                                                                \
    } while (0)

/* The address of the calling thread's area. */
static inline unsigned long area(void)
{
    unsigned long base;
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    return base;
}

static inline double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

/* Runs an attack in a process of its own: returns how it ended, as waitpid(2) tells it. After `limit` seconds it is
 * killed, and the killing has to work: the sentry gives a thread that hides in the stub some 15 seconds. */
static inline int attack(void (*with)(void *), void *argument, double limit)
{
    int status;
    pid_t child, own = syscall(SYS_getpid);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        setpgid(0, 0);
        with(argument);
        fflush(stdout);
        _exit(0);
    }
    /* A jump into the stub may lead the child back to here, as if its fork had given any number. */
    if (syscall(SYS_getpid) != own)
        _exit(0);
    if (child < 0)
        return -errno;
    double end = seconds() + limit;
    for (;;) {
        pid_t done = waitpid(child, &status, WNOHANG);
        if (done == child)
            break;
        if (seconds() > end) {
            kill(child, SIGKILL);
            double last = seconds() + 60;
            while (waitpid(child, &status, WNOHANG) != child) {
                if (seconds() > last)
                    ESCAPE("a process cannot be killed");
                usleep(10000);
            }
            break;
        }
        usleep(500);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == ESCAPED)
        exit(ESCAPED);
    return status;
}

/* A small generator: attacks are repeatable. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
#endif
