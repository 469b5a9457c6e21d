/* Memory that is mapped and not there: files that became shorter under their mappings. Every kind of argument lies in it, and frames,
 * stacks, locks and programs; the program gets errors and signals, the sandbox nothing. */
#include "escape.h"
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define LEN (1 << 16)
static sigjmp_buf back;
static void faulted(int signal) { siglongjmp(back, signal); }

/* LEN bytes of which nothing is left. */
static char *gone(int kind)
{
    int fd = kind == 0 ? memfd_create("gone", 0) : open(kind == 1 ? "/tmp" : "/dev/shm", O_TMPFILE | O_RDWR, 0600);
    if (fd < 0)
        fd = memfd_create("gone", 0);
    ftruncate(fd, LEN);
    char *at = mmap(NULL, LEN, PROT_READ | PROT_WRITE | (kind == 3 ? PROT_EXEC : 0), kind % 2 ? MAP_SHARED : MAP_PRIVATE, fd, 0);
    ftruncate(fd, 0);
    close(fd);
    return at;
}

static void arguments(void *kind)
{
    static const int skipped[] = {SYS_exit, SYS_exit_group, SYS_pause, SYS_rt_sigreturn, SYS_vfork, SYS_fork, SYS_clone, SYS_kill,
                                  SYS_tkill, SYS_tgkill, SYS_rt_sigsuspend, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_shmat, SYS_poll,
                                  SYS_select, SYS_pselect6, SYS_ppoll, SYS_rt_sigtimedwait, SYS_wait4, SYS_waitid, SYS_futex,
                                  SYS_epoll_wait, SYS_epoll_pwait, SYS_brk, SYS_mmap, SYS_reboot, SYS_clone3, SYS_close, SYS_close_range,
                                  SYS_dup2, SYS_dup3, SYS_alarm, SYS_setitimer, SYS_ptrace, SYS_vhangup, SYS_rt_sigaction,
                                  SYS_rt_sigprocmask, SYS_sigaltstack, SYS_restart_syscall, SYS_semtimedop, SYS_semop, SYS_msgrcv};
    char *at = gone((long)kind);
    signal(SIGBUS, faulted);
    signal(SIGSEGV, faulted);
    int fd = open("/etc/passwd", O_RDONLY), pair[2];
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
    for (int nr = 0; nr < 470; nr++) {
        volatile int skip = 0;
        for (unsigned i = 0; i < LENGTH(skipped); i++)
            skip = skip || skipped[i] == nr;
        if (skip)
            continue;
        for (int place = 0; place < 6; place++) {
            long a[6] = {pair[0], 64, 64, 0, 0, 0};
            a[0] = place % 2 ? fd : pair[0];
            a[place] = (long)(at + 4096 * place + 8);
            if (place == 5)
                for (int i = 0; i < 6; i++)
                    a[i] = (long)(at + 8 * i);
            if (sigsetjmp(back, 1) == 0)
                syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
        }
    }
}

