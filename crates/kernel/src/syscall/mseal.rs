//! mseal(2).

use abi::{Errno, UserAddr};

use super::arg::Flags;
use crate::task::CurrentTask;

/// mseal(2).
pub fn mseal(task: &CurrentTask, addr: UserAddr, len: u64, flags: Flags) -> Result<(), Errno> {
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let sum = addr.0.checked_add(len).and_then(abi::page_up);
    let whole = abi::page_up(len).is_some_and(|pages| pages != 0 || len == 0);
    if !addr.0.is_multiple_of(abi::PAGE_SIZE) || !whole || sum.is_none() {
        return Err(Errno::EINVAL);
    }
    task.mm_ref().seal(addr, len)
}
