// SO_ATTACH_FILTER: classic BPF decides what datagram, unix and raw sockets receive.
#include "check.h"
#include <arpa/inet.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LEN(a) (sizeof(a) / sizeof *(a))

static int attach(int fd, struct sock_filter *code, unsigned len) {
    struct sock_fprog program = {.len = len, .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static int receives(int fd, const char *what) {
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    char buf[64];
    if (poll(&entry, 1, what ? 2000 : 100) != 1) return what == NULL;
    ssize_t got = recv(fd, buf, sizeof buf, 0);
    return what && got == (ssize_t)strlen(what) && memcmp(buf, what, got) == 0;
}

int main(void) {
    // UDP: the program sees the UDP header, ports first.
    int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    CHECK(bind(b, (void *)&addr, sizeof addr) == 0);
    CHECK(getsockname(b, (void *)&addr, &len) == 0);
    CHECK(connect(a, (void *)&addr, sizeof addr) == 0);
    struct sock_filter first_is_y[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohs(addr.sin_port), 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'y', 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    CHECK(attach(b, first_is_y, LEN(first_is_y)) == 0);
    CHECK(send(a, "no", 2, 0) == 2 && receives(b, NULL));
    CHECK(send(a, "yes", 3, 0) == 3 && receives(b, "yes"));
    // What it returns is how much is kept, the header included.
    struct sock_filter keep_ten[] = {BPF_STMT(BPF_RET | BPF_K, 10)};
    CHECK(attach(b, keep_ten, 1) == 0);
    CHECK(send(a, "abcdef", 6, 0) == 6 && receives(b, "ab"));
    // Beside the packet: its length, the protocol.
    struct sock_filter beside[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 12, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_PROTOCOL),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0800, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0xffff),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    CHECK(attach(b, beside, LEN(beside)) == 0);
    CHECK(send(a, "abc", 3, 0) == 3 && receives(b, NULL));
    CHECK(send(a, "abcd", 4, 0) == 4 && receives(b, "abcd"));
    // Read back; a load beyond the packet drops it.
    struct sock_filter seen[8];
    len = 0;
    CHECK(getsockopt(b, SOL_SOCKET, SO_GET_FILTER, NULL, &len) == 0 && len == LEN(beside));
    len = 2;
    CHECK(getsockopt(b, SOL_SOCKET, SO_GET_FILTER, seen, &len) == -1 && errno == EINVAL);
    len = 8;
    CHECK(getsockopt(b, SOL_SOCKET, SO_GET_FILTER, seen, &len) == 0 && len == LEN(beside));
    CHECK(memcmp(seen, beside, sizeof beside) == 0);
    struct sock_filter beyond[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 100), BPF_STMT(BPF_RET | BPF_K, 0xffff)};
    CHECK(attach(b, beyond, 2) == 0);
    CHECK(send(a, "x", 1, 0) == 1 && receives(b, NULL));
    // Refused programs.
    struct sock_filter no_return[] = {BPF_STMT(BPF_LD | BPF_IMM, 1)};
    struct sock_filter far[] = {BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0), BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_filter unknown[] = {{0xffff, 0, 0, 0}, BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_filter scratch[] = {BPF_STMT(BPF_ST, 16), BPF_STMT(BPF_RET | BPF_K, 0)};
    CHECK(attach(b, no_return, 1) == -1 && errno == EINVAL);
    CHECK(attach(b, far, 2) == -1 && errno == EINVAL);
    CHECK(attach(b, unknown, 2) == -1 && errno == EINVAL);
    CHECK(attach(b, scratch, 2) == -1 && errno == EINVAL);
    CHECK(attach(b, scratch, 0) == -1 && errno == EINVAL);
    // Detached, everything comes; a locked one stays.
    int on = 1, off = 0;
    CHECK(setsockopt(b, SOL_SOCKET, SO_DETACH_FILTER, &on, sizeof on) == 0);
    CHECK(setsockopt(b, SOL_SOCKET, SO_DETACH_FILTER, &on, sizeof on) == -1 && errno == ENOENT);
    CHECK(send(a, "all", 3, 0) == 3 && receives(b, "all"));
    CHECK(attach(b, keep_ten, 1) == 0);
    CHECK(setsockopt(b, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on) == 0);
    CHECK(setsockopt(b, SOL_SOCKET, SO_LOCK_FILTER, &off, sizeof off) == -1 && errno == EPERM);
    CHECK(attach(b, keep_ten, 1) == -1 && errno == EPERM);
    CHECK(setsockopt(b, SOL_SOCKET, SO_DETACH_FILTER, &on, sizeof on) == -1 && errno == EPERM);

    // Datagrams of unix(7).
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    struct sock_filter unix_y[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'y', 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 2),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    CHECK(attach(pair[1], unix_y, LEN(unix_y)) == 0);
    CHECK(send(pair[0], "no", 2, 0) == 2 && receives(pair[1], NULL));
    CHECK(send(pair[0], "yes", 3, 0) == 3 && receives(pair[1], "ye"));
    return 0;
}
