//! close(2).

use abi::Errno;

use super::arg::Fd;
use crate::file;
use crate::task::CurrentTask;

/// close(2). The descriptor is gone even when an error is returned.
pub fn close(task: &CurrentTask, fd: Fd) -> Result<(), Errno> {
    let entry = task.files.lock().remove(fd.0)?;
    match file::close(&task.kernel, entry.file, task.tgid()) {
        // A restart would close what another thread opened meanwhile.
        Err(Errno::ERESTARTSYS) => Err(Errno::EINTR),
        other => other,
    }
}
