/* Record locks between processes: conflicts, release at close and at exit, waiting, deadlock; locks of open files; mounts of one's own. */
#include "check.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char name[] = "/tmp/guest-locks-XXXXXX";

static int lock(int fd, int command, int type, long start, long len)
{
    struct flock flock = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
    return fcntl(fd, command, &flock);
}

static void step(int fd)
{
    char byte;
    CHECK(read(fd, &byte, 1) == 1);
}

static void say(int fd)
{
    CHECK(write(fd, "x", 1) == 1);
}

static void exit_ends_with(pid_t child, int status)
{
    int got;
    CHECK(waitpid(child, &got, 0) == child);
    CHECK(got == status);
}

static void release_at_exit(void)
{
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int fd = open(name, O_RDWR);
        CHECK(lock(fd, F_SETLK, F_WRLCK, 10, 10) == 0);
        say(pipes[1]);
        pause();
    }
    step(pipes[0]);
    int fd = open(name, O_RDWR);
    FAILS(lock(fd, F_SETLK, F_WRLCK, 0, 0), EAGAIN);
    CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 10) == 0);
    struct flock asked = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0 };
    CHECK(fcntl(fd, F_GETLK, &asked) == 0);
    CHECK(asked.l_type == F_WRLCK && asked.l_start == 10 && asked.l_len == 10 && asked.l_pid == child);
    CHECK(kill(child, SIGKILL) == 0);
    exit_ends_with(child, SIGKILL);
    CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 0) == 0);
    close(fd);
}

static void release_at_close_of_any_descriptor(void)
{
    int fd = open(name, O_RDWR);
    CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 0) == 0);
    close(open(name, O_RDONLY));
    pid_t child = fork();
    if (child == 0)
        _exit(lock(fd, F_SETLK, F_WRLCK, 0, 0) == 0 ? 0 : 1);
    exit_ends_with(child, 0);
    close(fd);
}

static void waiting_and_deadlock(void)
{
    int to[2], from[2];
    CHECK(pipe(to) == 0 && pipe(from) == 0);
    int fd = open(name, O_RDWR);
    CHECK(lock(fd, F_SETLK, F_WRLCK, 0, 1) == 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK(lock(fd, F_SETLK, F_WRLCK, 1, 1) == 0);
        say(from[1]);
        /* Waits for the parent; the parent then finds the deadlock and gives way. */
        CHECK(lock(fd, F_SETLKW, F_WRLCK, 0, 1) == 0);
        _exit(0);
    }
    step(from[0]);
    usleep(100000);
    FAILS(lock(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
    CHECK(lock(fd, F_SETLK, F_UNLCK, 0, 0) == 0);
    exit_ends_with(child, 0);
    CHECK(lock(fd, F_SETLKW, F_WRLCK, 1, 1) == 0);
    close(fd);
}

static void open_file_locks(void)
{
    int one = open(name, O_RDWR), two = open(name, O_RDWR);
    CHECK(lock(one, F_OFD_SETLK, F_WRLCK, 0, 0) == 0);
    FAILS(lock(two, F_OFD_SETLK, F_RDLCK, 5, 1), EAGAIN);
    int copy = dup(one);
    close(one);
    FAILS(lock(two, F_OFD_SETLK, F_RDLCK, 5, 1), EAGAIN);
    close(copy);
    CHECK(lock(two, F_OFD_SETLK, F_RDLCK, 5, 1) == 0);
    CHECK(flock(two, LOCK_SH) == 0);
    pid_t child = fork();
    if (child == 0) {
        int three = open(name, O_RDWR);
        FAILS(flock(three, LOCK_EX | LOCK_NB), EWOULDBLOCK);
        CHECK(flock(three, LOCK_SH | LOCK_NB) == 0);
        CHECK(flock(two, LOCK_UN) == 0); /* shared with the parent */
        CHECK(flock(three, LOCK_EX | LOCK_NB) == 0);
        _exit(0);
    }
    exit_ends_with(child, 0);
    CHECK(flock(two, LOCK_EX | LOCK_NB) == 0);
    close(two);
}

static void mounts_of_ones_own(void)
{
    char dir[] = "/tmp/guest-mount-XXXXXX", file[64];
    CHECK(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/f", dir);
    pid_t child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0)
            _exit(errno == EPERM ? 0 : 1); /* not as root */
        CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        CHECK(mount("none", dir, "tmpfs", 0, "size=64k") == 0);
        int fd = open(file, O_RDWR | O_CREAT, 0600);
        CHECK(fd >= 0);
        static char data[1 << 17];
        CHECK(write(fd, data, sizeof data) == 1 << 16);
        FAILS(write(fd, data, 1), ENOSPC);
        FAILS(umount(dir), EBUSY);
        close(fd);
        CHECK(mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
        FAILS(open(file, O_RDWR), EROFS);
        FAILS(unlink(file), EROFS);
        CHECK(umount(dir) == 0);
        CHECK(mount("none", dir, "tmpfs", 0, NULL) == 0);
        close(open(file, O_RDWR | O_CREAT, 0600));
        _exit(0);
    }
    exit_ends_with(child, 0);
    CHECK(access(file, F_OK) == -1);
    CHECK(rmdir(dir) == 0);
}

int main(void)
{
    int fd = mkstemp(name);
    CHECK(fd >= 0);
    close(fd);
    release_at_exit();
    release_at_close_of_any_descriptor();
    waiting_and_deadlock();
    open_file_locks();
    mounts_of_ones_own();
    CHECK(unlink(name) == 0);
    OK();
}
