/* Threads, mutexes, condition variables, robust and shared futexes, thread-local storage, exit of one thread. */
#include "check.h"
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long shared;
static __thread int local;

static void *adder(void *arg)
{
    local = (int)(long)arg;
    for (int i = 0; i < 20000; i++) {
        pthread_mutex_lock(&lock);
        shared++;
        pthread_mutex_unlock(&lock);
    }
    CHECK(local == (int)(long)arg);
    return arg;
}

static void contention(void)
{
    pthread_t threads[8];
    for (long i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, adder, (void *)i) == 0);
    for (long i = 0; i < 8; i++) {
        void *result;
        CHECK(pthread_join(threads[i], &result) == 0 && result == (void *)i);
    }
    CHECK(shared == 160000);
}

static int turn;
static void *player(void *arg)
{
    int me = (int)(long)arg;
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me)
            pthread_cond_wait(&cond, &lock);
        turn = !me;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void ping_pong(void)
{
    pthread_t threads[2];
    for (long i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, player, (void *)i) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

static void timed(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 20000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&lock);
    CHECK(pthread_cond_timedwait(&cond, &lock, &until) == ETIMEDOUT);
    pthread_mutex_unlock(&lock);
    int word = 5;
    FAILS(syscall(SYS_futex, &word, FUTEX_WAIT, 6, NULL, NULL, 0), EAGAIN);
    struct timespec brief = {0, 5000000};
    FAILS(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 5, &brief, NULL, 0), ETIMEDOUT);
    FAILS(syscall(SYS_futex, (char *)&word + 1, FUTEX_WAKE, 1, NULL, NULL, 0), EINVAL);
    CHECK(syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0);
}

static void process_shared(void)
{
    struct both {
        pthread_mutex_t robust;
        sem_t sem;
    } *both = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&both->robust, &attr);
    sem_init(&both->sem, 1, 0);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_mutex_lock(&both->robust);
        sem_post(&both->sem);
        usleep(20000);
        _exit(0);
    }
    sem_wait(&both->sem);
    CHECK(pthread_mutex_lock(&both->robust) == EOWNERDEAD);
    CHECK(pthread_mutex_consistent(&both->robust) == 0);
    CHECK(pthread_mutex_unlock(&both->robust) == 0);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void *pi_holder(void *arg)
{
    pthread_mutex_t *pi = arg;
    pthread_mutex_lock(pi);
    usleep(10000);
    pthread_mutex_unlock(pi);
    return NULL;
}

static void priority_inheritance(void)
{
    pthread_mutex_t pi;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    CHECK(pthread_mutex_init(&pi, &attr) == 0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, pi_holder, &pi);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK(pthread_mutex_trylock(&pi) == 0);
    CHECK(pthread_mutex_unlock(&pi) == 0);
}

static void *sleeper(void *arg)
{
    (void)arg;
    pause();
    return NULL;
}

static void *nothing(void *arg)
{
    return arg;
}

static void endings(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, sleeper, NULL) == 0);
    CHECK(pthread_cancel(thread) == 0);
    void *result;
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    for (int i = 0; i < 200; i++) {
        CHECK(pthread_create(&thread, NULL, nothing, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 5; i++)
            pthread_create(&thread, NULL, sleeper, NULL);
        exit(11);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 11);
    pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 5; i++)
            pthread_create(&thread, NULL, sleeper, NULL);
        execl("/bin/sh", "sh", "-c", "exit 12", (char *)NULL);
        _exit(1);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 12);
}

static void many(void)
{
    enum { N = 300 };
    static pthread_t threads[N];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    shared = 0;
    for (int i = 0; i < N; i++)
        CHECK(pthread_create(&threads[i], &attr, sleeper, NULL) == 0);
    for (int i = 0; i < N; i++)
        CHECK(pthread_cancel(threads[i]) == 0);
    for (int i = 0; i < N; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(void)
{
    contention();
    ping_pong();
    timed();
    process_shared();
    priority_inheritance();
    endings();
    many();
    OK();
}
