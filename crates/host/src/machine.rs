//! What the machine has: processors, memory, randomness.

use std::mem::MaybeUninit;

use abi::Errno;

use crate::call::check;

/// Bytes of memory (sysinfo(2)).
pub fn total_memory() -> Result<u64, Errno> {
    let mut info = MaybeUninit::<libc::sysinfo>::zeroed();
    // SAFETY: `info` has room for the structure.
    check(unsafe { libc::sysinfo(info.as_mut_ptr()) }.into())?;
    // SAFETY: zeroed at first, and any bytes are a valid structure of numbers.
    let info = unsafe { info.assume_init() };
    Ok(info.totalram.saturating_mul(u64::from(info.mem_unit)))
}

/// Processors that the caller may use; at least 1.
pub fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
}

/// Fills `buf` with random bytes that nobody can predict (getrandom(2)).
pub fn random(buf: &mut [u8]) -> Result<(), Errno> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        // SAFETY: pointer and length describe `rest`.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match check(got as libc::c_long) {
            Ok(got) => done += got as usize,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
