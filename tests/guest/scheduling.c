/* sched(7), getpriority(2), ioprio_get(2): what is remembered, who may change it, what children get. */
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include "check.h"

struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
};

static long set(struct attr *attr)
{
    return syscall(SYS_sched_setattr, 0, attr, 0);
}

static struct attr get(void)
{
    struct attr attr = {0};
    CHECK(syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) == 0);
    return attr;
}

static void policies(void)
{
    struct sched_param param = {0};
    for (int policy = 0; policy < 8; policy++) {
        int max = policy == 4 ? -1 : policy == SCHED_FIFO || policy == SCHED_RR ? 99 : 0;
        CHECK(sched_get_priority_max(policy) == max);
        CHECK(sched_get_priority_min(policy) == (max == 99 ? 1 : max));
    }
    FAILS(sched_setscheduler(0, 4, &param), EINVAL);
    FAILS(sched_setscheduler(0, SCHED_FIFO, &param), EINVAL);
    FAILS(sched_setscheduler(0, -1, &param), EINVAL);
    FAILS(sched_setscheduler(0, 0, NULL), EINVAL);
    FAILS(sched_setscheduler(-1, 0, &param), EINVAL);
    FAILS(sched_setscheduler(1 << 30, 0, &param), ESRCH);
    param.sched_priority = 1;
    FAILS(sched_setparam(0, &param), EINVAL);
    param.sched_priority = 0;
    CHECK(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &param) == 0);
    CHECK(sched_getscheduler(0) == (SCHED_BATCH | SCHED_RESET_ON_FORK));
    CHECK(get().flags == 1);
    pid_t child = fork();
    if (child == 0)
        _exit(sched_getscheduler(0));
    int status;
    CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == SCHED_BATCH);
    CHECK(sched_setparam(0, &param) == 0);
    CHECK(sched_getscheduler(0) == (SCHED_BATCH | SCHED_RESET_ON_FORK));
    struct timespec slice;
    CHECK(sched_rr_get_interval(0, &slice) == 0 && slice.tv_sec == 0 && slice.tv_nsec < 20000000);
    FAILS(sched_rr_get_interval(-1, &slice), EINVAL);
    FAILS(sched_rr_get_interval(1 << 30, &slice), ESRCH);
    FAILS(sched_rr_get_interval(0, (void *)8), EFAULT);
}

static void attributes(void)
{
    struct attr attr = {.size = 47}, was = get();
    char page[8192] = {0};
    CHECK(was.size == 56 && was.runtime > 0);
    FAILS(set(&attr), E2BIG);
    CHECK(attr.size == 56);
    attr = (struct attr){.size = 5000};
    FAILS(set(&attr), E2BIG);
    CHECK(attr.size == 56);
    page[1] = 16;
    CHECK(syscall(SYS_sched_setattr, 0, page, 0) == 0);
    page[100] = 1;
    FAILS(syscall(SYS_sched_setattr, 0, page, 0), E2BIG);
    attr = (struct attr){.size = 48, .flags = 0x20};
    FAILS(set(&attr), EINVAL);
    attr = (struct attr){.size = 48, .flags = 0x80};
    FAILS(set(&attr), EINVAL);
    attr = (struct attr){.size = 48, .policy = SCHED_DEADLINE};
    FAILS(set(&attr), EINVAL);
    attr = (struct attr){.size = 48, .policy = SCHED_DEADLINE, .runtime = 40, .deadline = 30, .period = 30};
    FAILS(set(&attr), EINVAL);
    attr = (struct attr){.policy = SCHED_BATCH, .nice = 30, .runtime = 5000000};
    CHECK(set(&attr) == 0);
    CHECK(get().nice == 19 && get().runtime == 5000000 && get().policy == SCHED_BATCH && getpriority(PRIO_PROCESS, 0) == 19);
    attr = (struct attr){.flags = 0x18, .nice = 3, .policy = 17};
    CHECK(set(&attr) == 0);
    CHECK(get().nice == 19 && get().policy == SCHED_BATCH);
    FAILS(syscall(SYS_sched_getattr, 0, &attr, 47, 0), EINVAL);
    FAILS(syscall(SYS_sched_getattr, 0, &attr, 4097, 0), EINVAL);
    FAILS(syscall(SYS_sched_getattr, 0, &attr, 48, 1), EINVAL);
    FAILS(syscall(SYS_sched_getattr, 0, NULL, 48, 0), EINVAL);
    FAILS(syscall(SYS_sched_getattr, 0, 8, 48, 0), EFAULT);
    CHECK(syscall(SYS_sched_getattr, 0, page, 4096, 0) == 0 && *(int *)page == 56);
    CHECK(syscall(SYS_sched_getattr, 0, &attr, 48, 0) == 0 && attr.size == 48);
}

