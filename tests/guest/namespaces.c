/* Namespaces of names, IPC objects and mounts: made by unshare(2) and clone(2), entered by setns(2). */
#include "check.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <linux/nsfs.h>

static char stack[64 << 10] __attribute__((aligned(16)));

static ino_t number(const char *kind)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
    struct stat st;
    CHECK(stat(path, &st) == 0);
    return st.st_ino;
}

static int open_own(const char *kind)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    return fd;
}

static int renamed(void *arg)
{
    (void)arg;
    CHECK(sethostname("inner", 5) == 0);
    struct utsname names;
    CHECK(uname(&names) == 0 && strcmp(names.nodename, "inner") == 0);
    char text[20] = {0};
    int fd = open("/proc/sys/kernel/hostname", O_RDONLY);
    CHECK(read(fd, text, sizeof text) == 6 && strcmp(text, "inner\n") == 0);
    return 0;
}

static void names(void)
{
    struct utsname before, after;
    CHECK(uname(&before) == 0);
    int old = open_own("uts");
    pid_t child = clone(renamed, stack + sizeof stack, CLONE_NEWUTS | SIGCHLD, NULL);
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    CHECK(uname(&after) == 0 && strcmp(before.nodename, after.nodename) == 0);
    ino_t first = number("uts");
    CHECK(unshare(CLONE_NEWUTS) == 0 && number("uts") != first);
    CHECK(sethostname("mine", 4) == 0);
    CHECK(ioctl(old, NS_GET_NSTYPE) == CLONE_NEWUTS);
    FAILS(setns(old, CLONE_NEWIPC), EINVAL);
    CHECK(setns(old, CLONE_NEWUTS) == 0 && number("uts") == first);
    CHECK(uname(&after) == 0 && strcmp(before.nodename, after.nodename) == 0);
    close(old);
}

static void objects(void)
{
    int shm = shmget(0x7e91, 4096, IPC_CREAT | 0600);
    CHECK(shm >= 0);
    char *memory = shmat(shm, NULL, 0);
    strcpy(memory, "outer");
    int old = open_own("ipc");
    CHECK(unshare(CLONE_NEWIPC) == 0);
    FAILS(shmget(0x7e91, 4096, 0), ENOENT);
    CHECK(strcmp(memory, "outer") == 0);
    int sem = semget(0x7e91, 1, IPC_CREAT | 0600);
    CHECK(sem >= 0);
    CHECK(setns(old, 0) == 0 && shmget(0x7e91, 4096, 0) == shm);
    FAILS(semget(0x7e91, 1, 0), ENOENT);
    CHECK(shmctl(shm, IPC_RMID, NULL) == 0 && shmdt(memory) == 0);
    close(old);
}

static void mounts(void)
{
    ino_t first = number("mnt");
    pid_t child = fork();
    if (child == 0) {
        int old = open_own("mnt");
        CHECK(unshare(CLONE_NEWNS) == 0 && number("mnt") != first);
        CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        CHECK(mount("none", "/mnt", "tmpfs", 0, NULL) == 0);
        int fd = open("/mnt/only-here", O_CREAT | O_WRONLY, 0600);
        CHECK(fd >= 0 && close(fd) == 0);
        CHECK(setns(old, CLONE_NEWNS) == 0 && number("mnt") == first);
        FAILS(open("/mnt/only-here", O_RDONLY), ENOENT);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void by_process(void)
{
    int ready[2], done[2];
    CHECK(pipe(ready) == 0 && pipe(done) == 0);
    pid_t child = fork();
    char c = 'x';
    if (child == 0) {
        CHECK(unshare(CLONE_NEWUTS) == 0 && sethostname("theirs", 6) == 0);
        CHECK(write(ready[1], &c, 1) == 1 && read(done[0], &c, 1) == 1);
        _exit(0);
    }
    CHECK(read(ready[0], &c, 1) == 1);
    int pidfd = syscall(SYS_pidfd_open, child, 0);
    int old = open_own("uts");
    CHECK(setns(pidfd, CLONE_NEWUTS) == 0);
    struct utsname names;
    CHECK(uname(&names) == 0 && strcmp(names.nodename, "theirs") == 0);
    CHECK(setns(old, 0) == 0 && write(done[1], &c, 1) == 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    FAILS(setns(ready[0], 0), EINVAL);
    FAILS(setns(-1, 0), EBADF);
}

int main(void)
{
    if (geteuid() != 0) {
        FAILS(unshare(CLONE_NEWUTS), EPERM);
        OK();
    }
    names();
    objects();
    mounts();
    by_process();
    OK();
}
