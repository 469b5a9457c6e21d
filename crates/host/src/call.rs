//! Results of raw host calls.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use abi::Errno;

/// The calling thread's `errno`.
pub(crate) fn last_errno() -> Errno {
    std::io::Error::last_os_error().into()
}

/// Turns the C convention (-1 and errno) into a `Result`.
pub(crate) fn check(ret: libc::c_long) -> Result<libc::c_long, Errno> {
    if ret < 0 { Err(last_errno()) } else { Ok(ret) }
}

/// A path as C wants it; `EINVAL` if it holds a NUL.
pub(crate) fn c_path(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}
