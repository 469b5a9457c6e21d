/* What one process may do to another: signals, ptrace, memory, /proc, limits; by user, capability, dumpability, set-user-ID. */
#include "check.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define A 4711
#define B 4712

static int ready[2];

static void become(unsigned id)
{
    CHECK(setgroups(0, NULL) == 0 && setresgid(id, id, id) == 0 && setresuid(id, id, id) == 0);
}

static char word[16] = "secret of mine";

/* A process of user `id` that waits; its dumpability as asked for. */
static pid_t victim(unsigned id, int dumpable)
{
    CHECK(pipe(ready) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (id)
            become(id);
        prctl(PR_SET_DUMPABLE, dumpable);
        CHECK(write(ready[1], "x", 1) == 1);
        for (;;)
            pause();
    }
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static int can_open(pid_t pid, const char *name, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, flags);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static int can_follow(pid_t pid, const char *name)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return readlink(path, text, sizeof text) >= 0;
}

/* What the caller may do to `pid`, as letters. */
static const char *powers(pid_t pid)
{
    static char all[64];
    char *p = all, copy[16];
    struct iovec local = {copy, 16}, remote = {word, 16};
    struct rlimit limit;
    cpu_set_t set;
    *p++ = kill(pid, 0) == 0 ? 'k' : '-';
    *p++ = kill(pid, SIGCONT) == 0 ? 'c' : '-';
    *p++ = process_vm_readv(pid, &local, 1, &remote, 1, 0) == 16 ? 'r' : '-';
    *p++ = process_vm_writev(pid, &local, 1, &remote, 1, 0) == 16 ? 'w' : '-';
    *p++ = can_open(pid, "mem", O_RDWR) ? 'm' : '-';
    *p++ = can_open(pid, "maps", O_RDONLY) ? 'M' : '-';
    *p++ = can_open(pid, "environ", O_RDONLY) ? 'e' : '-';
    *p++ = can_open(pid, "auxv", O_RDONLY) ? 'a' : '-';
    *p++ = can_open(pid, "status", O_RDONLY) ? 's' : '-';
    *p++ = can_open(pid, "cmdline", O_RDONLY) ? 'l' : '-';
    *p++ = can_open(pid, "fd", O_RDONLY | O_DIRECTORY) ? 'd' : '-';
    *p++ = can_follow(pid, "cwd") ? 'C' : '-';
    *p++ = can_follow(pid, "exe") ? 'x' : '-';
    *p++ = can_follow(pid, "root") ? 'R' : '-';
    *p++ = can_follow(pid, "fd/0") ? 'f' : '-';
    *p++ = prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0 ? 'p' : '-';
    *p++ = setpriority(PRIO_PROCESS, pid, 0) == 0 ? 'n' : '-';
    *p++ = sched_getaffinity(pid, sizeof set, &set) == 0 ? 'g' : '-';
    *p++ = sched_setaffinity(pid, sizeof set, &set) == 0 ? 'G' : '-';
    *p++ = getpgid(pid) >= 0 ? 'i' : '-';
    *p++ = syscall(SYS_pidfd_open, pid, 0) >= 0 ? 'o' : '-';
    int pidfd = syscall(SYS_pidfd_open, pid, 0);
    *p++ = syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) == 0 ? 'K' : '-';
    *p++ = syscall(SYS_pidfd_getfd, pidfd, 1, 0) >= 0 ? 'F' : '-';
    *p++ = ptrace(PTRACE_SEIZE, pid, 0, 0) == 0 ? 'T' : '-';
    *p = 0;
    return all;
}

/* A caller of user `id` with the capabilities in `keep`. */
static void as(unsigned id, unsigned long keep, pid_t victim, const char *what)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (id) {
            CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0);
            become(id);
            struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
            struct __user_cap_data_struct data[2] = {{keep, keep, 0}, {keep >> 32, keep >> 32, 0}};
            CHECK(syscall(SYS_capset, &header, data) == 0);
        }
        prctl(PR_SET_DUMPABLE, 1);
        printf("%s: %s\n", what, powers(victim));
        fflush(stdout);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, NULL, 0) == pid);
}

static void matrix(void)
{
    static const struct {
        unsigned id;
        int dumpable;
        const char *name;
    } victims[] = {{A, 1, "A's"}, {A, 0, "A's, not dumpable"}, {0, 1, "root's"}, {B, 1, "B's"}};
    for (unsigned i = 0; i < 4; i++) {
        char what[96];
        pid_t pid = victim(victims[i].id, victims[i].dumpable);
        static const struct {
            unsigned id;
            unsigned long keep;
            const char *name;
        } callers[] = {{A, 0, "A"}, {A, 1UL << CAP_KILL, "A with CAP_KILL"}, {A, 1UL << CAP_SYS_PTRACE, "A with CAP_SYS_PTRACE"}, {A, 1UL << CAP_DAC_OVERRIDE | 1UL << CAP_SYS_NICE, "A with DAC_OVERRIDE and SYS_NICE"}};
        for (unsigned k = 0; k < 4; k++) {
            snprintf(what, sizeof what, "%s to %s", callers[k].name, victims[i].name);
            as(callers[k].id, callers[k].keep, pid, what);
        }
        end(pid);
    }
}

