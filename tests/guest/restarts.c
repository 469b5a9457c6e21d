/* signal(7): which calls go on after a handler with SA_RESTART, and which never do. Prints what each call answered. */
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include "check.h"

static int pipe_[2], full[2], spare[2], pair[2], timed[2], event, epoll, queue, semaphores, locks[2], word;
static char page[65536];
static volatile sig_atomic_t handled;
static volatile int done;

static void on_alarm(int sig)
{
    handled += sig == SIGALRM;
}

static int read_pipe(void) { return read(pipe_[0], page, 1); }
static int readv_pipe(void) { return readv(pipe_[0], &(struct iovec){page, 1}, 1); }
static int splice_pipe(void) { return splice(pipe_[0], NULL, spare[1], NULL, 1, 0); }
static void fill_pipe(void) { CHECK(write(pipe_[1], "x", 1) == 1); }
static int write_pipe(void) { return write(full[1], "y", 1); }
static void drain_pipe(void) { CHECK(read(full[0], page, 4096) > 0); }
static int recv_pair(void) { return recv(pair[0], page, 1, 0); }
static int read_pair(void) { return read(pair[0], page, 1); }
static void send_pair(void) { CHECK(write(pair[1], "x", 1) == 1); }
static int recv_timed(void) { return recv(timed[0], page, 1, 0); }
static int read_timed(void) { return read(timed[0], page, 1); }
static int write_timed(void) { return write(timed[0], page, sizeof page) > 0 ? 1 : -1; }
static int poll_pipe(void) { return poll(&(struct pollfd){pipe_[0], POLLIN, 0}, 1, 200); }
static int epoll_pipe(void) { return epoll_wait(epoll, &(struct epoll_event){0}, 1, 200); }
static int read_event(void) { return read(event, page, 8); }
static void post_event(void) { CHECK(write(event, &(uint64_t){1}, 8) == 8); }
static int pause_(void) { return pause(); }
static int receive_message(void) { return msgrcv(queue, page, 8, 0, 0); }
static void send_message(void) { CHECK(msgsnd(queue, &(long){1}, 0, 0) == 0); }
static int take_semaphore(void) { return semop(semaphores, &(struct sembuf){0, -1, 0}, 1); }
static void give_semaphore(void) { CHECK(semop(semaphores, &(struct sembuf){0, 1, 0}, 1) == 0); }
static int sleep_(void) { return nanosleep(&(struct timespec){0, 200000000}, NULL); }
static int sleep_clock(void) { return syscall(SYS_clock_nanosleep, 1, 0, &(struct timespec){0, 200000000}, NULL); }
static int wait_word(void) { return syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0); }
static int wait_word_timed(void)
{
    return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &(struct timespec){0, 100000000}, NULL, 0);
}
static void wake_word(void) { syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0); }

static int select_pipe(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipe_[0], &set);
    return select(pipe_[0] + 1, &set, NULL, NULL, &(struct timeval){0, 200000});
}

static int suspend(void)
{
    sigset_t none;
    sigemptyset(&none);
    return sigsuspend(&none);
}

static int wait_for_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return sigtimedwait(&set, NULL, &(struct timespec){0, 100000000});
}

static int lock_whole(void)
{
    int got = flock(locks[1], LOCK_EX), error = errno;
    flock(locks[1], LOCK_UN);
    flock(locks[0], LOCK_EX);
    errno = error;
    return got;
}
static void unlock_whole(void) { flock(locks[0], LOCK_UN); }

static int wait_for_child(void)
{
    pid_t child = fork();
    if (child == 0) {
        nanosleep(&(struct timespec){0, 40000000}, NULL);
        _exit(0);
    }
    int got = waitpid(child, NULL, 0), error = errno;
    if (got < 0)
        waitpid(child, NULL, 0);
    errno = error;
    return got > 0 ? 1 : -1;
}

