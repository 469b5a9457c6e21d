//! The system call table: one row a call, in sections by subject.
//!
//! A row gives number, name, handler and support level; dispatch, strace, `tegmen syscalls` and docs/syscalls.md derive from it.
//! Rows without a handler say which errno they answer.

use super::row::{Row, Support, missing, row};

/// Open files: reading, writing, descriptors.
pub const IO: &[Row] = &[
    row!(0, "read", super::read::read, Full),
    row!(1, "write", super::write::write, Full),
    row!(3, "close", super::close::close, Full),
    row!(8, "lseek", super::lseek::lseek, Full),
    row!(16, "ioctl", super::ioctl::ioctl, Full),
    row!(17, "pread64", super::pread::pread64, Full),
    row!(18, "pwrite64", super::pread::pwrite64, Full),
    row!(19, "readv", super::readv::readv, Full),
    row!(20, "writev", super::readv::writev, Full),
    row!(32, "dup", super::dup::dup, Full),
    row!(33, "dup2", super::dup::dup2, Full),
    row!(40, "sendfile", super::sendfile::sendfile, Full),
    row!(72, "fcntl", super::fcntl::fcntl, Full),
    row!(73, "flock", super::flock::flock, Full),
    row!(74, "fsync", super::fsync::fsync, Full),
    row!(75, "fdatasync", super::fsync::fdatasync, Full),
    row!(76, "truncate", super::truncate::truncate, Full),
    row!(77, "ftruncate", super::truncate::ftruncate, Full),
    row!(78, "getdents", super::getdents::getdents, Full),
    row!(162, "sync", super::sync::sync, Full),
    row!(
        187,
        "readahead",
        super::posix_fadvise::readahead,
        Partial("checked; the host reads ahead by itself")
    ),
    row!(217, "getdents64", super::getdents::getdents64, Full),
    row!(
        221,
        "fadvise64",
        super::posix_fadvise::fadvise64,
        Partial("checked; no effect")
    ),
    row!(275, "splice", super::splice::splice, Full),
    row!(276, "tee", super::splice::tee, Full),
    row!(277, "sync_file_range", super::sync::sync_file_range, Full),
    row!(278, "vmsplice", super::splice::vmsplice, Full),
    row!(285, "fallocate", super::fallocate::fallocate, Full),
    row!(292, "dup3", super::dup::dup3, Full),
    row!(295, "preadv", super::readv::preadv, Full),
    row!(296, "pwritev", super::readv::pwritev, Full),
    row!(306, "syncfs", super::sync::syncfs, Full),
    row!(326, "copy_file_range", super::sendfile::copy_file_range, Full),
    row!(327, "preadv2", super::readv::preadv2, Full),
    row!(328, "pwritev2", super::readv::pwritev2, Full),
    row!(436, "close_range", super::close_range::close_range, Full),
];

