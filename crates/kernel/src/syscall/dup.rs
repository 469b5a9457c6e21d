//! dup(2), dup2(2), dup3(2).

use abi::Errno;
use abi::fcntl::O_CLOEXEC;

use super::arg::{Fd, Flags};
use crate::file::{self, FdEntry};
use crate::task::CurrentTask;

/// dup(2).
pub fn dup(task: &CurrentTask, old: Fd) -> Result<i32, Errno> {
    let file = task.fd(old.0)?;
    task.files().install(file, false, 0, task.group.fd_limit())
}

/// dup2(2).
pub fn dup2(task: &CurrentTask, old: Fd, new: Fd) -> Result<i32, Errno> {
    if old == new {
        task.fd(old.0)?;
        return Ok(new.0);
    }
    replace(task, old, new, false)
}

/// dup3(2).
pub fn dup3(task: &CurrentTask, old: Fd, new: Fd, flags: Flags) -> Result<i32, Errno> {
    if flags.0 & !O_CLOEXEC != 0 || old == new {
        return Err(Errno::EINVAL);
    }
    replace(task, old, new, flags.0 & O_CLOEXEC != 0)
}

fn replace(task: &CurrentTask, old: Fd, new: Fd, cloexec: bool) -> Result<i32, Errno> {
    let limit = task.group.fd_limit();
    if u64::try_from(new.0).map_or(true, |new| new >= limit) {
        return Err(Errno::EBADF);
    }
    let file = task.fd(old.0)?;
    let replaced = task.files().replace(new.0, FdEntry { file, cloexec }, limit)?;
    if let Some(entry) = replaced {
        // dup2(2) does not report what closing the old file said.
        let _ = file::close(&task.kernel, entry.file, task.tgid());
    }
    Ok(new.0)
}
