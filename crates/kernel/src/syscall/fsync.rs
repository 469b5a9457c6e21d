//! fsync(2), fdatasync(2).

use abi::Errno;

use super::arg::Fd;
use crate::task::CurrentTask;

/// fsync(2).
pub fn fsync(task: &CurrentTask, fd: Fd) -> Result<(), Errno> {
    sync_file(task, fd, false)
}

/// fdatasync(2).
pub fn fdatasync(task: &CurrentTask, fd: Fd) -> Result<(), Errno> {
    sync_file(task, fd, true)
}

pub(super) fn sync_file(task: &CurrentTask, fd: Fd, data_only: bool) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    if file.flags() & abi::fcntl::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    file.ops().fsync(&file, data_only)
}