/// Names, attributes, mounts, watches.
pub const PATH: &[Row] = &[
    row!(2, "open", super::open::open, Full),
    row!(4, "stat", super::stat::stat, Full),
    row!(5, "fstat", super::stat::fstat, Full),
    row!(6, "lstat", super::stat::lstat, Full),
    row!(21, "access", super::access::access, Full),
    row!(79, "getcwd", super::getcwd::getcwd, Full),
    row!(80, "chdir", super::chdir::chdir, Full),
    row!(81, "fchdir", super::chdir::fchdir, Full),
    row!(82, "rename", super::rename::rename, Full),
    row!(83, "mkdir", super::mkdir::mkdir, Full),
    row!(84, "rmdir", super::mkdir::rmdir, Full),
    row!(85, "creat", super::open::creat, Full),
    row!(86, "link", super::link::link, Full),
    row!(87, "unlink", super::unlink::unlink, Full),
    row!(88, "symlink", super::symlink::symlink, Full),
    row!(89, "readlink", super::readlink::readlink, Full),
    row!(90, "chmod", super::chmod::chmod, Full),
    row!(91, "fchmod", super::chmod::fchmod, Full),
    row!(92, "chown", super::chown::chown, Full),
    row!(93, "fchown", super::chown::fchown, Full),
    row!(94, "lchown", super::chown::lchown, Full),
    row!(95, "umask", super::umask::umask, Full),
    row!(132, "utime", super::utimensat::utime, Full),
    row!(133, "mknod", super::mknod::mknod, Full),
    missing!(134, "uselib", ENOSYS),
    missing!(136, "ustat", ENOSYS),
    row!(137, "statfs", super::statfs::statfs, Full),
    row!(138, "fstatfs", super::statfs::fstatfs, Full),
    missing!(139, "sysfs", ENOSYS),
    row!(155, "pivot_root", super::pivot_root::pivot_root, Full),
    row!(161, "chroot", super::chroot::chroot, Full),
    missing!(163, "acct", ENOSYS),
    row!(
        165,
        "mount",
        super::mount::mount,
        Partial("remount changes the mount's flags only")
    ),
    row!(166, "umount2", super::mount::umount2, Full),
    missing!(167, "swapon", EPERM),
    missing!(168, "swapoff", EPERM),
    missing!(179, "quotactl", ENOSYS),
    row!(188, "setxattr", super::getxattr::setxattr, Full),
    row!(189, "lsetxattr", super::getxattr::lsetxattr, Full),
    row!(190, "fsetxattr", super::getxattr::fsetxattr, Full),
    row!(191, "getxattr", super::getxattr::getxattr, Full),
    row!(192, "lgetxattr", super::getxattr::lgetxattr, Full),
    row!(193, "fgetxattr", super::getxattr::fgetxattr, Full),
    row!(194, "listxattr", super::getxattr::listxattr, Full),
    row!(195, "llistxattr", super::getxattr::llistxattr, Full),
    row!(196, "flistxattr", super::getxattr::flistxattr, Full),
    row!(197, "removexattr", super::getxattr::removexattr, Full),
    row!(198, "lremovexattr", super::getxattr::lremovexattr, Full),
    row!(199, "fremovexattr", super::getxattr::fremovexattr, Full),
    missing!(212, "lookup_dcookie", ENOSYS),
    row!(235, "utimes", super::utimensat::utimes, Full),
    row!(253, "inotify_init", super::inotify::inotify_init, Full),
    row!(254, "inotify_add_watch", super::inotify::inotify_add_watch, Full),
    row!(255, "inotify_rm_watch", super::inotify::inotify_rm_watch, Full),
    row!(257, "openat", super::open::openat, Full),
    row!(258, "mkdirat", super::mkdir::mkdirat, Full),
    row!(259, "mknodat", super::mknod::mknodat, Full),
    row!(260, "fchownat", super::chown::fchownat, Full),
    row!(261, "futimesat", super::utimensat::futimesat, Full),
    row!(262, "newfstatat", super::stat::newfstatat, Full),
    row!(263, "unlinkat", super::unlink::unlinkat, Full),
    row!(264, "renameat", super::rename::renameat, Full),
    row!(265, "linkat", super::link::linkat, Full),
    row!(266, "symlinkat", super::symlink::symlinkat, Full),
    row!(267, "readlinkat", super::readlink::readlinkat, Full),
    row!(268, "fchmodat", super::chmod::fchmodat, Full),
    row!(269, "faccessat", super::access::faccessat, Full),
    row!(280, "utimensat", super::utimensat::utimensat, Full),
    row!(294, "inotify_init1", super::inotify::inotify_init1, Full),
    missing!(300, "fanotify_init", ENOSYS),
    missing!(301, "fanotify_mark", ENOSYS),
    row!(
        303,
        "name_to_handle_at",
        super::open_by_handle_at::name_to_handle_at,
        Full
    ),
    row!(
        304,
        "open_by_handle_at",
        super::open_by_handle_at::open_by_handle_at,
        Partial("finds files whose name is still cached or that are open")
    ),
    row!(316, "renameat2", super::rename::renameat2, Full),
    row!(332, "statx", super::statx::statx, Full),
    row!(428, "open_tree", super::fsopen::open_tree, Full),
    row!(
        429,
        "move_mount",
        super::fsopen::move_mount,
        Partial("no MOVE_MOUNT_SET_GROUP, no MOVE_MOUNT_BENEATH")
    ),
    row!(
        430,
        "fsopen",
        super::fsopen::fsopen,
        Partial("the descriptor has no messages to read")
    ),
    row!(
        431,
        "fsconfig",
        super::fsopen::fsconfig,
        Partial("flags and strings only")
    ),
    row!(432, "fsmount", super::fsopen::fsmount, Full),
    row!(
        433,
        "fspick",
        super::fsopen::fspick,
        Partial("changes whether the mount is read-only, as mount(2)'s remount")
    ),
    row!(
        437,
        "openat2",
        super::open::openat2,
        Partial("RESOLVE_CACHED answers EAGAIN")
    ),
    row!(439, "faccessat2", super::access::faccessat2, Full),
    row!(
        442,
        "mount_setattr",
        super::fsopen::mount_setattr,
        Partial("no id-mapped mounts")
    ),
    missing!(443, "quotactl_fd", ENOSYS),
    row!(
        451,
        "cachestat",
        super::cachestat::cachestat,
        Partial("all pages of a host file count as cached; none as dirty")
    ),
    row!(452, "fchmodat2", super::chmod::fchmodat2, Full),
    missing!(457, "statmount", ENOSYS),
    missing!(458, "listmount", ENOSYS),
    missing!(463, "setxattrat", ENOSYS),
    missing!(464, "getxattrat", ENOSYS),
    missing!(465, "listxattrat", ENOSYS),
    missing!(466, "removexattrat", ENOSYS),
    missing!(467, "open_tree_attr", ENOSYS),
];

