/* Files are read straight into the window that a thread shares with the sentry. One process reads a secret all the time; another spoils
 * the lengths and places of its own window, unmaps and moves buffers, and shortens files while they are read. */
#include "escape.h"
#include <pthread.h>
#include <sys/uio.h>

#define SECRET "the bytes of somebody else's file "
static volatile int over;
static volatile unsigned long victim_area;
static char *buffer;
#define BUFFER (1 << 18)

static void *spoils(void *seed)
{
    uint64_t random = (uint64_t)seed | 1;
    while (!over) {
        unsigned long area = victim_area;
        if (area == 0)
            continue;
        /* Any word but those that say whose turn it is. */
        unsigned long at = 0x18 + next_random(&random) % 0x1000 * 8 % (A_FAST + 0x1000);
        uint64_t values[] = {0, ~0UL, 1, 4096, BUFFER, 1UL << 31, 1UL << 40, next_random(&random)};
        *(volatile uint64_t *)(area + (at & ~7UL)) = values[next_random(&random) % LENGTH(values)];
    }
    return NULL;
}

static void *moves(void *unused)
{
    (void)unused;
    while (!over) {
        madvise(buffer, BUFFER, MADV_DONTNEED);
        mprotect(buffer + 4096, 4096, PROT_NONE);
        mprotect(buffer + 4096, 4096, PROT_READ | PROT_WRITE);
        munmap(buffer + 8192, 8192);
        mmap(buffer + 8192, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    }
    return NULL;
}

static void *shortens(void *fd)
{
    while (!over) {
        ftruncate((int)(long)fd, 100);
        ftruncate((int)(long)fd, 300000);
    }
    return NULL;
}

static void reader(void *shape)
{
    int own = open("/tmp", O_TMPFILE | O_RDWR, 0600), system = open("/bin/sh", O_RDONLY);
    buffer = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ftruncate(own, 300000);
    pthread_t threads[3];
    victim_area = (long)shape == 0 ? area() : 0;
    pthread_create(&threads[0], NULL, spoils, (void *)(long)getpid());
    pthread_create(&threads[1], NULL, moves, NULL);
    pthread_create(&threads[2], NULL, shortens, (void *)(long)own);
    double end = seconds() + 4;
    static char seen[BUFFER];
    for (unsigned round = 0; seconds() < end; round++) {
        struct iovec parts[3] = {{buffer, 4096}, {buffer + 4000, 9000}, {(void *)STUB, 4096}};
        int fd = round % 3 == 0 ? system : own;
        size_t len = (round * 7919) % BUFFER;
        if (round % 5 == 4)
            preadv(fd, parts, 3, round % 1000);
        else
            pread(fd, buffer, len, round % 5000);
        /* As the sentry reads it: by a call, which memory that is gone does not end. */
        int pair[2];
        if (round % 16 == 0 && pipe2(pair, O_NONBLOCK) == 0) {
            ssize_t got = write(pair[1], buffer, 65536);
            got = got > 0 ? read(pair[0], seen, got) : 0;
            if (got > 0 && memmem(seen, got, SECRET, sizeof SECRET - 1))
                ESCAPE("another process's file");
            close(pair[0]);
            close(pair[1]);
        }
    }
    over = 1;
}

static void reads_secret(int fd)
{
    static char text[BUFFER];
    for (;;) {
        if (pread(fd, text, sizeof text, 0) != sizeof text || memcmp(text + 34 * 100, SECRET, 34) != 0)
            _exit(1);
    }
}

int main(void)
{
    int secret = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    for (int i = 0; i * 34 < BUFFER + 34; i++)
        write(secret, SECRET, 34);
    pid_t keeper = fork();
    if (keeper == 0)
        reads_secret(secret);
    close(secret);
    TRIED("a window whose words change");
    attack(reader, (void *)0, 60);
    TRIED("buffers that move and files that shrink");
    attack(reader, (void *)1, 60);
    int status;
    if (waitpid(keeper, &status, WNOHANG) != 0)
        ESCAPE("the other process saw something else than its file");
    kill(keeper, SIGKILL);
    waitpid(keeper, &status, 0);
    CONTAINED();
}
