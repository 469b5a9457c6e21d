//! Host processes and threads that hold guests: pidfds, signals, waiting, CPU placement.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use abi::Errno;

/// How a host process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// exit(2) with this code.
    Code(i32),
    /// Killed by this signal.
    Signal(u32),
}

/// pidfd_open(2).
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: plain call with scalar arguments.
    let raw = crate::check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the descriptor was just made and is owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// pidfd_send_signal(2).
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: i32) -> Result<(), Errno> {
    let fd = pidfd.as_fd().as_raw_fd();
    let info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed; everything else is scalar.
    crate::check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, 0) }).map(|_| ())
}

/// tgkill(2); signal 0 asks whether the thread exists.
pub fn tgkill(pid: i32, tid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: plain call with scalar arguments.
    crate::check(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) }).map(|_| ())
}

/// Reaps the ended child behind `pidfd`; `None` while it still runs.
pub fn reap(pidfd: impl AsFd) -> Result<Option<Exit>, Errno> {
    // SAFETY: all-zero is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let id = pidfd.as_fd().as_raw_fd() as libc::id_t;
    let options = libc::WEXITED | libc::WNOHANG | libc::__WALL;
    // SAFETY: `info` is a live, writable siginfo_t.
    crate::check(i64::from(unsafe {
        libc::waitid(libc::P_PIDFD, id, &mut info, options)
    }))?;
    // SAFETY: waitid fills the SIGCHLD fields, or leaves the zeroes.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(match info.si_code {
        libc::CLD_EXITED => Exit::Code(status),
        _ => Exit::Signal(status as u32),
    }))
}

/// Reaps one child by its process id, whatever its exit signal; waits for it.
pub fn wait_pid(pid: i32) -> Result<(), Errno> {
    loop {
        let options = libc::WEXITED | libc::__WALL;
        // SAFETY: a null siginfo_t is allowed.
        let result = unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, std::ptr::null_mut(), options) };
        match crate::check(i64::from(result)) {
            Err(Errno::EINTR) => {}
            other => return other.map(|_| ()),
        }
    }
}

/// Whether there is rseq(2): it refuses a flag that no version knows.
pub fn has_rseq() -> bool {
    const UNKNOWN: libc::c_int = 1 << 30;
    // SAFETY: a call with an unknown flag has no effect.
    let result = unsafe { libc::syscall(libc::SYS_rseq, std::ptr::null::<u8>(), 0, UNKNOWN, 0) };
    crate::check(result) == Err(Errno::EINVAL)
}

/// An entry of the auxiliary vector (getauxval(3)); 0 when there is none.
pub fn auxiliary(kind: u64) -> u64 {
    // SAFETY: reads the vector of this process.
    unsafe { libc::getauxval(kind) }
}

/// sched_yield(2).
pub fn yield_now() {
    // SAFETY: no arguments.
    unsafe { libc::sched_yield() };
}

/// A set of CPUs.
#[derive(Clone, Copy)]
pub struct CpuSet(libc::cpu_set_t);

impl CpuSet {
    /// Number of CPUs a set can name.
    pub const MAX: usize = 8 * size_of::<libc::cpu_set_t>();

    /// The set of one CPU; empty if there is no such number.
    pub fn one(cpu: usize) -> CpuSet {
        CpuSet::default().with(cpu)
    }

    /// The set with `cpu`, if there is such a number.
    pub fn with(&self, cpu: usize) -> CpuSet {
        let mut set = *self;
        if cpu < Self::MAX {
            // SAFETY: the index was checked.
            unsafe { libc::CPU_SET(cpu, &mut set.0) };
        }
        set
    }

    /// The set without `cpu`.
    pub fn without(&self, cpu: usize) -> CpuSet {
        let mut set = *self;
        if cpu < Self::MAX {
            // SAFETY: the index was checked.
            unsafe { libc::CPU_CLR(cpu, &mut set.0) };
        }
        set
    }

    /// Whether `cpu` is in it.
    pub fn contains(&self, cpu: usize) -> bool {
        // SAFETY: the index is checked first.
        cpu < Self::MAX && unsafe { libc::CPU_ISSET(cpu, &self.0) }
    }

    /// As a mask; `None` when there are CPUs beyond 63.
    pub fn mask(&self) -> Option<u64> {
        let mut cpus = (0..Self::MAX).filter(|cpu| self.contains(*cpu));
        cpus.try_fold(0, |mask, cpu| Some(mask | 1_u64.checked_shl(cpu as u32)?))
    }

    /// Those that are also in `mask`.
    pub fn within(&self, mask: u64) -> CpuSet {
        let out = |cpu: &usize| mask.checked_shr(*cpu as u32).unwrap_or(0) & 1 == 0;
        (0..Self::MAX)
            .filter(out)
            .fold(*self, |set, cpu| set.without(cpu))
    }

    /// How many are in it.
    pub fn count(&self) -> usize {
        (0..Self::MAX).filter(|cpu| self.contains(*cpu)).count()
    }
}