/// Pipes, readiness, event files.
pub const EVENT: &[Row] = &[
    row!(7, "poll", super::poll::poll, Full),
    row!(22, "pipe", super::pipe::pipe, Full),
    row!(23, "select", super::select::select, Full),
    row!(206, "io_setup", super::io_setup::io_setup, Full),
    row!(207, "io_destroy", super::io_setup::io_destroy, Full),
    row!(208, "io_getevents", super::io_getevents::io_getevents, Full),
    row!(
        209,
        "io_submit",
        super::io_submit::io_submit,
        Partial(
            "requests are served at once; an eventfd hears of a waiting IOCB_CMD_POLL when io_getevents is called"
        )
    ),
    row!(210, "io_cancel", super::io_submit::io_cancel, Full),
    row!(213, "epoll_create", super::epoll_create::epoll_create, Full),
    missing!(214, "epoll_ctl_old", ENOSYS),
    missing!(215, "epoll_wait_old", ENOSYS),
    row!(232, "epoll_wait", super::epoll_wait::epoll_wait, Full),
    row!(233, "epoll_ctl", super::epoll_ctl::epoll_ctl, Full),
    row!(270, "pselect6", super::select::pselect6, Full),
    row!(271, "ppoll", super::poll::ppoll, Full),
    row!(281, "epoll_pwait", super::epoll_wait::epoll_pwait, Full),
    row!(282, "signalfd", super::signalfd::signalfd, Full),
    row!(284, "eventfd", super::eventfd::eventfd, Full),
    row!(289, "signalfd4", super::signalfd::signalfd4, Full),
    row!(290, "eventfd2", super::eventfd::eventfd2, Full),
    row!(291, "epoll_create1", super::epoll_create::epoll_create1, Full),
    row!(293, "pipe2", super::pipe::pipe2, Full),
    missing!(323, "userfaultfd", EPERM),
    row!(333, "io_pgetevents", super::io_getevents::io_pgetevents, Full),
    missing!(425, "io_uring_setup", ENOSYS),
    missing!(426, "io_uring_enter", ENOSYS),
    missing!(427, "io_uring_register", ENOSYS),
    row!(441, "epoll_pwait2", super::epoll_wait::epoll_pwait2, Full),
];

