/* A writable volume at /vol whose files shrink while they are mapped, executed, read straight into memory, sent and locked, by this sandbox
 * itself and by the host: the program gets errors and signals, others and the sandbox nothing. */
#include "escape.h"
#include <pthread.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#define LEN (1 << 18)
static volatile int over;
static sigjmp_buf back;
static void faulted(int signal) { siglongjmp(back, signal); }

static void *shrinks(void *path)
{
    char other[64];
    snprintf(other, sizeof other, "%s.new", (char *)path);
    for (int round = 0; !over; round++) {
        truncate(path, round % 5 * 3000);
        truncate(path, LEN);
        if (round % 16 == 0) {
            int fd = open(other, O_CREAT | O_RDWR | O_TRUNC, 0755);
            ftruncate(fd, LEN / 2);
            close(fd);
            rename(other, path);
        }
        int fd = open(path, O_RDWR);
        fallocate(fd, 3, 4096 * (round % 30), 9000);
        close(fd);
    }
    return NULL;
}

static void users(void *path)
{
    signal(SIGBUS, faulted);
    signal(SIGSEGV, faulted);
    pthread_t thread;
    pthread_create(&thread, NULL, shrinks, path);
    static char buffer[LEN];
    int pair[2], out = memfd_create("out", 0);
    pipe2(pair, O_NONBLOCK);
    volatile double end = seconds() + 5;
    for (volatile unsigned round = 0; seconds() < end; round++) {
        int fd = open(path, O_RDWR);
        if (fd < 0)
            continue;
        char *shared = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        char *mine = mmap(NULL, LEN, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE, fd, 4096);
        if (sigsetjmp(back, 1) == 0)
            for (int at = 0; at < LEN; at += 4096) {
                mine[at]++;
                shared[at]++;
            }
        /* Out of memory that may be gone, into it, and past it. */
        pread(fd, shared, LEN, 100);
        pread(fd, mine, LEN, 0);
        pwrite(fd, shared + 5000, 100000, 77);
        write(pair[1], mine, 65536);
        read(pair[0], shared, 65536);
        sendfile(out, fd, &(off_t){0}, LEN);
        copy_file_range(fd, &(off_t){0}, fd, &(off_t){LEN / 2}, LEN, 0);
        splice(fd, &(off_t){3000}, pair[1], NULL, 65536, SPLICE_F_NONBLOCK);
        struct iovec parts[] = {{shared, 3000}, {buffer, 3000}, {mine + LEN - 4096, 8192}};
        preadv(fd, parts, 3, 10);
        pwritev(fd, parts, 3, 10);
        open(mine, O_RDONLY);
        execve(shared, (char **)mine, (char **)shared);
        msync(shared, LEN, MS_SYNC);
        madvise(shared, LEN, round % 2 ? MADV_WILLNEED : MADV_REMOVE);
        mincore(shared, LEN, (void *)mine);
        munmap(shared, LEN);
        munmap(mine, LEN);
        close(fd);
    }
    over = 1;
}

/* A program whose text goes away while it runs. */
static void text_goes(void *path)
{
    char from[4096];
    int program = open("/proc/self/exe", O_RDONLY), copy = open(path, O_CREAT | O_RDWR | O_TRUNC, 0755);
    ssize_t got;
    while ((got = read(program, from, sizeof from)) > 0)
        write(copy, from, got);
    close(copy);
    pid_t child = fork();
    if (child == 0) {
        execl(path, "text", "sleeps", (char *)NULL);
        _exit(0);
    }
    for (int i = 0; i < 200; i++) {
        usleep(1000);
        truncate(path, i * 4096 % 300000);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "sleeps") == 0)
        for (;;)
            sched_yield();
    (void)argc;
    TRIED("a file that shrinks under its users");
    attack(users, "/vol/shrinking", 60);
    TRIED("the same on a file that the host changes, too");
    attack(users, "/vol/file", 60);
    TRIED("a program whose text goes away");
    attack(text_goes, "/vol/program", 60);
    attack(text_goes, "/vol/dir/program", 60);
    CONTAINED();
}
