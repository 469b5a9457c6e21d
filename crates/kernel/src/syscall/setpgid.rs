//! setpgid(2), getpgid(2), getpgrp(2), setsid(2), getsid(2).

use abi::Errno;

use crate::task::CurrentTask;

/// Process group and session of the process to which `pid` belongs; 0: the caller.
fn of(task: &CurrentTask, pid: i32) -> Result<(u32, u32), Errno> {
    if pid == 0 {
        return Ok(task.pgrp_and_session());
    }
    let tid = task.kernel_pid(u32::try_from(pid).map_err(|_| Errno::ESRCH)?)?;
    let table = task.kernel.pids.read();
    let pid = table.task(tid).map_or(tid, |task| task.tgid());
    table.pgrp_and_session(pid).ok_or(Errno::ESRCH)
}

/// setpgid(2).
pub fn setpgid(task: &CurrentTask, pid: i32, pgid: i32) -> Result<(), Errno> {
    let own = task.tgid();
    let pgid_given = u32::try_from(pgid).map_err(|_| Errno::EINVAL)?;
    let pid = if pid == 0 {
        own
    } else {
        task.kernel_pid(u32::try_from(pid).map_err(|_| Errno::ESRCH)?)?
    };
    let pgid = if pgid_given == 0 {
        pid
    } else {
        task.kernel_pid(pgid_given).map_err(|_| Errno::EPERM)?
    };
    task.kernel.pids.write().setpgid(own, pid, pgid)
}

/// getpgid(2).
pub fn getpgid(task: &CurrentTask, pid: i32) -> Result<u32, Errno> {
    of(task, pid).map(|(pgrp, _)| task.own_pid(pgrp))
}

/// getpgrp(2).
pub fn getpgrp(task: &CurrentTask) -> Result<u32, Errno> {
    getpgid(task, 0)
}

/// getsid(2).
pub fn getsid(task: &CurrentTask, pid: i32) -> Result<u32, Errno> {
    of(task, pid).map(|(_, session)| task.own_pid(session))
}

/// setsid(2).
pub fn setsid(task: &CurrentTask) -> Result<u32, Errno> {
    let session = task.kernel.pids.write().setsid(task.tgid())?;
    Ok(task.own_pid(session))
}