/* A set-user-ID program: no dumps, no tracing by its caller, and not at all under no_new_privs. */
static void set_user_id(const char *self)
{
    char copy[] = "/tmp/access-between-XXXXXX", command[600];
    int fd = mkstemp(copy);
    close(fd);
    snprintf(command, sizeof command, "cp %s %s", self, copy);
    CHECK(system(command) == 0 && chown(copy, B, B) == 0 && chmod(copy, 06755) == 0);
    for (int quiet = 0; quiet < 4; quiet++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            become(A);
            if (quiet == 1)
                CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
            if (quiet == 2)
                ptrace(PTRACE_TRACEME, 0, 0, 0);
            /* Another process shares the working directory. */
            if (quiet == 3 && syscall(SYS_clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0) == 0) {
                sleep(1);
                _exit(0);
            }
            execl(copy, "x", "ids", quiet ? "same" : "any", NULL);
            _exit(3);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        while (WIFSTOPPED(status)) {
            ptrace(PTRACE_CONT, pid, 0, 0);
            CHECK(waitpid(pid, &status, 0) == pid);
        }
        CHECK(status == 0);
    }
    unlink(copy);
}

static void check_ids(int same)
{
    uid_t r, e, s;
    gid_t rg, eg, sg;
    CHECK(getresuid(&r, &e, &s) == 0 && getresgid(&rg, &eg, &sg) == 0);
    /* Some file systems of tests are mounted nosuid. */
    CHECK(r == A && rg == A && (e == A || (e == B && !same)) && s == e && sg == eg);
    CHECK((e == A) == (eg == A) && (unsigned)setfsuid(-1) == e);
    CHECK(e == A || prctl(PR_GET_DUMPABLE) != 1);
}

static int install(struct sock_filter *code, unsigned len)
{
    struct sock_fprog program = {len, code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

/* Filters: only with no_new_privs or CAP_SYS_ADMIN, kept over fork and exec, and the strictest wins. */
static void filters(const char *self)
{
    struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_filter deny[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 33),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_filter loop[] = {BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_filter odd[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        become(A);
        FAILS(install(allow, 1), EACCES);
        CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
        FAILS(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
        FAILS(install(loop, 2), EINVAL);
        FAILS(install(odd, 2), EINVAL);
        FAILS(install(allow, 0), EINVAL);
        FAILS(install(allow, 4097), EINVAL);
        CHECK(install(deny, 4) == 0 && install(allow, 1) == 0);
        FAILS(syscall(SYS_getppid), 33);
        FAILS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), EINVAL);
        pid_t child = fork();
        if (child == 0) {
            FAILS(syscall(SYS_getppid), 33);
            execl(self, "x", "denied", NULL);
            _exit(3);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* Files by mode: owner, group and others exclude each other; directories need search; a sticky directory keeps names. */
static void modes(void)
{
    char dir[] = "/tmp/access-modes-XXXXXX", path[80], other[80];
    CHECK(mkdtemp(dir) && chmod(dir, 01777) == 0);
    snprintf(path, sizeof path, "%s/file", dir);
    snprintf(other, sizeof other, "%s/closed", dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    CHECK(chown(path, A, B) == 0 && chmod(path, 0047) == 0);
    CHECK(mkdir(other, 0700) == 0);
    fflush(stdout);
    for (unsigned id = A; id <= B + 1; id++) {
        pid_t pid = fork();
        if (pid == 0) {
            become(id);
            printf("%u:", id);
            printf(" read %d", open(path, O_RDONLY) >= 0);
            printf(" write %d", open(path, O_WRONLY) >= 0);
            printf(" execute %d", access(path, X_OK) == 0);
            printf(" closed %d", open(other, O_RDONLY) >= 0);
            strcat(other, "/x");
            printf(" through %d", access(other, F_OK) == 0 ? 1 : errno);
            printf(" chmod %d", chmod(path, 0047) == 0);
            printf(" chown %d", chown(path, A, A) == 0);
            printf(" rename %d", rename(path, path) == 0);
            printf(" utime %d", utimensat(AT_FDCWD, path, NULL, 0) == 0);
            printf(" unlink %d\n", id == A ? -1 : unlink(path) == 0);
            fflush(stdout);
            _exit(0);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    unlink(path);
    rmdir(other);
    rmdir(dir);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "ids") == 0) {
        check_ids(argc > 2 && strcmp(argv[2], "same") == 0);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "denied") == 0) {
        FAILS(syscall(SYS_getppid), 33);
        return 0;
    }
    if (getuid() != 0) {
        puts("skipped: only root can become others");
        return 0;
    }
    char self[512];
    long len = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(len > 0);
    self[len] = 0;
    chmod(self, 0755);
    matrix();
    set_user_id(self);
    filters(self);
    modes();
    OK();
}
