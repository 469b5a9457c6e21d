/* User and pid namespaces: ids, capabilities and numbers of processes that depend on who asks. */
#include "check.h"
#include <fcntl.h>
#include <grp.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static int put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    if (fd < 0)
        return -1;
    int done = write(fd, text, strlen(text));
    int saved = errno;
    close(fd);
    errno = saved;
    return done == (int)strlen(text) ? 0 : -1;
}

static int holds(const char *path, const char *wanted)
{
    char text[4096] = {0};
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    read(fd, text, sizeof text - 1);
    close(fd);
    return strstr(text, wanted) != NULL;
}

/* Runs `body` in a child, whose exit status it checks. */
static void in_child(void (*body)(void))
{
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void become_user(void)
{
    CHECK(setgroups(0, NULL) == 0 && setgid(1234) == 0 && setuid(1234) == 0);
    CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
}

static void own_id(void)
{
    become_user();
    struct stat st;
    CHECK(stat("/proc/self/ns/user", &st) == 0);
    ino_t first = st.st_ino;
    CHECK(unshare(CLONE_NEWNS) == -1 && errno == EPERM);
    CHECK(unshare(CLONE_NEWUSER) == 0);
    CHECK(stat("/proc/self/ns/user", &st) == 0 && st.st_ino != first);
    CHECK(getuid() == 65534 && getgid() == 65534 && geteuid() == 65534);
    CHECK(setuid(0) == -1 && errno == EINVAL);
    CHECK(put("/proc/self/gid_map", "0 1234 1") == -1 && errno == EPERM);
    CHECK(put("/proc/self/setgroups", "deny") == 0);
    CHECK(put("/proc/self/setgroups", "allow") == -1 && errno == EPERM);
    CHECK(holds("/proc/self/setgroups", "deny"));
    CHECK(put("/proc/self/uid_map", "0 0 1") == -1 && errno == EPERM);
    CHECK(put("/proc/self/uid_map", "0 1234 2") == -1 && errno == EPERM);
    CHECK(put("/proc/self/uid_map", "0 1234") == -1 && errno == EINVAL);
    CHECK(put("/proc/self/uid_map", "0 1234 1\n") == 0);
    CHECK(put("/proc/self/uid_map", "0 1234 1\n") == -1 && errno == EPERM);
    CHECK(put("/proc/self/gid_map", "0 1234 1\n") == 0);
    CHECK(holds("/proc/self/uid_map", "         0       1234          1\n"));
    CHECK(getuid() == 0 && getgid() == 0 && syscall(SYS_geteuid) == 0);
    CHECK(setgroups(0, NULL) == -1 && errno == EPERM);
    CHECK(setuid(5) == -1 && errno == EINVAL);
    /* Root's files are nobody's here, and nothing over them is allowed. */
    CHECK(stat("/", &st) == 0 && st.st_uid == 65534);
    CHECK(chown("/", 0, 0) == -1 && errno == EPERM);
    CHECK(chown("/", 7, -1) == -1 && errno == EINVAL);
    char path[] = "/tmp/user-ns-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == 0 && st.st_gid == 0);
    CHECK(unlink(path) == 0);
    /* Capabilities hold for what belongs to the namespace. */
    CHECK(sethostname("x", 1) == -1 && errno == EPERM);
    CHECK(mknod("/tmp/user-ns-dev", S_IFCHR | 0600, 0x103) == -1 && errno == EPERM);
    CHECK(unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWCGROUP) == 0);
    CHECK(sethostname("x", 1) == 0);
    CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("t", "/tmp", "tmpfs", 0, "mode=755") == 0);
    CHECK(stat("/tmp", &st) == 0 && st.st_uid == 0 && (st.st_mode & 07777) == 0755);
    CHECK(mknod("/tmp/dev", S_IFCHR | 0600, 0x103) == -1 && errno == EPERM);
    CHECK(mkdir("/tmp/a", 0755) == 0 && chown("/tmp/a", 0, 0) == 0);
    CHECK(umount("/tmp") == 0);
    /* What was mounted outside stays. */
    CHECK(umount2("/proc", MNT_DETACH) == -1 && errno == EINVAL);
    CHECK(setns(open("/proc/1/ns/user", O_RDONLY), 0) == -1);
    int ns = open("/proc/self/ns/user", O_RDONLY);
    CHECK(setns(ns, 0) == -1 && errno == EINVAL);
    uid_t owner = 77;
    CHECK(ioctl(ns, NS_GET_OWNER_UID, &owner) == 0 && owner == 0);
    CHECK(ioctl(ns, NS_GET_PARENT) == -1 && errno == EPERM);
    CHECK(ioctl(ns, NS_GET_NSTYPE) == CLONE_NEWUSER);
    int uts = open("/proc/self/ns/uts", O_RDONLY);
    int of = ioctl(uts, NS_GET_USERNS);
    CHECK(of >= 0 && fstat(of, &st) == 0);
    ino_t owner_number = st.st_ino;
    CHECK(stat("/proc/self/ns/user", &st) == 0 && st.st_ino == owner_number);
}

