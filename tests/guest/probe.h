/* Programs that print what calls on sockets do: what they print inside must be what they print on Linux. */
#ifndef PROBE_H
#define PROBE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the lines are about; printed before each. */
static char subject[80];

static inline void about(const char *what, const char *more)
{
    snprintf(subject, sizeof subject, "%s %s", what, more);
}

static inline void tell_value(const char *what, long value)
{
    printf("%s: %s: %ld\n", subject, what, value);
    fflush(stdout);
}

static inline void tell_result(const char *what, long result, int error)
{
    if (result >= 0)
        tell_value(what, result);
    else
        printf("%s: %s: %s\n", subject, what, strerrorname_np(error));
    fflush(stdout);
}

#define TELL(what, call)                                                                                     \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        long result_ = (long)(call);                                                                         \
        tell_result(what, result_, errno);                                                                   \
    } while (0)

/* Every event that poll(2) reports without waiting. */
static inline void tell_events(const char *what, int fd)
{
    static const struct {
        int bit;
        const char *name;
    } names[] = {{POLLIN, "IN"},         {POLLPRI, "PRI"},       {POLLOUT, "OUT"},       {POLLERR, "ERR"},
                 {POLLHUP, "HUP"},       {POLLRDHUP, "RDHUP"},   {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"},
                 {POLLWRNORM, "WRNORM"}, {POLLWRBAND, "WRBAND"}, {POLLNVAL, "NVAL"}};
    struct pollfd p = {.fd = fd, .events = 0x23ff};
    poll(&p, 1, 0);
    printf("%s: %s:", subject, what);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (p.revents & names[i].bit)
            printf(" %s", names[i].name);
    printf("\n");
    fflush(stdout);
}

static inline int pending_error(int fd)
{
    int value = 0;
    socklen_t len = sizeof value;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len);
    return value;
}

/* Packets need a moment on Linux, too. */
static inline void moment(void)
{
    usleep(5000);
}

static inline void set_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static inline struct sockaddr_in loopback(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return addr;
}

static inline struct sockaddr_in own_address(int fd)
{
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    getsockname(fd, (void *)&addr, &len);
    return addr;
}

/* A socket of AF_INET on a free port of the loopback interface. */
static inline int bound(int kind)
{
    int fd = socket(AF_INET, kind, 0);
    struct sockaddr_in addr = loopback(0);
    bind(fd, (void *)&addr, sizeof addr);
    return fd;
}

enum pair { TCP, UNIX_STREAM, UDP, UNIX_DGRAM, UNIX_SEQPACKET, PAIRS };
static const char *const pair_names[] = {"tcp", "unix stream", "udp", "unix dgram", "unix seqpacket"};

static inline void connect_to(int fd, int other)
{
    struct sockaddr_in addr = own_address(other);
    connect(fd, (void *)&addr, sizeof addr);
}

static inline void make_pair(enum pair kind, int fds[2])
{
    int listener;
    switch (kind) {
    case TCP:
        listener = bound(SOCK_STREAM);
        listen(listener, 8);
        fds[0] = socket(AF_INET, SOCK_STREAM, 0);
        connect_to(fds[0], listener);
        fds[1] = accept(listener, NULL, NULL);
        close(listener);
        break;
    case UDP:
        fds[0] = bound(SOCK_DGRAM);
        fds[1] = bound(SOCK_DGRAM);
        connect_to(fds[0], fds[1]);
        connect_to(fds[1], fds[0]);
        break;
    default:
        socketpair(AF_UNIX, kind == UNIX_STREAM ? SOCK_STREAM : kind == UNIX_DGRAM ? SOCK_DGRAM : SOCK_SEQPACKET, 0,
                   fds);
    }
}

static inline void drain(int fd)
{
    char buffer[256];
    while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0)
        ;
}

static inline void close_pair(int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}
#endif
