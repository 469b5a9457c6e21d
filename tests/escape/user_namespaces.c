/* Root of a user namespace of one's own: what it owns there must be worth nothing outside of it. Set-user-ID programs, file capabilities,
 * id maps, owners of files, mounts, signals and traces across the border. */
#include "escape.h"
#include <grp.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/xattr.h>

static int put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int done = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
    close(fd);
    return done;
}

static void nobody(void)
{
    if (setgroups(0, NULL) != 0 || setgid(4242) != 0 || setuid(4242) != 0)
        _exit(0);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

/* Root inside, user 4242 outside. */
static int own_root(void)
{
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return -1;
    put("/proc/self/setgroups", "deny");
    if (put("/proc/self/uid_map", "0 4242 1") != 0)
        return -1;
    return put("/proc/self/gid_map", "0 4242 1");
}

static const char *protected = "/tmp/escape-root/secret";

static void is_still_nobody(const char *when)
{
    char byte;
    int fd = open(protected, O_RDONLY);
    if (fd >= 0 && read(fd, &byte, 1) == 1)
        ESCAPE("root's file %s", when);
    if (chown(protected, 0, 0) == 0 || chmod(protected, 0777) == 0 || unlink(protected) == 0)
        ESCAPE("root's file was changed %s", when);
    if (mknod("/tmp/escape-device", S_IFCHR | 0666, 1 << 8 | 1) == 0 && open("/tmp/escape-device", O_RDWR) >= 0)
        ESCAPE("a device %s", when);
}

static void maps(void *unused)
{
    (void)unused;
    nobody();
    if (unshare(CLONE_NEWUSER) != 0)
        return;
    static const char *wrong[] = {"0 0 1", "0 0 4294967295", "0 4242 2", "0 4241 1", "0 4242 0", "4294967295 4242 1", "0 4294967295 1",
                                  "0 4242 1\n0 4242 1", "0 4242 1\n1 0 1", "0 18446744073709551615 1", "0 -1 1", "-1 4242 1",
                                  "0 4242 18446744073709551615", "0 4242 1 1", "0 4242", "", " ", "0\t0\t1"};
    for (unsigned i = 0; i < LENGTH(wrong); i++)
        if (put("/proc/self/uid_map", wrong[i]) == 0 && *wrong[i])
            ESCAPE("the map '%s' was taken", wrong[i]);
    /* Groups need the denial of setgroups(2) first. */
    if (put("/proc/self/gid_map", "0 4242 1") == 0)
        ESCAPE("a map of groups without denying setgroups");
    is_still_nobody("with maps that were refused");
    if (put("/proc/self/uid_map", "0 4242 1") != 0)
        return;
    REFUSED(put("/proc/self/uid_map", "0 0 1"));
    REFUSED(put("/proc/1/uid_map", "0 0 1"));
    setresuid(0, 0, 0);
    is_still_nobody("as root of a namespace");
    REFUSED(setuid(1));
    REFUSED(kill(1, SIGKILL));
    REFUSED(ptrace(PTRACE_ATTACH, 1, 0, 0));
    REFUSED(setns(open("/proc/1/ns/user", O_RDONLY), 0));
    REFUSED(setns(open("/proc/1/ns/mnt", O_RDONLY), 0));
    REFUSED(setns(open("/proc/self/ns/user", O_RDONLY), 0));
    REFUSED(sethostname("owned", 5));
    REFUSED(syscall(SYS_init_module, "x", 1, ""));
    REFUSED(syscall(SYS_reboot, 0xfee1dead, 672274793, 0x4321fedc, 0));
}

/* Programs that would give what their owner has: outside of the namespace they are worth nothing. */
static void programs(void *unused)
{
    (void)unused;
    int go[2], done[2], status;
    pipe(go);
    pipe(done);
    pid_t child = fork();
    if (child == 0) {
        nobody();
        if (own_root() != 0)
            _exit(0);
        mount("none", "/tmp", "tmpfs", 0, "mode=777");
        static char with[] = "cp \"$(command -v id)\" /tmp/mine && chown 0:0 /tmp/mine && chmod 6755 /tmp/mine";
        system(with);
        unsigned caps[6] = {0x03000001, ~0U, 0, ~0U, 0, 0};
        system("cp /tmp/mine /tmp/capable; chmod 755 /tmp/capable");
        setxattr("/tmp/capable", "security.capability", caps, sizeof caps, 0);
        caps[0] = 0x02000001;
        setxattr("/tmp/capable", "security.capability", caps, 20, 0);
        write(done[1], "x", 1);
        char byte;
        read(go[0], &byte, 1);
        _exit(0);
    }
    char byte, path[64];
    struct { const char *name; } files[] = {{"mine"}, {"capable"}};
    read(done[0], &byte, 1);
    for (unsigned i = 0; i < LENGTH(files); i++) {
        int output[2];
        pipe(output);
        pid_t runs = fork();
        if (runs == 0) {
            if (setgroups(0, NULL) != 0 || setgid(5555) != 0 || setuid(5555) != 0)
                _exit(0);
            dup2(output[1], 1);
            snprintf(path, sizeof path, "/proc/%d/root/tmp/%s", child, files[i].name);
            int fd = open(path, O_PATH);
            if (fd >= 0)
                syscall(SYS_execveat, fd, "", (char *[]){"id", "-u", NULL}, (char *[]){NULL}, AT_EMPTY_PATH);
            execl(path, "id", "-u", (char *)NULL);
            _exit(0);
        }
        close(output[1]);
        char text[32] = {0};
        if (read(output[0], text, sizeof text - 1) > 0 && atoi(text) != 5555)
            ESCAPE("%s of another namespace ran as %s", files[i].name, text);
        waitpid(runs, &status, 0);
    }
    write(go[1], "x", 1);
    waitpid(child, &status, 0);
}

/* The namespace's own root against the system's set-user-ID programs. */
static void system_programs(void *unused)
{
    (void)unused;
    nobody();
    if (own_root() != 0)
        return;
    int output[2], status;
    pipe(output);
    pid_t child = fork();
    if (child == 0) {
        dup2(output[1], 1);
        /* Root outside has no meaning here, so its bit has none. */
        execl("/tmp/escape-setuid", "id", "-u", (char *)NULL);
        _exit(0);
    }
    close(output[1]);
    char text[32] = {0};
    read(output[0], text, sizeof text - 1);
    waitpid(child, &status, 0);
    is_still_nobody("after a set-user-ID program");
    REFUSED(mount("none", "/proc/sys", "sysfs", MS_REMOUNT, NULL));
    REFUSED(mount("/dev/null", "/etc", NULL, MS_BIND, NULL));
    mount("/tmp/escape-root", "/tmp", NULL, MS_BIND | MS_REC, NULL);
    protected = "/tmp/secret";
    is_still_nobody("by a bind mount");
    protected = "/tmp/escape-root/secret";
    umount2("/tmp", MNT_DETACH);
    umount2("/proc", MNT_DETACH);
    if (chroot("/tmp") == 0)
        is_still_nobody("in a root of its own");
}

static void nested(void *unused)
{
    (void)unused;
    nobody();
    int depth = 0;
    while (depth < 1000 && unshare(CLONE_NEWUSER) == 0) {
        put("/proc/self/setgroups", "deny");
        char map[64];
        snprintf(map, sizeof map, "0 %d 1", depth == 0 ? 4242 : 0);
        put("/proc/self/uid_map", map);
        depth++;
    }
    if (depth > 33)
        ESCAPE("%d namespaces within each other", depth);
    is_still_nobody("many levels down");
    for (int i = 0; i < 20000; i++) {
        pid_t child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
        if (child == 0)
            _exit(0);
        if (child < 0)
            break;
        if (i % 64 == 63)
            while (waitpid(-1, NULL, 0) > 0)
                ;
    }
}

int main(void)
{
    mkdir("/tmp/escape-root", 0700);
    int fd = open(protected, O_CREAT | O_WRONLY, 0600);
    write(fd, "s", 1);
    close(fd);
    system("cp \"$(command -v id)\" /tmp/escape-setuid && chmod 4755 /tmp/escape-setuid");
    TRIED("maps");
    attack(maps, NULL, 60);
    TRIED("programs of a namespace, run outside");
    attack(programs, NULL, 60);
    TRIED("the system's programs, run in one");
    attack(system_programs, NULL, 60);
    TRIED("namespaces within each other");
    attack(nested, NULL, 100);
    CONTAINED();
}
