/* Calls that open a host kernel to its users, and must not exist here: each fails, also for root inside. */
#include "escape.h"
#include <sys/mount.h>
#include <sys/resource.h>

struct call {
    const char *name;
    long nr, args[6];
};

int main(int argc, char **argv)
{
    static char page[4096];
    int fd = open("/etc/passwd", O_RDONLY);
    long p = (long)page;
    memset(page, 0, sizeof page);
    struct call calls[] = {
        {"io_uring_setup", 425, {8, p}},
        {"io_uring_enter", 426, {fd, 1}},
        {"io_uring_register", 427, {fd}},
        {"bpf map", SYS_bpf, {0, p, 64}},
        {"bpf load", SYS_bpf, {5, p, 64}},
        {"perf_event_open", SYS_perf_event_open, {p, 0, -1, -1, 0}},
        {"userfaultfd", SYS_userfaultfd, {0}},
        {"userfaultfd user", SYS_userfaultfd, {1}},
        {"kexec_load", SYS_kexec_load, {0, 0, 0, 0}},
        {"kexec_file_load", SYS_kexec_file_load, {fd, fd, 0, 0, 0}},
        {"init_module", SYS_init_module, {p, 4096, p}},
        {"finit_module", SYS_finit_module, {fd, p, 0}},
        {"delete_module", SYS_delete_module, {p, 0}},
        {"iopl", SYS_iopl, {3}},
        {"ioperm", SYS_ioperm, {0x80, 1, 1}},
        {"modify_ldt", SYS_modify_ldt, {1, p, 16}},
        {"swapon", SYS_swapon, {p, 0}},
        {"acct", SYS_acct, {(long)"/etc/passwd"}},
        {"open_by_handle_at", SYS_open_by_handle_at, {fd, p, 0}},
        {"fanotify_init", SYS_fanotify_init, {0, 0}},
        {"quotactl", SYS_quotactl, {0, 0, 0, 0}},
        {"lookup_dcookie", 212, {0, p, 16}},
        {"move_mount out", 429, {fd, p, -1, p, 0}},
        {"settimeofday", SYS_settimeofday, {p, 0}},
        {"clock_settime", SYS_clock_settime, {0, p}},
        {"adjtimex", SYS_adjtimex, {0}},
        {"vhangup of nobody", SYS_ptrace, {99, 1, 0, 0}},
        {"memfd_secret", 447, {~0L}},
        {"set_mempolicy_home_node", 450, {-1, 1, 0, 0}},
        {"kcmp", SYS_kcmp, {1, 999999, 0, 0, 0}},
        {"process_mrelease", 448, {fd, 0}},
        {"uselib", SYS_uselib, {(long)"/etc/passwd"}},
        {"nfsservctl", 180, {0, 0, 0}},
        {"vmsplice to a file", SYS_vmsplice, {fd, p, 1, 0}},
        {"arch_prctl TIF", SYS_arch_prctl, {0x1021, 18}},
        {"shadow stack", SYS_arch_prctl, {0x5001, 1}},
        {"speculation", SYS_prctl, {53, 99, 0, 0, 0}},
    };
    for (unsigned i = 0; i < LENGTH(calls); i++) {
        struct call *c = &calls[i];
        long got = syscall(c->nr, c->args[0], c->args[1], c->args[2], c->args[3], c->args[4], c->args[5]);
        if (got != -1)
            ESCAPE("%s gave %ld", c->name, got);
        TRIED("%s: %s", c->name, strerror(errno));
    }
    /* TSC traps and LDTs are processor state that the sandbox does not lend. */
    prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
    __builtin_ia32_rdtsc();
    TRIED("PR_SET_TSC");
    /* File systems of the host, by the mount calls. */
    static const char *kinds[] = {"ext4", "xfs", "btrfs", "devtmpfs", "debugfs", "tracefs", "securityfs", "bpf", "cgroup", "fuse", "overlay", "nfs", "9p", "binfmt_misc", "configfs", "efivarfs", "nsfs", "sockfs", "squashfs"};
    mkdir("/tmp/mnt", 0700);
    for (unsigned i = 0; i < LENGTH(kinds); i++) {
        int result = mount("/dev/sda", "/tmp/mnt", kinds[i], 0, "lowerdir=/,fd=3,rootmode=40000,user_id=0,group_id=0");
        TRIED("mount of %s: %s", kinds[i], result ? strerror(errno) : "mounted");
        if (result == 0)
            umount("/tmp/mnt");
    }
    REFUSED(open("/dev/mem", O_RDWR));
    REFUSED(open("/dev/kmem", O_RDWR));
    REFUSED(open("/dev/port", O_RDWR));
    REFUSED(open("/dev/sda", O_RDONLY));
    REFUSED(open("/dev/kvm", O_RDWR));
    REFUSED(open("/dev/fuse", O_RDWR));
    REFUSED(open("/proc/kcore", O_RDONLY));
    /* Device nodes of the host, made inside. */
    static const struct {
        unsigned major, minor;
    } devices[] = {{1, 1}, {1, 2}, {1, 4}, {8, 0}, {10, 232}, {10, 229}, {10, 200}, {253, 0}, {254, 0}, {1, 11}, {7, 0}};
    for (unsigned i = 0; i < LENGTH(devices); i++) {
        unlink("/tmp/node");
        mknod("/tmp/node", S_IFBLK | 0666, devices[i].major << 8 | devices[i].minor);
        int block = open("/tmp/node", O_RDWR);
        if (block >= 0)
            ESCAPE("a block device %u:%u was opened", devices[i].major, devices[i].minor);
        unlink("/tmp/node");
        mknod("/tmp/node", S_IFCHR | 0666, devices[i].major << 8 | devices[i].minor);
        int character = open("/tmp/node", O_RDWR);
        if (character >= 0 && devices[i].major != 1)
            ESCAPE("a character device %u:%u was opened", devices[i].major, devices[i].minor);
    }
    TRIED("device nodes");
    /* The old way out of a chroot. */
    mkdir("/tmp/jail", 0700);
    int top = open("/", O_RDONLY | O_DIRECTORY);
    if (chroot("/tmp/jail") == 0) {
        fchdir(top);
        for (int i = 0; i < 100; i++)
            chdir("..");
        chroot(".");
    }
    struct stat now;
    if (stat("/proc/kcore", &now) == 0 && now.st_size > 0 && open("/proc/kcore", O_RDONLY) >= 0)
        ESCAPE("out of the root");
    if (argc > 1) {
        /* The canary lies in the root file system: inside it can be changed, which must not reach the host. */
        int canary = open(argv[1], O_WRONLY | O_TRUNC);
        if (canary >= 0 && write(canary, "changed inside", 14) == 14)
            unlink(argv[1]);
        chmod(argv[1], 0);
        TRIED("changing the canary");
    }
    CONTAINED();
}
