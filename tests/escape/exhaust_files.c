/* As many names, mounts, watches, pipes and epoll sets as one may have; deep directories, long paths, loops of links. */
#include "escape.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/xattr.h>

static void deep(void *unused)
{
    (void)unused;
    int depth = 0;
    mkdir("/tmp/deep", 0700);
    chdir("/tmp/deep");
    while (depth < 5000 && mkdir("d", 0700) == 0 && chdir("d") == 0)
        depth++;
    printf("%d directories deep, then %s\n", depth, strerror(errno));
    char path[8192];
    REFUSED(syscall(SYS_getcwd, path, sizeof path) > 4096 ? 0 : -1);
    for (int i = 0; i < 4000; i++)
        if (chdir("..") != 0)
            ESCAPE("no way back");
    int up = open("/tmp/deep", O_RDONLY | O_DIRECTORY);
    rename("/tmp/deep", "/tmp/deep/d/d/d");
    symlink("..", "/tmp/deep/up");
    fchdir(up);
}

static void paths(void *unused)
{
    (void)unused;
    char *path = malloc(1 << 20);
    for (int i = 0; i < (1 << 20) - 1; i++)
        path[i] = "./"[i & 1];
    path[(1 << 20) - 1] = 0;
    REFUSED(open(path, O_RDONLY));
    path[4095] = 0;
    open(path, O_RDONLY);
    memset(path, '/', 4094);
    open(path, O_RDONLY);
    memset(path, 'a', 5000);
    path[300] = 0;
    REFUSED(open(path, O_RDONLY | O_CREAT, 0600));
    symlink("/tmp/loop2", "/tmp/loop1");
    symlink("/tmp/loop1", "/tmp/loop2");
    REFUSED(open("/tmp/loop1", O_RDONLY));
    REFUSED(open("/tmp/loop1/a/b", O_RDONLY));
    /* Links that double: l1 = l0/l0, l2 = l1/l1 … */
    mkdir("/tmp/bomb", 0700);
    chdir("/tmp/bomb");
    symlink(".", "l0");
    for (int i = 1; i < 40; i++) {
        char from[32], to[64];
        snprintf(from, sizeof from, "l%d", i);
        snprintf(to, sizeof to, "l%d/l%d", i - 1, i - 1);
        symlink(to, from);
    }
    REFUSED(open("l39", O_RDONLY));
    REFUSED(access("l20", F_OK));
    /* Paths of 4095 bytes through links of 4095 bytes. */
    char *text = malloc(4096);
    memset(text, '/', 4095);
    text[4095] = 0;
    symlink(text, "long");
    for (int i = 0; i < 100; i++)
        access("long/tmp/bomb/long", F_OK);
}

static void names(void *unused)
{
    (void)unused;
    int count = 0;
    char name[64];
    mkdir("/dev/shm/many", 0700);
    chdir("/dev/shm/many");
    for (; count < 5000; count++) {
        snprintf(name, sizeof name, "file-%d", count);
        int fd = open(name, O_CREAT | O_WRONLY, 0600);
        if (fd < 0)
            break;
        close(fd);
    }
    printf("%d files, then %s\n", count, strerror(errno));
    int links = 0;
    for (; links < 100000; links++) {
        snprintf(name, sizeof name, "link-%d", links);
        if (link("file-0", name) != 0)
            break;
    }
    printf("%d links, then %s\n", links, strerror(errno));
    int attributes = 0;
    static char value[65536];
    for (; attributes < 2000; attributes++) {
        snprintf(name, sizeof name, "user.%d", attributes);
        if (setxattr("file-1", name, value, sizeof value, 0) != 0)
            break;
    }
    printf("%d attributes, then %s\n", attributes, strerror(errno));
    REFUSED(setxattr("file-1", "user.big", value, 65537, 0));
    REFUSED(setxattr("file-1", "user.big", value, -1UL, 0));
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "file-%d", i);
        unlink(name);
    }
}

static void mounts(void *unused)
{
    (void)unused;
    int count = 0;
    mkdir("/tmp/m", 0700);
    /* A stack of them, then one beside the other. */
    while (count < 500 && mount("none", "/tmp/m", "tmpfs", 0, "size=4k") == 0)
        count++;
    for (char path[64]; count < 30000; count++) {
        snprintf(path, sizeof path, "/tmp/m%d", count);
        if (mkdir(path, 0700) != 0 || mount("none", path, "tmpfs", 0, "size=4k") != 0)
            break;
    }
    if (count >= 30000)
        ESCAPE("mounts without end");
    printf("%d mounts, then %s\n", count, strerror(errno));
    /* Doubling: each recursive bind of the root copies all. */
    mkdir("/tmp/r", 0700);
    int doubled = 0;
    while (doubled < 40 && mount("/", "/tmp/r", NULL, MS_BIND | MS_REC, NULL) == 0)
        doubled++;
    printf("%d doublings, then %s\n", doubled, strerror(errno));
    char bytes[65536];
    int fd = open("/proc/self/mountinfo", O_RDONLY);
    long total = 0, got;
    while ((got = read(fd, bytes, sizeof bytes)) > 0)
        total += got;
    printf("mountinfo has %ld bytes\n", total);
    umount2("/tmp/r", MNT_DETACH);
    while (umount2("/tmp/m", MNT_DETACH) == 0) {
    }
}

