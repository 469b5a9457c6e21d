// IP_FREEBIND: addresses that are nobody's yet can be bound; without it they cannot. IPV6_CHECKSUM of ICMPv6 by its two levels.
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif
#ifndef SOL_RAW
#define SOL_RAW 255
#endif
#include <sys/socket.h>

static void bind_far(int family, int kind, int level, int option) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(4711), .sin_addr.s_addr = inet_addr("203.0.113.77")};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(4711)};
    inet_pton(AF_INET6, "2001:db8::77", &v6.sin6_addr);
    struct sockaddr *addr = family == AF_INET ? (void *)&v4 : (void *)&v6;
    socklen_t len = family == AF_INET ? sizeof v4 : sizeof v6;
    int on = 1, fd = socket(family, kind, 0);
    FAILS(bind(fd, addr, len), EADDRNOTAVAIL);
    CHECK(setsockopt(fd, level, option, &on, sizeof on) == 0);
    CHECK(bind(fd, addr, len) == 0);
    if (kind == SOCK_STREAM) CHECK(listen(fd, 1) == 0);
    close(fd);
}

int main(void) {
    bind_far(AF_INET, SOCK_STREAM, IPPROTO_IP, IP_FREEBIND);
    bind_far(AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_FREEBIND);
    bind_far(AF_INET6, SOCK_STREAM, IPPROTO_IPV6, IPV6_FREEBIND);
    bind_far(AF_INET6, SOCK_DGRAM, IPPROTO_IP, IP_FREEBIND);
    int two = 2, fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
    if (fd >= 0) {
        CHECK(setsockopt(fd, SOL_RAW, IPV6_CHECKSUM, &two, sizeof two) == 0);
        FAILS(setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &two, sizeof two), EINVAL);
    }
    OK();
}
