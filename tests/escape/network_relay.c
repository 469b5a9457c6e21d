/* Runs with --network=sandbox: the relay behind the interface, by connections, datagrams and frames of one's own making. The host's loopback
 * addresses, its links and its other sockets must not be reached, by any spelling, and the relay must go on. The argument is a port at
 * which the host listens on its loopback addresses. */
#include "escape.h"
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

static int port;

/* Whether something answered there. */
static int reached(const char *text, int to, int kind)
{
    struct sockaddr_storage where = {0};
    struct sockaddr_in *v4 = (void *)&where;
    struct sockaddr_in6 *v6 = (void *)&where;
    socklen_t len;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(to);
        len = sizeof *v4;
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(to);
        len = sizeof *v6;
    } else {
        return 0;
    }
    int fd = socket(where.ss_family, kind | SOCK_NONBLOCK, 0), error = 0;
    connect(fd, (void *)&where, len);
    send(fd, "hello", 5, MSG_NOSIGNAL);
    struct pollfd ready = {fd, POLLIN, 0};
    char byte;
    int got = poll(&ready, 1, 700) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) == 1;
    len = sizeof error;
    close(fd);
    return got;
}

static void spellings(void *unused)
{
    (void)unused;
    static const char *places[] = {"127.0.0.1", "127.1.2.3", "127.255.255.254", "0.0.0.0", "0.0.0.1", "::", "::1", "::ffff:127.0.0.1",
                                   "::ffff:0.0.0.0", "::127.0.0.1", "192.0.2.1", "192.0.2.2", "192.0.2.53", "192.0.2.54",
                                   "169.254.169.254", "169.254.0.1", "fe80::1", "fd74:6567:6d65:6e::1", "fd74:6567:6d65:6e::53",
                                   "255.255.255.255", "224.0.0.1", "ff02::1", "ff01::1", "64:ff9b::127.0.0.1"};
    for (unsigned i = 0; i < LENGTH(places) - 1; i++)
        for (int kind = SOCK_STREAM; kind <= SOCK_DGRAM; kind++)
            if (reached(places[i], port, kind))
                ESCAPE("the host's loopback by %s", places[i]);
}

static unsigned short sum16(const void *data, int len, unsigned sum)
{
    const unsigned char *bytes = data;
    for (int i = 0; i + 1 < len; i += 2)
        sum += bytes[i] << 8 | bytes[i + 1];
    if (len & 1)
        sum += bytes[len - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons(~sum);
}

static int wire(void)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = if_nametoindex("eth0")};
    bind(fd, (void *)&to, sizeof to);
    return fd;
}

/* A TCP segment over IPv4 as a frame. */
static int segment(unsigned char *frame, uint32_t from, uint32_t to, int source, int target, int flags, int load)
{
    static const unsigned char head[] = {2, 0x74, 0x65, 0x67, 0x6d, 1, 2, 0x74, 0x65, 0x67, 0x6d, 2, 8, 0};
    memset(frame, 0, 60 + load);
    memcpy(frame, head, 14);
    unsigned char *ip = frame + 14, *tcp = ip + 20;
    ip[0] = 0x45;
    ip[2] = (40 + load) >> 8;
    ip[3] = (40 + load) & 255;
    ip[8] = 64;
    ip[9] = 6;
    from = htonl(from);
    to = htonl(to);
    memcpy(ip + 12, &from, 4);
    memcpy(ip + 16, &to, 4);
    unsigned short sum = sum16(ip, 20, 0);
    memcpy(ip + 10, &sum, 2);
    tcp[0] = source >> 8;
    tcp[1] = source;
    tcp[2] = target >> 8;
    tcp[3] = target;
    tcp[4] = source;
    tcp[12] = 0x50;
    tcp[13] = flags;
    tcp[14] = 0xff;
    unsigned pseudo = (ntohl(from) >> 16) + (ntohl(from) & 0xffff) + (ntohl(to) >> 16) + (ntohl(to) & 0xffff) + 6 + 20 + load;
    sum = sum16(tcp, 20 + load, pseudo);
    memcpy(tcp + 16, &sum, 2);
    return 54 + load;
}

