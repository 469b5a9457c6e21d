//! flock(2).

use abi::Errno;

use super::arg::{Fd, Flags};
use crate::file::lock::{self, LockKind};
use crate::task::CurrentTask;

const LOCK_SH: u32 = 1;
const LOCK_EX: u32 = 2;
const LOCK_NB: u32 = 4;
const LOCK_UN: u32 = 8;
/// Once mandatory locks of other systems.
const LOCK_MAND: u32 = 32;

/// flock(2).
pub fn flock(task: &CurrentTask, fd: Fd, operation: Flags) -> Result<(), Errno> {
    if operation.0 & LOCK_MAND != 0 {
        // Accepted without effect since Linux 5.15.
        return Ok(());
    }
    let kind = match operation.0 & !LOCK_NB {
        LOCK_SH => Some(LockKind::Read),
        LOCK_EX => Some(LockKind::Write),
        LOCK_UN => None,
        _ => return Err(Errno::EINVAL),
    };
    let file = task.fd(fd.0)?;
    if file.flags() & abi::fcntl::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    lock::flock(task, &file, kind, operation.0 & LOCK_NB == 0)
}
