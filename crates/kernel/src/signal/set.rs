//! Signal sets and what comes with a signal.

use abi::UserAddr;

use super::Signal;

/// A set of signals; bit n is signal n+1 (the guest's sigset_t).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SigSet(pub u64);

impl SigSet {
    /// Only this signal; empty for a number outside 1 to 64.
    pub const fn of(signal: Signal) -> SigSet {
        if signal >= 1 && signal <= 64 {
            SigSet(1 << (signal - 1))
        } else {
            SigSet(0)
        }
    }

    /// Whether the signal is in it.
    pub const fn has(self, signal: Signal) -> bool {
        self.0 & SigSet::of(signal).0 != 0
    }

    /// With these added.
    pub const fn union(self, other: SigSet) -> SigSet {
        SigSet(self.0 | other.0)
    }

    /// Without these.
    pub const fn without(self, other: SigSet) -> SigSet {
        SigSet(self.0 & !other.0)
    }
}

/// A signal with its details (siginfo_t as plain data).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigInfo {
    /// Number.
    pub signal: Signal,
    /// si_errno.
    pub errno: i32,
    /// si_code: SI_USER (0), SI_KERNEL (0x80), SI_QUEUE (-1), SI_TIMER (-2), CLD_*, SEGV_* …
    pub code: i32,
    /// Sender (or the child, the timer id …).
    pub pid: u32,
    /// Sender's user id (or the timer's overrun).
    pub uid: u32,
    /// si_status of SIGCHLD.
    pub status: i32,
    /// si_utime of SIGCHLD, clock ticks.
    pub utime: i64,
    /// si_stime of SIGCHLD, clock ticks.
    pub stime: i64,
    /// si_value.
    pub value: u64,
    /// si_addr of faults.
    pub addr: UserAddr,
    /// si_band of SIGIO.
    pub band: i64,
    /// si_fd of SIGIO.
    pub fd: i32,
    /// si_syscall, si_arch of SIGSYS.
    pub syscall: (i32, u32),
    /// x86 trap number and error code of faults, for the frame.
    pub trap: (u64, u64),
}

impl SigInfo {
    /// A signal from the kernel (SI_KERNEL).
    pub fn kernel(signal: Signal) -> SigInfo {
        SigInfo {
            signal,
            code: 0x80,
            ..SigInfo::default()
        }
    }

    /// A signal from kill(2).
    pub fn user(signal: Signal, pid: u32, uid: u32) -> SigInfo {
        SigInfo {
            signal,
            pid,
            uid,
            ..SigInfo::default()
        }
    }
}
