/* Programs that serve their own calls (PR_SET_SYSCALL_USER_DISPATCH), and that say where their memory is (PR_SET_MM): selectors and ranges in
 * the engine's own memory, selectors that change and go away, patched call sites under it; titles that lie in somebody else's. */
#include "escape.h"
#include <pthread.h>
#include <linux/prctl.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
#define ON 1
#define OFF 0

static volatile char selector;
static volatile int seen;

static void served(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    selector = OFF;
    seen++;
}

static long dispatch(unsigned long mode, unsigned long from, unsigned long len, volatile void *at)
{
    return syscall(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, mode, from, len, at);
}

static void places(void *unused)
{
    (void)unused;
    struct sigaction action = {.sa_sigaction = served, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSYS, &action, NULL);
    static const unsigned long where[] = {0, 1, STUB, STUB + STUB_CODE, COMMAND, HINT, HELPER_STACK, 0xffffffff80000000UL, ~0UL, 1UL << 47};
    for (unsigned i = 0; i < LENGTH(where); i++) {
        dispatch(ON, where[i], 4096, &selector);
        selector = ON;
        syscall(SYS_getppid);
        selector = OFF;
        dispatch(ON, 0, ~0UL, (void *)where[i]);
        dispatch(ON, STUB, STUB_LEN, (void *)where[i]);
        dispatch(OFF, where[i], 4096, NULL);
        dispatch(7, where[i], where[i], (void *)where[i]);
        dispatch(OFF, 0, 0, NULL);
    }
    /* The own area as a selector: what it holds is the engine's, and changes. */
    dispatch(ON, 0, 0, (void *)(area() + A_STATE));
    syscall(SYS_getppid);
    dispatch(ON, 0, 0, (void *)(area() + A_FAST));
    syscall(SYS_getppid);
    dispatch(OFF, 0, 0, NULL);
}

static void *flips(void *page)
{
    for (;;) {
        *(volatile char *)page ^= 1;
        mprotect(page, 4096, PROT_NONE);
        mprotect(page, 4096, PROT_READ | PROT_WRITE);
    }
    return NULL;
}

/* The selector goes away between the look and the call; the calls are made often enough to be patched. */
static void goes_away(void *unused)
{
    (void)unused;
    struct sigaction action = {.sa_sigaction = served, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSYS, &action, NULL);
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 2000; i++)
        getppid();
    pthread_t thread;
    pthread_create(&thread, NULL, flips, page);
    dispatch(ON, 0, 0, page);
    for (int i = 0; i < 100000; i++)
        syscall(SYS_getppid);
}

/* What is served by the program itself is not made: neither by a patched site nor by one of the engine's own answers. */
static void is_not_made(void *unused)
{
    (void)unused;
    struct sigaction action = {.sa_sigaction = served, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSYS, &action, NULL);
    static const long calls[] = {SYS_getppid, SYS_getpid, SYS_gettid, SYS_getuid, SYS_sched_yield, SYS_clock_gettime, SYS_write};
    for (unsigned i = 0; i < LENGTH(calls); i++) {
        for (int n = 0; n < 100; n++)
            syscall(calls[i], -1, NULL, 0);
        if (dispatch(ON, 0, 0, &selector) != 0)
            return;
        for (int n = 0; n < 50; n++) {
            int before = seen;
            selector = ON;
            syscall(calls[i], -1, NULL, 0);
            if (seen == before)
                ESCAPE("call %ld was made past the program that serves it", calls[i]);
        }
        dispatch(OFF, 0, 0, NULL);
    }
}

/* Titles of a process are read by others, through the memory that it says they lie in. */
static void titles(void *unused)
{
    (void)unused;
    static const int fields[] = {PR_SET_MM_ARG_START, PR_SET_MM_ARG_END, PR_SET_MM_ENV_START, PR_SET_MM_ENV_END, PR_SET_MM_START_CODE,
                                 PR_SET_MM_END_CODE, PR_SET_MM_START_STACK, PR_SET_MM_START_BRK, PR_SET_MM_BRK, PR_SET_MM_AUXV};
    static const unsigned long where[] = {0, STUB, COMMAND, HINT, HELPER_STACK, 0xffffffff80000000UL, ~0UL, 1UL << 47};
    char text[8192];
    for (unsigned i = 0; i < LENGTH(where); i++) {
        for (unsigned f = 0; f < LENGTH(fields); f++)
            prctl(PR_SET_MM, fields[f], where[i], 0, 0);
        struct prctl_mm_map map;
        unsigned long *words = (void *)&map;
        for (unsigned w = 0; w < sizeof map / 8; w++)
            words[w] = where[i];
        map.exe_fd = -1;
        map.auxv = NULL;
        map.auxv_size = 0;
        prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
        map.auxv = (void *)where[i];
        map.auxv_size = ~0U;
        prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0);
        static const char *files[] = {"/proc/self/cmdline", "/proc/self/environ", "/proc/self/stat", "/proc/self/auxv", "/proc/self/maps"};
        for (unsigned f = 0; f < LENGTH(files); f++) {
            int fd = open(files[f], O_RDONLY);
            ssize_t got = read(fd, text, sizeof text);
            close(fd);
            if (got > 4 && f < 2 && memmem(text, got, "tegmen-orders", 13))
                ESCAPE("the engine's memory in %s", files[f]);
        }
        sbrk(4096);
        brk((void *)where[i]);
    }
}

int main(void)
{
    TRIED("selectors and ranges anywhere");
    attack(places, NULL, 60);
    TRIED("a selector that goes away");
    attack(goes_away, NULL, 10);
    TRIED("calls that must not be made");
    attack(is_not_made, NULL, 60);
    TRIED("titles in others' memory");
    attack(titles, NULL, 60);
    CONTAINED();
}
