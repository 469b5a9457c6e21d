/* Mounts that multiply: shared mounts within shared mounts, slaves of slaves, mounts that are moved into themselves, and trees that are
 * taken apart while others walk in them. There is a bound, and everything else goes on. */
#include "escape.h"
#include <pthread.h>
#include <sys/mount.h>

#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 4
#endif
#define TREE_CLONE 1
#define RECURSIVE 0x8000

static int count_mounts(void)
{
    FILE *file = fopen("/proc/self/mountinfo", "r");
    int lines = 0, c;
    while (file && (c = getc(file)) != EOF)
        lines += c == '\n';
    if (file)
        fclose(file);
    return lines;
}

static void start(void)
{
    if (unshare(CLONE_NEWNS) != 0)
        _exit(0);
    mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL);
    mount("none", "/tmp", "tmpfs", 0, NULL);
    chdir("/tmp");
}

static void is_bounded(const char *how)
{
    int mounts = count_mounts();
    if (mounts > 200000)
        ESCAPE("%d mounts %s", mounts, how);
    printf("%d mounts %s\n", mounts, how);
}

/* Each bind of a shared tree into itself doubles it. */
static void doubles(void *unused)
{
    (void)unused;
    start();
    mkdir("a", 0777);
    mount("none", "a", "tmpfs", 0, NULL);
    mount(NULL, "a", NULL, MS_SHARED, NULL);
    char path[4096] = "a";
    for (int i = 0; i < 40; i++) {
        char name[32];
        snprintf(name, sizeof name, "a/%d", i);
        mkdir(name, 0777);
        if (mount("a", name, NULL, MS_BIND | MS_REC, NULL) != 0)
            break;
    }
    is_bounded("by binds into themselves");
    (void)path;
    umount2("a", MNT_DETACH);
}

/* Peers and slaves in many namespaces: each mount event goes to all. */
static void spreads(void *unused)
{
    (void)unused;
    start();
    mkdir("shared", 0777);
    mount("none", "shared", "tmpfs", 0, NULL);
    mount(NULL, "shared", NULL, MS_SHARED, NULL);
    pid_t children[60];
    for (unsigned i = 0; i < LENGTH(children); i++) {
        children[i] = fork();
        if (children[i] == 0) {
            unshare(CLONE_NEWNS);
            if (i % 3 == 1)
                mount(NULL, "/tmp/shared", NULL, MS_SLAVE | MS_REC, NULL);
            if (i % 3 == 2) {
                mount(NULL, "/tmp/shared", NULL, MS_SLAVE, NULL);
                mount(NULL, "/tmp/shared", NULL, MS_SHARED, NULL);
            }
            for (int n = 0;; n++) {
                char name[64];
                snprintf(name, sizeof name, "/tmp/shared/%u-%d", i, n);
                mkdir(name, 0777);
                if (mount("none", name, "tmpfs", 0, NULL) != 0 || n > 300)
                    for (;;)
                        pause();
            }
        }
    }
    double end = seconds() + 8;
    while (seconds() < end) {
        count_mounts();
        umount2("/tmp/shared/3-1", MNT_DETACH);
        usleep(1000);
    }
    is_bounded("by events to sixty namespaces");
    for (unsigned i = 0; i < LENGTH(children); i++)
        kill(children[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
}

static void moves(void *unused)
{
    (void)unused;
    start();
    mkdir("one", 0777);
    mkdir("two", 0777);
    mount("none", "one", "tmpfs", 0, NULL);
    mkdir("one/below", 0777);
    mount("none", "one/below", "tmpfs", 0, NULL);
    REFUSED(mount("one", "one/below", NULL, MS_MOVE, NULL));
    REFUSED(mount("/tmp", "/tmp/one/below", NULL, MS_MOVE, NULL));
    REFUSED(mount("/", "/tmp/one", NULL, MS_MOVE, NULL));
    mount(NULL, "one", NULL, MS_SHARED, NULL);
    mount(NULL, "/tmp", NULL, MS_UNBINDABLE, NULL);
    REFUSED(mount("/tmp", "one", NULL, MS_BIND, NULL));
    for (int i = 0; i < 300; i++) {
        int tree = syscall(SYS_open_tree, AT_FDCWD, "/tmp/one", TREE_CLONE | RECURSIVE | O_CLOEXEC);
        syscall(SYS_move_mount, tree, "", AT_FDCWD, "/tmp/one/below", MOVE_MOUNT_F_EMPTY_PATH);
        syscall(SYS_move_mount, tree, "", tree, "", MOVE_MOUNT_F_EMPTY_PATH | 0x40);
        syscall(SYS_move_mount, AT_FDCWD, "/tmp/one", tree, "", 0x40);
        syscall(SYS_move_mount, AT_FDCWD, "/", tree, "", 0x40);
        struct { uint64_t set, clear, propagation, userns; } attributes = {i & 0xf, 0xff, i % 2 ? MS_SHARED : MS_SLAVE, -1};
        syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | RECURSIVE, &attributes, sizeof attributes);
        if (i % 3)
            close(tree);
        umount2("/tmp/one/below", i % 2 ? MNT_DETACH : MNT_EXPIRE);
        syscall(SYS_pivot_root, "/tmp/one", "/tmp/one/below");
        syscall(SYS_pivot_root, ".", ".");
    }
    is_bounded("by moving");
    struct stat st;
    if (stat("/", &st) != 0)
        ESCAPE("there is no root");
}

static volatile int over;

static void *walks(void *unused)
{
    (void)unused;
    char text[256];
    struct stat st;
    while (!over) {
        stat("/tmp/a/b/c/../../b/c/file", &st);
        int fd = open("/tmp/a/b/c", O_RDONLY | O_DIRECTORY);
        if (fd >= 0) {
            fchdir(fd);
            getcwd(text, sizeof text);
            fd = (close(fd), openat(AT_FDCWD, "../../../../../../proc/self/mountinfo", O_RDONLY));
            read(fd, text, sizeof text);
            close(fd);
            chdir("/");
        }
        readlink("/proc/self/cwd", text, sizeof text);
    }
    return NULL;
}

static void taken_apart(void *unused)
{
    (void)unused;
    start();
    pthread_t threads[3];
    for (unsigned i = 0; i < LENGTH(threads); i++)
        pthread_create(&threads[i], NULL, walks, NULL);
    double end = seconds() + 5;
    while (seconds() < end) {
        mkdir("/tmp/a", 0777);
        mount("none", "/tmp/a", "tmpfs", 0, NULL);
        mount(NULL, "/tmp/a", NULL, MS_SHARED, NULL);
        mkdir("/tmp/a/b", 0777);
        mount("none", "/tmp/a/b", "tmpfs", MS_NOSUID, NULL);
        mkdir("/tmp/a/b/c", 0777);
        mount("/proc", "/tmp/a/b/c", NULL, MS_BIND | MS_REC, NULL);
        umount2("/tmp/a", MNT_DETACH);
        rmdir("/tmp/a");
    }
    over = 1;
}

int main(void)
{
    int before = count_mounts();
    TRIED("doubling");
    attack(doubles, NULL, 100);
    TRIED("spreading");
    attack(spreads, NULL, 100);
    TRIED("moving");
    attack(moves, NULL, 100);
    TRIED("walking where mounts come and go");
    attack(taken_apart, NULL, 100);
    if (count_mounts() != before)
        ESCAPE("%d mounts instead of %d", count_mounts(), before);
    CONTAINED();
}
