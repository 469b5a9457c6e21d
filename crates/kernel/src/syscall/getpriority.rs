//! getpriority(2), setpriority(2), ioprio_get(2), ioprio_set(2).

use std::sync::Arc;

use abi::Errno;

use crate::cred::{Caps, IdKind};
use crate::task::{CurrentTask, Task, rlimit};

const PRIO_PROCESS: i32 = 0;
const PRIO_PGRP: i32 = 1;
const PRIO_USER: i32 = 2;

/// The threads that `which` and `who` name. `EINVAL` for an unknown kind, `ESRCH` for nobody.
fn targets(task: &CurrentTask, which: i32, who: i32) -> Result<Vec<Arc<Task>>, Errno> {
    // Nobody has a negative id; a user may.
    let found = u32::try_from(who)
        .ok()
        .or((which == PRIO_USER).then_some(who as u32));
    let Some(who) = found else {
        let known = (PRIO_PROCESS..=PRIO_USER).contains(&which);
        return Err(if known { Errno::ESRCH } else { Errno::EINVAL });
    };
    let who = match which {
        PRIO_USER => {
            let cred = task.cred();
            let named = cred.user_ns.to_kernel(IdKind::User, who);
            if who == 0 {
                cred.uid
            } else {
                named.ok_or(Errno::ESRCH)?
            }
        }
        _ if who == 0 => 0,
        _ => task.kernel_pid(who)?,
    };
    let table = task.kernel.pids.read();
    let found: Vec<Arc<Task>> = match which {
        PRIO_PROCESS => table
            .task(if who == 0 { task.tid } else { who })
            .into_iter()
            .collect(),
        PRIO_PGRP => {
            let own = table.pgrp_and_session(task.tgid()).map_or(0, |(pgrp, _)| pgrp);
            let pgrp = if who == 0 { own } else { who };
            let member = |tgid| table.pgrp_and_session(tgid).is_some_and(|(of, _)| of == pgrp);
            table
                .tasks
                .values()
                .filter(|task| member(task.tgid()))
                .cloned()
                .collect()
        }
        PRIO_USER => table
            .tasks
            .values()
            .filter(|task| task.cred().uid == who)
            .cloned()
            .collect(),
        _ => return Err(Errno::EINVAL),
    };
    if found.is_empty() {
        Err(Errno::ESRCH)
    } else {
        Ok(found)
    }
}

/// getpriority(2): 40 for nice -20 down to 1 for nice 19.
pub fn getpriority(task: &CurrentTask, which: i32, who: i32) -> Result<i32, Errno> {
    let targets = targets(task, which, who)?;
    let best = targets.iter().map(|task| 20 - task.state.lock().nice).max();
    Ok(best.unwrap_or(20))
}

/// setpriority(2).
pub fn setpriority(task: &CurrentTask, which: i32, who: i32, nice: i32) -> Result<(), Errno> {
    let nice = nice.clamp(-20, 19);
    let cred = task.cred();
    let mut result = Err(Errno::ESRCH);
    for target in targets(task, which, who)? {
        let theirs = target.cred();
        let owner = cred.euid == theirs.uid
            || cred.euid == theirs.euid
            || cred.has_in(&theirs.user_ns, Caps::SYS_NICE);
        let lowest = 20 - i64::try_from(target.group.rlimit(rlimit::NICE).min(40)).unwrap_or(0);
        let now = target.state.lock().nice;
        let allowed = nice >= now || i64::from(nice) >= lowest || cred.has(Caps::SYS_NICE);
        match (owner, allowed) {
            (false, _) => result = Err(Errno::EPERM),
            (true, false) => result = Err(Errno::EACCES),
            (true, true) => {
                target.state.lock().nice = nice;
                if result == Err(Errno::ESRCH) {
                    result = Ok(());
                }
            }
        }
    }
    result
}

/// ioprio_get(2).
pub fn ioprio_get(task: &CurrentTask, which: i32, who: i32) -> Result<u32, Errno> {
    let targets = targets(task, which.wrapping_sub(1), who)?;
    Ok(targets
        .iter()
        .map(|task| task.state.lock().ioprio)
        .max()
        .unwrap_or(0))
}

/// ioprio_set(2): remembered, not acted on.
pub fn ioprio_set(task: &CurrentTask, which: i32, who: i32, ioprio: u32) -> Result<(), Errno> {
    let (class, level) = (ioprio >> 13, ioprio & 0x1fff);
    match class {
        1 if !task.cred().has(Caps::SYS_ADMIN) && !task.cred().has(Caps::SYS_NICE) => {
            return Err(Errno::EPERM);
        }
        1 | 2 if level & 7 == level => {}
        3 => {}
        0 if level == 0 => {}
        _ => return Err(Errno::EINVAL),
    }
    for target in targets(task, which.wrapping_sub(1), who)? {
        target.state.lock().ioprio = ioprio;
    }
    Ok(())
}
