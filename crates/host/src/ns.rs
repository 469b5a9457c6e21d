//! namespaces(7): starting a process in namespaces of its own.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use abi::Errno;

use crate::call::check;

/// Every namespace of the jail, made in one clone3(2): user, pid, mount, network, ipc, uts, cgroup.
pub const JAIL: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u64;

/// Those of the relay of a sandbox's network: all but the network.
pub const RELAY: u64 = JAIL & !NETWORK;

/// A network namespace of its own.
pub const NETWORK: u64 = libc::CLONE_NEWNET as u64;
/// A mount namespace.
pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
/// A namespace of host and domain name.
pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
/// A namespace of System V IPC and message queues.
pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
/// A process namespace.
pub const PID: u64 = libc::CLONE_NEWPID as u64;
/// A namespace of control groups.
pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
/// A user namespace.
pub const USER: u64 = libc::CLONE_NEWUSER as u64;

/// Enters the namespace of this kind that the file is, or that the process of a pidfd is in (setns(2)). `EINVAL`: it is of another
/// kind. Of a process namespace, only children that are made from now on are in it.
pub fn enter(file: BorrowedFd<'_>, kind: u64) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    // SAFETY: no memory is passed.
    check(unsafe { libc::setns(file.as_raw_fd(), kind as libc::c_int) }.into()).map(drop)
}

/// Moves the calling process into a new namespace of this kind (unshare(2)).
pub fn leave(kind: u64) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::unshare(kind as libc::c_int) }.into()).map(drop)
}

/// The caller's process id as /proc has it, which may be that of a namespace further out.
pub fn own_pid() -> i32 {
    let shown = std::fs::read_link("/proc/self").ok();
    let shown = shown.and_then(|link| link.to_str()?.parse().ok());
    shown.unwrap_or_else(|| i32::try_from(std::process::id()).unwrap_or(0))
}

/// How a child process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// exit(2) with this status.
    Exited(i32),
    /// Killed by this signal.
    Signaled(i32),
}

/// A child process, named by a descriptor that cannot come to mean another process.
#[derive(Debug)]
pub struct Child {
    /// Its pid in the caller's pid namespace.
    pub pid: i32,
    pidfd: OwnedFd,
}

/// Clones the calling process into new namespaces and runs `body` in the child, which exits with what it returns.
///
/// The child is a copy of the caller with its own memory. `EBUSY`: the caller has more than one thread, so that the copy
/// could inherit a lock nobody will open.
pub fn spawn(namespaces: u64, body: impl FnOnce() -> i32) -> Result<Child, Errno> {
    if threads()? != 1 {
        return Err(Errno::EBUSY);
    }
    let mut pidfd: RawFd = -1;
    let args = libc::clone_args {
        flags: namespaces | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    // SAFETY: `args` is a valid clone_args of the size given and `pidfd` outlives the call. Without CLONE_VM the child runs
    // on a copy of this stack; the process has one thread, so no lock of the allocator or the C library is held by another.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &args, size_of_val(&args)) })?;
    if pid == 0 {
        let run = std::panic::AssertUnwindSafe(body);
        let status = std::panic::catch_unwind(run).unwrap_or(125);
        exit_now(status);
    }
    // SAFETY: CLONE_PIDFD stored a new descriptor that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child {
        pid: pid as i32,
        pidfd,
    })
}

/// Number of threads of this process.
fn threads() -> Result<usize, Errno> {
    match std::fs::read_dir("/proc/self/task") {
        Ok(entries) => Ok(entries.count()),
        // Without /proc nothing can be said; the callers start no thread before their jail.
        Err(_) => Ok(1),
    }
}

/// _exit(2): ends the process without running anything that the parent registered.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Child {
    /// Its process id as /proc has it: the caller may live in a process namespace of its own.
    pub fn pid_on_host(&self) -> i32 {
        use std::os::fd::AsRawFd;
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.pidfd.as_raw_fd()));
        let of_line = |line: &str| line.strip_prefix("Pid:")?.trim().parse().ok();
        let shown = info.ok().and_then(|text| text.lines().find_map(of_line));
        shown.filter(|pid| *pid > 0).unwrap_or(self.pid)
    }

    /// Reaps the child if it has ended.
    pub fn try_wait(&self) -> Result<Option<Ended>, Errno> {
        self.wait_with(libc::WNOHANG)
    }

    /// Waits for the child's end. `EINTR` is retried.
    pub fn wait(&self) -> Result<Ended, Errno> {
        loop {
            match self.wait_with(0) {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn wait_with(&self, options: libc::c_int) -> Result<Option<Ended>, Errno> {
        let mut status = 0;
        // SAFETY: `status` is valid for writing.
        let pid = check(unsafe { libc::waitpid(self.pid, &mut status, options) }.into())?;
        if pid == 0 {
            return Ok(None);
        }
        if libc::WIFSIGNALED(status) {
            return Ok(Some(Ended::Signaled(libc::WTERMSIG(status))));
        }
        Ok(Some(Ended::Exited(libc::WEXITSTATUS(status))))
    }

    /// Kills the child (and, when it is the first of its pid namespace, all of that).
    pub fn kill(&self) {
        use std::os::fd::AsRawFd;
        let none: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: the descriptor is a pidfd; a null siginfo is allowed. An error means that it is gone already.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                libc::SIGKILL,
                none,
                0,
            )
        };
    }
}

/// sethostname(2) in the caller's uts namespace.
pub fn set_hostname(name: &str) -> Result<(), Errno> {
    // SAFETY: pointer and length describe `name`.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// setsid(2): a session without a terminal.
pub fn new_session() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::setsid() }.into()).map(drop)
}
