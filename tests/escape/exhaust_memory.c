/* As many mappings, pages, arguments, vectors and locks as one may have. */
#include "escape.h"
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <mqueue.h>

static void mappings(void *unused)
{
    (void)unused;
    int count = 0;
    char *base = mmap(NULL, 1UL << 32, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return;
    while (count < 100000 && mprotect(base + (size_t)count * 8192, 4096, PROT_READ) == 0)
        count++;
    printf("%d mappings, then %s\n", count, strerror(errno));
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
}

static void addresses(void *unused)
{
    (void)unused;
    unsigned long total = 0;
    for (unsigned long len = 1UL << 46; len >= 4096; len >>= 1)
        while (mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED && total < 1UL << 47)
            total += len;
    printf("%lu GiB of addresses, then %s\n", total >> 30, strerror(errno));
    REFUSED(mmap(NULL, -1UL, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REFUSED(mmap(NULL, 1UL << 47, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REFUSED(mmap(NULL, -4095UL, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    unsigned char *vector = malloc(4096);
    REFUSED(mincore((void *)0x1000, 1UL << 46, vector));
    mlockall(MCL_CURRENT | MCL_FUTURE);
    munlockall();
}

static void limited(void *unused)
{
    (void)unused;
    /* A memory bomb under the limits that a process has. */
    struct rlimit limit = {256 << 20, 256 << 20};
    setrlimit(RLIMIT_AS, &limit);
    setrlimit(RLIMIT_DATA, &limit);
    unsigned long got = 0;
    char *p;
    while ((p = malloc(1 << 20)) && got < 1024) {
        memset(p, 1, 1 << 20);
        got++;
    }
    if (got > 300)
        ESCAPE("%lu MiB under a limit of 256", got);
    while (sbrk(4096) != (void *)-1) {
    }
    struct rlimit stack = {1UL << 40, 1UL << 40};
    setrlimit(RLIMIT_STACK, &stack);
}

static void recursion(void *depth)
{
    volatile char frame[4096];
    frame[0] = 1;
    recursion((char *)depth + frame[0]);
    frame[1] = 1;
}

static void vectors(void *unused)
{
    (void)unused;
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR), pair[2];
    static struct iovec many[4096];
    static char byte;
    for (int i = 0; i < 4096; i++)
        many[i] = (struct iovec){&byte, 0x7fffffffffffffff};
    writev(null, many, 2);
    REFUSED(writev(null, many, 1025));
    REFUSED(writev(null, many, -1));
    REFUSED(readv(zero, many, 0x7fffffff));
    for (int i = 0; i < 1024; i++)
        many[i] = (struct iovec){&byte, 0x7ffff000};
    writev(null, many, 1024);
    readv(zero, many, 1024);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    struct msghdr header = {.msg_iov = many, .msg_iovlen = 1024, .msg_control = &byte, .msg_controllen = -1UL};
    sendmsg(pair[0], &header, MSG_DONTWAIT);
    recvmsg(pair[1], &header, MSG_DONTWAIT);
    static struct mmsghdr headers[2000];
    for (int i = 0; i < 2000; i++)
        headers[i].msg_hdr = header;
    sendmmsg(pair[0], headers, 0xffffffff, MSG_DONTWAIT);
    recvmmsg(pair[0], headers, 0xffffffff, MSG_DONTWAIT, NULL);
    write(null, (void *)4096, -1UL);
    pread(zero, &byte, 1, 0x7fffffffffffffff);
    syscall(SYS_getrandom, &byte, -1UL, 0);
    syscall(SYS_readahead, zero, 0, -1UL);
    syscall(SYS_sendfile, null, zero, NULL, 0x7ffffffffffff000 & 0xffffff);
    syscall(SYS_poll, many, -1, 0);
    syscall(SYS_poll, many, 0x7fffffff, 0);
    syscall(SYS_select, 0x7fffffff, many, many, many, NULL);
    syscall(SYS_getgroups, 0x7fffffff, many);
    syscall(SYS_setgroups, 0x7fffffff, many);
    syscall(SYS_setgroups, 65536, many);
    syscall(SYS_getdents64, open("/", O_RDONLY), many, 0xffffffff);
    syscall(SYS_readlink, "/proc/self/exe", many, 0x7fffffff);
    syscall(SYS_getcwd, many, -1UL);
    syscall(SYS_sched_getaffinity, 0, 0x7ffffff8, many);
    syscall(SYS_sched_setaffinity, 0, 0xffffffff, many);
    syscall(SYS_setsockopt, pair[0], SOL_SOCKET, SO_RCVBUFFORCE, &(int){0x7fffffff}, 4);
    syscall(SYS_setsockopt, pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &(int){-1}, 4);
    syscall(SYS_setsockopt, pair[0], SOL_SOCKET, 26, many, 0x7fffffff);
    syscall(SYS_add_key, "user", "x", many, 1 << 30, -2);
}

static void arguments(void *unused)
{
    (void)unused;
    static char *many[400001];
    char *text = malloc(140000);
    memset(text, 'a', 139999);
    text[139999] = 0;
    char *one[] = {"true", text, NULL};
    REFUSED(execve("/bin/true", one, NULL));
    for (int i = 0; i < 30000; i++)
        many[i] = "aaaaaaaaaaaaaaaaaaaaaaaaaaa";
    REFUSED(execve("/bin/true", many, NULL));
    REFUSED(execve("/bin/true", many, many));
    text[130000] = 0;
    for (int i = 0; i < 30000; i++)
        many[i] = text;
    REFUSED(execve("/bin/true", many, NULL));
    char *bad[] = {"x", (char *)0xffff800000000000, NULL};
    REFUSED(execve("/bin/true", bad, NULL));
    REFUSED(execve("/bin/true", (char **)0x1000, NULL));
    REFUSED(execve(text, one, NULL));
}

static void sysv(void *unused)
{
    (void)unused;
    int shm = 0, sem = 0, msg = 0, queues = 0;
    while (shm < 1000 && shmget(IPC_PRIVATE, 4096, 0600) >= 0)
        shm++;
    int error = errno;
    while (sem < 1000 && semget(IPC_PRIVATE, 250, 0600) >= 0)
        sem++;
    while (msg < 1000) {
        int id = msgget(IPC_PRIVATE, 0600);
        if (id < 0)
            break;
        msg++;
        static struct {
            long type;
            char text[8192];
        } message = {1};
        while (msg < 20 && msgsnd(id, &message, sizeof message.text, IPC_NOWAIT) == 0) {
        }
    }
    printf("%d segments (%s), %d semaphore sets, %d queues (%s)\n", shm, strerror(error), sem, msg, strerror(errno));
    shmget(IPC_PRIVATE, -1UL, 0600);
    shmget(IPC_PRIVATE, 1UL << 62, 0600);
    semget(IPC_PRIVATE, 0x7fffffff, 0600);
    struct sembuf ops[600];
    memset(ops, 0xff, sizeof ops);
    semop(semget(IPC_PRIVATE, 1, 0600), ops, 600);
    while (queues < 10000) {
        char name[32];
        snprintf(name, sizeof name, "/q%d", queues);
        struct mq_attr attributes = {.mq_maxmsg = 10, .mq_msgsize = 8192};
        if (mq_open(name, O_CREAT | O_RDWR, 0600, &attributes) < 0)
            break;
        queues++;
    }
    printf("%d message queues, then %s\n", queues, strerror(errno));
    for (int i = 0; i < 6000; i++) {
        shmctl(i, IPC_RMID, NULL);
        if (i < 3000) {
            semctl(i, 0, IPC_RMID);
            msgctl(i, IPC_RMID, NULL);
        }
    }
}

static void locks(void *unused)
{
    (void)unused;
    int fd = open("/tmp/locks", O_RDWR | O_CREAT, 0600);
    int count = 0;
    for (; count < 300000; count++) {
        struct flock lock = {.l_type = count & 1 ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET, .l_start = count * 2L, .l_len = 1};
        if (fcntl(fd, F_SETLK, &lock) != 0)
            break;
    }
    printf("%d file locks, then %s\n", count, strerror(errno));
}

int main(void)
{
    TRIED("mappings: %#x", attack(mappings, NULL, 100));
    TRIED("addresses: %#x", attack(addresses, NULL, 60));
    TRIED("memory under a limit: %#x", attack(limited, NULL, 60));
    TRIED("endless recursion: %#x", attack(recursion, NULL, 60));
    TRIED("huge vectors: %#x", attack(vectors, NULL, 60));
    TRIED("huge arguments: %#x", attack(arguments, NULL, 100));
    TRIED("System V and POSIX queues: %#x", attack(sysv, NULL, 100));
    TRIED("file locks: %#x", attack(locks, NULL, 100));
    CONTAINED();
}