static void watches(void *unused)
{
    (void)unused;
    int instances = 0, count = 0;
    int last = inotify_init1(IN_NONBLOCK);
    char path[64];
    for (; count < 2000; count++) {
        snprintf(path, sizeof path, "/tmp/w%d", count);
        if (mkdir(path, 0700) != 0 || inotify_add_watch(last, path, IN_ALL_EVENTS) < 0)
            break;
        rmdir(path);
    }
    printf("%d watches, then %s\n", count, strerror(errno));
    inotify_add_watch(last, "/tmp", IN_ALL_EVENTS);
    for (int i = 0; i < 4000; i++) {
        snprintf(path, sizeof path, "/tmp/w%d", i & 1);
        if (mkdir(path, 0700) == 0)
            rmdir(path);
    }
    while (inotify_init() >= 0)
        instances++;
    printf("%d instances, then %s\n", instances, strerror(errno));
}

static void epolls(void *unused)
{
    (void)unused;
    struct epoll_event event = {EPOLLIN, {0}};
    int first = epoll_create1(0), previous = first, depth = 0;
    REFUSED(epoll_ctl(first, EPOLL_CTL_ADD, first, &event));
    for (; depth < 1000; depth++) {
        int next = epoll_create1(0);
        if (epoll_ctl(next, EPOLL_CTL_ADD, previous, &event) != 0)
            break;
        previous = next;
    }
    printf("%d nested, then %s\n", depth, strerror(errno));
    if (depth >= 1000)
        ESCAPE("epoll sets nest without end");
    REFUSED(epoll_ctl(first, EPOLL_CTL_ADD, previous, &event));
    /* Wide, two levels: each wake-up would go through a million. */
    int wide[200], source = eventfd(0, EFD_NONBLOCK);
    for (int i = 0; i < 200; i++) {
        wide[i] = epoll_create1(0);
        epoll_ctl(wide[i], EPOLL_CTL_ADD, source, &event);
    }
    int top[50];
    for (int i = 0; i < 50; i++) {
        top[i] = epoll_create1(0);
        for (int k = 0; k < 200; k++)
            epoll_ctl(top[i], EPOLL_CTL_ADD, wide[k], &event);
    }
    for (int i = 0; i < 200; i++) {
        uint64_t one = 1;
        write(source, &one, 8);
        read(source, &one, 8);
    }
    epoll_wait(top[0], &event, 1, 0);
    REFUSED(epoll_wait(top[0], &event, 0x7fffffff, 0));
    REFUSED(epoll_create(-1));
}

static void pipes(void *unused)
{
    (void)unused;
    static char bytes[1 << 20];
    int count = 0, fds[2], huge = 0;
    long total = 0;
    while (count < 50000 && pipe2(fds, O_NONBLOCK) == 0) {
        count++;
        if (fcntl(fds[0], F_SETPIPE_SZ, 1 << 20) >= 0)
            huge++;
        if (count < 600) {
            long got = write(fds[1], bytes, sizeof bytes);
            total += got > 0 ? got : 0;
        }
    }
    printf("%d pipes (%d of 1 MiB), %ld MiB in them, then %s\n", count, huge, total >> 20, strerror(errno));
    REFUSED(fcntl(fds[0], F_SETPIPE_SZ, 0x7fffffff));
    REFUSED(fcntl(fds[0], F_SETPIPE_SZ, -1));
}

static void sockets(void *unused)
{
    (void)unused;
    static char bytes[200000];
    long total = 0;
    for (int i = 0; i < 3000; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0)
            break;
        setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &(int){0x7fffffff}, 4);
        if (i < 400)
            for (long got; (got = write(pair[0], bytes, sizeof bytes)) > 0;)
                total += got;
    }
    printf("%ld MiB in sockets\n", total >> 20);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr name = {AF_UNIX, "\0backlog"};
    bind(listener, &name, 10);
    listen(listener, 0x7fffffff);
    int waiting = 0;
    for (; waiting < 20000; waiting++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, &name, 10) != 0)
            break;
        close(fd);
    }
    printf("%d connections waiting, then %s\n", waiting, strerror(errno));
}

static void floods(void *unused)
{
    /* Three processes take every descriptor that the sentry can give. */
    (void)unused;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < 2; i++)
        fork();
    long count = 0;
    while (open("/etc/passwd", O_RDONLY) >= 0)
        count++;
    printf("%ld files, then %s\n", count, strerror(errno));
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    memfd_create("x", 0);
    mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    while (wait(NULL) > 0) {
    }
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void *);
    } all[] = {{"deep directories", deep}, {"path bombs", paths}, {"names", names}, {"mounts", mounts}, {"watches", watches}, {"epoll", epolls}, {"pipes", pipes}, {"sockets", sockets}, {"descriptor floods", floods}};
    for (unsigned i = 0; i < LENGTH(all); i++) {
        double start = seconds();
        int status = attack(all[i].run, NULL, 100);
        TRIED("%s: %#x, %.1f s", all[i].name, status, seconds() - start);
    }
    int fd = open("/etc/passwd", O_RDONLY);
    if (fd < 0)
        ESCAPE("files cannot be opened any more: %s", strerror(errno));
    CONTAINED();
}