static void reads_and_writes(void *kind)
{
    char *at = gone((long)kind), good[100];
    int fd = open("/etc/passwd", O_RDONLY), pair[2];
    pipe2(pair, O_NONBLOCK);
    struct iovec parts[] = {{good, 10}, {at, 5000}, {good, 10}};
    REFUSED(read(fd, at, 100));
    REFUSED(pread(fd, at + 4000, 200, 0));
    REFUSED(write(pair[1], at, 100));
    REFUSED(getrandom(at, 100, 0));
    REFUSED(readlink("/proc/self/exe", at, 100));
    REFUSED(fstat(fd, (struct stat *)at));
    REFUSED(syscall(SYS_getcwd, at, 4096));
    if (readv(fd, parts, 3) > 10)
        ESCAPE("bytes where no memory is");
    if (writev(pair[1], parts, 3) > 10)
        ESCAPE("bytes from where no memory is");
    struct iovec here = {good, 100}, there = {at, 100};
    REFUSED(process_vm_readv(getpid(), &here, 1, &there, 1, 0));
    REFUSED(process_vm_writev(getpid(), &here, 1, &there, 1, 0));
    int mem = open("/proc/self/mem", O_RDWR);
    pread(mem, good, 100, (off_t)(uintptr_t)at);
    if (((long)kind) % 2 && pwrite(mem, good, 100, (off_t)(uintptr_t)at) > 0)
        ESCAPE("a file grew by /proc/self/mem");
    REFUSED(execve("/bin/true", (char **)at, NULL));
    char *const list[] = {at, NULL};
    REFUSED(execve("/bin/true", list, list));
    REFUSED(execve(at, list, list));
    syscall(SYS_futex, at, FUTEX_WAKE, 1, NULL, NULL, 0);
    REFUSED(syscall(SYS_futex, at, FUTEX_WAIT, 0, NULL, NULL, 0));
    REFUSED(syscall(SYS_futex, at, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    REFUSED(poll((struct pollfd *)at, 4, 0));
    REFUSED(recvmsg(0, (struct msghdr *)at, 0));
}

static void frame(void *kind)
{
    char *at = gone((long)kind);
    stack_t stack = {.ss_sp = at, .ss_size = LEN};
    struct sigaction action = {.sa_handler = faulted, .sa_flags = SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
}

static void stack_pointer(void *kind)
{
    char *at = gone((long)kind) + LEN - 64;
    __asm__ volatile("mov %0, %%rsp\n\tmov $39, %%eax\n\tsyscall\n\tpush %%rax" : : "r"(at) : "memory");
}

static void robust(void *kind)
{
    char *at = gone((long)kind);
    syscall(SYS_set_robust_list, at, 24);
    syscall(SYS_set_tid_address, at + 64);
    syscall(SYS_rseq, at + 96, 32, 0, 0x53053053);
}

static void runs(void *kind)
{
    (void)kind;
    char *at = gone(3);
    ((void (*)(void))at)();
}

/* Files that shrink and grow all the time, under calls that use their mappings. */
static int fd;
static volatile int over;
static void *changes(void *unused)
{
    (void)unused;
    while (!over) {
        ftruncate(fd, 0);
        ftruncate(fd, LEN);
        fallocate(fd, 3, 4096, 4096);
    }
    return NULL;
}

static void races(void *kind)
{
    signal(SIGBUS, faulted);
    fd = (long)kind ? open("/tmp", O_TMPFILE | O_RDWR, 0600) : (int)memfd_create("m", 0);
    ftruncate(fd, LEN);
    char *at = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int pair[2], file = open("/bin/sh", O_RDONLY);
    pipe2(pair, O_NONBLOCK);
    pthread_t thread;
    pthread_create(&thread, NULL, changes, NULL);
    double end = seconds() + 3;
    while (seconds() < end) {
        pread(file, at + 100, LEN - 100, 0);
        write(pair[1], at, LEN);
        read(pair[0], at, LEN);
        fstatat(AT_FDCWD, at + 5, (struct stat *)(at + 8192), 0);
        syscall(SYS_futex, at + 4096, FUTEX_WAIT, 1, &(struct timespec){0, 1000}, NULL, 0);
        if (sigsetjmp(back, 1) == 0)
            strcpy(at + 20000, "/etc/passwd");
    }
    over = 1;
}

int main(void)
{
    for (long kind = 0; kind < 3; kind++) {
        TRIED("arguments in a file of kind %ld that is gone", kind);
        attack(reads_and_writes, (void *)kind, 60);
        attack(arguments, (void *)kind, 60);
        attack(frame, (void *)kind, 60);
        attack(stack_pointer, (void *)kind, 60);
        attack(robust, (void *)kind, 60);
    }
    attack(runs, NULL, 60);
    TRIED("files that change their length");
    attack(races, (void *)0, 60);
    attack(races, (void *)1, 60);
    CONTAINED();
}
