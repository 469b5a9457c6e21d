//! tkill(2), tgkill(2).

use std::sync::Arc;

use abi::Errno;
use abi::signal::SI_TKILL;

use super::kill::{check_permission, signal_number, user_info};
use crate::signal::{SigInfo, send_checked};
use crate::task::{CurrentTask, Task};

/// The thread `tid` of process `tgid` (any process: `None`). `ESRCH` when there is none.
pub(super) fn thread(task: &CurrentTask, tgid: Option<u32>, tid: u32) -> Result<Arc<Task>, Errno> {
    let found = task.find_task(tid)?;
    match tgid {
        Some(tgid) if tgid != task.own_pid(found.tgid()) => Err(Errno::ESRCH),
        _ => Ok(found),
    }
}

fn send(task: &CurrentTask, tgid: Option<u32>, tid: i32, signal: i32) -> Result<(), Errno> {
    let target = thread(task, tgid, u32::try_from(tid).map_err(|_| Errno::EINVAL)?)?;
    let signal = signal_number(signal)?;
    check_permission(task, &target, signal)?;
    if signal == 0 {
        return Ok(());
    }
    let info = SigInfo {
        code: SI_TKILL,
        ..user_info(task, signal)
    };
    send_checked(&target.group, Some(&target), info)
}

/// tkill(2).
pub fn tkill(task: &CurrentTask, tid: i32, signal: i32) -> Result<(), Errno> {
    if tid <= 0 {
        return Err(Errno::EINVAL);
    }
    send(task, None, tid, signal)
}

/// tgkill(2).
pub fn tgkill(task: &CurrentTask, tgid: i32, tid: i32, signal: i32) -> Result<(), Errno> {
    match u32::try_from(tgid) {
        Ok(tgid @ 1..) if tid > 0 => send(task, Some(tgid), tid, signal),
        _ => Err(Errno::EINVAL),
    }
}
