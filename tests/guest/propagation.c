/* Shared subtrees (mount_namespaces(7)), and the flags of mount(2) and umount2(2) around them. */
#include "check.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char base[] = "/tmp/propagation-XXXXXX";

static const char *at(const char *name)
{
    static char paths[8][128];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

/* The line of mountinfo of a mount point; NULL: none. */
static const char *line_of(const char *name)
{
    static char line[512];
    char point[160];
    snprintf(point, sizeof point, " %s ", at(name));
    FILE *file = fopen("/proc/self/mountinfo", "r");
    CHECK(file);
    char *found = NULL;
    char now[512];
    while (fgets(now, sizeof now, file))
        if (strstr(now, point)) {
            strcpy(line, now);
            found = line;
        }
    fclose(file);
    return found;
}

static int has(const char *name, const char *tag)
{
    const char *line = line_of(name);
    return line && strstr(line, tag);
}

static long tag(const char *name, const char *key)
{
    const char *line = line_of(name), *found = line ? strstr(line, key) : NULL;
    return found ? atol(found + strlen(key)) : 0;
}

static int mounted(const char *name) { return line_of(name) != NULL; }

static void make(const char *name)
{
    CHECK(mkdir(at(name), 0755) == 0);
}

static void types(void)
{
    make("a"), make("b");
    CHECK(mount("t", at("a"), "tmpfs", 0, NULL) == 0);
    CHECK(!has("a", "shared:"));
    CHECK(mount(NULL, at("a"), NULL, MS_SHARED, NULL) == 0 && has("a", " shared:"));
    make("a/sub"), make("b/x");
    FAILS(mount(NULL, at("a"), NULL, MS_SHARED | MS_PRIVATE, NULL), EINVAL);
    FAILS(mount(NULL, at("a"), NULL, MS_SHARED | MS_RDONLY, NULL), EINVAL);
    FAILS(mount(NULL, at("a/sub"), NULL, MS_SHARED, NULL), EINVAL);
    /* A bind mount is a peer. */
    CHECK(mount(at("a"), at("b"), NULL, MS_BIND, NULL) == 0);
    CHECK(tag("a", "shared:") && tag("a", "shared:") == tag("b", "shared:"));
    CHECK(mount("t", at("a/sub"), "tmpfs", 0, NULL) == 0);
    CHECK(mounted("b/sub") && tag("a/sub", "shared:") == tag("b/sub", "shared:"));
    CHECK(umount(at("b/sub")) == 0 && !mounted("a/sub"));
    /* A slave receives only. */
    CHECK(mount(NULL, at("b"), NULL, MS_SLAVE, NULL) == 0);
    CHECK(!has("b", "shared:") && tag("b", "master:") == tag("a", "shared:"));
    CHECK(mount("t", at("a/sub"), "tmpfs", 0, NULL) == 0);
    CHECK(mounted("b/sub") && tag("b/sub", "master:") == tag("a/sub", "shared:") && !has("b/sub", "shared:"));
    CHECK(umount(at("b/sub")) == 0 && mounted("a/sub"));
    CHECK(umount(at("a/sub")) == 0);
    CHECK(mount("t", at("b/sub"), "tmpfs", 0, NULL) == 0 && !mounted("a/sub"));
    CHECK(!has("b/sub", "shared:"));
    CHECK(umount(at("b/sub")) == 0);
    /* A slave that is shared too. */
    CHECK(mount(NULL, at("b"), NULL, MS_SHARED, NULL) == 0);
    CHECK(tag("b", "master:") == tag("a", "shared:") && tag("b", "shared:") != tag("a", "shared:"));
    make("c");
    CHECK(mount(at("b"), at("c"), NULL, MS_BIND, NULL) == 0);
    CHECK(tag("c", "shared:") == tag("b", "shared:") && tag("c", "master:") == tag("a", "shared:"));
    CHECK(mount("t", at("a/sub"), "tmpfs", 0, NULL) == 0 && mounted("b/sub") && mounted("c/sub"));
    CHECK(tag("c/sub", "shared:") == tag("b/sub", "shared:") && tag("c/sub", "master:") == tag("a/sub", "shared:"));
    CHECK(umount(at("a/sub")) == 0 && !mounted("b/sub") && !mounted("c/sub"));
    CHECK(mount("t", at("c/sub"), "tmpfs", 0, NULL) == 0 && mounted("b/sub") && !mounted("a/sub"));
    CHECK(umount(at("c/sub")) == 0 && !mounted("b/sub"));
    /* When the master group is gone its slaves have none. */
    CHECK(umount(at("a")) == 0 && !has("b", "master:") && has("b", "shared:"));
    CHECK(mount(NULL, at("b"), NULL, MS_PRIVATE, NULL) == 0 && !has("b", "shared:") && has("c", "shared:"));
    /* Alone in its group, a slave-to-be is private. */
    CHECK(mount(NULL, at("c"), NULL, MS_SLAVE, NULL) == 0 && !has("c", "master:") && !has("c", "shared:"));
    CHECK(umount(at("c")) == 0 && umount(at("b")) == 0);
}

static void unbindable(void)
{
    make("u"), make("v");
    CHECK(mount("t", at("u"), "tmpfs", 0, NULL) == 0);
    make("u/in");
    CHECK(mount("t", at("u/in"), "tmpfs", 0, NULL) == 0);
    CHECK(mount(NULL, at("u/in"), NULL, MS_UNBINDABLE, NULL) == 0 && has("u/in", " unbindable"));
    FAILS(mount(at("u/in"), at("v"), NULL, MS_BIND, NULL), EINVAL);
    CHECK(mount(at("u"), at("v"), NULL, MS_BIND | MS_REC, NULL) == 0);
    CHECK(mounted("v") && !mounted("v/in"));
    CHECK(umount(at("v")) == 0);
    CHECK(umount2(at("u"), MNT_DETACH) == 0);
}

static void moves(void)
{
    make("m"), make("n");
    CHECK(mount("t", at("m"), "tmpfs", 0, NULL) == 0 && mount(NULL, at("m"), NULL, MS_SHARED, NULL) == 0);
    CHECK(mount("t", at("n"), "tmpfs", 0, NULL) == 0);
    make("m/x"), make("n/y");
    CHECK(mount("t", at("m/x"), "tmpfs", 0, NULL) == 0);
    FAILS(mount(at("m/x"), at("n/y"), NULL, MS_MOVE, NULL), EINVAL);
    make("n/z");
    CHECK(mount("t", at("n/z"), "tmpfs", 0, NULL) == 0 && !has("n/z", "shared:"));
    make("m/w");
    CHECK(mount(at("n/z"), at("m/w"), NULL, MS_MOVE, NULL) == 0);
    CHECK(has("m/w", "shared:") && !mounted("n/z"));
    CHECK(umount2(at("m"), MNT_DETACH) == 0 && umount(at("n")) == 0);
}

static void namespaces(void)
{
    int go[2], done[2];
    char byte;
    CHECK(pipe(go) == 0 && pipe(done) == 0);
    make("s"), make("p");
    CHECK(mount("t", at("s"), "tmpfs", 0, NULL) == 0 && mount(NULL, at("s"), NULL, MS_SHARED, NULL) == 0);
    CHECK(mount("t", at("p"), "tmpfs", 0, NULL) == 0 && mount(NULL, at("p"), NULL, MS_PRIVATE, NULL) == 0);
    make("s/x"), make("p/x"), make("s/y");
    pid_t child = fork();
    if (child == 0) {
        CHECK(unshare(CLONE_NEWNS) == 0);
        CHECK(write(done[1], "1", 1) == 1 && read(go[0], &byte, 1) == 1);
        CHECK(mounted("s/x") && !mounted("p/x"));
        CHECK(mount(NULL, at("s"), NULL, MS_SLAVE | MS_REC, NULL) == 0);
        CHECK(mount("t", at("s/y"), "tmpfs", 0, NULL) == 0);
        _exit(0);
    }
    CHECK(read(done[0], &byte, 1) == 1);
    CHECK(mount("t", at("s/x"), "tmpfs", 0, NULL) == 0 && mount("t", at("p/x"), "tmpfs", 0, NULL) == 0);
    CHECK(write(go[1], "1", 1) == 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(!mounted("s/y"));
    CHECK(umount2(at("s"), MNT_DETACH) == 0 && umount2(at("p"), MNT_DETACH) == 0);
}

static void flags(void)
{
    make("f");
    CHECK(mount("t", at("f"), "tmpfs", 0, "size=64k,nr_inodes=10,mode=750,uid=5,gid=6") == 0);
    struct stat st;
    CHECK(stat(at("f"), &st) == 0 && st.st_uid == 5 && st.st_gid == 6 && (st.st_mode & 07777) == 0750);
    struct statfs fs;
    CHECK(statfs(at("f"), &fs) == 0 && fs.f_blocks == 16 && fs.f_files == 10);
    CHECK(has("f", "size=64k") && has("f", "mode=750"));
    CHECK(symlink("target", at("f/link")) == 0);
    int fd = open(at("f/target"), O_CREAT | O_RDWR, 0600);
    CHECK(fd >= 0);
    FAILS(umount(at("f")), EBUSY);
    close(fd);
    CHECK(mount(NULL, at("f"), NULL, MS_REMOUNT | MS_BIND | MS_NOSYMFOLLOW, NULL) == 0);
    FAILS(open(at("f/link"), O_RDONLY), ELOOP);
    char text[16];
    CHECK(readlink(at("f/link"), text, sizeof text) == 6);
    CHECK(mount(NULL, at("f"), NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOEXEC, NULL) == 0);
    CHECK(has("f", " ro,noexec,"));
    FAILS(open(at("f/new"), O_CREAT | O_RDWR, 0600), EROFS);
    CHECK((fd = open(at("f/link"), O_RDONLY)) >= 0);
    close(fd);
    FAILS(umount2(at("f"), MNT_EXPIRE | MNT_DETACH), EINVAL);
    FAILS(umount2(at("f"), 64), EINVAL);
    FAILS(umount2(at("f"), MNT_EXPIRE), EAGAIN);
    close(open(at("f/target"), O_RDONLY));
    FAILS(umount2(at("f"), MNT_EXPIRE), EAGAIN);
    CHECK(umount2(at("f"), MNT_EXPIRE) == 0 && !mounted("f"));
    CHECK(symlink(at("f"), at("to-f")) == 0 && mount("t", at("f"), "tmpfs", 0, NULL) == 0);
    FAILS(umount2(at("to-f"), UMOUNT_NOFOLLOW), EINVAL);
    CHECK(umount2(at("to-f"), 0) == 0);
    FAILS(umount(at("f")), EINVAL);
    FAILS(mount("t", at("f"), "tmpfs", 0, "size=x"), EINVAL);
    FAILS(mount("t", at("f"), "no-such-type", 0, NULL), ENODEV);
}

static void pivot(void)
{
    make("new");
    FAILS(syscall(SYS_pivot_root, at("new"), at("new")), EINVAL);
    CHECK(mount("t", at("new"), "tmpfs", 0, NULL) == 0);
    make("new/old");
    CHECK(mount(NULL, at("new"), NULL, MS_SHARED, NULL) == 0);
    FAILS(syscall(SYS_pivot_root, at("new"), at("new/old")), EINVAL);
    CHECK(mount(NULL, at("new"), NULL, MS_PRIVATE, NULL) == 0);
    CHECK(syscall(SYS_pivot_root, at("new"), at("new/old")) == 0);
    struct stat st;
    CHECK(stat("/old", &st) == 0 && access("/old/proc", F_OK) == 0);
    CHECK(chdir("/") == 0 && umount2("/old", MNT_DETACH) == 0);
    FAILS(access("/old/proc", F_OK), ENOENT);
}

int main(void)
{
    CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("t", "/tmp", "tmpfs", 0, NULL) == 0);
    CHECK(mkdtemp(base));
    types();
    unbindable();
    moves();
    namespaces();
    flags();
    pivot();
    OK();
}
