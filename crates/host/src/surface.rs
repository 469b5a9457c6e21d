//! Every host call that a running sentry may make: the table, and the filter made from it.
//!
//! A call that is not here, or not with these arguments, ends the sandbox with a line that names it. The table is ordered by how
//! often a call is made, because a filter is a list that the host walks.

mod filter;

use abi::Errno;

pub use filter::{NameOf, close_forwarder, close_relay, close_sentry, close_waiting, sentry_filter};
pub use forward::FORWARD;
pub use host_network::{READABLE, SETTABLE};
pub use relay::RELAY;
pub use waiting::{WAITING, Waits};

/// A condition on an argument.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// The low 32 bits are one of these (and the high ones are zero).
    OneOf(&'static [u32]),
    /// The low 32 bits of it and of the next argument are one of these pairs.
    PairOf(&'static [(u32, u32)]),
    /// None of these bits is set in the low 32 bits.
    Without(u32),
    /// All of these bits are set in the low 32 bits.
    With(u32),
    /// It is the process's own id.
    OwnProcess,
}

/// A condition on one argument, and how `tegmen surface` words it.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    index: u32,
    test: Test,
    words: &'static str,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    /// Allowed if all conditions hold.
    Allow(&'static [Arg]),
    /// Answered with this error, without ending the sandbox: the C library then takes another way.
    Refuse(i32),
}

/// Which sandboxes have a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one.
    Always,
    /// Those with a tree that the host changes too.
    Volume,
    /// Those with a volume that they may write.
    WritableVolume,
    /// Those without.
    ReadOnly,
    /// Containers, which are controlled through a socket.
    Controlled,
    /// Those that share the host's network.
    HostNetwork,
    /// Containers, and those that share the host's network.
    Accepting,
    /// Commands that wait, not monitors.
    Command,
    /// Monitors that wait, not commands.
    Monitor,
}

/// What a sandbox needs of the host beyond the minimum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It has a tree that the host changes too: a volume.
    pub volume: bool,
    /// It has a volume that it may write.
    pub writable_volume: bool,
    /// It listens on a control socket.
    pub control: bool,
    /// Its guests' sockets are the host's.
    pub host_network: bool,
}

impl Needs {
    /// The rows of such a sandbox.
    pub fn rows(self) -> impl Iterator<Item = &'static Row> {
        SENTRY.iter().filter(move |row| match row.scope {
            Scope::Always => true,
            Scope::Volume => self.volume,
            Scope::WritableVolume => self.writable_volume,
            Scope::ReadOnly => !self.writable_volume,
            Scope::Controlled => self.control,
            Scope::HostNetwork => self.host_network,
            Scope::Accepting => self.control || self.host_network,
            Scope::Command | Scope::Monitor => false,
        })
    }
}

/// A host call of the sentry.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its number on x86-64.
    pub nr: i64,
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why the sentry makes it.
    pub reason: &'static str,
    /// Who may.
    pub scope: Scope,
}

impl Row {
    /// The same for sandboxes with a volume only.
    const fn on_any_volume(self) -> Row {
        Row {
            scope: Scope::Volume,
            ..self
        }
    }

    /// The same for sandboxes with a writable volume only.
    const fn on_volumes(self) -> Row {
        Row {
            scope: Scope::WritableVolume,
            ..self
        }
    }

    /// The same for containers with a control socket only.
    const fn controlled(self) -> Row {
        Row {
            scope: Scope::Controlled,
            ..self
        }
    }

    /// The same for those that accept connections only.
    const fn accepting(self) -> Row {
        Row {
            scope: Scope::Accepting,
            ..self
        }
    }

    /// The same for sandboxes without a writable volume only.
    const fn read_only(self) -> Row {
        Row {
            scope: Scope::ReadOnly,
            ..self
        }
    }
}

