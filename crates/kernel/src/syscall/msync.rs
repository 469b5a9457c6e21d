//! msync(2).

use abi::{Errno, UserAddr};

use super::arg::Flags;
use crate::task::CurrentTask;

const MS_ASYNC: u32 = 1;
const MS_INVALIDATE: u32 = 2;
const MS_SYNC: u32 = 4;

/// msync(2). MS_ASYNC starts nothing, as in Linux since 2.6.19.
pub fn msync(task: &CurrentTask, addr: UserAddr, len: u64, flags: Flags) -> Result<(), Errno> {
    let flags = flags.0;
    if flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) != 0
        || !addr.is_page_aligned()
        || flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC
    {
        return Err(Errno::EINVAL);
    }
    let mm = task.mm_ref();
    mm.sync(addr, len, flags & MS_SYNC != 0, flags & MS_INVALIDATE != 0)
}
