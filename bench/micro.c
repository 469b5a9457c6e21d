// One operation, measured from inside: `micro ROW [ARG...]` prints nanoseconds per operation, the median of the batches.
// Every operation checks its result; a wrong one ends the program with status 1.
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

#define MIB (1024 * 1024)

static char **args;
// ---- operations: each does `count` of them.

static void op_getpid(long count) {
    pid_t pid = getpid();
    for (long i = 0; i < count; i++) must(getpid() == pid);
}

static void op_noop(long count) {
    for (long i = 0; i < count; i++) must(close(-1) == -1 && errno == EBADF);
}

static int data_fd(void) {
    static int fd = -1;
    if (fd < 0) fd = open(args[0], O_RDONLY);
    must(fd >= 0);
    return fd;
}

static char buffer[64 * 1024];

static void do_pread(long count, size_t size) {
    int fd = data_fd();
    for (long i = 0; i < count; i++) must(pread(fd, buffer, size, (i % 8) * (off_t)sizeof buffer) == (ssize_t)size);
}
static void op_pread_64(long count) { do_pread(count, 64); }
static void op_pread_4k(long count) { do_pread(count, 4096); }
static void op_pread_64k(long count) { do_pread(count, 64 * 1024); }

static void op_open_close(long count) {
    for (long i = 0; i < count; i++) {
        int fd = open(args[0], O_RDONLY);
        must(fd >= 0);
        must(close(fd) == 0);
    }
}

static void op_stat(long count) {
    struct stat st;
    for (long i = 0; i < count; i++) must(stat(args[0], &st) == 0);
}

static void op_stat_missing(long count) {
    struct stat st;
    char path[4096];
    snprintf(path, sizeof path, "%s-missing", args[0]);
    for (long i = 0; i < count; i++) must(stat(path, &st) == -1 && errno == ENOENT);
}

static void op_write_tmp(long count) {
    static int fd = -1;
    if (fd < 0) {
        char name[] = "/tmp/microXXXXXX";
        fd = mkstemp(name);
        must(fd >= 0);
        unlink(name);
    }
    for (long i = 0; i < count; i++) must(pwrite(fd, buffer, 4096, (i % 64) * 4096) == 4096);
}

static void op_pipe(long count) {
    int there[2], back[2];
    must(pipe(there) == 0 && pipe(back) == 0);
    pid_t pid = fork();
    must(pid >= 0);
    char c = 0;
    if (pid == 0) {
        for (long i = 0; i < count; i++)
            if (read(there[0], &c, 1) != 1 || write(back[1], &c, 1) != 1) _exit(1);
        _exit(0);
    }
    for (long i = 0; i < count; i++) must(write(there[1], &c, 1) == 1 && read(back[0], &c, 1) == 1);
    int status;
    must(waitpid(pid, &status, 0) == pid && status == 0);
    for (int i = 0; i < 2; i++) close(there[i]), close(back[i]);
}

static _Atomic int turn;
static long rounds;

static void futex_until(int mine, int other) {
    while (atomic_load(&turn) != mine) syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, other, NULL, NULL, 0);
}

static void futex_give(int other) {
    atomic_store(&turn, other);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *futex_partner(void *unused) {
    (void)unused;
    for (long i = 0; i < rounds; i++) futex_until(1, 0), futex_give(0);
    return NULL;
}

static void op_futex(long count) {
    pthread_t partner;
    rounds = count;
    turn = 0;
    must(pthread_create(&partner, NULL, futex_partner, NULL) == 0);
    for (long i = 0; i < count; i++) futex_give(1), futex_until(0, 1);
    must(pthread_join(partner, NULL) == 0);
}

static void op_fork(long count) {
    for (long i = 0; i < count; i++) {
        int status;
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) _exit(7);
        must(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7);
    }
}

static void op_fork_256m(long count) {
    static char *memory;
    if (!memory) {
        memory = mmap(NULL, 256 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(memory != MAP_FAILED);
        memset(memory, 1, 256 * MIB);
    }
    op_fork(count);
}

// Runs the program args[0..]: exec of whatever it is, its start, its end.
static void op_run(long count) {
    for (volatile long i = 0; i < count; i++) {
        int status;
        pid_t pid = vfork();
        must(pid >= 0);
        if (pid == 0) {
            execvp(args[0], args);
            _exit(127);
        }
        must(waitpid(pid, &status, 0) == pid);
        if (status != 0) {
            fprintf(stderr, "micro: %s: wait status %#x\n", args[0], status);
            exit(1);
        }
    }
}

static void *nothing(void *argument) { return argument; }

static void op_thread(long count) {
    for (long i = 0; i < count; i++) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, nothing, NULL) == 0);
        must(pthread_join(thread, NULL) == 0);
    }
}

