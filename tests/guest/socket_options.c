// What getsockopt(2) and setsockopt(2) answer for every option of socket(7), ip(7), ipv6(7), tcp(7), udp(7), packet(7) and
// netlink(7) on fresh sockets of every kind, with values good and bad: the output must be the same inside.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <netinet/in.h>

struct kind { const char *name; int family, type, protocol; };
static const struct kind kinds[] = {
    {"tcp4", AF_INET, SOCK_STREAM, 0}, {"tcp6", AF_INET6, SOCK_STREAM, 0},
    {"udp4", AF_INET, SOCK_DGRAM, 0}, {"udp6", AF_INET6, SOCK_DGRAM, 0},
    {"raw4", AF_INET, SOCK_RAW, 200}, {"raw6", AF_INET6, SOCK_RAW, 200},
    {"icmp", AF_INET, SOCK_RAW, 1}, {"icmp6", AF_INET6, SOCK_RAW, 58},
    {"unixs", AF_UNIX, SOCK_STREAM, 0}, {"unixd", AF_UNIX, SOCK_DGRAM, 0}, {"unixq", AF_UNIX, SOCK_SEQPACKET, 0},
    {"netlink", AF_NETLINK, SOCK_RAW, 0}, {"packet", AF_PACKET, SOCK_RAW, 0}, {"packetd", AF_PACKET, SOCK_DGRAM, 0},
};
static const int levels[] = {1, 0, 41, 6, 17, 263, 270, 99};

// Options whose values are the machine's (sizes, cookies), or that are not there: a comment in Tegmen's tables says why.
static const struct { int level, from, to; } left_out[] = {
    {1, 7, 8}, {1, 16, 16}, {1, 18, 18}, {1, 28, 28}, {1, 34, 34}, {1, 42, 43}, {1, 50, 53}, {1, 55, 55}, {1, 57, 57},
    {1, 60, 60}, {1, 76, 99},
    {0, 4, 5}, {0, 16, 17}, {0, 22, 22}, {0, 32, 32}, {0, 35, 49}, {0, 52, 52}, {0, 64, 99},
    {41, 1, 1}, {41, 6, 7}, {41, 17, 18}, {41, 20, 22}, {41, 26, 26}, {41, 32, 32}, {41, 34, 36}, {41, 42, 48}, {41, 54, 55},
    {41, 57, 57}, {41, 59, 59}, {41, 61, 61}, {41, 64, 65}, {41, 67, 69}, {41, 76, 76}, {41, 80, 99},
    {6, 11, 11}, {6, 13, 14}, {6, 19, 22}, {6, 24, 26}, {6, 28, 29}, {6, 32, 33}, {6, 35, 35}, {6, 38, 99},
    {263, 1, 7}, {263, 11, 99}, {270, 9, 9},
};

static int is_left_out(const struct kind *kind, int level, int name) {
    for (unsigned i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if (left_out[i].level == level && left_out[i].from <= name && name <= left_out[i].to) return 1;
    int inet = kind->family == AF_INET || kind->family == AF_INET6;
    int fits = level == 1 || (level == 0 && inet && (kind->family == AF_INET || kind->type != SOCK_RAW)) ||
               (level == 41 && kind->family == AF_INET6) || (level == 6 && inet && kind->type == SOCK_STREAM) ||
               (level == 17 && inet && kind->type == SOCK_DGRAM) || (level == 263 && kind->family == AF_PACKET) ||
               (level == 270 && kind->family == AF_NETLINK);
    // Levels of others: a few are enough.
    if (!fits && name > 2) return 1;
    // Raw sockets come with address reuse.
    return kind->type == SOCK_RAW && level == 1 && name == 2;
}

static void get(int fd, int level, int name, int room) {
    unsigned char value[512];
    socklen_t len = room;
    memset(value, 0xee, sizeof value);
    if (getsockopt(fd, level, name, value, &len) < 0) {
        printf(" g%d:E%d", room, errno);
        return;
    }
    printf(" g%d:%d=", room, (int)len);
    for (unsigned i = 0; i < len && i < 24; i++) printf("%02x", value[i]);
}

static void set(int fd, int level, int name, int value, int len) {
    unsigned char buf[64] = {0};
    memcpy(buf, &value, 4);
    int r = setsockopt(fd, level, name, buf, len);
    printf(" s%d/%d:%s%d", value, len, r < 0 ? "E" : "", r < 0 ? errno : 0);
}

int main(void) {
    for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (unsigned l = 0; l < sizeof levels / sizeof *levels; l++)
            for (int name = 0; name < 100; name++) {
                int level = levels[l];
                if (is_left_out(&kinds[k], level, name)) continue;
                int fd = socket(kinds[k].family, kinds[k].type, kinds[k].protocol);
                if (fd < 0) { printf("%s: E%d\n", kinds[k].name, errno); goto next; }
                printf("%s %d/%d:", kinds[k].name, level, name);
                get(fd, level, name, 4);
                get(fd, level, name, 64);
                get(fd, level, name, 1);
                set(fd, level, name, 1, 4); get(fd, level, name, 4);
                set(fd, level, name, 0, 4); get(fd, level, name, 4);
                set(fd, level, name, 70000, 4); get(fd, level, name, 4);
                set(fd, level, name, -1, 4); get(fd, level, name, 4);
                set(fd, level, name, 2, 1); set(fd, level, name, 5, 16); get(fd, level, name, 4);
                set(fd, level, name, 1, 0);
                printf("\n");
                close(fd);
            }
next:;
    return 0;
}
