//! memfd_create(2): sparse files in memory, read and written at offsets.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use abi::Errno;

use crate::call::check;
use crate::file;

/// A sparse file in memory. Clones of the descriptor share the bytes.
#[derive(Debug)]
pub struct MemFile(File);

impl MemFile {
    /// An empty file of `size` bytes, all of them holes; the name shows up in `/proc/PID/maps`.
    pub fn new(name: &CStr, size: u64) -> Result<MemFile, Errno> {
        let flags = libc::MFD_CLOEXEC;
        // SAFETY: the name is a C string.
        let fd = check(unsafe { libc::memfd_create(name.as_ptr(), flags) }.into())?;
        // SAFETY: a new descriptor that nobody else owns.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(fd as i32) });
        file.set_len(size)?;
        Ok(MemFile(file))
    }

    /// A descriptor of the same file, for mapping.
    pub fn descriptor(&self) -> Result<OwnedFd, Errno> {
        Ok(self.0.try_clone()?.into())
    }

    /// Fills `buf` from `offset`; past the end it reads as zeroes.
    pub fn read_at(&self, mut offset: u64, mut buf: &mut [u8]) -> Result<(), Errno> {
        while !buf.is_empty() {
            match file::read_at(self.0.as_fd(), buf, offset) {
                Ok(0) => {
                    buf.fill(0);
                    return Ok(());
                }
                Ok(done) => {
                    buf = &mut buf[done..];
                    offset += done as u64;
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Stores all of `data` at `offset`. `ENOSPC`, `ENOMEM`: the host has no memory left for it.
    pub fn write_at(&self, mut offset: u64, mut data: &[u8]) -> Result<(), Errno> {
        while !data.is_empty() {
            match file::write_at(self.0.as_fd(), data, offset) {
                Ok(0) => return Err(Errno::ENOSPC),
                Ok(done) => {
                    data = data.get(done..).unwrap_or_default();
                    offset += done as u64;
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Frees `[offset, offset + len)`: it reads as zeroes from now on.
    pub fn punch(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let (offset, len) = (signed(offset)?, signed(len)?);
        // SAFETY: no memory is passed.
        check(unsafe { libc::fallocate(self.0.as_raw_fd(), mode, offset, len) }.into()).map(drop)
    }

    /// The next data (or hole) at or after `offset`; `ENXIO` when there is none before the end of the file.
    pub fn seek(&self, offset: u64, data: bool) -> Result<u64, Errno> {
        let whence = if data { libc::SEEK_DATA } else { libc::SEEK_HOLE };
        // SAFETY: no memory is passed. The descriptor's position, which this moves, is used by nobody.
        check(unsafe { libc::lseek(self.0.as_raw_fd(), signed(offset)?, whence) }).map(|at| at as u64)
    }
}

fn signed(value: u64) -> Result<i64, Errno> {
    i64::try_from(value).map_err(|_| Errno::EINVAL)
}
