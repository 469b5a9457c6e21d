/* Requests of rtnetlink(7) for guest programs. */
#ifndef RTNL_H
#define RTNL_H
#include "check.h"
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct request {
    struct nlmsghdr header;
    char rest[1024];
};

static int rtnl = -1;

static void begin(struct request *r, int type, int flags, const void *fixed, size_t size)
{
    memset(r, 0, sizeof *r);
    r->header.nlmsg_type = type;
    r->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    r->header.nlmsg_len = NLMSG_LENGTH(size);
    memcpy(NLMSG_DATA(&r->header), fixed, size);
}

static struct rtattr *put(struct request *r, int type, const void *value, size_t size)
{
    struct rtattr *at = (void *)((char *)r + NLMSG_ALIGN(r->header.nlmsg_len));
    at->rta_type = type;
    at->rta_len = RTA_LENGTH(size);
    if (size)
        memcpy(RTA_DATA(at), value, size);
    r->header.nlmsg_len = NLMSG_ALIGN(r->header.nlmsg_len) + RTA_ALIGN(at->rta_len);
    return at;
}

static void put_text(struct request *r, int type, const char *text)
{
    put(r, type, text, strlen(text) + 1);
}

static void put_u32(struct request *r, int type, uint32_t value)
{
    put(r, type, &value, sizeof value);
}

/* Ends an attribute that holds what was put since. */
static void enclose(struct request *r, struct rtattr *at)
{
    at->rta_len = (char *)r + NLMSG_ALIGN(r->header.nlmsg_len) - (char *)at;
}

/* Sends a request; what the kernel says of it: 0 or an errno. */
static int ask_on(int fd, struct request *r)
{
    static unsigned seq;
    r->header.nlmsg_seq = ++seq;
    CHECK(send(fd, r, r->header.nlmsg_len, 0) == (ssize_t)r->header.nlmsg_len);
    char reply[8192] __attribute__((aligned(8)));
    for (;;) {
        ssize_t got = recv(fd, reply, sizeof reply, 0);
        CHECK(got > 0);
        struct nlmsghdr *h = (void *)reply;
        if (h->nlmsg_type == NLMSG_ERROR && h->nlmsg_seq == seq)
            return -((struct nlmsgerr *)NLMSG_DATA(h))->error;
    }
}

static int ask(struct request *r)
{
    if (rtnl < 0)
        rtnl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    CHECK(rtnl >= 0);
    return ask_on(rtnl, r);
}

/* The next requests are about the namespace that the caller is in now. */
static void forget_socket(void)
{
    if (rtnl >= 0)
        close(rtnl);
    rtnl = -1;
}

static void begin_link(struct request *r, int type, int flags, int index)
{
    struct ifinfomsg info = {.ifi_index = index};
    begin(r, type, flags, &info, sizeof info);
}

/* A new interface of a kind; `peer`: the other end's name. */
static int new_link(const char *kind, const char *name, const char *peer)
{
    struct request r;
    begin_link(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
    if (name)
        put_text(&r, IFLA_IFNAME, name);
    struct rtattr *details = put(&r, IFLA_LINKINFO, NULL, 0);
    put_text(&r, IFLA_INFO_KIND, kind);
    if (peer) {
        struct rtattr *data = put(&r, IFLA_INFO_DATA, NULL, 0);
        struct ifinfomsg info = {0};
        struct rtattr *other = put(&r, VETH_INFO_PEER, &info, sizeof info);
        put_text(&r, IFLA_IFNAME, peer);
        enclose(&r, other);
        enclose(&r, data);
    }
    enclose(&r, details);
    return ask(&r);
}

static int delete_link(const char *name)
{
    struct request r;
    begin_link(&r, RTM_DELLINK, 0, 0);
    put_text(&r, IFLA_IFNAME, name);
    return ask(&r);
}

static int set_number(const char *name, int type, uint32_t value)
{
    struct request r;
    begin_link(&r, RTM_SETLINK, 0, if_nametoindex(name));
    put_u32(&r, type, value);
    return ask(&r);
}

static int set_text(const char *name, int type, const char *value)
{
    struct request r;
    begin_link(&r, RTM_SETLINK, 0, if_nametoindex(name));
    put_text(&r, type, value);
    return ask(&r);
}

static int set_up(const char *name, int up)
{
    struct request r;
    struct ifinfomsg info = {.ifi_index = if_nametoindex(name), .ifi_flags = up ? IFF_UP : 0, .ifi_change = IFF_UP};
    begin(&r, RTM_SETLINK, 0, &info, sizeof info);
    return ask(&r);
}

static int add_address(const char *name, const char *text, int prefix)
{
    unsigned char ip[16];
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    CHECK(inet_pton(family, text, ip) == 1);
    struct ifaddrmsg info = {.ifa_family = family, .ifa_prefixlen = prefix, .ifa_index = if_nametoindex(name)};
    struct request r;
    begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &info, sizeof info);
    put(&r, IFA_LOCAL, ip, family == AF_INET ? 4 : 16);
    if (family == AF_INET6)
        put_u32(&r, IFA_FLAGS, IFA_F_NODAD);
    return ask(&r);
}

static int link_flags(const char *name)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = {0};
    strcpy(request.ifr_name, name);
    int result = ioctl(fd, SIOCGIFFLAGS, &request);
    close(fd);
    return result == 0 ? (unsigned short)request.ifr_flags : -1;
}
#endif