/// Sockets.
pub const SOCKET: &[Row] = &[
    row!(
        41,
        "socket",
        super::socket::socket,
        Partial(
            "AF_UNIX, AF_NETLINK (route), AF_INET and AF_INET6 inside the sandbox; no raw or packet sockets"
        )
    ),
    row!(
        42,
        "connect",
        super::connect::connect,
        Partial("internet destinations: loopback only")
    ),
    row!(43, "accept", super::accept::accept, Full),
    row!(
        44,
        "sendto",
        super::send::sendto,
        Partial("no MSG_FASTOPEN, MSG_ZEROCOPY")
    ),
    row!(
        45,
        "recvfrom",
        super::recv::recvfrom,
        Partial("MSG_ERRQUEUE is always empty")
    ),
    row!(
        46,
        "sendmsg",
        super::send::sendmsg,
        Partial("no MSG_FASTOPEN, MSG_ZEROCOPY; of the internet control messages hop limit and class only")
    ),
    row!(
        47,
        "recvmsg",
        super::recv::recvmsg,
        Partial("MSG_ERRQUEUE is always empty")
    ),
    row!(48, "shutdown", super::shutdown::shutdown, Full),
    row!(
        49,
        "bind",
        super::bind::bind,
        Partial("internet addresses: loopback and any")
    ),
    row!(50, "listen", super::listen::listen, Full),
    row!(51, "getsockname", super::getsockname::getsockname, Full),
    row!(52, "getpeername", super::getpeername::getpeername, Full),
    row!(53, "socketpair", super::socketpair::socketpair, Full),
    row!(
        54,
        "setsockopt",
        super::getsockopt::setsockopt,
        Partial("TCP and IP options are kept without an effect; no filters, no multicast membership")
    ),
    row!(
        55,
        "getsockopt",
        super::getsockopt::getsockopt,
        Partial("see setsockopt; TCP_INFO gives the state only")
    ),
    row!(288, "accept4", super::accept::accept4, Full),
    row!(299, "recvmmsg", super::recvmmsg::recvmmsg, Full),
    row!(307, "sendmmsg", super::sendmmsg::sendmmsg, Full),
];

