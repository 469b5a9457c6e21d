/* What calls and poll(2) say of new sockets, after shutdown(2) of each direction, and after each way to close a peer. */
#include "probe.h"
#include <linux/sockios.h>
#include <sys/time.h>

static void tell_ioctls(int fd)
{
    int value;
    long time[2];
    char room[64];
    TELL("FIONREAD", ioctl(fd, FIONREAD, &value));
    TELL("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &value));
    TELL("SIOCOUTQNSD", ioctl(fd, SIOCOUTQNSD, &value));
    TELL("SIOCATMARK", ioctl(fd, SIOCATMARK, &value));
    TELL("SIOCGSTAMP", ioctl(fd, SIOCGSTAMP, time));
    TELL("SIOCGSTAMPNS", ioctl(fd, SIOCGSTAMPNS, time));
    TELL("FIOGETOWN", ioctl(fd, FIOGETOWN, &value));
    value = getpid();
    TELL("SIOCSPGRP", ioctl(fd, SIOCSPGRP, &value));
    TELL("SIOCGPGRP", ioctl(fd, SIOCGPGRP, &value));
    tell_value("  own", value == getpid());
    value = 999999;
    TELL("FIOSETOWN of nobody", ioctl(fd, FIOSETOWN, &value));
    TELL("TCGETS", ioctl(fd, 0x5401, room));
    TELL("of no device", (strcpy(room, "nodev"), ioctl(fd, SIOCDEVPRIVATE, room)));
    TELL("unknown", ioctl(fd, 0x1234, room));
}

static void tell_file(int fd)
{
    char b[4];
    struct stat st;
    TELL("lseek", lseek(fd, 0, SEEK_SET));
    TELL("pread", pread(fd, b, 1, 0));
    TELL("pwrite", pwrite(fd, b, 1, 0));
    TELL("fsync", fsync(fd));
    TELL("ftruncate", ftruncate(fd, 0));
    fstat(fd, &st);
    tell_value("mode", st.st_mode);
    tell_value("links", st.st_nlink);
    tell_value("size", st.st_size);
}

static void fresh(const char *name, int family, int kind)
{
    char b[64];
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;
    int fd = socket(family, kind | SOCK_NONBLOCK, 0);
    about(name, "new");
    tell_events("poll", fd);
    TELL("send", send(fd, "x", 1, MSG_NOSIGNAL));
    TELL("recv", recv(fd, b, 1, 0));
    TELL("recv OOB", recv(fd, b, 1, MSG_OOB));
    TELL("shutdown RD", shutdown(fd, SHUT_RD));
    TELL("shutdown WR", shutdown(fd, SHUT_WR));
    TELL("shutdown 3", shutdown(fd, 3));
    TELL("shutdown -1", shutdown(fd, -1));
    tell_events("poll", fd);
    TELL("send", send(fd, "x", 1, MSG_NOSIGNAL));
    TELL("recv", recv(fd, b, 1, 0));
    TELL("accept", accept(fd, NULL, NULL));
    TELL("getpeername", getpeername(fd, (void *)&addr, &len));
    TELL("getsockname", getsockname(fd, (void *)&addr, &len));
    tell_value("  length", len);
    tell_value("  family", addr.ss_family);
    tell_ioctls(fd);
    TELL("listen", listen(fd, 1));
    TELL("listen again", listen(fd, 0));
    tell_events("poll", fd);
    TELL("accept", accept(fd, NULL, NULL));
    tell_file(fd);
    close(fd);
}

static void ended(enum pair kind, int how)
{
    static const char *const ways[] = {"end of reading", "end of writing", "end of both"};
    int p[2];
    char b[64];
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    about(pair_names[kind], ways[how]);
    make_pair(kind, p);
    set_nonblocking(p[0]);
    set_nonblocking(p[1]);
    send(p[1], "abc", 3, 0);
    moment();
    TELL("shutdown", shutdown(p[0], how));
    moment();
    tell_events("own", p[0]);
    tell_events("peer", p[1]);
    TELL("own recv", recv(p[0], b, 9, 0));
    TELL("own recv", recv(p[0], b, 9, 0));
    TELL("own send", send(p[0], "x", 1, MSG_NOSIGNAL));
    moment();
    TELL("peer recv", recv(p[1], b, 9, 0));
    TELL("peer recv", recv(p[1], b, 9, 0));
    TELL("peer send", send(p[1], "yy", 2, MSG_NOSIGNAL));
    moment();
    /* Of TCP's later bytes Linux keeps some that nobody reads. */
    if (kind != TCP || how != SHUT_RD) {
        TELL("peer send", send(p[1], "yy", 2, MSG_NOSIGNAL));
        moment();
    }
    TELL("own recv", recv(p[0], b, 9, 0));
    tell_events("own", p[0]);
    tell_events("peer", p[1]);
    tell_value("own error", pending_error(p[0]));
    tell_value("peer error", pending_error(p[1]));
    TELL("shutdown again", shutdown(p[0], how));
    TELL("shutdown both", shutdown(p[0], SHUT_RDWR));
    TELL("shutdown both again", shutdown(p[0], SHUT_RDWR));
    moment();
    tell_events("own", p[0]);
    tell_events("peer", p[1]);
    TELL("peer shutdown", shutdown(p[1], SHUT_RDWR));
    moment();
    tell_events("own", p[0]);
    tell_events("peer", p[1]);
    TELL("own shutdown", shutdown(p[0], SHUT_RDWR));
    TELL("getpeername", getpeername(p[0], (void *)&addr, &len));
    close(p[1]);
    moment();
    tell_events("own", p[0]);
    TELL("own recv", recv(p[0], b, 9, 0));
    tell_value("own error", pending_error(p[0]));
    close(p[0]);
}

enum closing { PLAIN, UNREAD, RESET, LAST_WORDS, CLOSINGS };

static void closed(enum pair kind, enum closing how)
{
    static const char *const ways[] = {"closed", "closed with something unread", "closed by a reset",
                                       "closed after last words"};
    struct linger at_once = {1, 0};
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    int p[2];
    char b[64];
    about(pair_names[kind], ways[how]);
    make_pair(kind, p);
    if (how == UNREAD)
        send(p[0], "unread", 6, 0);
    if (how == RESET)
        setsockopt(p[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (how == LAST_WORDS)
        send(p[1], "last", 4, 0);
    moment();
    close(p[1]);
    moment();
    set_nonblocking(p[0]);
    tell_events("poll", p[0]);
    TELL("recv", recv(p[0], b, 9, 0));
    TELL("recv", recv(p[0], b, 9, 0));
    tell_events("poll", p[0]);
    TELL("send", send(p[0], "x", 1, MSG_NOSIGNAL));
    moment();
    tell_events("poll", p[0]);
    TELL("send", send(p[0], "x", 1, MSG_NOSIGNAL));
    TELL("send", send(p[0], "x", 1, MSG_NOSIGNAL));
    TELL("recv", recv(p[0], b, 9, 0));
    tell_events("poll", p[0]);
    tell_value("error", pending_error(p[0]));
    TELL("getpeername", getpeername(p[0], (void *)&addr, &len));
    TELL("shutdown", shutdown(p[0], SHUT_RDWR));
    close(p[0]);
}

/* The first call has times noted from then on. */
static void stamps(void)
{
    int p[2];
    char b[4];
    struct timeval now, came = {0};
    about("udp", "time of arrival");
    make_pair(UDP, p);
    TELL("SIOCGSTAMP", ioctl(p[1], SIOCGSTAMP, &came));
    send(p[0], "x", 1, 0);
    TELL("recv", recv(p[1], b, 1, 0));
    TELL("SIOCGSTAMP", ioctl(p[1], SIOCGSTAMP, &came));
    gettimeofday(&now, NULL);
    tell_value("  recent", now.tv_sec - came.tv_sec < 5 && came.tv_usec < 1000000);
    close_pair(p);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    alarm(25);
    fresh("tcp", AF_INET, SOCK_STREAM);
    fresh("tcp over ipv6", AF_INET6, SOCK_STREAM);
    fresh("udp", AF_INET, SOCK_DGRAM);
    fresh("unix stream", AF_UNIX, SOCK_STREAM);
    fresh("unix dgram", AF_UNIX, SOCK_DGRAM);
    fresh("unix seqpacket", AF_UNIX, SOCK_SEQPACKET);
    for (enum pair kind = 0; kind < PAIRS; kind++)
        for (int how = SHUT_RD; how <= SHUT_RDWR; how++)
            ended(kind, how);
    for (enum pair kind = 0; kind < PAIRS; kind++)
        for (enum closing how = 0; how < CLOSINGS; how++)
            closed(kind, how);
    stamps();
    return 0;
}
