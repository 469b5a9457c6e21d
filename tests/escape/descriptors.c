/* Descriptors: those that are not ours, all numbers, floods, sockets inside themselves, magic links. */
#include "escape.h"
#include <dirent.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

static int send_fds(int socket, const int *fds, int count)
{
    char byte = 0, control[CMSG_SPACE(sizeof(int) * 300)];
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
    return sendmsg(socket, &message, MSG_DONTWAIT);
}

static void foreign_numbers(void *unused)
{
    (void)unused;
    char bytes[64];
    struct stat st;
    /* Only 0, 1 and 2 are ours; the sentry's own have such numbers at the host. */
    syscall(SYS_close_range, 3, 70000, 0);
    for (int fd = 3; fd < 70000; fd++) {
        if (fcntl(fd, F_GETFD) != -1 || read(fd, bytes, 1) >= 0 || fstat(fd, &st) == 0)
            ESCAPE("descriptor %d is there", fd);
        if (fd < 300) {
            REFUSED(dup(fd));
            REFUSED(ioctl(fd, FIONREAD, bytes));
            REFUSED(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
            REFUSED(syscall(SYS_pidfd_getfd, fd, 0, 0));
            char path[64];
            snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
            REFUSED(open(path, O_RDONLY));
            snprintf(path, sizeof path, "/dev/fd/%d", fd);
            REFUSED(open(path, O_RDONLY));
        }
    }
    for (int fd = -5; fd < 0; fd++)
        REFUSED(dup2(1, fd));
    REFUSED(dup2(1, 0x7fffffff));
    REFUSED(dup3(1, -1, O_CLOEXEC));
    REFUSED(fcntl(1, F_DUPFD, 0x7fffffff));
}

static void dup_over(void *unused)
{
    (void)unused;
    int null = open("/dev/null", O_RDWR);
    for (int fd = 3; fd < 1000; fd++)
        dup2(null, fd);
    /* The engine's orders name descriptors of the sentry: mappings must still work and be right. */
    int own = open("/tmp/mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (own < 0)
        own = dup2(open("/tmp/mapped", O_RDWR | O_CREAT, 0600), 999);
    if (write(own, "mine", 4) == 4) {
        char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, own, 0);
        if (p == MAP_FAILED || memcmp(p, "mine", 4) != 0)
            ESCAPE("a mapping shows another file");
    }
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    int status;
    waitpid(child, &status, 0);
    if (status != 7 << 8)
        ESCAPE("fork after dup2: %#x", status);
}

static void flood(void *unused)
{
    (void)unused;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int count = 0, last = 0;
    while (count < 200000 && (last = open("/dev/null", O_RDONLY)) >= 0)
        count++;
    printf("%d descriptors, then %s\n", count, strerror(errno));
    int files = 0;
    for (int fd = 3; fd < count; fd++)
        close(fd);
    while (files < 200000 && (last = open("/etc/passwd", O_RDONLY)) >= 0)
        files++;
    printf("%d open files, then %s\n", files, strerror(errno));
    if (fork() == 0)
        _exit(0);
}

static void in_flight(void *unused)
{
    (void)unused;
    /* A socket that holds itself, thousands of times, and chains of sockets in sockets. */
    int sent = 0;
    for (int round = 0; round < 3000; round++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) != 0)
            break;
        int both[2] = {pair[0], pair[1]};
        if (send_fds(pair[0], both, 2) >= 0)
            sent++;
        close(pair[0]);
        close(pair[1]);
    }
    int previous[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, previous);
    for (int depth = 0; depth < 20000; depth++) {
        int next[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, next) != 0)
            break;
        if (send_fds(next[0], previous, 2) < 0)
            break;
        sent++;
        close(previous[0]);
        close(previous[1]);
        memcpy(previous, next, sizeof next);
    }
    close(previous[0]);
    close(previous[1]);
    int many[254], pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    for (int i = 0; i < 253; i++)
        many[i] = pair[i & 1];
    while (send_fds(pair[0], many, 253) >= 0 && sent < 200000)
        sent++;
    printf("%d messages with descriptors, then %s\n", sent, strerror(errno));
    int too_many[300];
    memset(too_many, 0, sizeof too_many);
    REFUSED(send_fds(pair[0], too_many, 300));
}

static void magic_links(void)
{
    static const char *links[] = {"/proc/self/exe", "/proc/self/cwd", "/proc/self/root", "/proc/1/root", "/proc/1/cwd", "/proc/1/exe", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "/proc/self/ns/mnt", "/proc/self/ns/pid", "/proc/self/ns/user", "/proc/self/ns/net"};
    for (unsigned i = 0; i < LENGTH(links); i++) {
        char target[4096];
        long len = readlink(links[i], target, sizeof target - 1);
        if (len > 0) {
            target[len] = 0;
            printf("%s -> %s\n", links[i], target);
        }
        char up[256];
        snprintf(up, sizeof up, "%s/../../../../../../proc/kcore", links[i]);
        int fd = open(up, O_RDONLY);
        if (fd >= 0 && read(fd, target, 64) > 0)
            ESCAPE("%s is readable", up);
    }
    DIR *dir = opendir("/proc/self/map_files");
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char path[512];
        snprintf(path, sizeof path, "/proc/self/map_files/%s", entry->d_name);
        int fd = open(path, O_RDWR);
        if (fd >= 0)
            close(fd);
    }
    int root = open("/proc/self/root", O_PATH | O_DIRECTORY);
    for (int i = 0; i < 64 && root >= 0; i++)
        root = openat(root, "..", O_PATH | O_DIRECTORY);
    struct stat here, there;
    if (root < 0 || fstat(root, &here) || stat("/", &there) || here.st_ino != there.st_ino)
        ESCAPE("above the root there is something else");
}

int main(void)
{
    TRIED("descriptors that are not ours: %#x", attack(foreign_numbers, NULL, 60));
    TRIED("dup2 over everything: %#x", attack(dup_over, NULL, 60));
    TRIED("a flood of descriptors: %#x", attack(flood, NULL, 60));
    TRIED("descriptors in flight: %#x", attack(in_flight, NULL, 60));
    magic_links();
    TRIED("magic links");
    int fd = open("/etc/passwd", O_RDONLY);
    char byte;
    if (fd < 0 || read(fd, &byte, 1) != 1)
        ESCAPE("files cannot be opened any more");
    CONTAINED();
}
