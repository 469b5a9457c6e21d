/* Pipes, fifos, eventfd, signalfd, timerfd, poll, select, epoll. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

static void pipes(void)
{
    int fds[2], n;
    char buf[100000];
    CHECK(pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0);
    FAILS(read(fds[0], buf, 1), EAGAIN);
    memset(buf, 'p', sizeof buf);
    CHECK(write(fds[1], buf, sizeof buf) == 65536);
    FAILS(write(fds[1], buf, 1), EAGAIN);
    CHECK(ioctl(fds[0], FIONREAD, &n) == 0 && n == 65536);
    CHECK(fcntl(fds[0], F_GETPIPE_SZ) == 65536);
    CHECK(read(fds[0], buf, sizeof buf) == 65536);
    close(fds[1]);
    CHECK(read(fds[0], buf, 1) == 0);
    close(fds[0]);
    CHECK(pipe(fds) == 0);
    close(fds[0]);
    signal(SIGPIPE, SIG_IGN);
    FAILS(write(fds[1], "x", 1), EPIPE);
    signal(SIGPIPE, SIG_DFL);
    close(fds[1]);
    CHECK(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        for (int i = 0; i < 300; i++)
            CHECK(write(fds[1], buf, 5000) == 5000);
        _exit(0);
    }
    close(fds[1]);
    size_t total = 0;
    ssize_t got;
    while ((got = read(fds[0], buf, sizeof buf)) > 0)
        total += got;
    CHECK(total == 300 * 5000);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    close(fds[0]);
}

static void fifos(void)
{
    char name[64];
    snprintf(name, sizeof name, "/tmp/guest-fifo-%d", getpid());
    CHECK(mkfifo(name, 0600) == 0);
    FAILS(open(name, O_WRONLY | O_NONBLOCK), ENXIO);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(name, O_WRONLY);
        CHECK(fd >= 0 && write(fd, "fifo", 4) == 4);
        _exit(0);
    }
    int fd = open(name, O_RDONLY);
    char buf[8];
    CHECK(fd >= 0 && read(fd, buf, 8) == 4 && read(fd, buf, 8) == 0);
    waitpid(pid, NULL, 0);
    close(fd);
    unlink(name);
}

static void event_files(void)
{
    uint64_t value = 3;
    int fd = eventfd(0, EFD_NONBLOCK);
    FAILS(read(fd, &value, 8), EAGAIN);
    CHECK(write(fd, &value, 8) == 8 && write(fd, &value, 8) == 8);
    CHECK(read(fd, &value, 8) == 8 && value == 6);
    FAILS(read(fd, &value, 4), EINVAL);
    close(fd);
    fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    CHECK(read(fd, &value, 8) == 8 && value == 1 && read(fd, &value, 8) == 8);
    FAILS(read(fd, &value, 8), EAGAIN);
    close(fd);

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_NONBLOCK);
    struct signalfd_siginfo info;
    FAILS(read(fd, &info, sizeof info), EAGAIN);
    raise(SIGUSR1);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    CHECK(poll(&p, 1, 0) == 1 && read(fd, &info, sizeof info) == sizeof info && info.ssi_signo == SIGUSR1);
    close(fd);

    fd = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec spec = {.it_value = {0, 5000000}, .it_interval = {0, 5000000}};
    CHECK(timerfd_settime(fd, 0, &spec, NULL) == 0);
    CHECK(read(fd, &value, 8) == 8 && value >= 1);
    usleep(20000);
    CHECK(read(fd, &value, 8) == 8 && value >= 3);
    struct itimerspec left;
    CHECK(timerfd_gettime(fd, &left) == 0 && left.it_interval.tv_nsec == 5000000);
    close(fd);
}

static void poll_and_select(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    struct pollfd p[3] = {{fds[0], POLLIN, 0}, {fds[1], POLLOUT, 0}, {-1, POLLIN, 0}};
    CHECK(poll(p, 3, 0) == 1 && p[0].revents == 0 && p[1].revents == POLLOUT);
    CHECK(write(fds[1], "x", 1) == 1);
    CHECK(poll(p, 3, -1) == 2 && p[0].revents == POLLIN);
    struct pollfd bad = {77, POLLIN, 0};
    CHECK(poll(&bad, 1, 0) == 1 && bad.revents == POLLNVAL);
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(fds[0], &readable);
    struct timeval zero = {0, 0};
    CHECK(select(fds[0] + 1, &readable, NULL, NULL, &zero) == 1 && FD_ISSET(fds[0], &readable));
    close(fds[1]);
    char byte;
    CHECK(read(fds[0], &byte, 1) == 1);
    CHECK(poll(p, 1, -1) == 1 && p[0].revents == POLLHUP);
    struct timespec before, after, wait = {0, 20000000};
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK(ppoll(NULL, 0, &wait, NULL) == 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec >= 20000000);
    close(fds[0]);
}

static void *late_writer(void *arg)
{
    usleep(10000);
    CHECK(write(*(int *)arg, "w", 1) == 1);
    return NULL;
}

static void epolls(void)
{
    int fds[2], ep = epoll_create1(EPOLL_CLOEXEC);
    CHECK(ep >= 0 && pipe(fds) == 0);
    struct epoll_event add = {.events = EPOLLIN, .data.u64 = 0x123456789}, out[4];
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &add) == 0);
    FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], &add), EEXIST);
    FAILS(epoll_ctl(ep, EPOLL_CTL_MOD, fds[1], &add), ENOENT);
    FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &add), EINVAL);
    CHECK(epoll_wait(ep, out, 4, 0) == 0);
    pthread_t thread;
    pthread_create(&thread, NULL, late_writer, &fds[1]);
    CHECK(epoll_wait(ep, out, 4, -1) == 1 && out[0].data.u64 == 0x123456789 && out[0].events == EPOLLIN);
    CHECK(epoll_wait(ep, out, 4, 0) == 1);
    pthread_join(thread, NULL);
    add.events = EPOLLIN | EPOLLET;
    CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], &add) == 0);
    CHECK(epoll_wait(ep, out, 4, 0) == 1 && epoll_wait(ep, out, 4, 0) == 0);
    CHECK(write(fds[1], "y", 1) == 1 && epoll_wait(ep, out, 4, 0) == 1 && epoll_wait(ep, out, 4, 0) == 0);
    add.events = EPOLLIN | EPOLLONESHOT;
    CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], &add) == 0);
    CHECK(epoll_wait(ep, out, 4, 0) == 1 && epoll_wait(ep, out, 4, 0) == 0);
    int outer = epoll_create1(0);
    add.events = EPOLLIN;
    CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], &add) == 0);
    CHECK(epoll_ctl(outer, EPOLL_CTL_ADD, ep, &add) == 0 && epoll_wait(outer, out, 4, 0) == 1);
    FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, outer, &add), ELOOP);
    close(fds[1]);
    char buf[8];
    CHECK(read(fds[0], buf, 8) == 2);
    CHECK(epoll_wait(ep, out, 4, 0) == 1 && out[0].events == EPOLLHUP);
    close(fds[0]);
    CHECK(epoll_wait(ep, out, 4, 0) == 0);
    int file = open("/etc/passwd", O_RDONLY);
    FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, file, &add), EPERM);
    close(file);
    close(ep);
    close(outer);
}

static void ping_pong(void)
{
    int a[2], b[2];
    char byte = 'x';
    CHECK(pipe(a) == 0 && pipe(b) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 5000; i++) {
            CHECK(read(a[0], &byte, 1) == 1);
            CHECK(write(b[1], &byte, 1) == 1);
        }
        _exit(0);
    }
    for (int i = 0; i < 5000; i++) {
        CHECK(write(a[1], &byte, 1) == 1);
        CHECK(read(b[0], &byte, 1) == 1);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(void)
{
    pipes();
    fifos();
    event_files();
    poll_and_select();
    epolls();
    ping_pong();
    OK();
}
