//! `struct timespec`, `struct timeval` and what holds two of them.

use abi::{Errno, abi_struct};

/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;

abi_struct! {
    /// `struct timespec`.
    pub struct TimeSpec {
        /// Seconds.
        pub sec: i64,
        /// Nanoseconds.
        pub nsec: i64,
    }
}

abi_struct! {
    /// `struct timeval`.
    pub struct TimeVal {
        /// Seconds.
        pub sec: i64,
        /// Microseconds.
        pub usec: i64,
    }
}

abi_struct! {
    /// `struct itimerspec`.
    pub struct ITimerSpec {
        /// Time between expirations.
        pub interval: TimeSpec,
        /// Time to the next one.
        pub value: TimeSpec,
    }
}

abi_struct! {
    /// `struct itimerval`.
    pub struct ITimerVal {
        /// Time between expirations.
        pub interval: TimeVal,
        /// Time to the next one.
        pub value: TimeVal,
    }
}

impl TimeSpec {
    /// As nanoseconds, cut at the largest number. `EINVAL` when negative or not normalised.
    pub fn to_ns(self) -> Result<i64, Errno> {
        if self.sec < 0 || !(0..SECOND).contains(&self.nsec) {
            return Err(Errno::EINVAL);
        }
        Ok(self.sec.saturating_mul(SECOND).saturating_add(self.nsec))
    }

    /// From nanoseconds.
    pub fn from_ns(ns: i64) -> TimeSpec {
        TimeSpec {
            sec: ns.div_euclid(SECOND),
            nsec: ns.rem_euclid(SECOND),
        }
    }
}

impl TimeVal {
    /// As nanoseconds, cut at the largest number. `EINVAL` when negative or not normalised.
    pub fn to_ns(self) -> Result<i64, Errno> {
        if self.sec < 0 || !(0..1_000_000).contains(&self.usec) {
            return Err(Errno::EINVAL);
        }
        Ok(self.sec.saturating_mul(SECOND).saturating_add(self.usec * 1000))
    }

    /// From nanoseconds; the rest of a microsecond is dropped.
    pub fn from_ns(ns: i64) -> TimeVal {
        TimeVal {
            sec: ns.div_euclid(SECOND),
            usec: ns.rem_euclid(SECOND) / 1000,
        }
    }
}
