/* Reading, writing and mapping every file of /proc, /sys and /dev, with odd sizes and offsets. */
#include "escape.h"
#include <dirent.h>
#include <sys/ioctl.h>

static unsigned seen;

static void poke_file(const char *path)
{
    static char bytes[70000];
    static const off_t offsets[] = {0, 1, 4095, 1 << 20, 0x7fffffffffffffff, 0x7fffffff};
    seen++;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) {
        for (unsigned i = 0; i < LENGTH(offsets); i++)
            pread(fd, bytes, i ? 100 : sizeof bytes, offsets[i]);
        read(fd, bytes, 1);
        lseek(fd, -1, SEEK_END);
        lseek(fd, 0x7fffffffffffffff, SEEK_SET);
        read(fd, bytes, 7);
        void *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED)
            munmap(p, 4096);
        mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0x7ffffffffffff000);
        for (unsigned long request = 0x5400; request < 0x5480; request++)
            if (strncmp(path, "/dev", 4) == 0 && request != 0x5412 && request != 0x540e && request != 0x5437)
                ioctl(fd, request, bytes);
        close(fd);
    }
    static const char *texts[] = {"", "0", "-1", "1\n", "99999999999999999999999", "a b c d e f", "\xff\xfe\n\n\n", "0 0 4294967295\n", "/../../..", "+all -none\n", "max\n", "%s%n%p"};
    if (strstr(path, "sysrq") || strstr(path, "/mem") || strstr(path, "/exe") || strncmp(path, "/dev/pts", 8) == 0)
        return;
    if (strstr(path, "oom_score") || strstr(path, "cgroup.procs") || strstr(path, "cgroup.kill") || strstr(path, "freeze"))
        return;
    fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) {
        for (unsigned i = 0; i < LENGTH(texts); i++) {
            write(fd, texts[i], strlen(texts[i]));
            pwrite(fd, texts[i], strlen(texts[i]), 3);
        }
        memset(bytes, 'A', sizeof bytes);
        write(fd, bytes, sizeof bytes);
        pwrite(fd, bytes, 1, 0x7fffffffffffffff);
        ftruncate(fd, 0);
        close(fd);
    }
}

static void walk(const char *dir, int depth)
{
    DIR *entries = opendir(dir);
    struct dirent *entry;
    if (!entries)
        return;
    while ((entry = readdir(entries)) && seen < 6000) {
        char path[1024];
        struct stat st;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (lstat(path, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth < 6)
            walk(path, depth + 1);
        else if (!S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
            poke_file(path);
    }
    closedir(entries);
}

static void run(void *dir)
{
    for (int sig = 1; sig < 32; sig++)
        if (sig != SIGSEGV && sig != SIGBUS && sig != SIGCHLD)
            signal(sig, SIG_IGN);
    walk(dir, 0);
    printf("%u files of %s\n", seen, (char *)dir);
    exit(0);
}

int main(void)
{
    static char *dirs[] = {"/proc/self", "/proc", "/sys", "/dev"};
    for (unsigned i = 0; i < LENGTH(dirs); i++)
        TRIED("every file of %s: %#x", dirs[i], attack(run, dirs[i], 60));
    /* What they must not say: something of the host. */
    static const char *secrets[] = {"/proc/kallsyms", "/proc/kmsg", "/proc/sched_debug", "/proc/timer_list", "/proc/iomem", "/proc/vmallocinfo", "/proc/slabinfo", "/proc/sys/kernel/core_pattern", "/sys/kernel/debug", "/sys/firmware/dmi/tables/DMI"};
    for (unsigned i = 0; i < LENGTH(secrets); i++) {
        char bytes[64] = {0};
        int fd = open(secrets[i], O_RDONLY);
        long got = fd >= 0 ? read(fd, bytes, sizeof bytes - 1) : -1;
        TRIED("%s: %ld bytes", secrets[i], got);
    }
    CONTAINED();
}