static int ioprio(int which)
{
    return syscall(SYS_ioprio_get, which, 0);
}

static void io_priorities(void)
{
    /* What a thread asked for; for groups what they have. */
    CHECK(ioprio(1) == 0);
    CHECK(ioprio(2) == (2 << 13 | (getpriority(PRIO_PROCESS, 0) + 20) / 5));
    CHECK(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6) == 0 && ioprio(1) == (2 << 13 | 6) && ioprio(2) == ioprio(1));
    CHECK(syscall(SYS_ioprio_set, 1, 0, 3 << 13) == 0 && ioprio(1) == 3 << 13);
    CHECK(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 9) == 0 && ioprio(1) == (2 << 13 | 9));
    FAILS(syscall(SYS_ioprio_set, 1, 0, 3), EINVAL);
    FAILS(syscall(SYS_ioprio_set, 1, 0, 4 << 13), EINVAL);
    FAILS(syscall(SYS_ioprio_set, 0, 0, 2 << 13), EINVAL);
    FAILS(syscall(SYS_ioprio_set, 1, 1 << 30, 2 << 13), ESRCH);
    FAILS(syscall(SYS_ioprio_get, 4, 0), EINVAL);
    FAILS(syscall(SYS_ioprio_get, 1, 1 << 30), ESRCH);
    CHECK(syscall(SYS_ioprio_set, 1, 0, 0) == 0 && ioprio(1) == 0);
}

static void without_privileges(void)
{
    struct rlimit none = {0, 0};
    pid_t child = fork();
    if (child) {
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        return;
    }
    struct sched_param param = {0};
    struct attr attr = {.policy = SCHED_DEADLINE, .runtime = 10000000, .deadline = 30000000, .period = 30000000};
    CHECK(setrlimit(RLIMIT_NICE, &none) == 0 && setrlimit(RLIMIT_RTPRIO, &none) == 0);
    CHECK(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &param) == 0);
    if (geteuid() == 0)
        CHECK(setresuid(65534, 65534, 65534) == 0);
    FAILS(sched_setscheduler(0, SCHED_BATCH, &param), EPERM); /* the flag stays */
    CHECK(sched_setscheduler(0, SCHED_IDLE | SCHED_RESET_ON_FORK, &param) == 0);
    FAILS(sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &param), EPERM);
    FAILS(set(&attr), EPERM);
    param.sched_priority = 1;
    FAILS(sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param), EPERM);
    FAILS(setpriority(PRIO_PROCESS, 0, 18), EACCES);
    FAILS(setpriority(PRIO_PROCESS, 1, 19), EPERM);
    FAILS(syscall(SYS_ioprio_set, 1, 1, 2 << 13 | 7), EPERM);
    FAILS(syscall(SYS_ioprio_set, 1, 0, 1 << 13 | 7), EPERM);
    _exit(0);
}

int main(void)
{
    /* Alone in its group. */
    pid_t child = fork();
    if (child) {
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        return WEXITSTATUS(status);
    }
    CHECK(setsid() > 0);
    policies();
    attributes();
    io_priorities();
    without_privileges();
    OK();
}
