/* Pairs of virtual Ethernet interfaces and bridges, in one network namespace and between several. */
#include <arpa/inet.h>
#include "rtnl.h"
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>

#define UP_AND_RUNNING (IFF_UP | IFF_RUNNING)

static void errors(void)
{
    CHECK(new_link("veth", "v0", "v1") == 0);
    CHECK(new_link("veth", "v0", "v2") == EEXIST);
    CHECK(new_link("veth", "v2", "v1") == EEXIST);
    CHECK(if_nametoindex("v2") == 0);
    CHECK(new_link("veth", "a/b", "c") == EINVAL);
    CHECK(new_link("veth", "a b", "c") == EINVAL);
    CHECK(new_link("no-such-kind", "x", NULL) == EOPNOTSUPP);
    CHECK(delete_link("lo") == EOPNOTSUPP);
    CHECK(delete_link("missing") == ENODEV);
    CHECK(set_number("v0", IFLA_MASTER, if_nametoindex("v1")) == EOPNOTSUPP);
    CHECK(set_number("v0", IFLA_MASTER, 4242) == EINVAL);
    CHECK(set_number("v0", IFLA_MTU, 60) == EINVAL);
    CHECK(set_number("v0", IFLA_MTU, 70000) == EINVAL);
    struct request r;
    begin_link(&r, RTM_NEWLINK, 0, 0);
    put_text(&r, IFLA_IFNAME, "v9");
    CHECK(ask(&r) == ENODEV);
    begin_link(&r, RTM_NEWLINK, 0, 0);
    CHECK(ask(&r) == ENODEV);
    begin_link(&r, RTM_SETLINK, 0, 0);
    CHECK(ask(&r) == EINVAL);
    begin_link(&r, RTM_SETLINK, 0, 4242);
    CHECK(ask(&r) == ENODEV);
    begin_link(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, if_nametoindex("v0"));
    CHECK(ask(&r) == EEXIST);
    unsigned char group[6] = {1, 2, 3, 4, 5, 6};
    begin_link(&r, RTM_SETLINK, 0, if_nametoindex("v0"));
    put(&r, IFLA_ADDRESS, group, 6);
    CHECK(ask(&r) == EADDRNOTAVAIL);
    CHECK(set_text("v0", IFLA_IFNAME, "v1") == EEXIST);
    CHECK(set_text("v0", IFLA_IFNAME, "renamed") == 0 && if_nametoindex("renamed"));
    CHECK(set_text("renamed", IFLA_IFNAME, "v0") == 0);
}

/* Linux finds out a little later. */
static int becomes(const char *name, int flags)
{
    for (int i = 0; i < 300; i++) {
        if ((link_flags(name) & UP_AND_RUNNING) == flags)
            return 1;
        usleep(10000);
    }
    return 0;
}

static void carriers(void)
{
    CHECK(becomes("v0", 0));
    CHECK(set_up("v0", 1) == 0 && becomes("v0", IFF_UP));
    CHECK(set_up("v1", 1) == 0);
    CHECK(becomes("v0", UP_AND_RUNNING));
    CHECK(becomes("v1", UP_AND_RUNNING));
    CHECK(set_up("v1", 0) == 0 && becomes("v0", IFF_UP));
    CHECK(delete_link("v1") == 0 && if_nametoindex("v0") == 0);
}

static int packets(const char *name)
{
    int fd = socket(AF_PACKET, SOCK_RAW, htons(0x88b5));
    struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_protocol = htons(0x88b5)};
    addr.sll_ifindex = if_nametoindex(name);
    CHECK(fd >= 0 && bind(fd, (void *)&addr, sizeof addr) == 0);
    return fd;
}

static void station(int fd, const char *name, unsigned char *mac)
{
    struct ifreq request = {0};
    strcpy(request.ifr_name, name);
    CHECK(ioctl(fd, SIOCGIFHWADDR, &request) == 0);
    memcpy(mac, request.ifr_hwaddr.sa_data, 6);
}

static void say(int fd, const unsigned char *to, const unsigned char *from, char what)
{
    unsigned char frame[60] = {0};
    memcpy(frame, to, 6);
    memcpy(frame + 6, from, 6);
    frame[12] = 0x88;
    frame[13] = 0xb5;
    frame[14] = what;
    CHECK(send(fd, frame, sizeof frame, 0) == sizeof frame);
}

