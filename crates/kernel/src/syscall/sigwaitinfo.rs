//! sigwaitinfo(2): rt_sigtimedwait(2).

use std::time::{Duration, Instant};

use abi::{Errno, UserAddr, abi_struct};

use super::sigaction::SIGSET_BYTES;
use crate::signal::{SigInfo, SigSet, UNBLOCKABLE, dequeue, to_bytes};
use crate::task::CurrentTask;

abi_struct! {
    struct TimeSpec { sec: i64, nsec: i64 }
}

/// rt_sigtimedwait(2).
pub fn rt_sigtimedwait(
    task: &CurrentTask,
    set: UserAddr,
    info: UserAddr,
    timeout: UserAddr,
    size: usize,
) -> Result<u32, Errno> {
    if size != SIGSET_BYTES {
        return Err(Errno::EINVAL);
    }
    let wanted = SigSet(task.read_struct(set)?).without(UNBLOCKABLE);
    let deadline = if timeout.is_null() {
        None
    } else {
        let time: TimeSpec = task.read_struct(timeout)?;
        let (sec, nsec) = (u64::try_from(time.sec), u32::try_from(time.nsec));
        let (Ok(sec), Ok(nsec @ 0..=999_999_999)) = (sec, nsec) else {
            return Err(Errno::EINVAL);
        };
        Instant::now().checked_add(Duration::new(sec, nsec))
    };
    let found = wait(task, wanted, deadline)?;
    if !info.is_null() {
        task.copy_out(info, &to_bytes(&found))?;
    }
    Ok(found.signal)
}

fn wait(task: &CurrentTask, wanted: SigSet, deadline: Option<Instant>) -> Result<SigInfo, Errno> {
    task.waiter.reset();
    // From here on a wanted signal wakes the task, blocked or not.
    task.signals.lock().waiting = wanted;
    let result = loop {
        if let Some(found) = dequeue(task, wanted) {
            break Ok(found);
        }
        match task.sleep(deadline) {
            Ok(()) => {}
            Err(Errno::ETIMEDOUT) => break dequeue(task, wanted).ok_or(Errno::EAGAIN),
            Err(_) => break dequeue(task, wanted).ok_or(Errno::EINTR),
        }
    };
    task.signals.lock().waiting = SigSet::default();
    crate::signal::retarget(&task.group.signals.lock());
    result
}
