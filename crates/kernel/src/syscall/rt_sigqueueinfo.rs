//! rt_sigqueueinfo(2), rt_tgsigqueueinfo(2).

use abi::signal::SI_TKILL;
use abi::{Errno, UserAddr};

use super::kill::{check_permission, signal_number};
use super::tkill::thread;
use crate::signal::{SIGINFO_BYTES, SigInfo, from_bytes, send_checked};
use crate::task::CurrentTask;

/// Reads the details; only the process itself may pretend to be the kernel or kill(2).
pub(super) fn read_info(
    task: &CurrentTask,
    own: bool,
    signal: i32,
    info: UserAddr,
) -> Result<SigInfo, Errno> {
    let mut bytes = [0; SIGINFO_BYTES];
    task.copy_in(info, &mut bytes)?;
    let mut info = from_bytes(&bytes);
    if (info.code >= 0 || info.code == SI_TKILL) && !own {
        return Err(Errno::EPERM);
    }
    info.signal = signal_number(signal)?;
    Ok(info)
}

/// rt_sigqueueinfo(2).
pub fn rt_sigqueueinfo(task: &CurrentTask, pid: i32, signal: i32, info: UserAddr) -> Result<(), Errno> {
    let pid = u32::try_from(pid).unwrap_or(0);
    let info = read_info(task, pid == task.own_tgid(), signal, info)?;
    let pid = task.kernel_pid(pid)?;
    let (group, leader) = {
        let table = task.kernel.pids.read();
        let tgid = table.task(pid).map_or(pid, |found| found.tgid());
        let entry = table.group(tgid).ok_or(Errno::ESRCH)?;
        (entry.group.clone(), entry.leader.clone())
    };
    check_permission(task, &leader, info.signal)?;
    if info.signal == 0 {
        return Ok(());
    }
    send_checked(&group, None, info)
}

/// rt_tgsigqueueinfo(2).
pub fn rt_tgsigqueueinfo(
    task: &CurrentTask,
    tgid: i32,
    tid: i32,
    signal: i32,
    info: UserAddr,
) -> Result<(), Errno> {
    let (Ok(tgid @ 1..), Ok(tid @ 1..)) = (u32::try_from(tgid), u32::try_from(tid)) else {
        return Err(Errno::EINVAL);
    };
    let info = read_info(task, tid == task.own_tid(), signal, info)?;
    let target = thread(task, Some(tgid), tid)?;
    check_permission(task, &target, info.signal)?;
    if info.signal == 0 {
        return Ok(());
    }
    send_checked(&target.group, Some(&target), info)
}
