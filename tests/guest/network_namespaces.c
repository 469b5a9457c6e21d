/* Network namespaces: each has its own loopback interface, ports, abstract names, sysctls and lists of sockets. */
#include "check.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <linux/nsfs.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef SIOCGSKNS
#define SIOCGSKNS 0x894c
#endif

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return addr;
}

static ino_t number(void)
{
    struct stat st;
    CHECK(stat("/proc/self/ns/net", &st) == 0);
    return st.st_ino;
}

static uint64_t cookie(int fd)
{
    uint64_t value = 0;
    socklen_t len = sizeof value;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &value, &len) == 0 && len == 8);
    return value;
}

static void lo(int up)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = {.ifr_name = "lo"};
    CHECK(ioctl(fd, SIOCGIFFLAGS, &request) == 0);
    CHECK(!!(request.ifr_flags & IFF_UP) == !up);
    request.ifr_flags ^= IFF_UP;
    CHECK(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
    CHECK(ioctl(fd, SIOCGIFFLAGS, &request) == 0 && !!(request.ifr_flags & IFF_UP) == up);
    close(fd);
}

static int listener(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = loopback(port);
    CHECK(bind(fd, (void *)&addr, sizeof addr) == 0 && listen(fd, 8) == 0);
    return fd;
}

static int reach(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = loopback(port);
    int result = connect(fd, (void *)&addr, sizeof addr);
    int error = errno;
    close(fd);
    return result == 0 ? 0 : error;
}

static int lines(const char *path)
{
    FILE *file = fopen(path, "r");
    CHECK(file);
    int count = 0;
    for (int c; (c = fgetc(file)) != EOF;)
        count += c == '\n';
    fclose(file);
    return count;
}

static int text_is(const char *path, const char *expected)
{
    char text[64] = {0};
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return strcmp(text, expected) == 0;
}

static void addresses(int outer)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(cookie(fd) != cookie(outer));
    struct ifreq request = {.ifr_name = "lo"};
    CHECK(ioctl(fd, SIOCGIFINDEX, &request) == 0 && request.ifr_ifindex == 1);
    FAILS(ioctl(fd, SIOCGIFADDR, &request), EADDRNOTAVAIL);
    struct sockaddr_in addr = loopback(9);
    FAILS(connect(fd, (void *)&addr, sizeof addr), ENETUNREACH);
    CHECK(reach(9) == ENETUNREACH);
    CHECK(lines("/proc/self/net/dev") == 3 && lines("/proc/net/tcp") == 1);
    lo(1);
    CHECK(ioctl(fd, SIOCGIFADDR, &request) == 0);
    CHECK(reach(9) == ECONNREFUSED);
    close(fd);
}

/* Nobody hears what is sent over a loopback interface that is down, though its address stays. */
static void down(void)
{
    lo(0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in addr = loopback(9);
    FAILS(connect(fd, (void *)&addr, sizeof addr), EINPROGRESS);
    close(fd);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(connect(fd, (void *)&addr, sizeof addr) == 0);
    CHECK(send(fd, "x", 1, 0) == 1 && send(fd, "x", 1, 0) == 1);
    close(fd);
    lo(1);
    CHECK(reach(9) == ECONNREFUSED);
}

static socklen_t abstract(struct sockaddr_un *addr, const char *name)
{
    memset(addr, 0, sizeof *addr);
    addr->sun_family = AF_UNIX;
    strcpy(addr->sun_path + 1, name);
    return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
}

static int named(const char *name)
{
    struct sockaddr_un addr;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    socklen_t len = abstract(&addr, name);
    CHECK(bind(fd, (void *)&addr, len) == 0 && listen(fd, 8) == 0);
    return fd;
}

static int connects(const char *name)
{
    struct sockaddr_un addr;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    socklen_t len = abstract(&addr, name);
    int result = connect(fd, (void *)&addr, len);
    close(fd);
    return result == 0;
}

static void sysctls(void)
{
    const char *path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    int fd = open(path, O_WRONLY);
    CHECK(fd >= 0 && write(fd, "99", 2) == 2);
    close(fd);
    CHECK(text_is(path, "99\n"));
}

static char stack[64 << 10] __attribute__((aligned(16)));

static int cloned(void *arg)
{
    CHECK(number() != *(ino_t *)arg);
    CHECK(reach(7001) == ENETUNREACH);
    return 0;
}

/* In a user namespace of one's own, what it owns is one's own too, and nothing else. */
static int unprivileged(void)
{
    CHECK(setresuid(1000, 1000, 1000) == 0);
    if (unshare(CLONE_NEWUSER) != 0)
        return 0;
    FAILS(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
    FAILS(socket(AF_PACKET, SOCK_RAW, 0), EPERM);
    int outer = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = {.ifr_name = "lo"};
    CHECK(ioctl(outer, SIOCGIFFLAGS, &request) == 0);
    FAILS(ioctl(outer, SIOCSIFFLAGS, &request), EPERM);
    FAILS(ioctl(outer, SIOCGSKNS), EPERM);
    CHECK(unshare(CLONE_NEWNET) == 0);
    int raw = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    CHECK(raw >= 0);
    CHECK(socket(AF_PACKET, SOCK_RAW, 0) >= 0);
    lo(1);
    close(listener(80));
    int mark = 7;
    CHECK(setsockopt(raw, SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0);
    FAILS(setsockopt(outer, SOL_SOCKET, SO_MARK, &mark, sizeof mark), EPERM);
    FAILS(ioctl(outer, SIOCSIFFLAGS, &request), EPERM);
    return 0;
}

static void in_child(int (*body)(void))
{
    pid_t child = fork();
    if (child == 0)
        _exit(body());
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(void)
{
    in_child(unprivileged);
    ino_t first = number();
    int start = open("/proc/self/ns/net", O_RDONLY);
    int before = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(unshare(CLONE_NEWNET) == 0 && number() != first);
    int outer = socket(AF_INET, SOCK_STREAM, 0);
    addresses(before);
    int one = open("/proc/self/ns/net", O_RDONLY);
    int port = listener(7001), name = named("net-test");
    CHECK(reach(7001) == 0 && connects("net-test"));
    sysctls();

    ino_t here = number();
    int status;
    pid_t child = clone(cloned, stack + sizeof stack, CLONE_NEWNET | SIGCHLD, &here);
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);

    CHECK(unshare(CLONE_NEWNET) == 0 && number() != here);
    CHECK(text_is("/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024\n"));
    lo(1);
    CHECK(reach(7001) == ECONNREFUSED && !connects("net-test"));
    close(listener(7001));
    close(named("net-test"));
    CHECK(lines("/proc/net/unix") == 1);
    /* A socket stays in the namespace that it was made in. */
    struct sockaddr_in addr = loopback(7001);
    CHECK(connect(outer, (void *)&addr, sizeof addr) == 0);
    int via = ioctl(outer, SIOCGSKNS);
    struct stat st;
    CHECK(via >= 0 && fstat(via, &st) == 0 && st.st_ino == here);
    CHECK(ioctl(via, NS_GET_NSTYPE) == CLONE_NEWNET);
    FAILS(setns(via, CLONE_NEWUTS), EINVAL);
    CHECK(setns(via, CLONE_NEWNET) == 0 && number() == here);
    CHECK(reach(7001) == 0 && connects("net-test"));
    down();
    CHECK(setns(start, 0) == 0 && number() == first);
    CHECK(setns(one, 0) == 0 && number() == here);
    close(port);
    close(name);
    OK();
}
