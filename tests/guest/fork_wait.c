/* fork, wait4, waitid, exit statuses, orphans, process groups and sessions. */
#include "check.h"
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static pid_t child_exits(int code)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(code);
    return pid;
}

static void statuses(void)
{
    int status;
    pid_t pid = child_exits(42);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 42);
    FAILS(waitpid(pid, &status, 0), ECHILD);

    pid = fork();
    if (pid == 0) {
        raise(SIGKILL);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

    struct rlimit none = {0, 0};
    pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &none);
        abort();
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void stop_and_continue(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    CHECK(waitpid(pid, &status, WUNTRACED | WNOHANG) == 0);
    CHECK(kill(pid, SIGCONT) == 0);
    CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    CHECK(kill(pid, SIGTERM) == 0);
    siginfo_t info = {0};
    CHECK(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
    CHECK(info.si_pid == pid && info.si_code == CLD_KILLED && info.si_status == SIGTERM);
    CHECK(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGTERM);
}

static void orphan(void)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            while (getppid() == getpid() || getppid() != (pid_t)atol(getenv("ROOT_PID")))
                usleep(1000);
            CHECK(write(fds[1], "x", 1) == 1);
            _exit(7);
        }
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    char byte;
    CHECK(read(fds[0], &byte, 1) == 1);
    pid_t grandchild = wait(&status);
    CHECK(grandchild > 0 && WEXITSTATUS(status) == 7);
    close(fds[0]);
    close(fds[1]);
}

static void groups_and_sessions(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(setpgid(0, 0) == 0);
        CHECK(getpgrp() == getpid());
        FAILS(setsid(), EPERM);
        pid_t inner = fork();
        if (inner == 0) {
            CHECK(setsid() == getpid());
            CHECK(getsid(0) == getpid() && getpgrp() == getpid());
            _exit(3);
        }
        CHECK(waitpid(-1, &status, 0) == inner && WEXITSTATUS(status) == 3);
        _exit(5);
    }
    setpgid(pid, pid);
    CHECK(waitpid(-pid, &status, 0) == pid && WEXITSTATUS(status) == 5);
    FAILS(setpgid(999999, 0), ESRCH);
}

static void ignored_children(void)
{
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    pid_t pid = child_exits(1);
    int status;
    FAILS(waitpid(pid, &status, 0), ECHILD);
    signal(SIGCHLD, SIG_DFL);
}

static void many(void)
{
    for (int i = 0; i < 50; i++)
        child_exits(i);
    int seen = 0, status;
    unsigned long sum = 0;
    while (wait(&status) > 0) {
        seen++;
        sum += WEXITSTATUS(status);
    }
    CHECK(errno == ECHILD && seen == 50 && sum == 49 * 50 / 2);
}

static void vforked(void)
{
    volatile int shared = 1;
    pid_t pid = vfork();
    if (pid == 0) {
        shared = 2;
        _exit(0);
    }
    int status;
    CHECK(shared == 2);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    pid = vfork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "exit 9", (char *)NULL);
        _exit(1);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 9);
}

int main(void)
{
    char root[32];
    snprintf(root, sizeof root, "%d", getpid());
    setenv("ROOT_PID", root, 1);
    statuses();
    stop_and_continue();
    orphan();
    groups_and_sessions();
    ignored_children();
    many();
    vforked();
    OK();
}
