//! mincore(2).

use abi::{Errno, PAGE_SIZE, UserAddr, page_up};

use crate::mm::TASK_SIZE;
use crate::task::CurrentTask;

/// Pages asked about at a time: bounds the buffer.
const STEP: u64 = 4096 * PAGE_SIZE;

/// mincore(2).
pub fn mincore(task: &CurrentTask, addr: UserAddr, len: u64, vector: UserAddr) -> Result<(), Errno> {
    if !addr.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    let end = addr.0.checked_add(len).ok_or(Errno::ENOMEM)?;
    if end > TASK_SIZE {
        return Err(Errno::ENOMEM);
    }
    let mut left = page_up(len).ok_or(Errno::ENOMEM)?;
    let (mut at, mut out) = (addr, vector);
    let mm = task.mm_ref();
    while left > 0 {
        let step = left.min(STEP);
        let pages = mm.residency(at, step)?;
        task.copy_out(out, &pages)?;
        at = at.add(step)?;
        out = out.add(step / PAGE_SIZE)?;
        left -= step;
    }
    Ok(())
}
