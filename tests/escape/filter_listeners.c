/* Supervisors of filters (seccomp_unotify(2)) that cheat: descriptors put into others, answers to calls that have changed, listeners that
 * go away under a hundred that ask, that ask themselves, or that look at each other; and programs with a set-user-ID bit under them. */
#include "escape.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef SECCOMP_IOCTL_NOTIF_ADDFD
#define SECCOMP_IOCTL_NOTIF_ADDFD SECCOMP_IOW(3, struct { __u64 a; __u32 b, c, d, e; })
#endif
struct addfd { __u64 id; __u32 flags, srcfd, newfd, newfd_flags; };
#define CONTINUE_CALL 1

/* Asks about getppid(2) and openat(2). */
static int listen_here(void)
{
    struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 2, 0),
                                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 1, 0),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)};
    struct sock_fprog program = {LENGTH(code), code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/* A child under a filter, whose listener comes to the caller. The child runs `body`. */
static pid_t supervised(int *listener, void (*body)(void))
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        _exit(0);
    pid_t child = fork();
    if (child == 0) {
        int fd = listen_here();
        if (fd < 0)
            _exit(0);
        char control[CMSG_SPACE(sizeof fd)] = {0};
        struct iovec one = {"x", 1};
        struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
        sendmsg(pair[1], &message, 0);
        close(fd);
        close(pair[0]);
        close(pair[1]);
        body();
        _exit(0);
    }
    char control[CMSG_SPACE(sizeof(int))], byte;
    struct iovec one = {&byte, 1};
    struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    close(pair[1]);
    *listener = -1;
    if (recvmsg(pair[0], &message, 0) == 1 && CMSG_FIRSTHDR(&message))
        memcpy(listener, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof *listener);
    close(pair[0]);
    return child;
}

static void asks(void)
{
    for (int i = 0; i < 1000; i++)
        syscall(SYS_getppid);
}

static void *ask(void *unused)
{
    (void)unused;
    asks();
    return NULL;
}

static void asks_a_lot(void)
{
    pthread_t threads[60];
    for (unsigned i = 0; i < LENGTH(threads); i++)
        pthread_create(&threads[i], NULL, ask, NULL);
    sleep(100);
}

/* The listener is closed, doubled, killed and read by several at once. */
static void goes_away(void *unused)
{
    (void)unused;
    for (int round = 0; round < 6; round++) {
        int fd;
        pid_t child = supervised(&fd, asks_a_lot);
        if (fd < 0)
            return;
        struct seccomp_notif question;
        struct seccomp_notif_resp answer = {0};
        uint64_t random = round + 1;
        for (int i = 0; i < 200; i++) {
            memset(&question, 0, sizeof question);
            if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &question) != 0)
                break;
            answer.id = next_random(&random) % 4 ? question.id : next_random(&random);
            answer.error = next_random(&random) % 2 ? 0 : -(int)(next_random(&random) % 5000);
            answer.val = answer.error ? 0 : next_random(&random);
            answer.flags = next_random(&random) % 8 == 0 ? CONTINUE_CALL : next_random(&random) % 16 == 0;
            ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
            ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
            /* Whoever got no answer by this gets one now. */
            answer = (struct seccomp_notif_resp){question.id, 1, 0, 0};
            ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
            ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, (void *)COMMAND);
        }
        if (round % 2)
            kill(child, SIGKILL);
        close(fd);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
}

static void opens(void)
{
    static char path[] = "/etc/hostname";
    for (int i = 0; i < 100; i++) {
        int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
        char byte;
        if (fd > 2 && read(fd, &byte, 1) < 0 && errno != EISDIR && errno != EBADF && errno != EINVAL && errno != EAGAIN)
            _exit(ESCAPED);
        close(fd);
    }
}

/* Descriptors of every kind, at every number, into a process that asks, also into one that is gone. */
static void gives(void *unused)
{
    (void)unused;
    int fd;
    pid_t child = supervised(&fd, opens);
    if (fd < 0)
        return;
    uint64_t random = 3;
    struct seccomp_notif question = {0};
    for (int i = 0; i < 60; i++) {
        memset(&question, 0, sizeof question);
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &question) != 0)
            break;
        static const __u32 numbers[] = {0, 1, 2, 3, 1000, 1U << 20, 0x7fffffff, 0x80000000, ~0U};
        struct addfd give = {question.id, next_random(&random) % 4, i % 2 ? (__u32)fd : numbers[next_random(&random) % LENGTH(numbers)],
                             numbers[next_random(&random) % LENGTH(numbers)], next_random(&random) % 3 ? 0 : O_CLOEXEC};
        ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &give);
        give.flags = 3;
        give.srcfd = fd;
        give.newfd = 50;
        if (i == 50)
            kill(child, SIGKILL);
        ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &give);
        struct seccomp_notif_resp answer = {question.id, -1, 0, 0};
        ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
        ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &give);
        ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &question.id);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

/* Who asks is the only one that could answer. It waits; it can be killed. */
static void asks_itself(void *unused)
{
    (void)unused;
    if (listen_here() >= 0)
        syscall(SYS_getppid);
}

/* Listeners that lie in each other's queues, and in their own process, when all of them end. */
static void in_a_ring(void *unused)
{
    (void)unused;
    int pair[2];
    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair);
    for (int i = 0; i < 40; i++) {
        int fd;
        pid_t child = supervised(&fd, asks);
        if (fd < 0)
            break;
        char control[CMSG_SPACE(3 * sizeof fd)] = {0};
        struct iovec one = {"x", 1};
        struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(3 * sizeof fd);
        int all[] = {fd, pair[0], pair[1]};
        memcpy(CMSG_DATA(header), all, sizeof all);
        sendmsg(pair[i % 2], &message, 0);
        close(fd);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
}

/* A filter of somebody without privileges does not go along into a program that would give some: no_new_privs holds, or there is none. */
static void set_user_id(void *unused)
{
    (void)unused;
    const char *copy = "/tmp/escape-id";
    if (system("cp \"$(command -v id)\" /tmp/escape-id && chmod 4755 /tmp/escape-id") != 0)
        return;
    if (setgid(4242) != 0 || setuid(4242) != 0)
        return;
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, code};
    REFUSED(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    REFUSED(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
    int fd = listen_here(), output[2];
    if (fd < 0 || pipe(output) != 0)
        return;
    pid_t child = fork();
    if (child == 0) {
        close(fd);
        dup2(output[1], 1);
        execl(copy, "id", "-u", (char *)NULL);
        _exit(1);
    }
    close(output[1]);
    struct seccomp_notif question;
    struct pollfd ready = {fd, POLLIN, 0};
    while (poll(&ready, 1, 2000) == 1 && ready.revents & POLLIN) {
        memset(&question, 0, sizeof question);
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &question) != 0)
            break;
        struct seccomp_notif_resp answer = {question.id, 0, 0, CONTINUE_CALL};
        ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    char text[64] = {0};
    if (read(output[0], text, sizeof text - 1) > 0 && atoi(text) == 0)
        ESCAPE("a supervised program became root: %s", text);
    waitpid(child, NULL, 0);
}

int main(void)
{
    TRIED("a listener that goes away");
    attack(goes_away, NULL, 60);
    TRIED("descriptors into others");
    attack(gives, NULL, 60);
    TRIED("a question to oneself");
    attack(asks_itself, NULL, 2);
    TRIED("listeners in queues");
    attack(in_a_ring, NULL, 60);
    TRIED("a set-user-ID program under a supervisor");
    attack(set_user_id, NULL, 60);
    CONTAINED();
}
