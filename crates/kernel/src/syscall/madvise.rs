//! madvise(2).

use abi::{Errno, UserAddr};

use crate::task::CurrentTask;

/// madvise(2).
pub fn madvise(task: &CurrentTask, addr: UserAddr, len: u64, advice: i32) -> Result<(), Errno> {
    task.mm_ref().advise(addr, len, advice)
}
