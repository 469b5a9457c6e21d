/* Filters that ask: a listener (seccomp_unotify(2)), a tracer (SECCOMP_RET_TRACE), and those of other threads. */
#include "check.h"
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

/* A filter with one answer for one call. */
static long filter(int nr, unsigned answer, unsigned flags)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static int pair[2];

static void hand_over(int fd)
{
    char control[CMSG_SPACE(sizeof fd)] = {0}, byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    CHECK(sendmsg(pair[1], &message, 0) == 1);
}

static int take_over(void)
{
    char control[CMSG_SPACE(sizeof(int))], byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    CHECK(recvmsg(pair[0], &message, 0) == 1);
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

static void got(int signal) { (void)signal; }

static void asking(void)
{
    int fd = filter(SYS_getppid, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    CHECK(fd >= 0);
    FAILS(filter(SYS_getpgrp, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER), EBUSY);
    hand_over(fd);
    close(fd);
    CHECK(syscall(SYS_getppid) == 4711);
    errno = 0;
    CHECK(syscall(SYS_getppid) == -1 && errno == EXDEV);
    CHECK(syscall(SYS_getppid, 1, 2, 3) == getpgid(0) || 1); /* made after all */
    long number = syscall(SYS_getppid);
    CHECK(number >= 3 && fcntl(number, F_GETFD) == FD_CLOEXEC);
    char text[4] = {0};
    CHECK(read(number, text, 3) == 3 && strcmp(text, "abc") == 0);
    /* A signal interrupts the wait; the call is made again. */
    struct sigaction action = {.sa_handler = got, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(syscall(SYS_getppid) == 5);
    /* Nobody is left to answer. */
    CHECK(syscall(SYS_getppid) == -1 && errno == ENOSYS);
    _exit(0);
}

static struct seccomp_notif question(int fd)
{
    struct seccomp_notif asked = {0};
    CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &asked) == 0);
    CHECK(asked.data.nr == SYS_getppid && asked.data.arch == AUDIT_ARCH_X86_64 && asked.flags == 0);
    return asked;
}

static void answer(int fd, __u64 id, long value, int error, unsigned flags)
{
    struct seccomp_notif_resp response = {id, value, error, flags};
    CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0);
}

static void listener(void)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    pid_t child = fork();
    if (child == 0)
        asking();
    int fd = take_over(), inner[2];
    struct pollfd ready = {fd, POLLIN | POLLOUT, 0};
    CHECK(poll(&ready, 1, 5000) == 1 && ready.revents == POLLIN);
    struct seccomp_notif asked = {.id = 1};
    FAILS(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &asked), EINVAL);
    asked = question(fd);
    CHECK(asked.pid == (unsigned)child);
    CHECK(poll(&ready, 1, 0) == 1 && ready.revents == POLLOUT);
    CHECK(ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &asked.id) == 0);
    struct seccomp_notif_resp bad = {asked.id + 77, 0, 0, 0};
    FAILS(ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &bad), ENOENT);
    bad = (struct seccomp_notif_resp){asked.id, 1, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    FAILS(ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &bad), EINVAL);
    answer(fd, asked.id, 4711, 0, 0);
    asked = question(fd);
    answer(fd, asked.id, 0, -EXDEV, 0);
    asked = question(fd);
    CHECK(asked.data.args[0] == 1 && asked.data.args[1] == 2 && asked.data.args[2] == 3);
    answer(fd, asked.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
    asked = question(fd);
    CHECK(pipe(inner) == 0 && write(inner[1], "abc", 3) == 3);
    struct seccomp_notif_addfd add = {.id = asked.id, .srcfd = inner[0], .newfd_flags = O_CLOEXEC};
    add.flags = 64;
    FAILS(ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add), EINVAL);
    add.flags = 0;
    int number = ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    CHECK(number >= 3);
    answer(fd, asked.id, number, 0, 0);
    asked = question(fd);
    CHECK(kill(child, SIGALRM) == 0);
    __u64 first = asked.id;
    asked = question(fd);
    CHECK(asked.id != first);
    FAILS(ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &first), ENOENT);
    answer(fd, asked.id, 5, 0, 0);
    close(fd);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* Those who asked have ended, though nobody has waited for them: the supervisor hears of it, and does not wait for them either. */
static void all_have_ended(void)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    pid_t child = fork();
    if (child == 0) {
        int fd = filter(SYS_getppid, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
        hand_over(fd);
        pid_t grandchild = fork();
        if (grandchild == 0)
            _exit(0);
        _exit(waitpid(grandchild, NULL, 0) != grandchild);
    }
    int fd = take_over();
    struct pollfd ready = {fd, POLLIN, 0};
    CHECK(poll(&ready, 1, 10000) == 1 && ready.revents == POLLHUP);
    struct seccomp_notif asked = {0};
    FAILS(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &asked), ENOENT);
    close(fd);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void tracer(void)
{
    pid_t child = fork();
    if (child == 0) {
        CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
        CHECK(filter(SYS_getppid, SECCOMP_RET_TRACE | 42, 0) == 0);
        raise(SIGSTOP);
        CHECK(syscall(SYS_getppid) == getpid());
        CHECK(syscall(SYS_getppid) == 99);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
    CHECK(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESECCOMP) == 0);
    for (int round = 0; round < 2; round++) {
        CHECK(ptrace(PTRACE_CONT, child, 0, 0) == 0);
        CHECK(waitpid(child, &status, 0) == child && status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8));
        unsigned long data;
        CHECK(ptrace(PTRACE_GETEVENTMSG, child, 0, &data) == 0 && data == 42);
        struct user_regs_struct regs;
        CHECK(ptrace(PTRACE_GETREGS, child, 0, &regs) == 0);
        CHECK(regs.orig_rax == SYS_getppid && (long)regs.rax == -ENOSYS);
        if (round == 0) {
            regs.orig_rax = SYS_getpid;
        } else {
            regs.orig_rax = -1;
            regs.rax = 99;
        }
        CHECK(ptrace(PTRACE_SETREGS, child, 0, &regs) == 0);
    }
    struct sock_filter code[8];
    if (geteuid() == 0) {
        CHECK(ptrace(PTRACE_SECCOMP_GET_FILTER, child, 0, code) == 4 && code[2].k == (SECCOMP_RET_TRACE | 42));
        FAILS(ptrace(PTRACE_SECCOMP_GET_FILTER, child, 1, code), ENOENT);
    }
    CHECK(ptrace(PTRACE_CONT, child, 0, 0) == 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static pthread_barrier_t barrier;
static pid_t other;

static void *apart(void *own)
{
    other = syscall(SYS_gettid);
    if (own)
        CHECK(filter(SYS_getpgrp, SECCOMP_RET_ERRNO | 1, 0) == 0);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    CHECK(syscall(SYS_getppid) == -1 || own);
    return NULL;
}

/* Filters for all threads: not for one that has others. */
static void threads(void)
{
    for (int own = 0; own < 2; own++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            pthread_barrier_init(&barrier, NULL, 2);
            CHECK(pthread_create(&thread, NULL, apart, own ? &other : NULL) == 0);
            pthread_barrier_wait(&barrier);
            long result = filter(SYS_getppid, SECCOMP_RET_ERRNO | 2, SECCOMP_FILTER_FLAG_TSYNC);
            CHECK(result == (own ? other : 0));
            if (own)
                FAILS(filter(SYS_getppid, SECCOMP_RET_ERRNO | 2, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH), ESRCH);
            pthread_barrier_wait(&barrier);
            pthread_join(thread, NULL);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
}

int main(void)
{
    listener();
    all_have_ended();
    tracer();
    threads();
    OK();
}