/* What a socket hears within a moment; 0: nothing. */
static char heard(int fd)
{
    unsigned char frame[100];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, 200) == 1) {
        struct sockaddr_ll from;
        socklen_t len = sizeof from;
        CHECK(recvfrom(fd, frame, sizeof frame, 0, (void *)&from, &len) == 60);
        if (from.sll_pkttype != PACKET_OUTGOING)
            return frame[14];
    }
    return 0;
}

/* Three stations at a bridge. */
static void bridge(void)
{
    const unsigned char all[6] = {255, 255, 255, 255, 255, 255}, nobody[6] = {2, 0, 0, 0, 0, 9};
    unsigned char mac[3][6];
    int fd[3];
    CHECK(new_link("bridge", "br0", NULL) == 0 && set_up("br0", 1) == 0);
    CHECK(becomes("br0", UP_AND_RUNNING));
    for (int i = 0; i < 3; i++) {
        char port[8], end[8];
        sprintf(port, "p%d", i);
        sprintf(end, "e%d", i);
        CHECK(new_link("veth", port, end) == 0);
        CHECK(set_up(port, 1) == 0 && set_up(end, 1) == 0);
        CHECK(set_number(port, IFLA_MASTER, if_nametoindex("br0")) == 0);
        fd[i] = packets(end);
        station(fd[i], end, mac[i]);
    }
    CHECK(set_number("p0", IFLA_MASTER, if_nametoindex("br0")) == 0 ||
          set_number("p0", IFLA_MASTER, if_nametoindex("br0")) == EBUSY);
    int own = packets("br0");
    say(fd[0], all, mac[0], 'a');
    CHECK(heard(fd[1]) == 'a' && heard(fd[2]) == 'a' && heard(own) == 'a' && heard(fd[0]) == 0);
    /* Nobody knows that station yet: all hear of it. */
    say(fd[0], nobody, mac[0], 'b');
    CHECK(heard(fd[1]) == 'b' && heard(fd[2]) == 'b' && heard(own) == 0);
    /* Station 0 is known now. */
    say(fd[1], mac[0], mac[1], 'c');
    CHECK(heard(fd[0]) == 'c' && heard(fd[2]) == 0 && heard(own) == 0);
    unsigned char bridge_mac[6];
    station(own, "br0", bridge_mac);
    say(fd[2], bridge_mac, mac[2], 'd');
    CHECK(heard(own) == 'd' && heard(fd[0]) == 0);
    say(own, mac[2], bridge_mac, 'e');
    CHECK(heard(fd[2]) == 'e' && heard(fd[0]) == 0);
    CHECK(set_number("p2", IFLA_MASTER, 0) == 0);
    say(fd[0], all, mac[0], 'f');
    CHECK(heard(fd[1]) == 'f' && heard(fd[2]) == 0);
    CHECK(set_up("p0", 0) == 0 && set_up("p1", 0) == 0);
    CHECK(becomes("br0", IFF_UP));
    CHECK(delete_link("br0") == 0 && if_nametoindex("p0") != 0);
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    close(own);
    CHECK(delete_link("e0") == 0 && delete_link("e1") == 0 && delete_link("p2") == 0);
}

