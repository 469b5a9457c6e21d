/* TCP and UDP over the loopback interface. */
#include "check.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

static struct sockaddr_in local(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return addr;
}

static void tcp(void)
{
    struct sockaddr_in addr = local(0);
    socklen_t len = sizeof addr;
    int server = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    CHECK(server >= 0 && setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
    CHECK(bind(server, (void *)&addr, len) == 0 && listen(server, 10) == 0);
    CHECK(getsockname(server, (void *)&addr, &len) == 0 && ntohs(addr.sin_port) != 0);
    int other = socket(AF_INET, SOCK_STREAM, 0);
    FAILS(bind(other, (void *)&addr, len), EADDRINUSE);
    close(other);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(fd, (void *)&addr, sizeof addr) == 0);
        CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
        static char block[1 << 16];
        for (int i = 0; i < 100; i++) {
            size_t sent = 0;
            while (sent < sizeof block) {
                ssize_t n = write(fd, block + sent, sizeof block - sent);
                CHECK(n > 0);
                sent += n;
            }
        }
        CHECK(shutdown(fd, SHUT_WR) == 0);
        char answer[8];
        CHECK(read(fd, answer, 8) == 4 && read(fd, answer, 8) == 0);
        _exit(0);
    }
    struct sockaddr_in peer;
    len = sizeof peer;
    int fd = accept4(server, (void *)&peer, &len, SOCK_CLOEXEC);
    CHECK(fd >= 0 && peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    size_t total = 0;
    static char buf[1 << 16];
    ssize_t n;
    while ((n = read(fd, buf, sizeof buf)) > 0)
        total += n;
    CHECK(n == 0 && total == 100UL << 16);
    CHECK(write(fd, "done", 4) == 4);
    close(fd);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    close(server);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    FAILS(connect(fd, (void *)&addr, sizeof addr), ECONNREFUSED);
    close(fd);
}

static void nonblocking(void)
{
    struct sockaddr_in addr = local(0);
    socklen_t len = sizeof addr;
    int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(bind(server, (void *)&addr, len) == 0 && listen(server, 1) == 0);
    CHECK(getsockname(server, (void *)&addr, &len) == 0);
    FAILS(accept(server, NULL, NULL), EAGAIN);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int result = connect(fd, (void *)&addr, sizeof addr);
    CHECK(result == 0 || errno == EINPROGRESS);
    struct pollfd p = {fd, POLLOUT, 0}, s = {server, POLLIN, 0};
    CHECK(poll(&p, 1, 1000) == 1 && (p.revents & POLLOUT));
    int error;
    len = sizeof error;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0);
    CHECK(poll(&s, 1, 1000) == 1);
    int peer = accept(server, NULL, NULL);
    CHECK(peer >= 0);
    struct linger reset = {1, 0};
    CHECK(setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
    close(peer);
    CHECK(poll(&p, 1, 1000) == 1);
    char byte;
    FAILS(read(fd, &byte, 1), ECONNRESET);
    close(fd);
    close(server);
}

static void udp(void)
{
    struct sockaddr_in addr = local(0), from;
    socklen_t len = sizeof addr;
    int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(bind(a, (void *)&addr, len) == 0 && getsockname(a, (void *)&addr, &len) == 0);
    CHECK(sendto(b, "packet", 6, 0, (void *)&addr, sizeof addr) == 6);
    char buf[16];
    len = sizeof from;
    CHECK(recvfrom(a, buf, 16, 0, (void *)&from, &len) == 6);
    CHECK(connect(a, (void *)&from, sizeof from) == 0 && send(a, "reply", 5, 0) == 5);
    CHECK(recv(b, buf, 16, 0) == 5);
    close(a);
    close(b);
}

/* A datagram that nobody takes is reported where reports are wanted, to a socket without a peer too. */
static void reports(void)
{
    struct sockaddr_in to = local(0), from;
    socklen_t len = sizeof to;
    int fd = socket(AF_INET, SOCK_DGRAM, 0), gone = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    CHECK(bind(gone, (void *)&to, len) == 0 && getsockname(gone, (void *)&to, &len) == 0);
    close(gone);
    CHECK(sendto(fd, "lost", 4, 0, (void *)&to, len) == 4);
    char buf[16], control[256];
    FAILS(recv(fd, buf, sizeof buf, MSG_DONTWAIT), EAGAIN);
    CHECK(setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on) == 0);
    CHECK(sendto(fd, "lost", 4, 0, (void *)&to, len) == 4);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 1000) == 1 && (p.revents & POLLERR));
    FAILS(recv(fd, buf, sizeof buf, MSG_DONTWAIT), ECONNREFUSED);
    struct iovec part = {buf, sizeof buf};
    struct msghdr msg = {&from, sizeof from, &part, 1, control, sizeof control, 0};
    CHECK(recvmsg(fd, &msg, MSG_ERRQUEUE) == 4 && memcmp(buf, "lost", 4) == 0);
    CHECK((msg.msg_flags & MSG_ERRQUEUE) && from.sin_port == to.sin_port);
    struct cmsghdr *first = CMSG_FIRSTHDR(&msg);
    CHECK(first && first->cmsg_level == IPPROTO_IP && first->cmsg_type == IP_RECVERR);
    struct sock_extended_err *why = (void *)CMSG_DATA(first);
    CHECK(why->ee_errno == ECONNREFUSED && why->ee_origin == SO_EE_ORIGIN_ICMP && why->ee_type == 3 && why->ee_code == 3);
    FAILS(recvmsg(fd, &msg, MSG_ERRQUEUE), EAGAIN);
    close(fd);
}