static void op_touch(long count) {
    while (count > 0) {
        long pages = count < 16384 ? count : 16384;
        char *memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(memory != MAP_FAILED);
        for (long i = 0; i < pages; i++) memory[i * 4096] = 1;
        must(munmap(memory, pages * 4096) == 0);
        count -= pages;
    }
}

static void op_cow(long count) {
    while (count > 0) {
        long pages = count < 4096 ? count : 4096;
        char *memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(memory != MAP_FAILED);
        must(madvise(memory, pages * 4096, MADV_NOHUGEPAGE) == 0);
        for (long i = 0; i < pages; i++) memory[i * 4096] = 1;
        int status;
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            for (long i = 0; i < pages; i++) memory[i * 4096] = 2;
            _exit(0);
        }
        must(waitpid(pid, &status, 0) == pid && status == 0 && memory[0] == 1);
        must(munmap(memory, pages * 4096) == 0);
        count -= pages;
    }
}

static void op_mmap(long count) {
    for (long i = 0; i < count; i++) {
        void *memory = mmap(NULL, 64 * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(memory != MAP_FAILED);
        must(munmap(memory, 64 * 1024) == 0);
    }
}

static void op_nanosleep(long count) {
    struct timespec t = {0, 50000};
    for (long i = 0; i < count; i++) must(nanosleep(&t, NULL) == 0);
}

static void op_clock(long count) {
    struct timespec t;
    for (long i = 0; i < count; i++) must(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
}

static const struct row {
    const char *name;
    void (*op)(long count);
    long at_least; // operations in a batch
    double batch_ns; // wanted length of a batch
} table[] = {
    {"getpid", op_getpid, 1000, 2e6},     {"noop", op_noop, 1000, 5e6},          {"clock", op_clock, 1000, 2e6},
    {"pread-64", op_pread_64, 100, 5e6},  {"pread-4k", op_pread_4k, 100, 5e6},   {"pread-64k", op_pread_64k, 100, 5e6},
    {"pwrite-4k", op_write_tmp, 100, 5e6}, {"open-close", op_open_close, 100, 5e6}, {"stat", op_stat, 100, 5e6},
    {"stat-missing", op_stat_missing, 100, 5e6}, {"pipe", op_pipe, 200, 2e7},    {"futex", op_futex, 200, 2e7},
    {"fork", op_fork, 5, 2e7},            {"fork-256m", op_fork_256m, 1, 2e7},   {"run", op_run, 1, 0},
    {"thread", op_thread, 10, 2e7},       {"touch", op_touch, 16384, 0},         {"cow", op_cow, 4096, 0},
    {"mmap", op_mmap, 20, 5e6},           {"nanosleep", op_nanosleep, 20, 5e6},
};

int main(int argc, char **argv) {
    program = "micro";
    const struct row *row = NULL;
    for (size_t i = 0; argc > 1 && i < sizeof table / sizeof *table; i++)
        if (strcmp(argv[1], table[i].name) == 0) row = &table[i];
    if (!row) {
        fprintf(stderr, "usage: micro ROW [ARG...]\n");
        return 2;
    }
    args = argv + 2;
    where = row->name;
    // The row "run" takes the number of runs from the environment: programs last from a millisecond to a minute.
    const char *runs = getenv("MICRO_BATCHES");
    int batches = runs ? atoi(runs) : 25;
    if (batches < 1 || batches > 1000) batches = 25;
    long count = row->at_least;
    if (row->batch_ns > 0) {
        double start = now();
        row->op(count);
        double each = (now() - start) / count;
        if (each * count < row->batch_ns) count = row->batch_ns / each;
    }
    double *each = calloc(batches, sizeof *each);
    must(each != NULL);
    for (int i = 0; i < batches; i++) {
        double start = now();
        row->op(count);
        each[i] = (now() - start) / count;
    }
    qsort(each, batches, sizeof *each, by_value);
    printf("%.1f\n", each[batches / 2]);
    return 0;
}
