/* Unix sockets: streams, datagrams, packets, names, descriptors and credentials. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static void pairs(void)
{
    int fds[2];
    char buf[64] = {0};
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    CHECK(write(fds[0], "hello", 5) == 5 && write(fds[0], " you", 4) == 4);
    CHECK(recv(fds[1], buf, 64, MSG_PEEK) == 9 && recv(fds[1], buf, 64, 0) == 9);
    FAILS(recv(fds[1], buf, 64, MSG_DONTWAIT), EAGAIN);
    CHECK(shutdown(fds[0], SHUT_WR) == 0 && recv(fds[1], buf, 64, 0) == 0);
    CHECK(send(fds[1], "back", 4, 0) == 4 && recv(fds[0], buf, 64, 0) == 4);
    close(fds[0]);
    FAILS(send(fds[1], "x", 1, MSG_NOSIGNAL), EPIPE);
    close(fds[1]);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    CHECK(send(fds[0], "one", 3, 0) == 3 && send(fds[0], "second", 6, 0) == 6);
    CHECK(recv(fds[1], buf, 2, MSG_TRUNC) == 3 && recv(fds[1], buf, 64, 0) == 6);
    close(fds[0]);
    close(fds[1]);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0);
    CHECK(send(fds[0], "ab", 2, 0) == 2 && send(fds[0], "cde", 3, 0) == 3);
    CHECK(recv(fds[1], buf, 64, 0) == 2 && recv(fds[1], buf, 64, 0) == 3);
    close(fds[0]);
    CHECK(recv(fds[1], buf, 64, 0) == 0);
    close(fds[1]);
}

static void named(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX}, peer;
    socklen_t len = sizeof peer;
    snprintf(addr.sun_path, sizeof addr.sun_path, "/tmp/guest-sock-%d", getpid());
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(server >= 0 && bind(server, (void *)&addr, sizeof addr) == 0);
    struct stat st;
    CHECK(stat(addr.sun_path, &st) == 0 && S_ISSOCK(st.st_mode));
    int client = socket(AF_UNIX, SOCK_STREAM, 0);
    FAILS(connect(client, (void *)&addr, sizeof addr), ECONNREFUSED);
    CHECK(listen(server, 5) == 0);
    FAILS(bind(client, (void *)&addr, sizeof addr), EADDRINUSE);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(connect(fd, (void *)&addr, sizeof addr) == 0);
        char buf[8];
        CHECK(write(fd, "ping", 4) == 4 && read(fd, buf, 8) == 4);
        _exit(0);
    }
    int fd = accept(server, (void *)&peer, &len);
    CHECK(fd >= 0 && peer.sun_family == AF_UNIX);
    struct ucred cred;
    len = sizeof cred;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.pid == pid && cred.uid == getuid());
    char buf[8];
    CHECK(read(fd, buf, 8) == 4 && write(fd, "pong", 4) == 4 && read(fd, buf, 8) == 0);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    close(fd);
    close(server);
    FAILS(connect(client, (void *)&addr, sizeof addr), ECONNREFUSED);
    unlink(addr.sun_path);
    FAILS(connect(client, (void *)&addr, sizeof addr), ENOENT);
    close(client);
}

static void abstract(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path + 1, 60, "guest-abstract-%d", getpid());
    socklen_t len = offsetof(struct sockaddr_un, sun_path) + 1 + n;
    int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(bind(a, (void *)&addr, len) == 0);
    CHECK(sendto(b, "dgram", 5, 0, (void *)&addr, len) == 5);
    char buf[16];
    struct sockaddr_un from;
    socklen_t from_len = sizeof from;
    CHECK(recvfrom(a, buf, 16, 0, (void *)&from, &from_len) == 5);
    close(a);
    FAILS(sendto(b, "x", 1, 0, (void *)&addr, len), ECONNREFUSED);
    close(b);
}

static void rights(void)
{
    int fds[2], inner[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0 && pipe(inner) == 0);
    char byte = 'f', control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec vec = {&byte, 1};
    struct msghdr msg = {.msg_iov = &vec, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &inner[1], sizeof(int));
    CHECK(sendmsg(fds[0], &msg, 0) == 1);
    close(inner[1]);
    memset(control, 0, sizeof control);
    msg.msg_controllen = sizeof control;
    CHECK(recvmsg(fds[1], &msg, MSG_CMSG_CLOEXEC) == 1);
    cmsg = CMSG_FIRSTHDR(&msg);
    CHECK(cmsg && cmsg->cmsg_type == SCM_RIGHTS);
    int got;
    memcpy(&got, CMSG_DATA(cmsg), sizeof got);
    CHECK(fcntl(got, F_GETFD) == FD_CLOEXEC && write(got, "through", 7) == 7);
    char buf[8];
    CHECK(read(inner[0], buf, 8) == 7);
    close(got);
    CHECK(read(inner[0], buf, 8) == 0);

    int on = 1;
    CHECK(setsockopt(fds[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    CHECK(write(fds[0], "c", 1) == 1);
    char room[CMSG_SPACE(sizeof(struct ucred))];
    msg.msg_control = room;
    msg.msg_controllen = sizeof room;
    CHECK(recvmsg(fds[1], &msg, 0) == 1);
    cmsg = CMSG_FIRSTHDR(&msg);
    CHECK(cmsg && cmsg->cmsg_type == SCM_CREDENTIALS && ((struct ucred *)CMSG_DATA(cmsg))->pid == getpid());
    close(fds[0]);
    close(fds[1]);
}

static void flow(void)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    char block[4096];
    memset(block, 'b', sizeof block);
    size_t sent = 0, got = 0;
    ssize_t n;
    while ((n = write(fds[0], block, sizeof block)) > 0)
        sent += n;
    CHECK(errno == EAGAIN && sent > 10000);
    struct pollfd p = {fds[0], POLLOUT, 0};
    CHECK(poll(&p, 1, 0) == 0);
    while ((n = read(fds[1], block, sizeof block)) > 0)
        got += n;
    CHECK(errno == EAGAIN && got == sent && poll(&p, 1, 0) == 1);
    close(fds[1]);
    CHECK(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP));
    close(fds[0]);
}

int main(void)
{
    pairs();
    named();
    abstract();
    rights();
    flow();
    OK();
}
