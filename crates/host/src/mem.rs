//! Memory shared with other processes: memfd_create(2), mmap(2), and file offsets as a one-way signal.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use abi::Errno;

/// Makes an anonymous file of `len` bytes (sparse).
pub fn memfd(name: &CStr, len: u64) -> Result<OwnedFd, Errno> {
    // SAFETY: the name is a live C string.
    let raw = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    crate::check(i64::from(raw))?;
    // SAFETY: the descriptor was just made and is owned by nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    let len = i64::try_from(len).map_err(|_| Errno::EFBIG)?;
    // SAFETY: plain call on an owned descriptor.
    crate::check(i64::from(unsafe { libc::ftruncate(fd.as_raw_fd(), len) }))?;
    Ok(fd)
}

/// Forbids growing and shrinking the file, and writing as well if `write`.
pub fn seal(fd: impl AsFd, write: bool) -> Result<(), Errno> {
    let mut seals = libc::F_SEAL_GROW | libc::F_SEAL_SHRINK;
    if write {
        seals |= libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    }
    // SAFETY: plain call on a borrowed descriptor.
    crate::check(i64::from(unsafe {
        libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_ADD_SEALS, seals)
    }))?;
    Ok(())
}

/// Forbids writing by any mapping to come: existing ones go on.
pub fn seal_future_writes(fd: impl AsFd) -> Result<(), Errno> {
    let seals = libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SEAL;
    // SAFETY: plain call on a borrowed descriptor.
    crate::check(i64::from(unsafe {
        libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_ADD_SEALS, seals)
    }))?;
    Ok(())
}

/// The descriptor's file offset (lseek(2) with SEEK_CUR).
pub fn offset(fd: impl AsFd) -> Result<u64, Errno> {
    // SAFETY: plain call on a borrowed descriptor.
    let at = unsafe { libc::lseek(fd.as_fd().as_raw_fd(), 0, libc::SEEK_CUR) };
    crate::check(at).map(|v| v as u64)
}

/// Sets the descriptor's file offset (lseek(2) with SEEK_SET).
pub fn set_offset(fd: impl AsFd, at: u64) -> Result<(), Errno> {
    let at = i64::try_from(at).map_err(|_| Errno::EINVAL)?;
    // SAFETY: plain call on a borrowed descriptor.
    crate::check(unsafe { libc::lseek(fd.as_fd().as_raw_fd(), at, libc::SEEK_SET) }).map(|_| ())
}

/// A mapping of the sentry that others may write at any time: read and write it with atomics or volatile accesses only.
#[derive(Debug)]
pub struct Shared {
    start: *mut u8,
    len: usize,
}

// SAFETY: the mapping is plain memory that lives as long as the value; all access is atomic or volatile by contract.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Maps `len` bytes of `fd` from `offset` on, readable and writable, shared.
    pub fn map(fd: impl AsFd, offset: u64, len: usize) -> Result<Shared, Errno> {
        let offset = i64::try_from(offset).map_err(|_| Errno::EINVAL)?;
        // SAFETY: a new mapping at an address of the host's choice overlaps nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                fd.as_fd().as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(crate::last_errno());
        }
        Ok(Shared {
            start: start.cast(),
            len,
        })
    }

    /// Maps `len` bytes of `fd` readable and executable at (preferably) `hint`, private.
    pub fn map_code(fd: impl AsFd, hint: u64, len: usize) -> Result<Shared, Errno> {
        // SAFETY: without MAP_FIXED the hint never replaces an existing mapping.
        let start = unsafe {
            libc::mmap(
                hint as *mut libc::c_void,
                len,
                libc::PROT_READ | libc::PROT_EXEC,
                libc::MAP_PRIVATE,
                fd.as_fd().as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(crate::last_errno());
        }
        Ok(Shared {
            start: start.cast(),
            len,
        })
    }

    /// First byte.
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty (it never is).
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `len` bytes from `at` on with what `fd` holds at `offset`; returns how many there were.
    pub fn fill(&self, at: usize, len: usize, fd: BorrowedFd<'_>, offset: u64) -> Result<usize, Errno> {
        let offset = i64::try_from(offset).map_err(|_| Errno::EINVAL)?;
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the range was just checked to lie inside this mapping, which only the host's kernel writes here: no
        // reference into it exists by contract.
        let got = unsafe { libc::pread64(fd.as_raw_fd(), self.start.add(at).cast(), len, offset) };
        crate::check(got as libc::c_long).map(|got| got as usize)
    }

    /// Gives back the memory behind a page-aligned part of a shared file mapping; it reads as zeroes afterwards.
    pub fn punch(&self, at: usize, len: usize) -> Result<(), Errno> {
        if at.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(Errno::EINVAL);
        }
        // SAFETY: the range was just checked to lie inside this mapping.
        let result = unsafe { libc::madvise(self.start.add(at).cast(), len, libc::MADV_REMOVE) };
        crate::check(i64::from(result)).map(|_| ())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is owned by this value and no reference into it outlives it by contract.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}