/* Sockets that share a port (SO_REUSEPORT) share the peers. */
static void shares(void)
{
    enum { PEERS = 64 };
    struct sockaddr_in addr = local(0);
    socklen_t len = sizeof addr;
    int each[2], on = 1, got[2] = {0, 0}, peers[PEERS];
    for (int i = 0; i < 2; i++) {
        each[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        CHECK(setsockopt(each[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
        CHECK(bind(each[i], (void *)&addr, len) == 0 && getsockname(each[i], (void *)&addr, &len) == 0);
        CHECK(listen(each[i], PEERS) == 0);
    }
    for (int i = 0; i < PEERS; i++) {
        peers[i] = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(peers[i], (void *)&addr, len) == 0);
        for (int k = 0; k < 2; k++) {
            int fd = accept(each[k], NULL, NULL);
            if (fd >= 0) {
                got[k]++;
                close(fd);
            }
        }
    }
    CHECK(got[0] + got[1] == PEERS && got[0] > 0 && got[1] > 0);
    for (int i = 0; i < PEERS; i++)
        close(peers[i]);
    close(each[0]);
    close(each[1]);
}

static void six(void)
{
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t len = sizeof addr;
    int server = socket(AF_INET6, SOCK_STREAM, 0);
    if (server < 0 || bind(server, (void *)&addr, len) != 0)
        return; /* no IPv6 here */
    CHECK(listen(server, 1) == 0 && getsockname(server, (void *)&addr, &len) == 0);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    CHECK(connect(fd, (void *)&addr, sizeof addr) == 0);
    int peer = accept(server, NULL, NULL);
    CHECK(peer >= 0 && write(fd, "6", 1) == 1);
    char byte;
    CHECK(read(peer, &byte, 1) == 1 && byte == '6');
    close(fd);
    CHECK(read(peer, &byte, 1) == 0);
    close(peer);
    close(server);
}

/* Who writes while the peer resets hears of the reset first, whenever it comes; only then that the pipe is broken. */
static void resets(void)
{
    enum { ROUNDS = 200 };
    struct sockaddr_in addr = local(0);
    socklen_t len = sizeof addr;
    int server = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(server, (void *)&addr, len) == 0 && listen(server, 10) == 0);
    CHECK(getsockname(server, (void *)&addr, &len) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        for (int i = 0; i < ROUNDS; i++) {
            int fd = socket(AF_INET, SOCK_STREAM, 0);
            CHECK(connect(fd, (void *)&addr, sizeof addr) == 0);
            while (send(fd, "x", 1, MSG_NOSIGNAL) == 1)
                ;
            CHECK(errno == ECONNRESET);
            FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
            close(fd);
        }
        _exit(0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        int fd = accept(server, NULL, NULL);
        char byte;
        CHECK(fd >= 0 && read(fd, &byte, 1) == 1);
        usleep(i % 7 * 50);
        struct linger now = {1, 0};
        CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0 && close(fd) == 0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    close(server);
}

/* A peer that is gone takes no more than what is under way: a program that has much to say learns of it. */
static void gone(void)
{
    static char much[1 << 20];
    struct iovec parts[64];
    struct sockaddr_in addr = local(0);
    socklen_t len = sizeof addr;
    int server = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(server, (void *)&addr, len) == 0 && listen(server, 1) == 0);
    CHECK(getsockname(server, (void *)&addr, &len) == 0 && connect(fd, (void *)&addr, len) == 0);
    close(accept(server, NULL, NULL));
    for (int i = 0; i < 64; i++)
        parts[i] = (struct iovec){much, sizeof much};
    long sent = writev(fd, parts, 64);
    CHECK(sent < 64L << 20);
    FAILS(writev(fd, parts, 64), EPIPE);
    close(fd);
    close(server);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    tcp();
    resets();
    gone();
    nonblocking();
    udp();
    reports();
    shares();
    six();
    OK();
}