static char stack[64 << 10] __attribute__((aligned(16)));
static int ready[2];

static int mapped_child(void *arg)
{
    (void)arg;
    char go;
    CHECK(read(ready[0], &go, 1) == 1);
    CHECK(getuid() == 0 && setresuid(5, 5, 5) == 0 && getuid() == 5);
    return 0;
}

/* The parent writes the maps; a range, with setgroups allowed. */
static void mapped_by_parent(void)
{
    CHECK(pipe(ready) == 0);
    pid_t child = clone(mapped_child, stack + sizeof stack, CLONE_NEWUSER | SIGCHLD, NULL);
    CHECK(child > 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/uid_map", child);
    CHECK(put(path, "0 0 1\n1 5000 10\n1 7000 10\n") == -1 && errno == EINVAL);
    CHECK(put(path, "0 0 1\n1 5000 10\n") == 0);
    CHECK(holds(path, "         1       5000         10\n"));
    snprintf(path, sizeof path, "/proc/%d/gid_map", child);
    CHECK(put(path, "0 0 4294967295\n") == 0);
    CHECK(write(ready[1], "x", 1) == 1);
    siginfo_t info;
    CHECK(waitid(P_PID, child, &info, WEXITED) == 0 && info.si_status == 0);
    CHECK(info.si_uid == 5004);
}

static void first_of_namespace(void)
{
    CHECK(getpid() == 1 && getppid() == 0 && syscall(SYS_gettid) == 1);
    CHECK(getpgrp() == 0 && getsid(0) == 0);
    CHECK(kill(1, SIGTERM) == 0 && kill(1, SIGKILL) == 0); /* nothing to the first process */
    CHECK(kill(-1, SIGTERM) == -1 && errno == ESRCH);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(getpid() == 2 && getppid() == 1);
        CHECK(setsid() == 2 && getpgrp() == 2);
        if (fork() == 0) {
            /* Orphaned, it becomes the first process's child. */
            while (getppid() != 1)
                usleep(1000);
            _exit(7);
        }
        _exit(3);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == 2 && WEXITSTATUS(status) == 3);
    CHECK(wait(&status) == 3 && WEXITSTATUS(status) == 7);
    CHECK(kill(getppid() + 4000, 0) == -1 && errno == ESRCH);
    CHECK(unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("proc", "/proc", "proc", 0, NULL) == 0);
    char link[32] = {0};
    CHECK(readlink("/proc/self", link, sizeof link - 1) == 1 && strcmp(link, "1") == 0);
    CHECK(holds("/proc/self/status", "\nPid:\t1\nPPid:\t0\n"));
    CHECK(access("/proc/2", F_OK) == -1 && errno == ENOENT);
    CHECK(umount("/proc") == 0);
}

static int talk[2];

