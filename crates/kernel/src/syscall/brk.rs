//! brk(2).

use abi::{Errno, UserAddr};

use crate::mm::Limits;
use crate::task::CurrentTask;

/// brk(2): the new end of the heap, or the old one when it could not be moved.
pub fn brk(task: &CurrentTask, addr: UserAddr) -> Result<UserAddr, Errno> {
    Ok(task.mm_ref().set_brk(addr, &Limits::of(task)))
}
