//! pread64(2), pwrite64(2).

use abi::{Errno, UserAddr};

use super::arg::Fd;
use crate::file;
use crate::task::CurrentTask;

/// pread64(2).
pub fn pread64(task: &CurrentTask, fd: Fd, buf: UserAddr, count: usize, offset: i64) -> Result<usize, Errno> {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = task.fd(fd.0)?;
    file::read(task, &file, Some(offset), &mut task.buffer(buf, count))
}

/// pwrite64(2). As on Linux, O_APPEND wins over the offset.
pub fn pwrite64(
    task: &CurrentTask,
    fd: Fd,
    buf: UserAddr,
    count: usize,
    offset: i64,
) -> Result<usize, Errno> {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = task.fd(fd.0)?;
    file::write(task, &file, Some(offset), &mut task.buffer(buf, count))
}
