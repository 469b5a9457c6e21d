/* Forging the memory helper's results: the hint word and its stack are writable, its orders are not. */
#include "escape.h"
#include <linux/futex.h>
#include <pthread.h>

static volatile int stop;
static unsigned long target, length;

static void *scribble(void *unused)
{
    (void)unused;
    uint64_t state = 7;
    while (!stop)
        for (unsigned long at = 0; at < length; at += 4)
            *(volatile unsigned *)(target + at) = target == HINT && at == 0 ? *(volatile unsigned *)COMMAND + (state++ & 3)
                                                                          : (unsigned)next_random(&state);
    return NULL;
}

static void map_and_check(void *unused)
{
    (void)unused;
    pthread_t thread;
    pthread_create(&thread, NULL, scribble, NULL);
    double end = seconds() + 3;
    unsigned long rounds = 0;
    while (seconds() < end) {
        char *p = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            continue;
        p[0] = p[16383] = 1;
        if (mprotect(p, 4096, PROT_READ) == 0 && p[0] != 1)
            ESCAPE("a mapping is not what it was said to be");
        munmap(p, 16384);
        rounds++;
    }
    printf("%lu rounds\n", rounds);
    stop = 1;
    pthread_join(thread, NULL);
    exit(0);
}

/* Faults in the helper, whose frames lie in memory that we write meanwhile. */
static void helper_faults(void *unused)
{
    (void)unused;
    pthread_t thread;
    pthread_create(&thread, NULL, scribble, NULL);
    double end = seconds() + 3;
    char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    while (seconds() < end) {
        uint32_t word = 0;
        syscall(SYS_futex, &word, FUTEX_WAKE_OP, 1, 1, none, FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0));
        syscall(SYS_futex, &word, FUTEX_WAKE_OP, 1, 1, read_only, FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0));
        syscall(SYS_futex, read_only, FUTEX_LOCK_PI, 0, NULL, NULL, 0);
        syscall(SYS_futex, none, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0);
        unsigned char seen[4];
        mincore(none, 4096, seen);
    }
    exit(0);
}

int main(void)
{
    target = HINT;
    length = 4096;
    TRIED("forging the hint: %#x", attack(map_and_check, NULL, 20));
    length = 4;
    TRIED("forging the hint word: %#x", attack(map_and_check, NULL, 20));
    target = HELPER_STACK;
    length = AREA_LEN;
    TRIED("scribbling on the helper's stack: %#x", attack(map_and_check, NULL, 20));
    for (int i = 0; i < 4; i++) {
        length = i & 1 ? AREA_LEN : 4096;
        target = i & 1 ? HELPER_STACK : HELPER_STACK + AREA_LEN - 4096;
        TRIED("scribbling on the helper's frames: %#x", attack(helper_faults, NULL, 20));
    }
    CONTAINED();
}
