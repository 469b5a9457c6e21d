//! remap_file_pages(2): emulated by a new mapping, as Linux does since 4.0.

use abi::{Errno, PAGE_SIZE, UserAddr};

use super::arg::Flags;
use crate::mm::Limits;
use crate::task::CurrentTask;

/// remap_file_pages(2).
pub fn remap_file_pages(
    task: &CurrentTask,
    addr: UserAddr,
    len: u64,
    prot: Flags,
    page: u64,
    _flags: Flags,
) -> Result<(), Errno> {
    let start = addr.page();
    let len = abi::page_down(len);
    if prot.0 != 0 || len == 0 || start.0.checked_add(len).is_none() {
        return Err(Errno::EINVAL);
    }
    let offset = page.checked_mul(PAGE_SIZE).ok_or(Errno::EINVAL)?;
    offset.checked_add(len).ok_or(Errno::EINVAL)?;
    let mm = task.mm_ref();
    let request = mm.shared_request(start, len, offset)?;
    mm.map(request, &Limits::of(task)).map(|_| ())
}
