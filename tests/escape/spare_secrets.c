/* What ended processes leave behind: memory of processes that were made ahead, areas of threads that are used again, pages of files in
 * memory, pipes, registers. Another user looks for it everywhere it can read. */
#include "escape.h"
#include <pthread.h>

/* The secret is never whole in the memory of who looks for it. */
#define MASK 0xa5a5a5a5c3c3c3c3UL
static uint64_t wanted;
static sigjmp_buf back;

static void faulted(int signal)
{
    (void)signal;
    siglongjmp(back, 1);
}

static void *keeps(void *secret)
{
    volatile uint64_t many[256];
    for (unsigned i = 0; i < LENGTH(many); i++)
        many[i] = (uint64_t)secret;
    char text[2048];
    int pair[2];
    for (unsigned i = 0; i < sizeof text / 8; i++)
        memcpy(text + 8 * i, &secret, 8);
    if (pipe(pair) == 0) {
        for (int i = 0; i < 16; i++) {
            write(pair[1], text, sizeof text);
            read(pair[0], text, sizeof text);
        }
        write(pair[1], text, sizeof text);
    }
    /* In every register that a signal or a switch would save. */
    uint64_t value = (uint64_t)secret;
    __asm__ volatile("movq %0, %%xmm0; punpcklqdq %%xmm0, %%xmm0; movdqa %%xmm0, %%xmm1; movdqa %%xmm0, %%xmm7; movdqa %%xmm0, %%xmm15"
                     :
                     : "r"(value)
                     : "xmm0", "xmm1", "xmm7", "xmm15");
    kill(getpid(), 0);
    sched_yield();
    return NULL;
}

/* A process full of the secret, which ends in one of several ways. */
static void owner(uint64_t secret, int how)
{
    uint64_t *heap = malloc(1 << 20);
    for (int i = 0; i < 1 << 17; i++)
        heap[i] = secret;
    int fd = memfd_create("secret", 0);
    write(fd, heap, 1 << 20);
    int file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    if (file >= 0)
        write(file, heap, 1 << 20);
    void *shared = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared != MAP_FAILED)
        memcpy(shared, heap, 1 << 16);
    pthread_t threads[3];
    for (unsigned i = 0; i < LENGTH(threads); i++)
        pthread_create(&threads[i], NULL, keeps, (void *)secret);
    keeps((void *)secret);
    if (how == 0)
        for (unsigned i = 0; i < LENGTH(threads); i++)
            pthread_join(threads[i], NULL);
    if (how == 1)
        raise(SIGKILL);
    if (how == 2)
        execl("/bin/true", "true", (char *)NULL);
    if (how == 3)
        __asm__ volatile("ud2");
    _exit(0);
}

static void look(const char *where, const volatile uint64_t *from, size_t bytes)
{
    /* Not in a local that a jump back would spoil. */
    static const volatile uint64_t *at, *end;
    at = from;
    end = from + bytes / 8;
    while (at < end) {
        if (sigsetjmp(back, 1) == 0) {
            for (; at < end; at++)
                if ((*at ^ MASK) == wanted)
                    ESCAPE("another process's secret at %p (%s)", (void *)at, where);
        } else {
            at = (const uint64_t *)(((uintptr_t)at | 4095) + 1);
        }
    }
}

static void *own_area(void *unused)
{
    (void)unused;
    return (void *)area();
}

static void searcher(void *unused)
{
    (void)unused;
    signal(SIGSEGV, faulted);
    signal(SIGBUS, faulted);
    if (setgid(4242) != 0 || setuid(4242) != 0)
        _exit(0);
    look("the thread's area", (void *)area(), AREA_LEN);
    look("the stub", (void *)STUB, STUB_LEN);
    look("orders", (void *)COMMAND, COMMAND_LEN + 0x1000);
    look("the helper's stack", (void *)(HELPER_STACK - 0x10000), 0x20000);
    void *fresh = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    look("fresh memory", fresh, 8 << 20);
    fresh = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    look("fresh shared memory", fresh, 4 << 20);
    int fd = memfd_create("fresh", 0);
    if (ftruncate(fd, 4 << 20) == 0)
        look("a fresh file in memory", mmap(NULL, 4 << 20, PROT_READ, MAP_SHARED, fd, 0), 4 << 20);
    static uint64_t bytes[8192];
    int file = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    if (file >= 0 && ftruncate(file, 1 << 20) == 0)
        while (read(file, bytes, sizeof bytes) > 0)
            look("a hole", bytes, sizeof bytes);
    uint64_t registers[16];
    __asm__ volatile("movdqu %%xmm0, (%0); movdqu %%xmm1, 16(%0); movdqu %%xmm7, 32(%0); movdqu %%xmm15, 48(%0)" : : "r"(registers) : "memory");
    look("registers", registers, 64);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char access[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, access) == 3 && access[0] == 'r' && to - from < 64 << 20)
            look(line, (void *)from, to - from);
    }
    /* Threads of our own get areas that others had. */
    pthread_t thread;
    for (int i = 0; i < 8; i++)
        if (pthread_create(&thread, NULL, own_area, NULL) == 0) {
            void *where = NULL;
            pthread_join(thread, &where);
            look("another thread's area", where, AREA_LEN);
        }
}

int main(void)
{
    uint64_t random = 88172645463325252UL ^ (uint64_t)getpid() << 20;
    for (int round = 0; round < 24; round++) {
        wanted = next_random(&random);
        for (int i = 0; i < 3; i++) {
            pid_t child = fork();
            if (child == 0)
                owner(wanted ^ MASK, round % 4);
            int status;
            waitpid(child, &status, 0);
        }
        attack(searcher, NULL, 60);
    }
    TRIED("24 secrets of 72 processes that had ended");
    CONTAINED();
}
