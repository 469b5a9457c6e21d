/* MSG_ flags of each kind of socket, on messages and streams that are there, missing, cut, or whose peer is gone. */
#include "probe.h"
#include <sys/time.h>

static volatile int signals;

static void count(int signal)
{
    (void)signal;
    signals++;
}

static void tell_signals(void)
{
    tell_value("signals", signals);
    signals = 0;
}

static void receive_message(const char *what, int fd, size_t room, int flags)
{
    char buffer[64];
    struct iovec vector = {buffer, room};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_flags = 0x7777};
    TELL(what, recvmsg(fd, &message, flags | MSG_DONTWAIT));
    tell_value("  flags", message.msg_flags);
}

static void basic(int to, int from)
{
    char b[64];
    TELL("DONTWAIT, empty", recv(from, b, 9, MSG_DONTWAIT));
    TELL("send hello", send(to, "hello", 5, 0));
    moment();
    TELL("PEEK 3", recv(from, b, 3, MSG_PEEK));
    TELL("PEEK|TRUNC 3", recv(from, b, 3, MSG_PEEK | MSG_TRUNC));
    TELL("TRUNC 3", recv(from, b, 3, MSG_TRUNC));
    TELL("rest", recv(from, b, 9, MSG_DONTWAIT));
    TELL("send nothing", send(to, "", 0, 0));
    moment();
    TELL("recv nothing", recv(from, b, 9, MSG_DONTWAIT));
    TELL("send 2 with MORE", send(to, "ab", 2, MSG_MORE | MSG_DONTWAIT));
    TELL("send 2", send(to, "cd", 2, 0));
    moment();
    TELL("recv 9", recv(from, b, 9, MSG_DONTWAIT));
    TELL("recv 9 again", recv(from, b, 9, MSG_DONTWAIT));
}

static void urgent(int to, int from)
{
    char b[64];
    TELL("send OOB", send(to, "x", 1, MSG_OOB));
    moment();
    TELL("recv OOB", recv(from, b, 9, MSG_OOB | MSG_DONTWAIT));
    TELL("recv OOB again", recv(from, b, 9, MSG_OOB | MSG_DONTWAIT));
    TELL("recv beside it", recv(from, b, 9, MSG_DONTWAIT));
}

static void headers(enum pair kind, int to, int from)
{
    char b[64];
    TELL("send EOR", send(to, "eor", 3, MSG_EOR));
    moment();
    receive_message("recvmsg", from, 9, 0);
    TELL("send 10", send(to, "0123456789", 10, 0));
    moment();
    receive_message("recvmsg, cut", from, 4, 0);
    receive_message("recvmsg, cut, TRUNC", from, 4, MSG_TRUNC);
    receive_message("recvmsg CMSG_CLOEXEC", from, 4, MSG_CMSG_CLOEXEC);
    drain(from);
    /* Unix sockets do not know it, and wait. */
    if (kind == TCP || kind == UDP)
        TELL("ERRQUEUE", recv(from, b, 9, MSG_ERRQUEUE));
    TELL("ERRQUEUE|DONTWAIT", recv(from, b, 9, MSG_ERRQUEUE | MSG_DONTWAIT));
}

static void unusual(int to, int from)
{
    char b[64];
    TELL("send DONTROUTE", send(to, "dr", 2, MSG_DONTROUTE));
    TELL("send CONFIRM", send(to, "cf", 2, MSG_CONFIRM));
    TELL("send with an unknown flag", send(to, "u", 1, 0x400000));
    TELL("send FASTOPEN", send(to, "u", 1, MSG_FASTOPEN));
    TELL("send ZEROCOPY", send(to, "u", 1, MSG_ZEROCOPY));
    TELL("send PROXY", send(to, "u", 1, MSG_PROXY));
    moment();
    drain(from);
    TELL("recv 0 bytes, empty", recv(from, b, 0, MSG_DONTWAIT));
    send(to, "z", 1, 0);
    moment();
    TELL("recv 0 bytes", recv(from, b, 0, MSG_DONTWAIT));
    TELL("recv then", recv(from, b, 9, MSG_DONTWAIT));
    TELL("recv to a bad address, empty", recv(from, (void *)8, 9, MSG_DONTWAIT));
    send(to, "zz", 2, 0);
    moment();
    TELL("recv to a bad address", recv(from, (void *)8, 9, MSG_DONTWAIT));
    TELL("recv then", recv(from, b, 9, MSG_DONTWAIT));
    TELL("send from a bad address", send(to, (void *)8, 9, 0));
}