/// Memory, System V IPC, message queues, futexes.
pub const MM: &[Row] = &[
    row!(9, "mmap", super::mmap::mmap, Full),
    row!(10, "mprotect", super::mprotect::mprotect, Full),
    row!(11, "munmap", super::mmap::munmap, Full),
    row!(12, "brk", super::brk::brk, Full),
    row!(25, "mremap", super::mremap::mremap, Full),
    row!(26, "msync", super::msync::msync, Full),
    row!(27, "mincore", super::mincore::mincore, Full),
    row!(
        28,
        "madvise",
        super::madvise::madvise,
        Partial("COLD, PAGEOUT, COLLAPSE and the merging advice are accepted without effect")
    ),
    row!(29, "shmget", super::shmget::shmget, Full),
    row!(30, "shmat", super::shmget::shmat, Full),
    row!(31, "shmctl", super::shmctl::shmctl, Full),
    row!(64, "semget", super::semop::semget, Full),
    row!(65, "semop", super::semop::semop, Full),
    row!(66, "semctl", super::semctl::semctl, Full),
    row!(67, "shmdt", super::shmget::shmdt, Full),
    row!(68, "msgget", super::msgop::msgget, Full),
    row!(69, "msgsnd", super::msgop::msgsnd, Full),
    row!(70, "msgrcv", super::msgop::msgrcv, Full),
    row!(71, "msgctl", super::msgctl::msgctl, Full),
    row!(
        149,
        "mlock",
        super::mlock::mlock,
        Partial("pages are brought in and counted; the host may still reclaim them")
    ),
    row!(150, "munlock", super::mlock::munlock, Full),
    row!(
        151,
        "mlockall",
        super::mlock::mlockall,
        Partial("counted; the host may still reclaim the pages")
    ),
    row!(152, "munlockall", super::mlock::munlockall, Full),
    row!(
        202,
        "futex",
        super::futex::futex,
        Partial("priorities are not inherited: all threads have the same")
    ),
    row!(
        216,
        "remap_file_pages",
        super::remap_file_pages::remap_file_pages,
        Full
    ),
    row!(220, "semtimedop", super::semop::semtimedop, Full),
    row!(
        237,
        "mbind",
        super::set_mempolicy::mbind,
        Partial("one node: policies are checked and have no effect")
    ),
    row!(
        238,
        "set_mempolicy",
        super::set_mempolicy::set_mempolicy,
        Partial("one node: policies are checked and have no effect")
    ),
    row!(
        239,
        "get_mempolicy",
        super::set_mempolicy::get_mempolicy,
        Partial("one node: the policy of the task, also for addresses")
    ),
    row!(
        240,
        "mq_open",
        super::mq_open::mq_open,
        Partial("queues have names of their own, without a mounted mqueue file system")
    ),
    row!(241, "mq_unlink", super::mq_open::mq_unlink, Full),
    row!(242, "mq_timedsend", super::mq_open::mq_timedsend, Full),
    row!(243, "mq_timedreceive", super::mq_open::mq_timedreceive, Full),
    row!(244, "mq_notify", super::mq_open::mq_notify, Full),
    row!(245, "mq_getsetattr", super::mq_open::mq_getsetattr, Full),
    row!(256, "migrate_pages", super::set_mempolicy::migrate_pages, Full),
    row!(
        273,
        "set_robust_list",
        super::get_robust_list::set_robust_list,
        Full
    ),
    row!(
        274,
        "get_robust_list",
        super::get_robust_list::get_robust_list,
        Full
    ),
    row!(279, "move_pages", super::set_mempolicy::move_pages, Full),
    row!(
        310,
        "process_vm_readv",
        super::process_vm_readv::process_vm_readv,
        Full
    ),
    row!(
        311,
        "process_vm_writev",
        super::process_vm_readv::process_vm_writev,
        Full
    ),
    row!(
        319,
        "memfd_create",
        super::memfd_create::memfd_create,
        Partial("no MFD_HUGETLB")
    ),
    row!(
        324,
        "membarrier",
        super::membarrier::membarrier,
        Partial("no RSEQ commands")
    ),
    row!(
        325,
        "mlock2",
        super::mlock::mlock2,
        Partial("pages are brought in and counted; the host may still reclaim them")
    ),
    row!(
        329,
        "pkey_mprotect",
        super::pkey_alloc::pkey_mprotect,
        Partial("no keys: as on a machine without them")
    ),
    row!(
        330,
        "pkey_alloc",
        super::pkey_alloc::pkey_alloc,
        Partial("no keys: as on a machine without them")
    ),
    row!(
        331,
        "pkey_free",
        super::pkey_alloc::pkey_free,
        Partial("no keys: as on a machine without them")
    ),
    row!(
        334,
        "rseq",
        super::rseq::rseq,
        Partial("ENOSYS where the container's processors are not numbered as the host's are")
    ),
    row!(
        440,
        "process_madvise",
        super::process_madvise::process_madvise,
        Partial("as madvise")
    ),
    missing!(447, "memfd_secret", ENOSYS),
    row!(
        448,
        "process_mrelease",
        super::process_madvise::process_mrelease,
        Full
    ),
    row!(449, "futex_waitv", super::futex::futex_waitv, Full),
    row!(
        450,
        "set_mempolicy_home_node",
        super::set_mempolicy::set_mempolicy_home_node,
        Partial("one node: checked, without effect")
    ),
    missing!(453, "map_shadow_stack", ENOSYS),
    row!(454, "futex_wake", super::futex::futex_wake, Full),
    row!(455, "futex_wait", super::futex::futex_wait, Full),
    row!(456, "futex_requeue", super::futex::futex_requeue, Full),
    row!(462, "mseal", super::mseal::mseal, Full),
];

