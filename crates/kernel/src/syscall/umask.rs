//! umask(2).

use abi::Errno;

use super::arg::Mode;
use crate::task::CurrentTask;

/// umask(2).
pub fn umask(task: &CurrentTask, mask: Mode) -> Result<u32, Errno> {
    Ok(task.fs().set_umask(mask.0))
}