static void addressed(int to, int from)
{
    struct sockaddr_in inet = loopback(9);
    struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/tmp/nobody-has-this-name"};
    struct sockaddr none = {0};
    TELL("sendto AF_INET", sendto(to, "q", 1, 0, (void *)&inet, sizeof inet));
    TELL("sendto AF_UNIX", sendto(to, "q", 1, 0, (void *)&local, sizeof local));
    TELL("sendto AF_UNSPEC", sendto(to, "q", 1, 0, &none, sizeof none));
    moment();
    pending_error(to);
    drain(from);
}

static void without_peer(int to, int from)
{
    char b[64];
    close(from);
    moment();
    TELL("send", send(to, "x", 1, 0));
    moment();
    TELL("send again", send(to, "x", 1, 0));
    tell_signals();
    TELL("send NOSIGNAL", send(to, "x", 1, MSG_NOSIGNAL));
    tell_signals();
    TELL("recv", recv(to, b, 9, MSG_DONTWAIT));
    TELL("write", write(to, "x", 1));
    tell_signals();
    close(to);
}

/* A child sends two bytes, and after a while two more, or the end. */
static void send_in_parts(int to, int ends)
{
    if (fork() != 0)
        return;
    send(to, "ab", 2, 0);
    usleep(60000);
    if (ends)
        shutdown(to, SHUT_WR);
    else
        send(to, "cd", 2, 0);
    _exit(0);
}

static void all_at_once(enum pair kind)
{
    int p[2];
    char b[64];
    struct timeval patience = {0, 50000};
    make_pair(kind, p);
    send_in_parts(p[0], 0);
    TELL("WAITALL 4", recv(p[1], b, 4, MSG_WAITALL));
    wait(NULL);
    drain(p[1]);
    send_in_parts(p[0], 1);
    TELL("WAITALL 4, end", recv(p[1], b, 4, MSG_WAITALL));
    wait(NULL);
    close_pair(p);
    make_pair(kind, p);
    setsockopt(p[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    send(p[0], "ab", 2, 0);
    moment();
    TELL("WAITALL 4, time", recv(p[1], b, 4, MSG_WAITALL));
    send(p[0], "ab", 2, 0);
    moment();
    TELL("WAITALL|DONTWAIT 4", recv(p[1], b, 4, MSG_WAITALL | MSG_DONTWAIT));
    send(p[0], "abcd", 4, 0);
    moment();
    TELL("WAITALL|PEEK 4", recv(p[1], b, 4, MSG_WAITALL | MSG_PEEK));
    TELL("WAITALL|PEEK 6, time", recv(p[1], b, 6, MSG_WAITALL | MSG_PEEK));
    close_pair(p);
}

static void low_water(enum pair kind)
{
    int p[2], least = 4;
    char b[64];
    struct timeval patience = {0, 50000};
    make_pair(kind, p);
    TELL("SO_RCVLOWAT 4", setsockopt(p[1], SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least));
    setsockopt(p[1], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    send(p[0], "ab", 2, 0);
    moment();
    tell_events("2 of 4", p[1]);
    TELL("recv 8", recv(p[1], b, 8, 0));
    send(p[0], "abcd", 4, 0);
    moment();
    tell_events("4 of 4", p[1]);
    TELL("recv 8", recv(p[1], b, 8, 0));
    send(p[0], "a", 1, 0);
    moment();
    TELL("recv 1", recv(p[1], b, 1, 0));
    send_in_parts(p[0], 0);
    TELL("recv 8 in parts", recv(p[1], b, 8, 0));
    wait(NULL);
    close_pair(p);
}

int main(void)
{
    signal(SIGPIPE, count);
    alarm(25);
    for (enum pair kind = 0; kind < PAIRS; kind++) {
        int p[2];
        about(pair_names[kind], "");
        make_pair(kind, p);
        basic(p[0], p[1]);
        urgent(p[0], p[1]);
        headers(kind, p[0], p[1]);
        unusual(p[0], p[1]);
        addressed(p[0], p[1]);
        about(pair_names[kind], "without its peer");
        without_peer(p[0], p[1]);
        about(pair_names[kind], "all at once");
        all_at_once(kind);
        if (kind == TCP || kind == UNIX_STREAM)
            low_water(kind);
    }
    return 0;
}
