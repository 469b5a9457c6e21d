//! sigprocmask(2), sigpending(2).

use abi::signal::*;
use abi::{Errno, UserAddr};

use super::sigaction::SIGSET_BYTES;
use crate::signal::{SigSet, pending};
use crate::task::CurrentTask;

/// rt_sigprocmask(2).
pub fn rt_sigprocmask(
    task: &CurrentTask,
    how: u32,
    set: UserAddr,
    old: UserAddr,
    size: usize,
) -> Result<(), Errno> {
    if size != SIGSET_BYTES {
        return Err(Errno::EINVAL);
    }
    let before = task.signal_mask();
    if !set.is_null() {
        let given = SigSet(task.read_struct(set)?);
        let mask = match how {
            SIG_BLOCK => before.union(given),
            SIG_UNBLOCK => before.without(given),
            SIG_SETMASK => given,
            _ => return Err(Errno::EINVAL),
        };
        task.set_signal_mask(mask);
    }
    if old.is_null() {
        return Ok(());
    }
    task.write_struct(old, &before.0)
}

/// rt_sigpending(2).
pub fn rt_sigpending(task: &CurrentTask, set: UserAddr, size: usize) -> Result<(), Errno> {
    if size > SIGSET_BYTES {
        return Err(Errno::EINVAL);
    }
    let waiting = pending(task).0 & task.signal_mask().0;
    let bytes = waiting.to_le_bytes();
    task.copy_out(set, bytes.get(..size).unwrap_or_default())
}