/// Processes and threads, scheduling.
pub const TASK: &[Row] = &[
    row!(24, "sched_yield", super::sched::sched_yield, Full),
    row!(39, "getpid", super::getpid::getpid, Full),
    row!(56, "clone", super::clone::clone, Partial("no namespaces of time")),
    row!(57, "fork", super::fork::fork, Full),
    row!(58, "vfork", super::fork::vfork, Full),
    row!(59, "execve", super::execve::execve, Full),
    row!(60, "exit", super::exit::exit, Full),
    row!(
        61,
        "wait4",
        super::wait::wait4,
        Partial("rusage has CPU times only")
    ),
    row!(97, "getrlimit", super::getrlimit::getrlimit, Full),
    row!(
        98,
        "getrusage",
        super::getrusage::getrusage,
        Partial("CPU times and resident size only")
    ),
    row!(
        101,
        "ptrace",
        super::ptrace::ptrace,
        Partial("no hardware breakpoints, no system call emulation")
    ),
    row!(109, "setpgid", super::setpgid::setpgid, Full),
    row!(110, "getppid", super::getpid::getppid, Full),
    row!(111, "getpgrp", super::setpgid::getpgrp, Full),
    row!(112, "setsid", super::setpgid::setsid, Full),
    row!(121, "getpgid", super::setpgid::getpgid, Full),
    row!(124, "getsid", super::setpgid::getsid, Full),
    row!(
        135,
        "personality",
        super::personality::personality,
        Partial("ADDR_NO_RANDOMIZE acts, the rest is remembered")
    ),
    row!(140, "getpriority", super::getpriority::getpriority, Full),
    row!(
        141,
        "setpriority",
        super::getpriority::setpriority,
        Partial("remembered, not acted on")
    ),
    row!(
        142,
        "sched_setparam",
        super::sched::sched_setparam,
        Partial("remembered, not acted on")
    ),
    row!(143, "sched_getparam", super::sched::sched_getparam, Full),
    row!(
        144,
        "sched_setscheduler",
        super::sched::sched_setscheduler,
        Partial("remembered, not acted on")
    ),
    row!(145, "sched_getscheduler", super::sched::sched_getscheduler, Full),
    row!(
        146,
        "sched_get_priority_max",
        super::sched::sched_get_priority_max,
        Full
    ),
    row!(
        147,
        "sched_get_priority_min",
        super::sched::sched_get_priority_min,
        Full
    ),
    row!(
        148,
        "sched_rr_get_interval",
        super::sched::sched_rr_get_interval,
        Full
    ),
    missing!(153, "vhangup", EPERM),
    missing!(154, "modify_ldt", ENOSYS),
    row!(
        157,
        "prctl",
        super::prctl::prctl,
        Partial(
            "no PR_TSC_SIGSEGV, no core scheduling; wishes about huge pages, merging and memory errors are remembered, not acted on"
        )
    ),
    row!(
        158,
        "arch_prctl",
        super::arch_prctl::arch_prctl,
        Partial("no CPUID faulting, no shadow stacks")
    ),
    row!(
        160,
        "setrlimit",
        super::getrlimit::setrlimit,
        Partial("RLIMIT_RTTIME is not enforced")
    ),
    row!(186, "gettid", super::getpid::gettid, Full),
    row!(
        203,
        "sched_setaffinity",
        super::sched::sched_setaffinity,
        Partial("remembered, not acted on")
    ),
    row!(204, "sched_getaffinity", super::sched::sched_getaffinity, Full),
    missing!(205, "set_thread_area", ENOSYS),
    missing!(211, "get_thread_area", ENOSYS),
    row!(218, "set_tid_address", super::getpid::set_tid_address, Full),
    row!(
        219,
        "restart_syscall",
        super::restart_syscall::restart_syscall,
        Full
    ),
    row!(231, "exit_group", super::exit::exit_group, Full),
    row!(
        247,
        "waitid",
        super::wait::waitid,
        Partial("rusage has CPU times only")
    ),
    row!(
        251,
        "ioprio_set",
        super::getpriority::ioprio_set,
        Partial("remembered, not acted on")
    ),
    row!(252, "ioprio_get", super::getpriority::ioprio_get, Full),
    row!(
        272,
        "unshare",
        super::unshare::unshare,
        Partial("no namespaces of time")
    ),
    row!(
        302,
        "prlimit64",
        super::getrlimit::prlimit64,
        Partial("RLIMIT_RTTIME is not enforced")
    ),
    row!(
        308,
        "setns",
        super::unshare::setns,
        Partial("no namespaces of time")
    ),
    row!(
        309,
        "getcpu",
        super::sched::getcpu,
        Partial("the first processor of the affinity mask")
    ),
    row!(
        312,
        "kcmp",
        super::kcmp::kcmp,
        Partial("no KCMP_IO, KCMP_SYSVSEM, KCMP_EPOLL_TFD")
    ),
    row!(
        314,
        "sched_setattr",
        super::sched_setattr::sched_setattr,
        Partial("remembered, not acted on; no utilisation clamps")
    ),
    row!(315, "sched_getattr", super::sched_setattr::sched_getattr, Full),
    row!(317, "seccomp", super::seccomp::seccomp, Full),
    row!(322, "execveat", super::execve::execveat, Full),
    row!(
        424,
        "pidfd_send_signal",
        super::pidfd_open::pidfd_send_signal,
        Full
    ),
    row!(434, "pidfd_open", super::pidfd_open::pidfd_open, Full),
    row!(
        435,
        "clone3",
        super::clone::clone3,
        Partial("no namespaces of time; no CLONE_INTO_CGROUP")
    ),
    row!(438, "pidfd_getfd", super::pidfd_open::pidfd_getfd, Full),
];

