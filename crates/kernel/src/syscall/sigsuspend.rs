//! sigsuspend(2), pause(2).

use abi::{Errno, UserAddr};

use super::sigaction::SIGSET_BYTES;
use crate::signal::SigSet;
use crate::task::CurrentTask;

/// Sleeps until a signal wants the task.
fn sleep(task: &CurrentTask) -> Errno {
    while !task.needs_attention() {
        let _ = task.sleep(None);
    }
    Errno::ERESTARTNOHAND
}

/// rt_sigsuspend(2).
pub fn rt_sigsuspend(task: &CurrentTask, set: UserAddr, size: usize) -> Result<(), Errno> {
    if size != SIGSET_BYTES {
        return Err(Errno::EINVAL);
    }
    let mask = SigSet(task.read_struct(set)?);
    task.set_temporary_mask(mask);
    Err(sleep(task))
}

/// pause(2).
pub fn pause(task: &CurrentTask) -> Result<(), Errno> {
    Err(sleep(task))
}