static const struct {
    const char *name;
    int (*call)(void);
    void (*unblock)(void);
} calls[] = {
    {"read of a pipe", read_pipe, fill_pipe},
    {"readv of a pipe", readv_pipe, fill_pipe},
    {"splice of a pipe", splice_pipe, fill_pipe},
    {"write to a pipe", write_pipe, drain_pipe},
    {"recv", recv_pair, send_pair},
    {"read of a socket", read_pair, send_pair},
    {"recv with SO_RCVTIMEO", recv_timed, NULL},
    {"read with SO_RCVTIMEO", read_timed, NULL},
    {"write with SO_SNDTIMEO", write_timed, NULL},
    {"poll", poll_pipe, NULL},
    {"select", select_pipe, NULL},
    {"epoll_wait", epoll_pipe, NULL},
    {"read of an eventfd", read_event, post_event},
    {"pause", pause_, NULL},
    {"sigsuspend", suspend, NULL},
    {"sigtimedwait", wait_for_signal, NULL},
    {"msgrcv", receive_message, send_message},
    {"semop", take_semaphore, give_semaphore},
    {"nanosleep", sleep_, NULL},
    {"clock_nanosleep", sleep_clock, NULL},
    {"futex", wait_word, wake_word},
    {"futex with a time", wait_word_timed, NULL},
    {"flock", lock_whole, unlock_whole},
    {"waitpid", wait_for_child, NULL},
};

/* Ends the wait when it has gone on. */
static void *helper(void *unblock)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    nanosleep(&(struct timespec){0, 60000000}, NULL);
    if (!done && unblock)
        ((void (*)(void))unblock)();
    return NULL;
}

static void try(int number, int flags)
{
    struct sigaction act = {.sa_handler = on_alarm, .sa_flags = flags};
    struct itimerval soon = {{0, 0}, {0, 15000}};
    pthread_t thread;
    CHECK(sigaction(SIGALRM, &act, NULL) == 0);
    handled = done = 0;
    CHECK(pthread_create(&thread, NULL, helper, (void *)calls[number].unblock) == 0);
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    errno = 0;
    int got = calls[number].call();
    int error = got < 0 ? errno : 0;
    done = 1;
    CHECK(pthread_join(thread, NULL) == 0);
    printf("%s%s: %d, %s, handled %d\n", calls[number].name, flags ? ", SA_RESTART" : "", got, strerrorname_np(error),
           (int)handled);
}

int main(void)
{
    CHECK(pipe(pipe_) == 0 && pipe(full) == 0 && pipe(spare) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, timed) == 0);
    CHECK(setsockopt(timed[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 100000}, sizeof(struct timeval)) == 0);
    CHECK(setsockopt(timed[0], SOL_SOCKET, SO_SNDTIMEO, &(struct timeval){0, 100000}, sizeof(struct timeval)) == 0);
    while (send(timed[0], page, 4096, MSG_DONTWAIT) > 0)
        ;
    CHECK(fcntl(full[1], F_SETPIPE_SZ, 4096) == 4096 && write(full[1], page, 4096) == 4096);
    CHECK((event = eventfd(0, 0)) >= 0 && (epoll = epoll_create1(0)) >= 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, pipe_[0], &(struct epoll_event){.events = EPOLLIN}) == 0);
    CHECK((queue = msgget(IPC_PRIVATE, 0600)) >= 0 && (semaphores = semget(IPC_PRIVATE, 1, 0600)) >= 0);
    char name[] = "/tmp/restartsXXXXXX";
    CHECK((locks[0] = mkstemp(name)) >= 0 && (locks[1] = open(name, O_RDWR)) >= 0 && unlink(name) == 0);
    CHECK(flock(locks[0], LOCK_EX) == 0);
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
        try(i, 0);
        try(i, SA_RESTART);
    }
    msgctl(queue, IPC_RMID, NULL);
    semctl(semaphores, 0, IPC_RMID);
    OK();
}