impl Row {
    /// The conditions in words; empty when there are none.
    pub fn conditions(&self) -> String {
        match self.verdict {
            Verdict::Allow(args) => args.iter().map(|arg| arg.words).collect::<Vec<_>>().join(", "),
            Verdict::Refuse(errno) => format!("refused with {}", Errno::from_raw(errno)),
        }
    }

    /// Whether the host carries the call out (and does not just refuse it).
    pub fn is_allowed(&self) -> bool {
        matches!(self.verdict, Verdict::Allow(_))
    }
}

macro_rules! call {
    ($name:ident, $nr:expr, $reason:literal) => {
        Row { nr: $nr, name: stringify!($name), verdict: Verdict::Allow(&[]), reason: $reason, scope: Scope::Always }
    };
    ($name:ident, $nr:expr, [$($arg:expr),+], $reason:literal) => {
        Row { nr: $nr, name: stringify!($name), verdict: Verdict::Allow(&[$($arg),+]), reason: $reason, scope: Scope::Always }
    };
}

macro_rules! refused {
    ($name:ident, $nr:expr, $errno:expr, $reason:literal) => {
        Row {
            nr: $nr,
            name: stringify!($name),
            verdict: Verdict::Refuse($errno),
            reason: $reason,
            scope: Scope::Always,
        }
    };
}

mod forward;
mod host_network;
mod relay;
mod waiting;

const fn one_of(index: u32, values: &'static [u32], words: &'static str) -> Arg {
    Arg {
        index,
        test: Test::OneOf(values),
        words,
    }
}

const fn without(index: u32, bits: i32, words: &'static str) -> Arg {
    Arg {
        index,
        test: Test::Without(bits as u32),
        words,
    }
}

const fn with(index: u32, bits: i32, words: &'static str) -> Arg {
    Arg {
        index,
        test: Test::With(bits as u32),
        words,
    }
}

const NO_EXEC: Arg = without(2, libc::PROT_EXEC, "not executable");
const BY_HANDLE: Arg = with(4, libc::AT_EMPTY_PATH, "of a handle");
/// What pthread_create(3) asks of clone(2): a thread of this process, and nothing else.
const THREAD_FLAGS: u32 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID) as u32;

/// fchmodat2(2), which the C library does not name yet.
const SYS_FCHMODAT2: i64 = 452;

