//! mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2).

use abi::{Errno, UserAddr};

use super::arg::Flags;
use crate::mm::Limits;
use crate::task::CurrentTask;

const MLOCK_ONFAULT: u32 = 1;
const MCL_CURRENT: u32 = 1;
const MCL_FUTURE: u32 = 2;
const MCL_ONFAULT: u32 = 4;

/// mlock(2).
pub fn mlock(task: &CurrentTask, addr: UserAddr, len: u64) -> Result<(), Errno> {
    task.mm_ref().lock(addr, len, true, &Limits::of(task))
}

/// mlock2(2).
pub fn mlock2(task: &CurrentTask, addr: UserAddr, len: u64, flags: Flags) -> Result<(), Errno> {
    if flags.0 & !MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    let populate = flags.0 & MLOCK_ONFAULT == 0;
    task.mm_ref().lock(addr, len, populate, &Limits::of(task))
}

/// munlock(2).
pub fn munlock(task: &CurrentTask, addr: UserAddr, len: u64) -> Result<(), Errno> {
    task.mm_ref().unlock(addr, len)
}

/// mlockall(2).
pub fn mlockall(task: &CurrentTask, flags: Flags) -> Result<(), Errno> {
    let flags = flags.0;
    if flags == 0 || flags == MCL_ONFAULT || flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 {
        return Err(Errno::EINVAL);
    }
    let (current, future) = (flags & MCL_CURRENT != 0, flags & MCL_FUTURE != 0);
    task.mm_ref().lock_all(current, future, &Limits::of(task))
}

/// munlockall(2).
pub fn munlockall(task: &CurrentTask) -> Result<(), Errno> {
    task.mm_ref().unlock_all();
    Ok(())
}
