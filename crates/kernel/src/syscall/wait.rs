//! wait4(2), waitid(2).

use abi::signal::SIGCHLD;
use abi::{Errno, UserAddr};

use super::getrusage::Rusage;
use crate::signal::{SigInfo, to_bytes};
use crate::task::{CurrentTask, PidFd, WaitFor, WaitOptions, Waited};

/// wait4(2).
pub fn wait4(
    task: &CurrentTask,
    pid: i32,
    status: UserAddr,
    options: u32,
    rusage: UserAddr,
) -> Result<u32, Errno> {
    let options = WaitOptions::from_bits(options).ok_or(Errno::EINVAL)?;
    if options.intersects(WaitOptions::EXITED | WaitOptions::NOWAIT) {
        return Err(Errno::EINVAL);
    }
    let which = match pid {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => WaitFor::Any,
        0 => WaitFor::Pgrp(task.pgrp_and_session().0),
        // What is no id here is none of the kernel either: 0.
        pid if pid < 0 => WaitFor::Pgrp(task.kernel_pid(pid.unsigned_abs()).unwrap_or(0)),
        pid => WaitFor::Pid(task.kernel_pid(pid.unsigned_abs()).unwrap_or(0)),
    };
    let Some(found) = task.wait_child(which, options | WaitOptions::EXITED)? else {
        return Ok(0);
    };
    if !status.is_null() {
        task.write_struct(status, &found.status)?;
    }
    if !rusage.is_null() {
        task.write_struct(rusage, &Rusage::of_cpu(found.cpu_ns))?;
    }
    Ok(task.own_pid(found.pid))
}

const P_ALL: u32 = 0;
const P_PID: u32 = 1;
const P_PGID: u32 = 2;
const P_PIDFD: u32 = 3;

/// waitid(2).
pub fn waitid(
    task: &CurrentTask,
    kind: u32,
    id: i32,
    info: UserAddr,
    options: u32,
    rusage: UserAddr,
) -> Result<(), Errno> {
    let mut options = WaitOptions::from_bits(options).ok_or(Errno::EINVAL)?;
    if !options.intersects(WaitOptions::EXITED | WaitOptions::STOPPED | WaitOptions::CONTINUED) {
        return Err(Errno::EINVAL);
    }
    let mut nonblocking_fd = false;
    let which = match (kind, u32::try_from(id)) {
        (P_ALL, _) => WaitFor::Any,
        (P_PID, Ok(pid @ 1..)) => WaitFor::Pid(task.kernel_pid(pid).unwrap_or(0)),
        (P_PGID, Ok(0)) => WaitFor::Pgrp(task.pgrp_and_session().0),
        (P_PGID, Ok(pgrp)) => WaitFor::Pgrp(task.kernel_pid(pgrp).unwrap_or(0)),
        (P_PIDFD, Ok(_)) => {
            let file = task.files().get(id)?;
            let pidfd = file.ops_as::<PidFd>().ok_or(Errno::EBADF)?;
            nonblocking_fd = file.nonblocking();
            WaitFor::Pid(pidfd.group.pid)
        }
        _ => return Err(Errno::EINVAL),
    };
    let wanted_nohang = options.contains(WaitOptions::NOHANG);
    if nonblocking_fd {
        options |= WaitOptions::NOHANG;
    }
    let found = task.wait_child(which, options)?;
    if found.is_none() && nonblocking_fd && !wanted_nohang {
        return Err(Errno::EAGAIN);
    }
    if let (Some(found), false) = (&found, rusage.is_null()) {
        task.write_struct(rusage, &Rusage::of_cpu(found.cpu_ns))?;
    }
    if info.is_null() {
        return Ok(());
    }
    store(task, info, found.as_ref())
}

/// Fills in what waitid(2) documents; nothing found: zeroes. Linux writes these fields only.
fn store(task: &CurrentTask, info: UserAddr, found: Option<&Waited>) -> Result<(), Errno> {
    let bytes = match found {
        Some(found) => to_bytes(&SigInfo {
            signal: SIGCHLD,
            code: found.code,
            pid: task.own_pid(found.pid),
            uid: task.shown_uid(found.uid),
            status: found.value,
            ..SigInfo::default()
        }),
        None => to_bytes(&SigInfo::default()),
    };
    task.copy_out(info, &bytes[..28])
}