/// The sentry's calls.
pub const SENTRY: &[Row] = &[
    call!(
        futex,
        libc::SYS_futex,
        "hand-offs to guest threads; locks and waits of the sentry's threads"
    ),
    call!(
        sched_yield,
        libc::SYS_sched_yield,
        "hand-off on a shared processor"
    ),
    call!(
        process_vm_readv,
        libc::SYS_process_vm_readv,
        "copy from guest memory"
    ),
    call!(
        process_vm_writev,
        libc::SYS_process_vm_writev,
        "copy to guest memory"
    ),
    call!(pread64, libc::SYS_pread64, "read files"),
    call!(pwrite64, libc::SYS_pwrite64, "write files"),
    call!(
        preadv2,
        libc::SYS_preadv2,
        "read without waiting, where a descriptor has its own position"
    ),
    call!(
        pwritev2,
        libc::SYS_pwritev2,
        "likewise; append; frames to a network interface"
    ),
    call!(
        read,
        libc::SYS_read,
        "standard input, directory handles' lists, frames of a network interface; signals and window sizes from the command"
    ),
    call!(
        write,
        libc::SYS_write,
        "standard output, logs; outcomes and replies"
    ),
    host_network::SENDTO,
    host_network::RECVFROM,
    call!(
        lseek,
        libc::SYS_lseek,
        "acknowledgements of memory helpers; data and holes of files"
    ),
    call!(statx, libc::SYS_statx, "attributes of files"),
    call!(
        openat,
        libc::SYS_openat,
        [
            with(2, libc::O_CLOEXEC, "close-on-exec"),
            without(2, libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC, "for reading")
        ],
        "open one name in a directory handle"
    )
    .read_only(),
    call!(
        openat,
        libc::SYS_openat,
        [with(2, libc::O_CLOEXEC, "close-on-exec")],
        "open one name in a directory handle"
    )
    .on_volumes(),
    call!(close, libc::SYS_close, "close descriptors"),
    call!(
        fanotify_mark,
        libc::SYS_fanotify_mark,
        [one_of(
            1,
            &[libc::FAN_MARK_ADD | libc::FAN_MARK_ONLYDIR, libc::FAN_MARK_FLUSH],
            "mark a directory, take all marks off"
        )],
        "hear of changes that others make to volumes"
    )
    .on_any_volume(),
    call!(getdents64, libc::SYS_getdents64, "list directories"),
    call!(readlinkat, libc::SYS_readlinkat, "text of a link"),
    call!(
        mmap,
        libc::SYS_mmap,
        [NO_EXEC],
        "the sentry's own memory; areas shared with guest threads"
    ),
    call!(munmap, libc::SYS_munmap, "give memory back"),
    call!(
        mprotect,
        libc::SYS_mprotect,
        [NO_EXEC],
        "guard pages of thread stacks; the heap"
    ),
    call!(madvise, libc::SYS_madvise, "give memory back"),
    call!(tgkill, libc::SYS_tgkill, "interrupt a guest thread"),
    call!(
        getrandom,
        libc::SYS_getrandom,
        "random bytes for guests and hash tables"
    ),
    call!(
        clock_gettime,
        libc::SYS_clock_gettime,
        "processor time of guest processes"
    ),
    call!(clock_nanosleep, libc::SYS_clock_nanosleep, "timers"),
    call!(
        poll,
        libc::SYS_poll,
        "wait for standard descriptors and the command"
    ),
    call!(
        epoll_wait,
        libc::SYS_epoll_wait,
        "wait for the end of guest processes"
    ),
    call!(epoll_ctl, libc::SYS_epoll_ctl, "likewise"),
    call!(
        epoll_create1,
        libc::SYS_epoll_create1,
        "wait for standard descriptors"
    ),
    call!(waitid, libc::SYS_waitid, "reap guest processes"),
    call!(pidfd_open, libc::SYS_pidfd_open, "handles of guest processes"),
    call!(
        pidfd_send_signal,
        libc::SYS_pidfd_send_signal,
        "end guest processes"
    ),
    call!(
        memfd_create,
        libc::SYS_memfd_create,
        "memory shared with guest processes"
    ),
    call!(ftruncate, libc::SYS_ftruncate, "sizes of files"),
    call!(fallocate, libc::SYS_fallocate, "space of files, holes"),
    call!(
        fcntl,
        libc::SYS_fcntl,
        [one_of(
            1,
            FCNTL,
            "F_GETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_ADD_SEALS"
        )],
        "flags and copies of descriptors"
    ),
    call!(mkdirat, libc::SYS_mkdirat, "directories on volumes").on_volumes(),
    call!(mknodat, libc::SYS_mknodat, "fifos and sockets on volumes").on_volumes(),
    call!(unlinkat, libc::SYS_unlinkat, "names on volumes").on_volumes(),
    call!(renameat2, libc::SYS_renameat2, "names on volumes").on_volumes(),
    call!(
        linkat,
        libc::SYS_linkat,
        [one_of(4, &[0, libc::AT_EMPTY_PATH as u32], "no link followed")],
        "names on volumes"
    )
    .on_volumes(),
    call!(symlinkat, libc::SYS_symlinkat, "links on volumes").on_volumes(),
    call!(
        fchownat,
        libc::SYS_fchownat,
        [BY_HANDLE],
        "owners of files on volumes"
    )
    .on_volumes(),
    call!(
        fchmodat2,
        SYS_FCHMODAT2,
        [with(3, libc::AT_EMPTY_PATH, "of a handle")],
        "modes of files on volumes"
    )
    .on_volumes(),
    call!(
        utimensat,
        libc::SYS_utimensat,
        [with(3, libc::AT_EMPTY_PATH, "of a handle")],
        "times of files on volumes"
    )
    .on_volumes(),
    call!(fsync, libc::SYS_fsync, "files to disk"),
    call!(fdatasync, libc::SYS_fdatasync, "likewise"),
    call!(syncfs, libc::SYS_syncfs, "volumes to disk").on_volumes(),
    call!(fstatfs, libc::SYS_fstatfs, "sizes of file systems"),
    call!(fgetxattr, libc::SYS_fgetxattr, "attributes of files"),
    call!(flistxattr, libc::SYS_flistxattr, "likewise"),
    call!(fsetxattr, libc::SYS_fsetxattr, "attributes of files on volumes").on_volumes(),
    call!(fremovexattr, libc::SYS_fremovexattr, "likewise").on_volumes(),
    call!(
        accept4,
        libc::SYS_accept4,
        [one_of(3, &[libc::SOCK_CLOEXEC as u32], "close-on-exec")],
        "connections to the control socket, and to guests in the host's network"
    )
    .accepting(),
    call!(
        recvmsg,
        libc::SYS_recvmsg,
        [one_of(2, &[libc::MSG_CMSG_CLOEXEC as u32], "MSG_CMSG_CLOEXEC")],
        "requests, and the descriptors of processes that are brought in"
    )
    .controlled(),
    host_network::SOCKET,
    host_network::BIND,
    host_network::CONNECT,
    host_network::LISTEN,
    host_network::GETSOCKNAME,
    host_network::GETPEERNAME,
    host_network::SHUTDOWN,
    host_network::SETSOCKOPT,
    host_network::GETSOCKOPT,
    host_network::IOCTL,
    call!(
        clone,
        libc::SYS_clone,
        [one_of(0, &[THREAD_FLAGS], "a thread")],
        "the sentry's threads"
    ),
    refused!(
        clone3,
        libc::SYS_clone3,
        libc::ENOSYS,
        "its arguments cannot be checked; the C library then uses clone"
    ),
    call!(brk, libc::SYS_brk, "the heap"),
    refused!(
        mremap,
        libc::SYS_mremap,
        libc::ENOMEM,
        "the C library copies large allocations instead"
    ),
    refused!(
        set_robust_list,
        libc::SYS_set_robust_list,
        libc::ENOSYS,
        "the sentry shares no lock with other processes"
    ),
    refused!(
        sigaltstack,
        libc::SYS_sigaltstack,
        libc::ENOSYS,
        "no handler of the sentry runs on a stack of its own"
    ),
    call!(gettid, libc::SYS_gettid, "name a thread of the sentry"),
    call!(rseq, libc::SYS_rseq, "start of a thread, by the C library"),
    call!(
        prctl,
        libc::SYS_prctl,
        [one_of(0, &[libc::PR_SET_NAME as u32], "PR_SET_NAME")],
        "names of threads"
    ),
    call!(
        rt_sigprocmask,
        libc::SYS_rt_sigprocmask,
        "start and end of a thread"
    ),
    call!(
        sched_setaffinity,
        libc::SYS_sched_setaffinity,
        "keep a pair of threads on one processor"
    ),
    call!(sched_getaffinity, libc::SYS_sched_getaffinity, "likewise"),
    call!(
        restart_syscall,
        libc::SYS_restart_syscall,
        "continue a wait after a stop"
    ),
    call!(exit, libc::SYS_exit, "end of a thread"),
    call!(exit_group, libc::SYS_exit_group, "end of the sandbox"),
];

/// F_ADD_SEALS is 1024 + 9, F_DUPFD_CLOEXEC 1024 + 6.
/// F_GETFD: debug builds check each descriptor that they close.
const FCNTL: &[u32] = &[
    libc::F_GETFD as u32,
    libc::F_GETFL as u32,
    libc::F_SETFL as u32,
    libc::F_DUPFD_CLOEXEC as u32,
    libc::F_ADD_SEALS as u32,
];

#[cfg(test)]
mod tests;
