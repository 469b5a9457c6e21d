//! Readings of the host's clocks, and how exactly a thread's sleeps end.

use abi::Errno;

use crate::call::check;

fn read(clock: libc::clockid_t) -> Result<i64, Errno> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes a timespec.
    check(unsafe { libc::clock_gettime(clock, &mut time) }.into())?;
    Ok(time
        .tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec))
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic() -> Result<i64, Errno> {
    read(libc::CLOCK_MONOTONIC)
}

/// CLOCK_BOOTTIME in nanoseconds.
pub fn boottime() -> Result<i64, Errno> {
    read(libc::CLOCK_BOOTTIME)
}

/// Has timed waits of the caller, and of threads it starts from now on, end within a nanosecond of their time instead of
/// 50 microseconds: a guest's sleep is one of the sentry's, on top of which comes the way back to the guest.
pub fn exact_sleeps() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1, 0, 0, 0) }.into()).map(drop)
}