static unsigned short checksum(const void *data, int len)
{
    unsigned sum = 0;
    for (const unsigned short *at = data; len > 1; len -= 2)
        sum += *at++;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

static void echo(const char *to)
{
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    struct sockaddr_in addr = {.sin_family = AF_INET};
    inet_pton(AF_INET, to, &addr.sin_addr);
    struct icmphdr request = {.type = ICMP_ECHO, .un.echo.id = 77};
    request.checksum = checksum(&request, sizeof request);
    CHECK(sendto(fd, &request, sizeof request, 0, (void *)&addr, sizeof addr) == sizeof request);
    unsigned char packet[100];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK(poll(&p, 1, 2000) == 1 && recv(fd, packet, sizeof packet, 0) == 28 && packet[20] == ICMP_ECHOREPLY);
    close(fd);
}

static void wait_for(int fd)
{
    char byte;
    CHECK(read(fd, &byte, 1) == 1);
}

static void go_on(int fd)
{
    CHECK(write(fd, "", 1) == 1);
}

/* The namespace at the other end of the pair: a server. */
static void other_side(int in, int out)
{
    CHECK(unshare(CLONE_NEWNET) == 0);
    forget_socket();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(7007)};
    /* It listens before there is an interface. */
    CHECK(bind(fd, (void *)&addr, sizeof addr) == 0 && listen(fd, 4) == 0);
    go_on(out);
    wait_for(in);
    CHECK(if_nametoindex("eth7") && (link_flags("eth7") & IFF_UP) == 0);
    CHECK(add_address("eth7", "10.77.0.2", 24) == 0 && add_address("eth7", "10.77.0.2", 24) == EEXIST);
    CHECK(add_address("eth7", "fd77::2", 64) == 0);
    CHECK(set_up("eth7", 1) == 0);
    go_on(out);
    int got = accept(fd, NULL, NULL);
    CHECK(got >= 0);
    static char buffer[1 << 16];
    long total = 0;
    for (ssize_t n; (n = read(got, buffer, sizeof buffer)) > 0;)
        total += n;
    CHECK(write(got, &total, sizeof total) == sizeof total);
    close(got);
    wait_for(in);
    _exit(0);
}

static void stream(void)
{
    static char buffer[1 << 16];
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(7007)};
    inet_pton(AF_INET, "10.77.0.2", &addr.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (void *)&addr, sizeof addr) == 0);
    long total = 0;
    for (int i = 0; i < 400; i++) {
        ssize_t n = write(fd, buffer, sizeof buffer);
        CHECK(n > 0);
        total += n;
    }
    CHECK(shutdown(fd, SHUT_WR) == 0);
    long other = 0;
    CHECK(read(fd, &other, sizeof other) == sizeof other && other == total);
    close(fd);
    addr.sin_port = htons(7008);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    FAILS(connect(fd, (void *)&addr, sizeof addr), ECONNREFUSED);
    close(fd);
}

static void between(void)
{
    int there[2], back[2];
    CHECK(pipe(there) == 0 && pipe(back) == 0);
    pid_t child = fork();
    if (child == 0)
        other_side(there[0], back[1]);
    wait_for(back[0]);
    int hears = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);
    struct sockaddr_nl groups = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
    CHECK(bind(hears, (void *)&groups, sizeof groups) == 0);
    CHECK(new_link("veth", "h0", "eth7") == 0);
    CHECK(set_number("eth7", IFLA_NET_NS_PID, child) == 0 && if_nametoindex("eth7") == 0);
    char event[4096] __attribute__((aligned(8)));
    int news = 0, gone = 0;
    while (recv(hears, event, sizeof event, 0) > 0) {
        int type = ((struct nlmsghdr *)event)->nlmsg_type;
        news += type == RTM_NEWLINK;
        gone += type == RTM_DELLINK;
    }
    CHECK(news >= 2 && gone == 1);
    CHECK(set_number("h0", IFLA_NET_NS_PID, 999999) == ESRCH);
    CHECK(set_number("h0", IFLA_NET_NS_FD, 99) == EBADF || set_number("h0", IFLA_NET_NS_FD, 99) == EINVAL);
    CHECK(set_number("lo", IFLA_NET_NS_PID, child) == EINVAL);
    go_on(there[1]);
    wait_for(back[0]);
    CHECK(add_address("h0", "10.77.0.1", 24) == 0 && add_address("h0", "fd77::1", 64) == 0);
    CHECK(set_up("h0", 1) == 0 && becomes("h0", UP_AND_RUNNING));
    echo("10.77.0.2");
    stream();
    /* With the last process of its namespace the other end goes, and this one with it. */
    go_on(there[1]);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    for (int i = 0; if_nametoindex("h0") != 0; i++) {
        CHECK(i < 500);
        usleep(10000);
    }
    close(hears);
}

int main(void)
{
    CHECK(unshare(CLONE_NEWNET) == 0 && set_up("lo", 1) == 0);
    errors();
    carriers();
    bridge();
    between();
    OK();
}