/// Credentials.
pub const CRED: &[Row] = &[
    row!(102, "getuid", super::getuid::getuid, Full),
    row!(104, "getgid", super::getuid::getgid, Full),
    row!(105, "setuid", super::setuid::setuid, Full),
    row!(106, "setgid", super::setuid::setgid, Full),
    row!(107, "geteuid", super::getuid::geteuid, Full),
    row!(108, "getegid", super::getuid::getegid, Full),
    row!(113, "setreuid", super::setuid::setreuid, Full),
    row!(114, "setregid", super::setuid::setregid, Full),
    row!(115, "getgroups", super::getuid::getgroups, Full),
    row!(116, "setgroups", super::setuid::setgroups, Full),
    row!(117, "setresuid", super::setuid::setresuid, Full),
    row!(118, "getresuid", super::getuid::getresuid, Full),
    row!(119, "setresgid", super::setuid::setresgid, Full),
    row!(120, "getresgid", super::getuid::getresgid, Full),
    row!(122, "setfsuid", super::setuid::setfsuid, Full),
    row!(123, "setfsgid", super::setuid::setfsgid, Full),
    row!(125, "capget", super::capget::capget, Full),
    row!(126, "capset", super::capget::capset, Full),
];

/// Signals.
pub const SIGNAL: &[Row] = &[
    row!(13, "rt_sigaction", super::sigaction::rt_sigaction, Full),
    row!(14, "rt_sigprocmask", super::sigprocmask::rt_sigprocmask, Full),
    row!(15, "rt_sigreturn", super::sigreturn::rt_sigreturn, Full),
    row!(34, "pause", super::sigsuspend::pause, Full),
    row!(62, "kill", super::kill::kill, Full),
    row!(127, "rt_sigpending", super::sigprocmask::rt_sigpending, Full),
    row!(128, "rt_sigtimedwait", super::sigwaitinfo::rt_sigtimedwait, Full),
    row!(
        129,
        "rt_sigqueueinfo",
        super::rt_sigqueueinfo::rt_sigqueueinfo,
        Full
    ),
    row!(130, "rt_sigsuspend", super::sigsuspend::rt_sigsuspend, Full),
    row!(131, "sigaltstack", super::sigaltstack::sigaltstack, Full),
    row!(200, "tkill", super::tkill::tkill, Full),
    row!(234, "tgkill", super::tkill::tgkill, Full),
    row!(
        297,
        "rt_tgsigqueueinfo",
        super::rt_sigqueueinfo::rt_tgsigqueueinfo,
        Full
    ),
];

