/* Signals about files: O_ASYNC, F_SETSIG, F_NOTIFY, leases; mq_notify by a thread, RLIMIT_CPU, EPOLLEXCLUSIVE. */
#include "check.h"
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static siginfo_t await(int signal, int seconds)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    siginfo_t info = {0};
    struct timespec limit = {seconds, 0};
    int got = sigtimedwait(&set, &info, &limit);
    if (got != signal)
        info.si_signo = 0;
    return info;
}

static void asynchronous(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0 && fcntl(fds[0], F_SETOWN, getpid()) == 0);
    CHECK(fcntl(fds[0], F_SETSIG, SIGRTMIN + 1) == 0 && fcntl(fds[0], F_SETFL, O_ASYNC) == 0);
    CHECK((fcntl(fds[0], F_GETFL) & O_ASYNC) != 0);
    CHECK(write(fds[1], "x", 1) == 1);
    siginfo_t info = await(SIGRTMIN + 1, 5);
    CHECK(info.si_signo == SIGRTMIN + 1 && info.si_code == POLL_IN && info.si_fd == fds[0]);
    CHECK(info.si_band & EPOLLIN);
    CHECK(fcntl(fds[0], F_SETFL, 0) == 0 && write(fds[1], "x", 1) == 1);
    CHECK(await(SIGRTMIN + 1, 0).si_signo == 0);
    close(fds[0]);
    close(fds[1]);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    int on = 1;
    CHECK(fcntl(fds[0], F_SETOWN, getpid()) == 0 && ioctl(fds[0], FIOASYNC, &on) == 0);
    CHECK(write(fds[1], "x", 1) == 1 && await(SIGIO, 5).si_signo == SIGIO);
    close(fds[0]);
    close(fds[1]);
}

static void directories(void)
{
    char name[] = "/tmp/file-signals-XXXXXX", path[64];
    CHECK(mkdtemp(name));
    int dir = open(name, O_RDONLY);
    FAILS(fcntl(0, F_NOTIFY, DN_CREATE), ENOTDIR);
    CHECK(fcntl(dir, F_SETSIG, SIGRTMIN + 2) == 0);
    CHECK(fcntl(dir, F_NOTIFY, DN_CREATE | DN_MULTISHOT) == 0);
    snprintf(path, sizeof path, "%s/a", name);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    siginfo_t info = await(SIGRTMIN + 2, 5);
    CHECK(info.si_signo == SIGRTMIN + 2 && info.si_fd == dir);
    CHECK(fcntl(dir, F_NOTIFY, 0) == 0 && unlink(path) == 0);
    CHECK(await(SIGRTMIN + 2, 0).si_signo == 0);
    close(dir);
    CHECK(rmdir(name) == 0);
}

static void leases(void)
{
    char name[] = "/tmp/lease-XXXXXX";
    int fd = mkstemp(name);
    FAILS(fcntl(fd, F_SETLEASE, F_RDLCK), EAGAIN);
    CHECK(fcntl(fd, F_SETLEASE, F_WRLCK) == 0 && fcntl(fd, F_GETLEASE) == F_WRLCK);
    CHECK(fcntl(fd, F_SETSIG, SIGRTMIN + 3) == 0);
    pid_t child = fork();
    if (child == 0) {
        FAILS(open(name, O_RDONLY | O_NONBLOCK), EWOULDBLOCK);
        int own = open(name, O_RDONLY);
        _exit(own >= 0 ? 0 : 1);
    }
    siginfo_t info = await(SIGRTMIN + 3, 5);
    CHECK(info.si_signo == SIGRTMIN + 3 && info.si_fd == fd && fcntl(fd, F_GETLEASE) == F_RDLCK);
    CHECK(fcntl(fd, F_SETLEASE, F_UNLCK) == 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(fcntl(fd, F_GETLEASE) == F_UNLCK);
    FAILS(fcntl(fd, F_SETLEASE, F_UNLCK), EAGAIN);
    close(fd);
    fd = open(name, O_RDONLY);
    CHECK(fcntl(fd, F_SETLEASE, F_RDLCK) == 0);
    int other = open(name, O_RDONLY);
    CHECK(other >= 0);
    FAILS(fcntl(fd, F_SETLEASE, F_WRLCK), EAGAIN);
    FAILS(open(name, O_WRONLY | O_NONBLOCK), EWOULDBLOCK);
    CHECK(await(SIGIO, 5).si_signo == SIGIO && fcntl(fd, F_GETLEASE) == F_UNLCK);
    close(fd);
    close(other);
    CHECK(unlink(name) == 0);
}

static void records(void)
{
    char name[] = "/tmp/record-XXXXXX";
    int fd = mkstemp(name);
    struct flock lock = {.l_type = F_WRLCK, .l_start = 10, .l_len = 5};
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    lock.l_start = 2;
    CHECK(fcntl(fd, F_SETLK, &lock) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct flock ask = {.l_type = F_WRLCK};
        CHECK(fcntl(fd, F_GETLK, &ask) == 0 && ask.l_start == 2 && ask.l_pid == getppid());
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(fd);
    unlink(name);
}

static volatile int told;

static void by_thread(union sigval value)
{
    told = value.sival_int;
}

static void queues(void)
{
    mq_unlink("/file-signals");
    mqd_t queue = mq_open("/file-signals", O_CREAT | O_RDWR, 0600, NULL);
    CHECK(queue >= 0);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_value.sival_int = 42};
    event.sigev_notify_function = by_thread;
    CHECK(mq_notify(queue, &event) == 0);
    FAILS(mq_notify(queue, &event), EBUSY);
    CHECK(mq_send(queue, "hi", 2, 0) == 0);
    for (int i = 0; i < 500 && told != 42; i++)
        usleep(10000);
    CHECK(told == 42);
    CHECK(mq_close(queue) == 0 && mq_unlink("/file-signals") == 0);
}

static void cpu_limit(void)
{
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {1, 2};
        CHECK(setrlimit(RLIMIT_CPU, &limit) == 0);
        signal(SIGXCPU, SIG_IGN);
        for (;;)
            ;
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    child = fork();
    if (child == 0) {
        struct rlimit limit = {1, RLIM_INFINITY};
        CHECK(setrlimit(RLIMIT_CPU, &limit) == 0);
        for (;;)
            ;
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU);
}

/* One event wakes one of those who wait for it alone. */
static void exclusive(void)
{
    int fds[2], results[2];
    CHECK(pipe(fds) == 0 && pipe(results) == 0);
    pid_t children[4];
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            int epoll = epoll_create1(0);
            struct epoll_event event = {.events = EPOLLIN | EPOLLET | EPOLLEXCLUSIVE};
            CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &event) == 0);
            int got = epoll_wait(epoll, &event, 1, 1500);
            _exit(got == 1 && write(results[1], "w", 1) == 1 ? 0 : 1);
        }
    }
    usleep(500000);
    CHECK(write(fds[1], "x", 1) == 1);
    int woken = 0, status;
    for (int i = 0; i < 4; i++) {
        CHECK(waitpid(children[i], &status, 0) == children[i]);
        woken += status == 0;
    }
    CHECK(woken == 1);
}

int main(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (int signal = SIGRTMIN; signal < SIGRTMIN + 8; signal++)
        sigaddset(&set, signal);
    sigaddset(&set, SIGIO);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    asynchronous();
    directories();
    leases();
    records();
    queues();
    exclusive();
    cpu_limit();
    OK();
}
