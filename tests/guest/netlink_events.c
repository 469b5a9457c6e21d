// rtnetlink(7) groups: whoever joined one hears of changed links, addresses and routes.
#include "check.h"
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener(unsigned groups) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = groups};
    CHECK(fd >= 0 && bind(fd, (void *)&addr, sizeof addr) == 0);
    return fd;
}

// Whether a message of this type comes, for the address family `family`.
static int hears(int fd, int type, int family) {
    for (int tries = 0; tries < 50; tries++) {
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        if (poll(&entry, 1, 300) != 1) return 0;
        char buf[8192];
        struct sockaddr_nl from;
        struct iovec piece = {buf, sizeof buf};
        struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &piece, .msg_iovlen = 1};
        ssize_t got = recvmsg(fd, &message, 0);
        CHECK(got > 0);
        CHECK(from.nl_pid == 0 && from.nl_groups != 0);
        for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, got); h = NLMSG_NEXT(h, got))
            if (h->nlmsg_type == type && (family < 0 || *(unsigned char *)NLMSG_DATA(h) == family)) return 1;
    }
    return 0;
}

static void ask(int type, const char *ip, int flags) {
    struct {
        struct nlmsghdr h;
        struct ifaddrmsg a;
        struct rtattr attr;
        unsigned addr;
    } request = {
        {sizeof request, type, NLM_F_REQUEST | NLM_F_ACK | flags, 1, 0},
        {AF_INET, 32, 0, RT_SCOPE_HOST, 1},
        {8, IFA_LOCAL},
        inet_addr(ip),
    };
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    CHECK(send(fd, &request, sizeof request, 0) == sizeof request);
    struct {
        struct nlmsghdr h;
        int error;
        char rest[200];
    } answer;
    CHECK(recv(fd, &answer, sizeof answer, 0) > 0);
    CHECK(answer.h.nlmsg_type == NLMSG_ERROR && answer.error == 0);
    close(fd);
}

static void set_mtu(int mtu) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_mtu = mtu};
    CHECK(ioctl(fd, SIOCSIFMTU, &request) == 0);
    close(fd);
}

int main(void) {
    if (geteuid() != 0) return 0;
    // On a real machine not in everybody's network.
    if (unshare(CLONE_NEWNET) != 0) errno = 0;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    CHECK(ioctl(fd, SIOCSIFFLAGS, &up) == 0);
    close(fd);

    int all = listener(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE);
    int links = listener(RTMGRP_LINK), nothing = listener(0);
    set_mtu(60000);
    CHECK(hears(all, RTM_NEWLINK, -1));
    CHECK(hears(links, RTM_NEWLINK, -1));
    ask(RTM_NEWADDR, "10.123.0.1", NLM_F_CREATE | NLM_F_EXCL);
    CHECK(hears(all, RTM_NEWADDR, AF_INET));
    CHECK(hears(all, RTM_NEWROUTE, AF_INET));
    ask(RTM_DELADDR, "10.123.0.1", 0);
    CHECK(hears(all, RTM_DELADDR, AF_INET));
    CHECK(!hears(links, RTM_NEWADDR, -1));
    // A group that is joined and left by its number.
    int group = RTNLGRP_IPV4_IFADDR, wrong = 0;
    CHECK(setsockopt(nothing, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0);
    CHECK(setsockopt(nothing, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &wrong, sizeof wrong) == -1 && errno == EINVAL);
    struct sockaddr_nl name;
    socklen_t len = sizeof name;
    CHECK(getsockname(nothing, (void *)&name, &len) == 0 && name.nl_groups == RTMGRP_IPV4_IFADDR);
    ask(RTM_NEWADDR, "10.123.0.2", NLM_F_CREATE | NLM_F_EXCL);
    CHECK(hears(nothing, RTM_NEWADDR, AF_INET));
    CHECK(setsockopt(nothing, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, &group, sizeof group) == 0);
    ask(RTM_DELADDR, "10.123.0.2", 0);
    CHECK(!hears(nothing, RTM_DELADDR, -1));
    return 0;
}
