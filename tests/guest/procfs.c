/* /proc, /sys and /dev as programs read them: formats, links, magic links, devices. */
#include "check.h"
#include <signal.h>
#include <sys/syscall.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static char text[1 << 20];

static char *slurp(const char *path)
{
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, text + len, sizeof text - 1 - len)) > 0)
        len += n;
    CHECK(n == 0);
    text[len] = 0;
    close(fd);
    return text;
}

static void process(char **argv)
{
    char path[PATH_MAX], want[PATH_MAX];
    int pid, ppid, pgrp, session, fields = 1;
    char comm[32], state;
    CHECK(sscanf(slurp("/proc/self/stat"), "%d (%31[^)]) %c %d %d %d", &pid, comm, &state, &ppid, &pgrp, &session) == 6);
    CHECK(pid == getpid() && ppid == getppid() && pgrp == getpgrp() && session == getsid(0) && state == 'R');
    for (char *at = text; *at; at++)
        fields += *at == ' ';
    CHECK(fields == 52);
    snprintf(want, sizeof want, "Uid:\t%d\t%d", getuid(), geteuid());
    CHECK(strstr(slurp("/proc/self/status"), want) && strstr(text, "\nVmRSS:\t") && strstr(text, "\nThreads:\t1\n"));
    CHECK(strcmp(slurp("/proc/self/cmdline"), argv[0]) == 0);
    snprintf(want, sizeof want, "%lx-", (unsigned long)process & ~0xfffUL);
    slurp("/proc/self/maps");
    unsigned long start, end;
    int found = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char perms[5];
        CHECK(sscanf(line, "%lx-%lx %4s", &start, &end, perms) == 3 && start < end);
        if (start <= (unsigned long)process && (unsigned long)process < end)
            found = strcmp(perms, "r-xp") == 0;
    }
    CHECK(found);
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    CHECK(len > 0 && path[0] == '/');
    CHECK(getcwd(want, sizeof want));
    len = readlink("/proc/self/cwd", path, sizeof path - 1);
    CHECK(len > 0);
    path[len] = 0;
    CHECK(strcmp(path, want) == 0);
    CHECK(access("/proc/thread-self/stat", R_OK) == 0 && access("/proc/self/task/1234567", F_OK) < 0);
    CHECK(strstr(slurp("/proc/self/limits"), "Max open files "));
    CHECK(strstr(slurp("/proc/self/mountinfo"), " - proc "));
}

static void descriptors(void)
{
    char name[64], path[PATH_MAX];
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(name, path, sizeof path - 1);
    CHECK(len == 9 && memcmp(path, "/dev/null", 9) == 0);
    int again = open(name, O_RDONLY);
    CHECK(again >= 0);
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    CHECK(strncmp(slurp(name), "pos:\t0\nflags:\t02", 16) == 0);
    DIR *dir = opendir("/proc/self/fd");
    int seen = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        seen += atoi(entry->d_name) == fd || atoi(entry->d_name) == again;
    closedir(dir);
    CHECK(seen == 2);
    /* A file without a name can still be reached. */
    int memfd = memfd_create("thing", 0);
    CHECK(write(memfd, "abc", 3) == 3);
    snprintf(name, sizeof name, "/proc/self/fd/%d", memfd);
    CHECK(strcmp(slurp(name), "abc") == 0);
    close(fd), close(again), close(memfd);
}

