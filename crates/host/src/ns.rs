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

/// Enters the network namespace of this file (setns(2)).
pub fn enter_network(file: BorrowedFd<'_>) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    // SAFETY: no memory is passed.
    check(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }.into()).map(drop)
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

/// Moves the calling thread into a new network namespace (unshare(2)).
pub fn new_network() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }.into()).map(drop)
}

/// setsid(2): a session without a terminal.
pub fn new_session() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::setsid() }.into()).map(drop)
}
