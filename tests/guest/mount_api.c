/* Mounts by descriptor: fsopen(2), fsmount(2), move_mount(2), open_tree(2), mount_setattr(2). */
#include "check.h"
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#define fsopen(...) syscall(SYS_fsopen, __VA_ARGS__)
#define fsconfig(...) syscall(SYS_fsconfig, __VA_ARGS__)
#define fsmount(...) syscall(SYS_fsmount, __VA_ARGS__)
#define move_mount(...) syscall(SYS_move_mount, __VA_ARGS__)
#define open_tree(...) syscall(SYS_open_tree, __VA_ARGS__)
#define mount_setattr(...) syscall(SYS_mount_setattr, __VA_ARGS__)
extern int mount(const char *, const char *, const char *, unsigned long, const void *);
extern int umount2(const char *, int);

static void put(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
}

int main(void)
{
    if (geteuid() != 0) {
        FAILS(fsopen("tmpfs", 0), EPERM);
        OK();
    }
    char base[] = "/tmp/mount-api-XXXXXX";
    CHECK(mkdtemp(base) && chdir(base) == 0 && mkdir("a", 0755) == 0 && mkdir("b", 0755) == 0);
    CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    FAILS(fsopen("no-such-type", 0), ENODEV);
    FAILS(fsopen("tmpfs", 0x10), EINVAL);
    int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
    CHECK(fs >= 0 && (fcntl(fs, F_GETFD) & FD_CLOEXEC));
    FAILS(fsconfig(fs, FSCONFIG_SET_STRING, "mode", NULL, 0), EINVAL);
    FAILS(fsconfig(fs, 99, NULL, NULL, 0), EOPNOTSUPP);
    FAILS(fsconfig(0, FSCONFIG_CMD_CREATE, NULL, NULL, 0), EINVAL);
    CHECK(fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0711", 0) == 0);
    CHECK(fsconfig(fs, FSCONFIG_SET_STRING, "source", "mine", 0) == 0);
    FAILS(fsmount(fs, 0, 0), EINVAL);
    CHECK(fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0);
    int tree = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV);
    CHECK(tree >= 0);
    FAILS(fsmount(fs, 0, 0), EBUSY);
    int in_it = openat(tree, "early", O_CREAT | O_WRONLY, 0600);
    CHECK(in_it >= 0 && close(in_it) == 0);
    FAILS(access("a/early", F_OK), ENOENT);
    FAILS(move_mount(tree, "", AT_FDCWD, "a", 0), ENOENT);
    CHECK(move_mount(tree, "", AT_FDCWD, "a", MOVE_MOUNT_F_EMPTY_PATH) == 0);
    struct stat st;
    CHECK(access("a/early", F_OK) == 0 && stat("a", &st) == 0 && (st.st_mode & 0777) == 0711);
    CHECK(mkdir("a/in", 0755) == 0 && mount("none", "a/in", "tmpfs", 0, NULL) == 0);
    put("a/in/deep");

    int copy = open_tree(AT_FDCWD, "a", OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC);
    CHECK(copy >= 0 && move_mount(copy, "", AT_FDCWD, "b", MOVE_MOUNT_F_EMPTY_PATH) == 0);
    CHECK(access("b/early", F_OK) == 0 && access("b/in/deep", F_OK) == 0);
    CHECK(close(copy) == 0 && access("b/in/deep", F_OK) == 0);
    // One that is never attached goes with its descriptor.
    copy = open_tree(AT_FDCWD, "a", OPEN_TREE_CLONE | AT_RECURSIVE);
    CHECK(copy >= 0 && faccessat(copy, "in/deep", F_OK, 0) == 0 && close(copy) == 0);
    int plain = open_tree(AT_FDCWD, "a/early", 0);
    CHECK(plain >= 0 && fstat(plain, &st) == 0 && S_ISREG(st.st_mode));

    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    CHECK(mount_setattr(AT_FDCWD, "b", AT_RECURSIVE, &attr, sizeof attr) == 0);
    FAILS(open("b/in/new", O_CREAT | O_WRONLY, 0600), EROFS);
    FAILS(open("b/new", O_CREAT | O_WRONLY, 0600), EROFS);
    put("a/in/new");
    attr = (struct mount_attr){.attr_clr = MOUNT_ATTR_RDONLY};
    CHECK(mount_setattr(AT_FDCWD, "b", 0, &attr, sizeof attr) == 0);
    put("b/new");
    FAILS(open("b/in/newer", O_CREAT | O_WRONLY, 0600), EROFS);
    FAILS(mount_setattr(AT_FDCWD, "b/in/deep", 0, &attr, sizeof attr), EINVAL);
    FAILS(mount_setattr(-1, "b", 0, &attr, sizeof attr), EBADF);
    FAILS(mount_setattr(AT_FDCWD, "b", 0, &attr, 8), EINVAL);
    CHECK(move_mount(AT_FDCWD, "b/in", AT_FDCWD, "a/in", 0) == 0 && access("a/in/deep", F_OK) == 0);
    CHECK(umount2("a", 2) == 0 && umount2("b", 2) == 0);
    CHECK(rmdir("a") == 0 && rmdir("b") == 0 && chdir("/") == 0 && rmdir(base) == 0);
    OK();
}
