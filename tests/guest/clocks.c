/* Clocks, sleeps, interval and POSIX timers, CPU time. */
#include "check.h"
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>

static long long ns(clockid_t clock)
{
    struct timespec t;
    CHECK(clock_gettime(clock, &t) == 0);
    CHECK(t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static volatile sig_atomic_t fired;
static void on_timer(int sig)
{
    (void)sig;
    fired++;
}

static void clocks(void)
{
    clockid_t all[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW,
                       CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_TAI};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        long long last = ns(all[i]);
        for (int j = 0; j < 1000; j++) {
            long long now = ns(all[i]);
            CHECK(now >= last);
            last = now;
        }
    }
    struct timeval tv;
    CHECK(gettimeofday(&tv, NULL) == 0);
    long long real = ns(CLOCK_REALTIME), of_day = tv.tv_sec * 1000000000LL + tv.tv_usec * 1000LL;
    CHECK(real >= of_day && real - of_day < 1000000000LL);
    CHECK(time(NULL) - real / 1000000000LL <= 1);
    struct timespec res;
    CHECK(clock_getres(CLOCK_MONOTONIC, &res) == 0 && res.tv_nsec == 1);
    FAILS(clock_gettime(99, &res), EINVAL);
}

static void sleeps(void)
{
    struct timespec brief = {0, 3000000};
    long long before = ns(CLOCK_MONOTONIC);
    CHECK(nanosleep(&brief, NULL) == 0);
    CHECK(ns(CLOCK_MONOTONIC) - before >= 3000000);
    long long until = ns(CLOCK_MONOTONIC) + 3000000;
    struct timespec at = {until / 1000000000, until % 1000000000};
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == 0);
    CHECK(ns(CLOCK_MONOTONIC) >= until);
    struct timespec bad = {0, 1000000000};
    FAILS(nanosleep(&bad, NULL), EINVAL);
}

static void timers(void)
{
    struct sigaction action = {.sa_handler = on_timer};
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGRTMIN, &action, NULL);
    struct itimerval every = {{0, 5000}, {0, 5000}}, old;
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    while (fired < 3)
        pause();
    struct itimerval none = {0};
    CHECK(setitimer(ITIMER_REAL, &none, &old) == 0 && old.it_interval.tv_usec == 5000);
    CHECK(alarm(100) == 0 && alarm(0) == 100);
    fired = 0;
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    struct itimerspec spec = {{0, 2000000}, {0, 2000000}}, now;
    CHECK(timer_settime(timer, 0, &spec, NULL) == 0);
    while (fired < 3)
        pause();
    CHECK(timer_gettime(timer, &now) == 0 && now.it_interval.tv_nsec == 2000000);
    CHECK(timer_getoverrun(timer) >= 0 && timer_delete(timer) == 0);
}

static void cpu_time(void)
{
    long long before = ns(CLOCK_PROCESS_CPUTIME_ID);
    volatile unsigned long x = 0;
    while (ns(CLOCK_PROCESS_CPUTIME_ID) - before < 20000000)
        x++;
    CHECK(ns(CLOCK_THREAD_CPUTIME_ID) > 0);
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    CHECK(usage.ru_utime.tv_sec * 1000000L + usage.ru_utime.tv_usec + usage.ru_stime.tv_sec * 1000000L + usage.ru_stime.tv_usec > 10000);
    struct tms tms;
    CHECK(times(&tms) != (clock_t)-1);
}

int main(void)
{
    clocks();
    sleeps();
    timers();
    cpu_time();
    OK();
}
