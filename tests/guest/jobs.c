/* Stops and continuation, orphans, subreapers, sessions, death signals, pidfds, and the end of processes with threads. */
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static void pause_ms(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

static volatile sig_atomic_t children, last_code, last_status;

static void on_child(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    children++;
    last_code = info->si_code;
    last_status = info->si_status;
}

static void stop_and_continue(void)
{
    struct sigaction action = {.sa_sigaction = on_child, .sa_flags = SA_SIGINFO | SA_RESTART};
    CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    int status;
    CHECK(waitpid(pid, &status, WUNTRACED | WNOHANG) == 0);
    CHECK(kill(pid, SIGSTOP) == 0);
    CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    CHECK(children == 1 && last_code == CLD_STOPPED && last_status == SIGSTOP);
    /* Told once. */
    CHECK(waitpid(pid, &status, WUNTRACED | WNOHANG) == 0);
    CHECK(kill(pid, SIGCONT) == 0);
    siginfo_t info;
    CHECK(waitid(P_PID, pid, &info, WCONTINUED | WNOWAIT) == 0 && info.si_code == CLD_CONTINUED);
    CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    CHECK(kill(pid, SIGSTOP) == 0 && waitpid(pid, &status, WUNTRACED) == pid);
    /* A stopped process dies of SIGKILL. */
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(waitid(P_PID, pid, &info, WEXITED | WNOWAIT) == 0);
    CHECK(info.si_code == CLD_KILLED && info.si_status == SIGKILL && info.si_pid == pid);
    struct rusage usage;
    CHECK(wait4(pid, &status, 0, &usage) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    FAILS(waitpid(pid, &status, 0), ECHILD);
    signal(SIGCHLD, SIG_DFL);
}

static void *spin(void *arg)
{
    (void)arg;
    for (;;)
        __asm__ volatile("");
    return NULL;
}

static void *block(void *arg)
{
    int *fds = arg;
    char byte;
    if (read(fds[0], &byte, 1) == 1)
        abort();
    return NULL;
}

static void start_threads(int *fds)
{
    pthread_t thread;
    if (pipe(fds) || pthread_create(&thread, NULL, spin, NULL) || pthread_create(&thread, NULL, block, fds))
        _exit(99);
}

/* Threads that run and threads that wait all stop and all end. */
static void threads_end(void)
{
    int status, fds[2];
    pid_t pid = fork();
    if (pid == 0) {
        start_threads(fds);
        pause_ms(20);
        exit(7);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    pid = fork();
    if (pid == 0) {
        start_threads(fds);
        pthread_exit(NULL);
    }
    pause_ms(30);
    CHECK(kill(pid, SIGSTOP) == 0 && waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
    CHECK(kill(pid, SIGCONT) == 0 && waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
    CHECK(kill(pid, SIGTERM) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    pid = fork();
    if (pid == 0) {
        start_threads(fds);
        raise(SIGSEGV);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void *exec_true(void *arg)
{
    (void)arg;
    execl("/bin/sh", "sh", "-c", "exit $(($$ == $EXPECT ? 42 : 43))", NULL);
    return NULL;
}

/* execve by another thread than the first: the process id stays, the other threads end. */
static void exec_in_thread(void)
{
    int status, fds[2];
    pid_t pid = fork();
    if (pid == 0) {
        char text[32];
        pthread_t thread;
        snprintf(text, sizeof text, "%d", getpid());
        setenv("EXPECT", text, 1);
        start_threads(fds);
        pthread_create(&thread, NULL, exec_true, NULL);
        pthread_join(thread, NULL);
        _exit(1);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static void sessions(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (setsid() != getpid() || getsid(0) != getpid() || getpgrp() != getpid())
            _exit(1);
        if (setsid() != -1 || errno != EPERM)
            _exit(2);
        if (setpgid(0, 0) != -1 || errno != EPERM)
            _exit(3);
        pid_t child = fork();
        if (child == 0)
            for (;;)
                pause();
        if (setpgid(child, child) || getpgid(child) != child)
            _exit(4);
        if (kill(-child, SIGTERM) || waitpid(-child, &status, 0) != child || WTERMSIG(status) != SIGTERM)
            _exit(5);
        if (kill(-child, 0) != -1 || errno != ESRCH)
            _exit(6);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    FAILS(setpgid(getppid() + 100000, 0), ESRCH);
    FAILS(getsid(999999), ESRCH);
}

/* A subreaper gets the grandchildren; a stopped orphaned group is hung up. */
static void orphans(void)
{
    int status, fds[2];
    CHECK(pipe(fds) == 0);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        pid_t grandchild = fork();
        if (grandchild == 0)
            for (;;)
                pause();
        setpgid(grandchild, grandchild);
        if (write(fds[1], &grandchild, sizeof grandchild) != sizeof grandchild)
            _exit(1);
        kill(grandchild, SIGSTOP);
        if (waitpid(grandchild, &status, WUNTRACED) != grandchild || !WIFSTOPPED(status))
            _exit(2);
        _exit(0);
    }
    pid_t grandchild;
    CHECK(read(fds[0], &grandchild, sizeof grandchild) == sizeof grandchild);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    /* Its new parent is this process: in another group of the same session, so it is not orphaned, only moved. */
    CHECK(kill(grandchild, 0) == 0);
    CHECK(waitpid(grandchild, &status, WNOHANG) == 0);
    kill(grandchild, SIGKILL);
    CHECK(waitpid(grandchild, &status, 0) == grandchild && WTERMSIG(status) == SIGKILL);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);

    /* In a session of its own the leader's end orphans the stopped group. */
    pid = fork();
    if (pid == 0) {
        setsid();
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        pid_t middle = fork();
        if (middle == 0) {
            setpgid(0, 0);
            pid_t leaf = fork();
            if (leaf == 0)
                for (;;)
                    pause();
            if (write(fds[1], &leaf, sizeof leaf) != sizeof leaf)
                _exit(1);
            kill(leaf, SIGSTOP);
            waitpid(leaf, &status, WUNTRACED);
            _exit(0);
        }
        if (waitpid(middle, &status, 0) != middle || status)
            _exit(3);
        pid_t leaf;
        if (read(fds[0], &leaf, sizeof leaf) != sizeof leaf)
            _exit(4);
        /* Its parent is now the leader of another group in the session: not orphaned, still stopped. */
        if (waitpid(leaf, &status, WNOHANG) != 0)
            _exit(5);
        kill(leaf, SIGKILL);
        waitpid(leaf, &status, 0);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(fds[0]);
    close(fds[1]);
}

/* The end of a child of the same group hangs nobody up, stopped members or not. */
static void no_hang_up(void)
{
    int status;
    pid_t stopped = fork();
    if (stopped == 0)
        for (;;)
            pause();
    kill(stopped, SIGSTOP);
    CHECK(waitpid(stopped, &status, WUNTRACED) == stopped);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(waitpid(stopped, &status, WNOHANG) == 0);
    kill(stopped, SIGKILL);
    CHECK(waitpid(stopped, &status, 0) == stopped);
}

static void no_zombies(void)
{
    int status;
    signal(SIGCHLD, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    FAILS(waitpid(pid, &status, 0), ECHILD);
    signal(SIGCHLD, SIG_DFL);
}

static void death_signal(void)
{
    int status, fds[2];
    char byte;
    CHECK(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (write(fds[1], "x", 1) != 1)
                _exit(1);
            for (;;)
                pause();
        }
        if (read(fds[0], &byte, 1) != 1)
            _exit(1);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    close(fds[1]);
    /* End of file once the grandchild is dead. */
    CHECK(read(fds[0], &byte, 1) == 0);
    close(fds[0]);
}

static void pidfds(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    int fd = syscall(SYS_pidfd_open, pid, 0);
    CHECK(fd >= 0);
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    CHECK(poll(&poller, 1, 0) == 0);
    CHECK(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) == 0);
    CHECK(poll(&poller, 1, 5000) == 1 && poller.revents == POLLIN);
    siginfo_t info;
    CHECK(waitid(P_PIDFD, fd, &info, WEXITED) == 0 && info.si_pid == pid && info.si_status == SIGTERM);
    FAILS(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), ESRCH);
    close(fd);
    FAILS(syscall(SYS_pidfd_open, 0, 0), EINVAL);
    FAILS(syscall(SYS_pidfd_open, 999999, 0), ESRCH);
}

static char child_stack[65536] __attribute__((aligned(16)));

static int shares(void *arg)
{
    *(int *)arg = 5;
    return 3;
}

static void clones(void)
{
    int value = 0, status;
    pid_t pid = clone(shares, child_stack + sizeof child_stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &value);
    CHECK(pid > 0 && value == 5);
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
    /* No exit signal: only __WALL or __WCLONE see it. */
    pid = clone(shares, child_stack + sizeof child_stack, CLONE_VM | CLONE_VFORK, &value);
    FAILS(waitpid(pid, &status, 0), ECHILD);
    CHECK(waitpid(pid, &status, __WALL) == pid);
    FAILS(clone(shares, child_stack + sizeof child_stack, CLONE_THREAD, &value), EINVAL);
    FAILS(clone(shares, child_stack + sizeof child_stack, CLONE_SIGHAND, &value), EINVAL);
}

int main(void)
{
    stop_and_continue();
    threads_end();
    exec_in_thread();
    sessions();
    orphans();
    no_hang_up();
    no_zombies();
    death_signal();
    pidfds();
    clones();
    OK();
}