static void others(void)
{
    int fds[2];
    char byte;
    CHECK(pipe(fds) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(fds[1]);
        read(fds[0], &byte, 1);
        _exit(7);
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    CHECK(access(path, R_OK) == 0);
    close(fds[1]);
    siginfo_t info;
    CHECK(waitid(P_PID, child, &info, WEXITED | WNOWAIT) == 0);
    CHECK(strstr(slurp(path), ") Z "));
    int dir = open("/proc/self", O_RDONLY | O_DIRECTORY);
    CHECK(waitpid(child, NULL, 0) == child);
    FAILS(open(path, O_RDONLY), ENOENT);
    close(dir), close(fds[0]);
}

static void machine(void)
{
    long total;
    CHECK(sscanf(slurp("/proc/meminfo"), "MemTotal: %ld kB", &total) == 1 && total > 0);
    int cpus = 0;
    slurp("/proc/cpuinfo");
    for (char *at = text; (at = strstr(at, "processor\t: ")); at++)
        cpus++;
    CHECK(cpus == sysconf(_SC_NPROCESSORS_CONF));
    CHECK(strncmp(slurp("/proc/stat"), "cpu  ", 5) == 0 && strstr(text, "\nbtime "));
    double up, idle;
    CHECK(sscanf(slurp("/proc/uptime"), "%lf %lf", &up, &idle) == 2 && up > 0);
    CHECK(atoi(slurp("/proc/sys/kernel/pid_max")) > 0 && strstr(slurp("/proc/filesystems"), "nodev\tproc\n"));
    CHECK(strchr("0123456789", slurp("/sys/devices/system/cpu/online")[0]));
}

static void devices(void)
{
    char buf[16] = "xxxxxxxxxxxxxxx";
    int fd = open("/dev/zero", O_RDWR);
    CHECK(read(fd, buf, 16) == 16 && buf[0] == 0 && buf[15] == 0);
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED && map[0] == 0);
    map[0] = 1;
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(shared != MAP_FAILED);
    if (fork() == 0) {
        shared[0] = 42;
        _exit(0);
    }
    wait(NULL);
    CHECK(shared[0] == 42);
    close(fd);
    fd = open("/dev/full", O_WRONLY);
    FAILS(write(fd, buf, 1), ENOSPC);
    close(fd);
    struct stat st;
    CHECK(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode) && major(st.st_rdev) == 1 && minor(st.st_rdev) == 3);
    fd = open("/dev/urandom", O_RDONLY);
    CHECK(read(fd, buf, 16) == 16);
    close(fd);
    int mem = open("/proc/self/mem", O_RDWR);
    long value = 5, seen = 0;
    CHECK(pread(mem, &seen, sizeof seen, (off_t)&value) == sizeof seen && seen == 5);
    close(mem);
}

/* pidfd_send_signal(2) takes a directory of /proc, but no other. */
static void directories_as_handles(void)
{
    int dir = open("/proc/self", O_DIRECTORY | O_RDONLY);
    CHECK(dir >= 0 && syscall(SYS_pidfd_send_signal, dir, 0, NULL, 0) == 0);
    close(dir);
    dir = open("/proc/self/fd", O_DIRECTORY | O_RDONLY);
    FAILS(syscall(SYS_pidfd_send_signal, dir, 0, NULL, 0), EBADF);
    close(dir);
    dir = open("/proc/self", O_DIRECTORY | O_RDONLY);
    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_QUEUE};
    FAILS(syscall(SYS_pidfd_send_signal, dir, SIGUSR2, &info, 0), EINVAL);
    close(dir);
}

/* Who logged in is set once, by the task itself, and inherited. */
static void login(void)
{
    char before[16];
    int status;
    snprintf(before, sizeof before, "%s", slurp("/proc/self/loginuid"));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int fd = open("/proc/self/loginuid", O_WRONLY);
        CHECK(fd >= 0 && write(fd, "77", 2) == 2);
        close(fd);
        CHECK(strcmp(slurp("/proc/self/loginuid"), "77") == 0);
        CHECK(strcmp(slurp("/proc/self/sessionid"), "4294967295") != 0);
        pid_t grandchild = fork();
        CHECK(grandchild >= 0);
        if (grandchild == 0)
            _exit(strcmp(slurp("/proc/self/loginuid"), "77") != 0);
        CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(strcmp(slurp("/proc/self/loginuid"), before) == 0);
    snprintf(text, 64, "/proc/%d/loginuid", getppid());
    int fd = open(text, O_WRONLY);
    if (fd >= 0) {
        FAILS(write(fd, "77", 2), EPERM);
        close(fd);
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    process(argv);
    descriptors();
    others();
    machine();
    devices();
    directories_as_handles();
    login();
    OK();
}
