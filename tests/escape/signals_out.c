/* Signals and other reaches to processes that are not in the sandbox: host pids, the sentry, its threads. */
#include "escape.h"
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>

int main(void)
{
    pid_t self = getpid(), parent = getppid();
    /* All pids a host may have in use, but those of the sandbox, which are few and low. */
    unsigned long hits = 0;
    for (pid_t pid = 2; pid < 70000; pid++) {
        if (pid == self || pid == parent)
            continue;
        if (kill(pid, SIGKILL) == 0)
            hits++;
    }
    if (hits)
        ESCAPE("%lu foreign processes took a signal", hits);
    TRIED("kill(2) of 70000 pids");
    for (pid_t pid = 2; pid < 3000; pid++) {
        if (pid == self || pid == parent)
            continue;
        siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
        struct rlimit limit;
        char byte;
        struct iovec local = {&byte, 1}, remote = {(void *)0x400000, 1};
        cpu_set_t set;
        CPU_ZERO(&set);
        REFUSED(syscall(SYS_tgkill, pid, pid, SIGKILL));
        REFUSED(syscall(SYS_tkill, pid, SIGKILL));
        REFUSED(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info));
        REFUSED(syscall(SYS_rt_tgsigqueueinfo, pid, pid, SIGUSR1, &info));
        REFUSED(syscall(SYS_pidfd_open, pid, 0));
        REFUSED(ptrace(PTRACE_ATTACH, pid, 0, 0));
        REFUSED(ptrace(PTRACE_SEIZE, pid, 0, 0));
        REFUSED(process_vm_readv(pid, &local, 1, &remote, 1, 0));
        REFUSED(process_vm_writev(pid, &local, 1, &remote, 1, 0));
        REFUSED(prlimit(pid, RLIMIT_NOFILE, NULL, &limit));
        REFUSED(sched_setaffinity(pid, sizeof set, &set));
        REFUSED(getpgid(pid));
        REFUSED(getsid(pid));
        REFUSED(setpriority(PRIO_PROCESS, pid, 19));
        REFUSED(syscall(SYS_kcmp, self, pid, 0, 0, 0));
        REFUSED(syscall(SYS_move_pages, pid, 0, 0, 0, 0, 0));
        REFUSED(syscall(SYS_migrate_pages, pid, 0, 0, 0));
        REFUSED(syscall(SYS_process_madvise, pid, &remote, 1, MADV_DONTNEED, 0));
        syscall(SYS_get_robust_list, pid, &remote, &local);
    }
    TRIED("calls that name other processes");
    /* Owners of descriptors, receivers of timers. */
    for (pid_t pid = -3000; pid < 3000; pid++) {
        if (pid == self || pid == parent || pid == -getpgrp() || pid == 0 || pid == 1 || pid == -1)
            continue;
        int fds[2];
        socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
        fcntl(fds[0], F_SETSIG, SIGKILL);
        if (fcntl(fds[0], F_SETOWN, pid) == 0) {
            fcntl(fds[0], F_SETFL, O_ASYNC | O_NONBLOCK);
            if (write(fds[1], "x", 1) < 0)
                ESCAPE("a pipe broke");
        }
        close(fds[0]);
        close(fds[1]);
        if (pid > 0) {
            struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGKILL};
            timer_t timer;
            ((int *)&event.sigev_notify)[1] = pid;
            REFUSED(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer));
        }
    }
    TRIED("F_SETOWN and timers for other processes");
    /* Everything: the sandbox's own processes but init and ourselves; the shell around us is init. */
    signal(SIGTERM, SIG_IGN);
    kill(-1, SIGTERM);
    TRIED("kill(-1)");
    struct ucred forged = {.pid = 12345, .uid = 4711, .gid = 4711};
    int fds[2];
    socketpair(AF_UNIX, SOCK_DGRAM, 0, fds);
    char bytes[CMSG_SPACE(sizeof forged)] = {0};
    struct iovec part = {"x", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = bytes, .msg_controllen = sizeof bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_CREDENTIALS;
    header->cmsg_len = CMSG_LEN(sizeof forged);
    memcpy(CMSG_DATA(header), &forged, sizeof forged);
    REFUSED(sendmsg(fds[0], &message, 0));
    TRIED("credentials of a process that is not there");
    CONTAINED();
}