/// Clocks and timers.
pub const TIME: &[Row] = &[
    row!(35, "nanosleep", super::nanosleep::nanosleep, Full),
    row!(36, "getitimer", super::getitimer::getitimer, Full),
    row!(37, "alarm", super::getitimer::alarm, Full),
    row!(38, "setitimer", super::getitimer::setitimer, Full),
    row!(96, "gettimeofday", super::clock_getres::gettimeofday, Full),
    row!(100, "times", super::times::times, Full),
    row!(
        159,
        "adjtimex",
        super::adjtimex::adjtimex,
        Partial("reading only")
    ),
    row!(
        164,
        "settimeofday",
        super::adjtimex::settimeofday,
        Partial("always EPERM")
    ),
    row!(201, "time", super::clock_getres::time, Full),
    row!(222, "timer_create", super::timer_create::timer_create, Full),
    row!(223, "timer_settime", super::timer_create::timer_settime, Full),
    row!(224, "timer_gettime", super::timer_create::timer_gettime, Full),
    row!(
        225,
        "timer_getoverrun",
        super::timer_create::timer_getoverrun,
        Full
    ),
    row!(226, "timer_delete", super::timer_create::timer_delete, Full),
    row!(
        227,
        "clock_settime",
        super::clock_getres::clock_settime,
        Partial("always EPERM")
    ),
    row!(228, "clock_gettime", super::clock_getres::clock_gettime, Full),
    row!(229, "clock_getres", super::clock_getres::clock_getres, Full),
    row!(230, "clock_nanosleep", super::nanosleep::clock_nanosleep, Full),
    row!(283, "timerfd_create", super::timerfd_create::timerfd_create, Full),
    row!(
        286,
        "timerfd_settime",
        super::timerfd_create::timerfd_settime,
        Full
    ),
    row!(
        287,
        "timerfd_gettime",
        super::timerfd_create::timerfd_gettime,
        Full
    ),
    row!(
        305,
        "clock_adjtime",
        super::adjtimex::clock_adjtime,
        Partial("reading only")
    ),
];

/// The system as a whole.
pub const SYSTEM: &[Row] = &[
    row!(63, "uname", super::uname::uname, Full),
    row!(
        99,
        "sysinfo",
        super::sysinfo::sysinfo,
        Partial("load averages are 0")
    ),
    row!(103, "syslog", super::sysinfo::syslog, Partial("the log is empty")),
    missing!(156, "_sysctl", ENOSYS),
    missing!(169, "reboot", EPERM),
    row!(170, "sethostname", super::sethostname::sethostname, Full),
    row!(171, "setdomainname", super::sethostname::setdomainname, Full),
    missing!(172, "iopl", EPERM),
    missing!(173, "ioperm", EPERM),
    missing!(174, "create_module", ENOSYS),
    missing!(175, "init_module", EPERM),
    missing!(176, "delete_module", EPERM),
    missing!(177, "get_kernel_syms", ENOSYS),
    missing!(178, "query_module", ENOSYS),
    missing!(180, "nfsservctl", ENOSYS),
    missing!(181, "getpmsg", ENOSYS),
    missing!(182, "putpmsg", ENOSYS),
    missing!(183, "afs_syscall", ENOSYS),
    missing!(184, "tuxcall", ENOSYS),
    missing!(185, "security", ENOSYS),
    missing!(236, "vserver", ENOSYS),
    missing!(246, "kexec_load", EPERM),
    missing!(248, "add_key", ENOSYS),
    missing!(249, "request_key", ENOSYS),
    missing!(250, "keyctl", ENOSYS),
    missing!(298, "perf_event_open", EPERM),
    missing!(313, "finit_module", EPERM),
    row!(318, "getrandom", super::getrandom::getrandom, Full),
    missing!(320, "kexec_file_load", EPERM),
    missing!(321, "bpf", EPERM),
    missing!(444, "landlock_create_ruleset", ENOSYS),
    missing!(445, "landlock_add_rule", ENOSYS),
    missing!(446, "landlock_restrict_self", ENOSYS),
    missing!(459, "lsm_get_self_attr", ENOSYS),
    missing!(460, "lsm_set_self_attr", ENOSYS),
    missing!(461, "lsm_list_modules", ENOSYS),
];

/// Every section.
pub const SECTIONS: &[&[Row]] = &[IO, PATH, EVENT, SOCKET, MM, TASK, CRED, SIGNAL, TIME, SYSTEM];