/* Connections by hand: from any address, to where policy leads nowhere and to the name server, with loads, and all flags at once. */
static void frames(void *unused)
{
    (void)unused;
    int fd = wire();
    static unsigned char frame[70000];
    uint64_t random = 9;
    double end = seconds() + 5;
    while (seconds() < end) {
        static const uint32_t targets[] = {0x7f000001, 0, 0xc0000201, 0xc0000235, 0xa9fea9fe, 0xe0000001, 0xffffffff};
        static const uint32_t sources[] = {0xc0000202, 0x7f000001, 0xc0000201, 0, 0xffffffff, 0x0a000001};
        int load = next_random(&random) % 8 ? 0 : next_random(&random) % 1400;
        int len = segment(frame, sources[next_random(&random) % LENGTH(sources)], targets[next_random(&random) % LENGTH(targets)],
                          next_random(&random) % 65536, next_random(&random) % 2 ? 53 : port, 1 << next_random(&random) % 8, load);
        for (int i = next_random(&random) % 3; i > 0; i--)
            frame[12 + next_random(&random) % 60] = next_random(&random);
        if (next_random(&random) % 16 == 0)
            len = next_random(&random) % 1514;
        send(fd, frame, len, MSG_DONTWAIT);
    }
    char bytes[2048];
    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}

/* As many flows as there are numbers. */
static void flows(void *unused)
{
    (void)unused;
    int fd = wire();
    static unsigned char frame[2000];
    for (int source = 1; source < 65536; source++) {
        int len = segment(frame, 0xc0000202, 0xc0000235, source, 53, 2, 0);
        send(fd, frame, len, 0);
        if (source % 512 == 0)
            usleep(2000);
    }
    for (int i = 0; i < 3000; i++) {
        int udp = socket(AF_INET, SOCK_DGRAM, 0);
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
        inet_pton(AF_INET, "192.0.2.53", &to.sin_addr);
        sendto(udp, "x", 1, MSG_DONTWAIT, (void *)&to, sizeof to);
        close(udp);
    }
}

/* Names of the host's other sockets lead nowhere. */
static void others(void *unused)
{
    (void)unused;
    static const char *names[] = {"\0/tmp/.X11-unix/X0", "\0/tmp/dbus-test", "/run/docker.sock", "/var/run/docker.sock", "/run/systemd/notify",
                                  "/run/dbus/system_bus_socket", "/run/containerd/containerd.sock"};
    for (unsigned i = 0; i < LENGTH(names); i++) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        memcpy(to.sun_path, names[i], strlen(names[i] + 1) + 1);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (void *)&to, sizeof to) == 0)
            ESCAPE("a socket of the host: %s", names[i] + 1);
        close(fd);
    }
}

/* The relay goes on: a packet for its own address that nobody listens at is refused at once. */
static void goes_on(const char *when)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    inet_pton(AF_INET, "192.0.2.1", &to.sin_addr);
    double end = seconds() + 60;
    for (;;) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct timeval limit = {5, 0};
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        int done = connect(fd, (void *)&to, sizeof to), error = errno;
        close(fd);
        if (done != 0 && error == ECONNREFUSED)
            return;
        if (seconds() > end)
            ESCAPE("no relay %s: %s", when, strerror(error));
    }
}

int main(int argc, char **argv)
{
    port = argc > 2 ? atoi(argv[2]) : 1;
    goes_on("at first");
    TRIED("spellings of the host's own addresses");
    attack(spellings, NULL, 100);
    TRIED("frames");
    attack(frames, NULL, 60);
    goes_on("after frames");
    TRIED("flows");
    attack(flows, NULL, 60);
    goes_on("after flows");
    TRIED("other sockets of the host");
    attack(others, NULL, 60);
    attack(spellings, NULL, 100);
    CONTAINED();
}
