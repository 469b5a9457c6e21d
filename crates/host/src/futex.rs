//! futex(2) on words shared with other processes.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use abi::Errno;

/// Sleeps while `*word == expected`, at most for `timeout`.
///
/// Returns `EAGAIN` when the word differs, `ETIMEDOUT`, `EINTR`; spurious successes are possible.
pub fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> Result<(), Errno> {
    let limit = timeout.map(|t| libc::timespec {
        tv_sec: t.as_secs().min(i64::MAX as u64) as i64,
        tv_nsec: i64::from(t.subsec_nanos()),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word is a live reference and the timeout is null or a live timespec; the host only reads them.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, limit) };
    crate::check(result).map(|_| ())
}

/// Wakes up to `count` waiters of `word`.
pub fn wake(word: &AtomicU32, count: u32) {
    // SAFETY: FUTEX_WAKE uses the address only as a key. It cannot fail for a valid word.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
}
