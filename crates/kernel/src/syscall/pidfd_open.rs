//! pidfd_open(2), pidfd_getfd(2), pidfd_send_signal(2).

use abi::fcntl::{O_EXCL, O_NONBLOCK};
use abi::{Errno, UserAddr};

use super::arg::{Fd, Flags};
use super::kill::{check_permission, signal_number, user_info};
use super::rt_sigqueueinfo::read_info;
use crate::signal::{send_checked, send_to_pgrp};
use crate::task::{CurrentTask, PidFd};

/// pidfd_open(2). PIDFD_THREAD has the number of O_EXCL.
pub fn pidfd_open(task: &CurrentTask, pid: i32, flags: Flags) -> Result<Fd, Errno> {
    if flags.0 & !(O_NONBLOCK | O_EXCL) != 0 || pid <= 0 {
        return Err(Errno::EINVAL);
    }
    let wants_thread = flags.0 & O_EXCL != 0;
    let pid = task.kernel_pid(pid.unsigned_abs())?;
    let ops = {
        let table = task.kernel.pids.read();
        if wants_thread {
            let thread = table.task_or_zombie(pid).ok_or(Errno::ESRCH)?;
            PidFd {
                group: thread.group.clone(),
                thread: Some(thread),
            }
        } else if let Some(entry) = table.group(pid) {
            PidFd {
                group: entry.group.clone(),
                thread: None,
            }
        } else if table.task(pid).is_some() {
            // A thread that leads no process; newer Linux says ENOENT, older EINVAL.
            return Err(Errno::EINVAL);
        } else {
            return Err(Errno::ESRCH);
        }
    };
    task.install_pidfd(ops, flags.0 & O_NONBLOCK != 0).map(Fd)
}

/// pidfd_getfd(2).
pub fn pidfd_getfd(task: &CurrentTask, pidfd: Fd, target: i32, flags: Flags) -> Result<Fd, Errno> {
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let file = task.files().get(pidfd.0)?;
    let pidfd = file.ops_as::<PidFd>().ok_or(Errno::EBADF)?;
    let thread = match &pidfd.thread {
        Some(thread) => Some(thread.clone()),
        None => pidfd.group.signals.lock().threads.first().cloned(),
    };
    let thread = thread.ok_or(Errno::ESRCH)?;
    if !task.may_access(&thread) {
        return Err(Errno::EPERM);
    }
    let found = thread.files().get(target)?;
    task.files()
        .install(found, true, 0, task.group.fd_limit())
        .map(Fd)
}

const PIDFD_SIGNAL_THREAD: u32 = 1;
const PIDFD_SIGNAL_THREAD_GROUP: u32 = 2;
const PIDFD_SIGNAL_PROCESS_GROUP: u32 = 4;

/// pidfd_send_signal(2).
pub fn pidfd_send_signal(
    task: &CurrentTask,
    pidfd: Fd,
    signal: i32,
    info: UserAddr,
    flags: Flags,
) -> Result<(), Errno> {
    let scope = flags.0;
    if !matches!(
        scope,
        0 | PIDFD_SIGNAL_THREAD | PIDFD_SIGNAL_THREAD_GROUP | PIDFD_SIGNAL_PROCESS_GROUP
    ) {
        return Err(Errno::EINVAL);
    }
    let file = task.files().get(pidfd.0)?;
    // A directory of /proc serves as well.
    let by_directory = match file.ops_as::<PidFd>() {
        Some(_) => None,
        None => {
            let pid = file.path().inode()?.ops.process().ok_or(Errno::EBADF)?;
            let table = task.kernel.pids.read();
            let group = table.group(pid).ok_or(Errno::ESRCH)?.group.clone();
            Some(PidFd { group, thread: None })
        }
    };
    let pidfd = file
        .ops_as::<PidFd>()
        .or(by_directory.as_ref())
        .ok_or(Errno::EBADF)?;
    let number = signal_number(signal)?;
    let own = pidfd.group.pid == task.tgid();
    let info = if info.is_null() {
        user_info(task, number)
    } else if task.read_struct::<i32>(info)? != signal {
        return Err(Errno::EINVAL);
    } else {
        read_info(task, own, signal, info)?
    };
    let leader = {
        let table = task.kernel.pids.read();
        let entry = table.group(pidfd.group.pid).ok_or(Errno::ESRCH)?;
        entry.leader.clone()
    };
    check_permission(task, &leader, number)?;
    if number == 0 {
        return Ok(());
    }
    if scope == PIDFD_SIGNAL_PROCESS_GROUP {
        send_to_pgrp(&task.kernel, pidfd.group.pid, info);
        return Ok(());
    }
    let to_thread = scope == PIDFD_SIGNAL_THREAD || (scope == 0 && pidfd.thread.is_some());
    let thread = if to_thread {
        Some(pidfd.thread.clone().unwrap_or(leader))
    } else {
        None
    };
    send_checked(&pidfd.group, thread.as_ref(), info)
}
