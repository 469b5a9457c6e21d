//! read(2).

use abi::{Errno, UserAddr};

use super::arg::Fd;
use crate::file;
use crate::task::CurrentTask;

/// read(2).
pub fn read(task: &CurrentTask, fd: Fd, buf: UserAddr, count: usize) -> Result<usize, Errno> {
    let file = task.fd(fd.0)?;
    file::read(task, &file, None, &mut task.buffer(buf, count))
}