impl Default for CpuSet {
    fn default() -> Self {
        // SAFETY: all-zero is a valid, empty CPU set.
        CpuSet(unsafe { std::mem::zeroed() })
    }
}

impl std::fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries((0..Self::MAX).filter(|cpu| self.contains(*cpu)))
            .finish()
    }
}

/// Sets the CPUs a thread (0: the caller) may use.
pub fn set_affinity(tid: i32, set: &CpuSet) -> Result<(), Errno> {
    // SAFETY: the set is a live reference.
    crate::check(i64::from(unsafe {
        libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &set.0)
    }))
    .map(|_| ())
}

/// The CPUs a thread (0: the caller) may use.
pub fn affinity(tid: i32) -> Result<CpuSet, Errno> {
    let mut set = CpuSet::default();
    // SAFETY: the set is a live, writable reference.
    crate::check(i64::from(unsafe {
        libc::sched_getaffinity(tid, size_of::<libc::cpu_set_t>(), &mut set.0)
    }))?;
    Ok(set)
}

/// The CPU this thread runs on now.
pub fn current_cpu() -> usize {
    // SAFETY: no arguments.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

/// User and system time of a process (its CPU clock).
pub fn cpu_time(pid: i32) -> Result<Duration, Errno> {
    // clock ids of other processes: the complement of the pid, shifted, with CPUCLOCK_SCHED.
    let clock = (!pid << 3) | 2;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the timespec is a live, writable reference.
    crate::check(i64::from(unsafe { libc::clock_gettime(clock, &mut time) }))?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// All signals blocked in the calling thread until dropped.
#[derive(Debug)]
pub struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    /// Blocks them.
    pub fn new() -> BlockedSignals {
        // SAFETY: all-zero is a valid signal set; both sets are live and writable.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut old: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
            BlockedSignals(old)
        }
    }
}

impl Default for BlockedSignals {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the set is the one pthread_sigmask returned.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// Tells when processes end: epoll(7) over pidfds.
#[derive(Debug)]
pub struct ExitWatch(OwnedFd);

impl ExitWatch {
    /// Watches nothing yet.
    pub fn new() -> Result<ExitWatch, Errno> {
        // SAFETY: plain call with scalar arguments.
        let raw = crate::check(i64::from(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }))?;
        // SAFETY: the descriptor was just made and is owned by nobody else.
        Ok(ExitWatch(unsafe { OwnedFd::from_raw_fd(raw as i32) }))
    }

    /// Adds a process; `token` comes back when it ends.
    pub fn add(&self, pidfd: BorrowedFd<'_>, token: u64) -> Result<(), Errno> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token,
        };
        // SAFETY: the event is a live reference.
        crate::check(i64::from(unsafe {
            libc::epoll_ctl(
                self.0.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                pidfd.as_raw_fd(),
                &mut event,
            )
        }))
        .map(|_| ())
    }

    /// Forgets a process.
    pub fn remove(&self, pidfd: BorrowedFd<'_>) {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: the event is a live reference; an unknown descriptor is only an error.
        unsafe {
            libc::epoll_ctl(
                self.0.as_raw_fd(),
                libc::EPOLL_CTL_DEL,
                pidfd.as_raw_fd(),
                &mut event,
            )
        };
    }

    /// Waits until some have ended and appends their tokens.
    pub fn wait(&self, tokens: &mut Vec<u64>) -> Result<(), Errno> {
        const BATCH: usize = 32;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        // SAFETY: the array is live, writable and of the given length.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), BATCH as i32, -1) };
        let count = crate::check(i64::from(count))? as usize;
        tokens.extend(events.iter().take(count).map(|e| e.u64));
        Ok(())
    }
}

/// Resident memory of a process in bytes, where `/proc` shows it.
pub fn resident_bytes(pid: i32) -> Result<u64, Errno> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = text
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .ok_or(Errno::EIO)?;
    Ok(pages * abi::PAGE_SIZE)
}

/// A clock of the host in nanoseconds; 0 if it has no such clock.
pub fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the timespec is a live, writable reference.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return 0;
    }
    (time.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec as u64)
}

/// Asks the scheduler for short turns of the calling thread, and of threads and processes it makes from now on:
/// a thread with shorter turns is run sooner when it wakes (sched_setattr(2), Linux 6.12). Older hosts refuse or
/// ignore it.
pub fn short_turns(turn: Duration) -> Result<(), Errno> {
    #[repr(C)]
    #[derive(Default)]
    struct SchedAttr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let mut attr = SchedAttr::default();
    let size = size_of::<SchedAttr>() as u32;
    // SAFETY: the structure is live, writable and of the given size.
    crate::check(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &mut attr, size, 0) })?;
    attr.size = size;
    attr.runtime = turn.as_nanos() as u64;
    // SAFETY: the structure is live and says its size.
    crate::check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &attr, 0) }).map(|_| ())
}