static int in_pid_namespace(void *arg)
{
    (void)arg;
    first_of_namespace();
    struct ucred own = {getpid(), getuid(), getgid()};
    char control[CMSG_SPACE(sizeof own)] = {0}, byte = 'c';
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_CREDENTIALS, header->cmsg_len = CMSG_LEN(sizeof own);
    memcpy(CMSG_DATA(header), &own, sizeof own);
    CHECK(sendmsg(talk[1], &message, 0) == 1);
    /* Children that live when the first process ends are killed. */
    if (fork() == 0) {
        for (;;)
            pause();
    }
    CHECK(read(talk[1], &byte, 1) == 1);
    return 0;
}

static void numbers(void)
{
    int on = 1;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, talk) == 0);
    CHECK(setsockopt(talk[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
    pid_t child = clone(in_pid_namespace, stack + sizeof stack, CLONE_NEWPID | SIGCHLD, NULL);
    CHECK(child > 1);
    char control[CMSG_SPACE(sizeof(struct ucred))], byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    CHECK(recvmsg(talk[0], &message, 0) == 1);
    struct ucred *sender = (void *)CMSG_DATA(CMSG_FIRSTHDR(&message));
    CHECK(sender->pid == child);
    char path[64], line[64];
    snprintf(path, sizeof path, "/proc/%d/status", child);
    snprintf(line, sizeof line, "\nNSpid:\t%d\t1\n", child);
    CHECK(holds(path, line));
    snprintf(path, sizeof path, "/proc/%d/ns/pid", child);
    int ns = open(path, O_RDONLY), up;
    CHECK(ns >= 0 && ioctl(ns, NS_GET_NSTYPE) == CLONE_NEWPID);
    CHECK((up = ioctl(ns, NS_GET_PARENT)) >= 0);
    struct stat st, own;
    CHECK(fstat(up, &st) == 0 && stat("/proc/self/ns/pid", &own) == 0 && st.st_ino == own.st_ino);
    /* A process of ours in there: it has a number too. */
    pid_t helper = fork();
    if (helper == 0) {
        CHECK(setns(ns, CLONE_NEWPID) == 0);
        pid_t inside = fork();
        if (inside == 0)
            _exit(getpid() > 1 && getppid() == 0 ? 0 : 1);
        int status;
        CHECK(inside > 1 && waitpid(inside, &status, 0) == inside && status == 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(helper, &status, 0) == helper && status == 0);
    CHECK(write(talk[0], "x", 1) == 1);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    /* The namespace is over. */
    CHECK(setns(ns, 0) == 0);
    CHECK(fork() == -1 && errno == ENOMEM);
    CHECK(setns(up, 0) == 0);
    pid_t again = fork();
    if (again == 0)
        _exit(0);
    CHECK(waitpid(again, &status, 0) == again);
}

static int idle(void *arg)
{
    (void)arg;
    for (;;)
        pause();
}

static void killed_from_outside(void)
{
    int status;
    pid_t child = clone(idle, stack + sizeof stack, CLONE_NEWPID | SIGCHLD, NULL);
    CHECK(child > 0 && kill(child, SIGTERM) == 0);
    usleep(20000);
    CHECK(waitpid(child, &status, WNOHANG) == 0);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void wrong(void)
{
    CHECK(clone(idle, stack + sizeof stack, CLONE_NEWUSER | CLONE_FS | SIGCHLD, NULL) == -1 && errno == EINVAL);
    CHECK(clone(idle, stack + sizeof stack, CLONE_NEWPID | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, NULL) == -1 && errno == EINVAL);
    CHECK(unshare(CLONE_NEWPID) == 0);
    CHECK(unshare(CLONE_NEWPID) == -1 && errno == EINVAL);
    CHECK(clone(idle, stack + sizeof stack, CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, NULL) == -1 && errno == EINVAL);
}

int main(void)
{
    in_child(own_id);
    in_child(mapped_by_parent);
    in_child(numbers);
    in_child(killed_from_outside);
    in_child(wrong);
    puts("ok");
    return 0;
}
