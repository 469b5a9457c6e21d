//! getpid(2), gettid(2).

use abi::Errno;

use crate::task::CurrentTask;

/// getpid(2).
pub fn getpid(task: &CurrentTask) -> Result<u32, Errno> {
    Ok(task.tgid())
}

/// gettid(2).
pub fn gettid(task: &CurrentTask) -> Result<u32, Errno> {
    Ok(task.tid)
}
