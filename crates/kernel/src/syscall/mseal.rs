//! mseal(2).

use abi::{Errno, UserAddr};

use super::arg::Flags;
use crate::task::CurrentTask;

/// mseal(2).
pub fn mseal(task: &CurrentTask, addr: UserAddr, len: u64, flags: Flags) -> Result<(), Errno> {
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    task.mm_ref().seal(addr, len)
}
