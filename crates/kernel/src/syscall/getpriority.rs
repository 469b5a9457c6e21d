//! getpriority(2), setpriority(2), ioprio_get(2), ioprio_set(2).

use std::sync::Arc;

use abi::Errno;

use crate::cred::{Caps, IdKind};
use crate::task::sched::policy;
use crate::task::{CurrentTask, Task, rlimit};

const PRIO_PROCESS: i32 = 0;
const PRIO_PGRP: i32 = 1;
const PRIO_USER: i32 = 2;
const IOPRIO_WHO_PROCESS: i32 = 1;
const IOPRIO_CLASS_SHIFT: u32 = 13;
/// IOPRIO_CLASS_ numbers.
const IOPRIO_NONE: u32 = 0;
const IOPRIO_REAL_TIME: u32 = 1;
const IOPRIO_BEST_EFFORT: u32 = 2;
const IOPRIO_IDLE: u32 = 3;

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

/// The kinds of ioprio_get(2) are numbered from one.
fn ioprio_targets(task: &CurrentTask, which: i32, who: i32) -> Result<Vec<Arc<Task>>, Errno> {
    targets(task, which.wrapping_sub(1), who)
}

/// The class of an I/O priority.
fn ioprio_class(ioprio: u32) -> u32 {
    ioprio >> IOPRIO_CLASS_SHIFT & 7
}

/// The priority of a thread that has none of its own: best effort, by its nice value.
fn effective_ioprio(task: &Task) -> u32 {
    let state = task.state.lock();
    if ioprio_class(state.ioprio) != IOPRIO_NONE {
        return state.ioprio;
    }
    let class = match state.sched.policy {
        policy::IDLE => IOPRIO_IDLE,
        policy::FIFO | policy::RR => IOPRIO_REAL_TIME,
        _ => IOPRIO_BEST_EFFORT,
    };
    (class << IOPRIO_CLASS_SHIFT) | ((state.nice + 20).unsigned_abs() / 5)
}

/// ioprio_get(2): what one thread asked for, or the best that several have.
pub fn ioprio_get(task: &CurrentTask, which: i32, who: i32) -> Result<u32, Errno> {
    let targets = ioprio_targets(task, which, who)?;
    if which == IOPRIO_WHO_PROCESS {
        let raw = targets.first().map(|task| task.state.lock().ioprio);
        return raw.ok_or(Errno::ESRCH);
    }
    let best = targets.iter().map(|task| effective_ioprio(task)).min();
    best.ok_or(Errno::ESRCH)
}

/// ioprio_set(2): remembered, not acted on.
pub fn ioprio_set(task: &CurrentTask, which: i32, who: i32, ioprio: u32) -> Result<(), Errno> {
    let cred = task.cred();
    match ioprio_class(ioprio) {
        IOPRIO_REAL_TIME if !cred.has(Caps::SYS_ADMIN) && !cred.has(Caps::SYS_NICE) => {
            return Err(Errno::EPERM);
        }
        IOPRIO_REAL_TIME | IOPRIO_BEST_EFFORT | IOPRIO_IDLE => {}
        IOPRIO_NONE if ioprio & 7 == 0 => {}
        _ => return Err(Errno::EINVAL),
    }
    for target in ioprio_targets(task, which, who)? {
        let theirs = target.cred();
        if theirs.uid != cred.euid && theirs.uid != cred.uid && !cred.has_in(&theirs.user_ns, Caps::SYS_NICE)
        {
            return Err(Errno::EPERM);
        }
        target.state.lock().ioprio = ioprio & 0xffff;
    }
    Ok(())
}
