/* As many threads, processes, timers and waiters as one may have: bounded, and over with their owner. */
#include "escape.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/resource.h>

static volatile int word;

static void *wait_thread(void *unused)
{
    (void)unused;
    syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
    return NULL;
}

static void threads(void *unused)
{
    (void)unused;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 16384);
    int count = 0, error;
    pthread_t thread;
    while (count < 3000 && (error = pthread_create(&thread, &attributes, wait_thread, NULL)) == 0)
        count++;
    printf("%d threads, then %s\n", count, count < 3000 ? strerror(error) : "enough");
    word = 1;
    syscall(SYS_futex, &word, FUTEX_WAKE, 0x7fffffff, NULL, NULL, 0);
}

static void processes(void *unused)
{
    (void)unused;
    int count = 0;
    pid_t pid = 0;
    while (count < 600 && (pid = fork()) > 0)
        count++;
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    printf("%d processes, then %s\n", count, pid < 0 ? strerror(errno) : "enough");
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM);
    while (wait(NULL) > 0) {
    }
}

/* A fork bomb, under a limit that it cannot lift. */
static void bomb(void *unused)
{
    (void)unused;
    struct rlimit limit = {100, 100};
    setrlimit(RLIMIT_NPROC, &limit);
    if (setresuid(4711, 4711, 4711) != 0)
        return;
    double end = seconds() + 2;
    while (seconds() < end)
        fork();
    _exit(0);
}

static void chain(void *unused)
{
    (void)unused;
    /* Each the child of the one before: orphans, all the way down. */
    for (int depth = 0; depth < 300; depth++) {
        pid_t pid = fork();
        if (pid != 0)
            _exit(0);
    }
    _exit(0);
}

static void timers(void *unused)
{
    (void)unused;
    int count = 0;
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    signal(SIGRTMIN, SIG_IGN);
    struct itimerspec often = {{0, 1}, {0, 1}};
    while (count < 100000 && timer_create(CLOCK_MONOTONIC, &event, &timer) == 0) {
        timer_settime(timer, 0, &often, NULL);
        count++;
    }
    printf("%d timers, then %s\n", count, strerror(errno));
    usleep(200000);
}

static void queue(void *unused)
{
    (void)unused;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    int count = 0;
    union sigval value = {1};
    while (count < 1000000 && sigqueue(getpid(), SIGRTMIN, value) == 0)
        count++;
    printf("%d queued signals, then %s\n", count, strerror(errno));
}

static void *sleeper(void *address)
{
    syscall(SYS_futex, address, FUTEX_WAIT, 0, NULL, NULL, 0);
    return NULL;
}

static void futexes(void *unused)
{
    (void)unused;
    /* futex_waitv with as many words as there may be, from many threads, requeued in circles. */
    static uint32_t words[256];
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 16384);
    for (int i = 0; i < 200; i++)
        pthread_create(&thread, &attributes, sleeper, &words[i]);
    usleep(100000);
    for (int round = 0; round < 20000; round++)
        syscall(SYS_futex, &words[round % 200], FUTEX_REQUEUE, 0, 0x7fffffff, &words[(round * 7 + 1) % 200], 0);
    struct {
        uint64_t value, address;
        uint32_t flags, reserved;
    } waiters[200];
    for (int i = 0; i < 200; i++)
        memset(&waiters[i], 0xff, sizeof waiters[i]);
    REFUSED(syscall(449, waiters, 129, 0, NULL, CLOCK_MONOTONIC));
    REFUSED(syscall(449, waiters, 0xffffffff, 0, NULL, CLOCK_MONOTONIC));
    for (int i = 0; i < 200; i++)
        syscall(SYS_futex, &words[i], FUTEX_WAKE, 0x7fffffff, NULL, NULL, 0);
    /* A robust list without end. */
    struct {
        void *next;
        long offset;
        void *pending;
    } list = {&list, 0, NULL};
    syscall(SYS_set_robust_list, &list, 24);
}

int main(void)
{
    TRIED("threads: %#x", attack(threads, NULL, 100));
    TRIED("processes: %#x", attack(processes, NULL, 100));
    TRIED("a fork bomb: %#x", attack(bomb, NULL, 30));
    TRIED("a chain of orphans: %#x", attack(chain, NULL, 60));
    TRIED("timers: %#x", attack(timers, NULL, 60));
    TRIED("queued signals: %#x", attack(queue, NULL, 60));
    TRIED("futexes: %#x", attack(futexes, NULL, 60));
    double end = seconds() + 40;
    pid_t pid;
    while ((pid = fork()) < 0 && seconds() < end)
        usleep(10000);
    if (pid == 0)
        _exit(0);
    if (pid < 0 || waitpid(pid, NULL, 0) != pid)
        ESCAPE("nothing can be started any more: %s", strerror(errno));
    CONTAINED();
}
