//! pkey_alloc(2), pkey_free(2), pkey_mprotect(2): as on a machine without protection keys.

use abi::{Errno, UserAddr};

use super::arg::Flags;
use crate::task::CurrentTask;

/// pkey_alloc(2): the processor has none.
pub fn pkey_alloc(_: &CurrentTask, flags: Flags, rights: Flags) -> Result<i32, Errno> {
    if flags.0 != 0 || rights.0 & !3 != 0 {
        return Err(Errno::EINVAL);
    }
    Err(Errno::EINVAL)
}

/// pkey_free(2): no key is allocated.
pub fn pkey_free(_: &CurrentTask, _: i32) -> Result<(), Errno> {
    Err(Errno::EINVAL)
}

/// pkey_mprotect(2): without a key (-1) it is mprotect(2).
pub fn pkey_mprotect(
    task: &CurrentTask,
    addr: UserAddr,
    len: u64,
    prot: Flags,
    key: i32,
) -> Result<(), Errno> {
    if key != -1 {
        return Err(Errno::EINVAL);
    }
    super::mprotect::mprotect(task, addr, len, prot)
}
