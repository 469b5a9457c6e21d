//! System calls: the table, dispatch, and one file per man page.
//!
//! To add one: its file (`man 2 x` is `x.rs`), its `mod` line here, its row in `table.rs`.
//! A handler is `pub fn name(task: &CurrentTask, a: A, b: B) -> Result<R, Errno>`; its parameter types decode the
//! registers ([`arg::FromArg`]) and print them for strace.

pub mod arg;
mod dispatch;
mod row;
pub mod strace;
mod table;

pub use dispatch::{dispatch, lookup, rows};
pub use row::{Row, Support};
pub(crate) use rseq::features as rseq_features;
pub(crate) use sched::processors_of;
pub use uname::{RELEASE, VERSION};

// One line per file, alphabetical; keep the sections of different subjects apart.
// --- open files
mod close;
mod close_range;
mod dup;
mod fallocate;
mod fcntl;
mod fcntl_locking;
mod flock;
mod fsopen;
mod fsync;
mod getdents;
mod io_getevents;
mod io_setup;
mod io_submit;
mod ioctl;
mod lseek;
mod posix_fadvise;
mod pread;
mod read;
mod readv;
mod sendfile;
mod splice;
mod sync;
mod truncate;
mod write;

// --- names
mod access;
mod cachestat;
mod chdir;
mod chmod;
mod chown;
mod chroot;
mod dirfd;
mod getcwd;
mod getxattr;
mod inotify;
mod link;
mod mkdir;
mod mknod;
mod mount;
mod open;
mod open_by_handle_at;
mod pivot_root;
mod readlink;
mod rename;
mod stat;
mod statfs;
mod statx;
mod symlink;
mod umask;
mod unlink;
mod utimensat;

// --- events
mod epoll_create;
mod epoll_ctl;
mod epoll_wait;
mod eventfd;
mod pipe;
mod poll;
mod select;
mod signalfd;

// --- sockets
mod accept;
mod bind;
mod connect;
mod getpeername;
mod getsockname;
mod getsockopt;
mod listen;
mod recv;
mod recvmmsg;
mod send;
mod sendmmsg;
mod shutdown;
mod socket;
mod socketpair;

// --- memory
mod brk;
mod execve;
mod futex;
mod get_robust_list;
mod madvise;
mod membarrier;
mod memfd_create;
mod mincore;
mod mlock;
mod mmap;
mod mprotect;
mod mq_open;
mod mremap;
mod mseal;
mod msgctl;
mod msgop;
mod msync;
mod pkey_alloc;
mod process_madvise;
mod process_vm_readv;
mod remap_file_pages;
mod semctl;
mod semop;
mod set_mempolicy;
mod shmctl;
mod shmget;

// --- tasks
mod arch_prctl;
mod clone;
mod exit;
mod fork;
mod getpid;
mod getpriority;
mod getrlimit;
mod getrusage;
mod kcmp;
mod personality;
mod pidfd_open;
mod prctl;
mod ptrace;
mod restart_syscall;
mod rseq;
mod sched;
mod sched_setattr;
mod seccomp;
mod setpgid;
mod unshare;
mod wait;

// --- credentials
mod capget;
mod getuid;
mod setuid;

// --- signals
mod kill;
mod rt_sigqueueinfo;
mod sigaction;
mod sigaltstack;
mod sigprocmask;
mod sigreturn;
mod sigsuspend;
mod sigwaitinfo;
mod tkill;

// --- time
mod adjtimex;
mod clock_getres;
mod getitimer;
mod nanosleep;
mod timer_create;
mod timerfd_create;
mod times;

// --- system
mod getrandom;
mod sethostname;
mod sysinfo;
mod uname;
