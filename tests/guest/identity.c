/* User and group ids, capabilities, limits, names, filters of system calls. */
#include "check.h"
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <grp.h>

/* Runs a part in a child; it must exit with 0. */
static void in_child(void (*part)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        part();
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static unsigned long long caps(int which)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    CHECK(syscall(SYS_capget, &header, data) == 0);
    const __u32 *low = &data[0].effective, *high = &data[1].effective;
    return low[which] | (unsigned long long)high[which] << 32;
}

static void give_up_root(void)
{
    gid_t groups[2] = {7, 5}, got[4];
    CHECK(setgroups(2, groups) == 0 && getgroups(4, got) == 2 && got[0] == 5 && got[1] == 7);
    FAILS(getgroups(1, got), EINVAL);
    CHECK(setresgid(100, 100, 100) == 0 && setresuid(-1, 1000, -1) == 0);
    CHECK(geteuid() == 1000 && getuid() == 0 && caps(0) == 0 && caps(1) != 0);
    CHECK(seteuid(0) == 0 && caps(0) == caps(1));
    CHECK(setuid(1000) == 0 && getuid() == 1000 && caps(0) == 0 && caps(1) == 0);
    FAILS(setuid(0), EPERM);
    FAILS(setgroups(1, groups), EPERM);
    FAILS(setresuid(-1, -1, 0), EPERM);
    uid_t a, b, c;
    CHECK(getresuid(&a, &b, &c) == 0 && a == 1000 && b == 1000 && c == 1000);
    FAILS(kill(getppid(), 0), EPERM);
    FAILS(sethostname("x", 1), EPERM);
}

static void keep_capabilities(void)
{
    CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && setresuid(1000, 1000, 1000) == 0);
    CHECK(caps(0) == 0 && caps(1) != 0);
    CHECK(prctl(PR_CAPBSET_READ, CAP_KILL) == 1);
    FAILS(prctl(PR_CAPBSET_READ, 64), EINVAL);
    FAILS(prctl(PR_CAPBSET_DROP, CAP_KILL), EPERM);
    FAILS(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0), EPERM);
}

static void names(void)
{
    char name[16] = "";
    CHECK(prctl(PR_SET_NAME, "a-name-that-is-too-long") == 0);
    CHECK(prctl(PR_GET_NAME, name) == 0 && strcmp(name, "a-name-that-is-") == 0);
    FAILS(prctl(PR_SET_PDEATHSIG, 65), EINVAL);
    FAILS(prctl(12345, 0), EINVAL);
    FAILS(prctl(PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0), EINVAL);
    CHECK(prctl(PR_GET_DUMPABLE) == 1 && prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_GET_DUMPABLE) == 0);
    struct utsname system;
    CHECK(uname(&system) == 0 && strcmp(system.sysname, "Linux") == 0);
    struct sysinfo info;
    CHECK(sysinfo(&info) == 0 && info.totalram > 0 && info.procs > 0);
    char random[2][32];
    CHECK(getrandom(random[0], 32, 0) == 32 && getrandom(random[1], 32, 0) == 32);
    CHECK(memcmp(random[0], random[1], 32) != 0);
    FAILS(getrandom(random[0], 32, 64), EINVAL);
}

static void limits(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 3);
    limit.rlim_cur = 5;
    limit.rlim_max = 10;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int fd = 0;
    while (fd >= 0 && fd < 20)
        fd = dup(0);
    CHECK(fd == -1 && errno == EMFILE);
    limit.rlim_cur = 11;
    FAILS(setrlimit(RLIMIT_NOFILE, &limit), EINVAL);
    FAILS(getrlimit(99, &limit), EINVAL);
    CHECK(setresuid(1000, 1000, 1000) == 0);
    limit.rlim_max = 11;
    FAILS(setrlimit(RLIMIT_NOFILE, &limit), EPERM);
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    FAILS(getrusage(5, &usage), EINVAL);
}

static void scheduling(void)
{
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) >= 1);
    CPU_ZERO(&set);
    FAILS(sched_setaffinity(0, sizeof set, &set), EINVAL);
    CHECK(sched_get_priority_max(SCHED_FIFO) == 99 && sched_get_priority_min(SCHED_RR) == 1);
    CHECK(setpriority(PRIO_PROCESS, 0, 5) == 0 && getpriority(PRIO_PROCESS, 0) == 5);
    CHECK(nice(3) == 8);
    struct sched_param param = {.sched_priority = 1};
    FAILS(sched_setscheduler(0, SCHED_OTHER, &param), EINVAL);
    CHECK(sched_yield() == 0);
}

static void filter(unsigned call, unsigned answer)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static volatile sig_atomic_t trapped;
static void on_trap(int sig, siginfo_t *info, void *context)
{
    (void)context;
    trapped = sig == SIGSYS && info->si_code == 1 && info->si_syscall == SYS_getppid && info->si_errno == 9;
}

static void filters(void)
{
    filter(SYS_getppid, SECCOMP_RET_ERRNO | 77);
    FAILS(syscall(SYS_getppid), 77);
    CHECK(prctl(PR_GET_SECCOMP) == 2);
    pid_t pid = fork();
    if (pid == 0)
        _exit(syscall(SYS_getppid) == -1 && errno == 77 ? 0 : 1);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &action, NULL);
    filter(SYS_getppid, SECCOMP_RET_TRAP | 9);
    syscall(SYS_getppid);
    CHECK(trapped);
    pid = fork();
    if (pid == 0) {
        filter(SYS_getpid, SECCOMP_RET_KILL_PROCESS);
        syscall(SYS_getpid);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
        syscall(SYS_getpid);
        syscall(SYS_exit, 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
}

static void strict(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) || write(2, "", 0) != 0)
            _exit(1);
        syscall(SYS_exit, 6);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 6);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
        syscall(SYS_getppid);
        syscall(SYS_exit, 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

int main(void)
{
    if (getuid() == 0) {
        in_child(give_up_root);
        in_child(keep_capabilities);
        in_child(limits);
    }
    in_child(names);
    in_child(scheduling);
    in_child(filters);
    in_child(strict);
    OK();
}
