//! mremap(2).

use abi::{Errno, UserAddr};

use super::arg::Flags;
use crate::mm::Limits;
use crate::task::CurrentTask;

/// mremap(2).
pub fn mremap(
    task: &CurrentTask,
    old: UserAddr,
    old_len: u64,
    new_len: u64,
    flags: Flags,
    new: UserAddr,
) -> Result<UserAddr, Errno> {
    let limits = Limits::of(task);
    task.mm_ref().remap(old, old_len, new_len, flags.0, new, &limits)
}
