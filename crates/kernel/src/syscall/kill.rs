//! kill(2).

use std::sync::Arc;

use abi::Errno;

use crate::signal::{SigInfo, Signal, may_signal, send_to_group};
use crate::task::{CurrentTask, Task, ThreadGroup};

/// A signal argument: 0 only checks. `EINVAL` outside 0 to 64.
pub(super) fn signal_number(signal: i32) -> Result<Signal, Errno> {
    match u32::try_from(signal) {
        Ok(signal @ 0..=64) => Ok(signal),
        _ => Err(Errno::EINVAL),
    }
}

/// Whether the running task may send `signal` to `target`: `EPERM`.
pub(super) fn check_permission(task: &CurrentTask, target: &Task, signal: Signal) -> Result<(), Errno> {
    if target.tgid() == task.tgid() {
        return Ok(());
    }
    let mate = {
        let table = task.kernel.pids.read();
        let session = |pid| table.pgrp_and_session(pid).map(|(_, session)| session);
        session(task.tgid()) == session(target.tgid())
    };
    if may_signal(&task.cred(), target, signal, mate) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// kill(2)'s siginfo.
pub(super) fn user_info(task: &CurrentTask, signal: Signal) -> SigInfo {
    SigInfo::user(signal, task.tgid(), task.cred().uid)
}

type Target = (Arc<ThreadGroup>, Arc<Task>);

fn targets(task: &CurrentTask, chosen: impl Fn(u32, &crate::task::GroupEntry) -> bool) -> Vec<Target> {
    let table = task.kernel.pids.read();
    let entries = table.groups.iter().filter(|(pid, entry)| chosen(**pid, entry));
    entries
        .map(|(_, entry)| (entry.group.clone(), entry.leader.clone()))
        .collect()
}

fn send(task: &CurrentTask, target: &Target, signal: Signal) -> Result<(), Errno> {
    check_permission(task, &target.1, signal)?;
    if signal != 0 {
        send_to_group(&target.0, user_info(task, signal));
    }
    Ok(())
}

/// kill(2).
pub fn kill(task: &CurrentTask, pid: i32, signal: i32) -> Result<(), Errno> {
    if pid == i32::MIN {
        return Err(Errno::ESRCH);
    }
    let own = task.tgid();
    let signal_checked = signal_number(signal);
    if pid > 0 {
        let tid = pid.unsigned_abs();
        let tid = task.kernel_pid(tid).ok();
        let found = tid.and_then(|tid| {
            let table = task.kernel.pids.read();
            // Linux takes the id of any thread for its process.
            let tgid = table.task(tid).map_or(tid, |found| found.tgid());
            table
                .group(tgid)
                .map(|entry| (entry.group.clone(), entry.leader.clone()))
        });
        return send(task, &found.ok_or(Errno::ESRCH)?, signal_checked?);
    }
    let ns = &task.group.pid_ns;
    let list = match pid {
        -1 => targets(task, |pid, entry| {
            pid > 1 && pid != own && entry.group.pid_ns.is_in(ns) && ns.init() != pid
        }),
        0 => {
            let pgrp = task.pgrp_and_session().0;
            targets(task, |_, entry| entry.pgrp == pgrp)
        }
        _ => match task.kernel_pid(pid.unsigned_abs()) {
            Ok(pgrp) => targets(task, |_, entry| entry.pgrp == pgrp),
            Err(_) => Vec::new(),
        },
    };
    let signal = signal_checked?;
    let mut result = Err(Errno::ESRCH);
    for target in &list {
        // One success is enough; kill(-1) does not report missing permission.
        match send(task, target, signal) {
            Ok(()) => result = Ok(()),
            Err(error) if result.is_err() && pid != -1 => result = Err(error),
            Err(_) => {}
        }
    }
    result
}
