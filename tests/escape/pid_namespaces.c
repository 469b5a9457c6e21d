/* Process namespaces: nobody in one reaches a process outside of it, by number, handle, /proc, group, session, trace or message; its first
 * process takes all others with it; and numbers run out in nobody else's. */
#include "escape.h"
#include <poll.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>

static pid_t outsider;
static ino_t first_namespace;

static pid_t inside(void (*body)(void), int flags)
{
    pid_t child = syscall(SYS_clone, CLONE_NEWPID | flags | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    return child;
}

static void reaches_out(void)
{
    if (syscall(SYS_getpid) != 1)
        _exit(0);
    for (int pid = -70000; pid < 70000; pid++) {
        if (pid == 1 || pid == 0 || pid == -1)
            continue;
        if (kill(pid, SIGKILL) == 0)
            ESCAPE("a signal to %d", pid);
        if (pid > 0 && pid < 2000) {
            if (ptrace(PTRACE_ATTACH, pid, 0, 0) == 0 || ptrace(PTRACE_SEIZE, pid, 0, 0) == 0)
                ESCAPE("a trace of %d", pid);
            int fd = syscall(SYS_pidfd_open, pid, 0);
            if (fd >= 0)
                ESCAPE("a handle of %d", pid);
            char byte;
            struct iovec here = {&byte, 1}, there = {&outsider, 1};
            if (process_vm_readv(pid, &here, 1, &there, 1, 0) == 1)
                ESCAPE("memory of %d", pid);
            if (setpgid(pid, 0) == 0 || getsid(pid) > 0)
                ESCAPE("group of %d", pid);
            syscall(SYS_sched_setaffinity, pid, 8, &(long){1});
            if (syscall(SYS_prlimit64, pid, 7, NULL, &(long[2]){0, 0}) == 0)
                ESCAPE("limits of %d", pid);
        }
    }
    /* To all: none outside may hear it. This process is the first and does not. */
    kill(-1, SIGKILL);
    killpg(0, 0);
    /* The mounted /proc is of the namespace outside: its files may be there, and are not ours to use. */
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", outsider);
    int fd = open(path, O_RDWR);
    if (fd >= 0 && pwrite(fd, "x", 1, (off_t)(uintptr_t)&outsider) == 1)
        printf("memory through the old /proc, as Linux lets the same user\n");
    /* A message that claims to be from others. */
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0) {
        struct ucred who = {outsider, 0, 0};
        char control[CMSG_SPACE(sizeof who)] = {0};
        struct iovec one = {"x", 1};
        struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_CREDENTIALS;
        header->cmsg_len = CMSG_LEN(sizeof who);
        memcpy(CMSG_DATA(header), &who, sizeof who);
        if (sendmsg(pair[0], &message, 0) == 1)
            ESCAPE("credentials of a process that is not there");
    }
    for (int pid = 2; pid < 400; pid++) {
        snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
        fd = open(path, O_RDONLY);
        struct stat theirs;
        if (fd >= 0 && fstat(fd, &theirs) == 0 && theirs.st_ino == first_namespace && setns(fd, CLONE_NEWPID) == 0)
            ESCAPE("into the namespace above");
        close(fd);
    }
}

static void grows(void)
{
    for (int i = 0; i < 30; i++)
        if (fork() == 0) {
            setsid();
            signal(SIGTERM, SIG_IGN);
            if (fork() == 0)
                for (;;)
                    pause();
            for (;;)
                pause();
        }
    for (;;)
        pause();
}

static int count_processes(void)
{
    int count = 0;
    char path[32];
    struct stat st;
    for (int pid = 1; pid < 4000; pid++) {
        snprintf(path, sizeof path, "/proc/%d", pid);
        count += stat(path, &st) == 0;
    }
    return count;
}

/* With the first process go all others, also while they are being made, stopped, or traced. */
static void ends(void *unused)
{
    (void)unused;
    for (int round = 0; round < 10; round++) {
        pid_t first = inside(grows, 0);
        usleep(1000 * round * 3);
        if (round % 3 == 1)
            kill(first, SIGSTOP);
        kill(first, SIGKILL);
        int status;
        double end = seconds() + 30;
        while (waitpid(first, &status, WNOHANG) != first)
            if (seconds() > end)
                ESCAPE("the first process of a namespace does not end");
    }
    double end = seconds() + 30;
    while (count_processes() > 8)
        if (seconds() > end)
            ESCAPE("%d processes live on", count_processes());
}

static int depth;
static void deeper(void)
{
    if (++depth > 60)
        ESCAPE("%d namespaces within each other", depth);
    int status;
    pid_t child = inside(deeper, 0);
    if (child > 0)
        waitpid(child, &status, 0);
    if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == ESCAPED)
        _exit(ESCAPED);
}

static void numbers_run_out(void)
{
    for (int i = 0; i < 3000; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        if (child < 0)
            break;
    }
}

static void nothing(void) {}

static void many(void *unused)
{
    (void)unused;
    deeper();
    pid_t hungry = inside(numbers_run_out, 0);
    for (int i = 0; i < 2000; i++) {
        pid_t child = inside(nothing, CLONE_NEWUSER);
        if (child < 0)
            break;
        waitpid(child, NULL, 0);
    }
    kill(hungry, SIGKILL);
    waitpid(hungry, NULL, 0);
    /* The first process of the next namespace may be asked for and never made. */
    for (int i = 0; i < 100; i++)
        if (unshare(CLONE_NEWPID) != 0)
            break;
    for (int i = 0; i < 10; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        if (child > 0)
            waitpid(child, NULL, 0);
    }
}

int main(void)
{
    outsider = fork();
    if (outsider == 0)
        for (;;)
            pause();
    struct stat own;
    if (stat("/proc/self/ns/pid", &own) == 0)
        first_namespace = own.st_ino;
    TRIED("everything that has a number");
    pid_t first = inside(reaches_out, 0);
    int status;
    waitpid(first, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == ESCAPED)
        return ESCAPED;
    if (kill(outsider, 0) != 0 || waitpid(outsider, &status, WNOHANG) != 0)
        ESCAPE("the process outside has ended");
    TRIED("ends of first processes");
    attack(ends, NULL, 100);
    TRIED("many, and many within each other");
    attack(many, NULL, 100);
    kill(outsider, SIGKILL);
    waitpid(outsider, &status, 0);
    CONTAINED();
}
