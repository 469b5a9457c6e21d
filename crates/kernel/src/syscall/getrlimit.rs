//! getrlimit(2), setrlimit(2), prlimit(2).

use std::sync::Arc;

use abi::{Errno, UserAddr};

use crate::cred::Caps;
use crate::task::{CurrentTask, Task, rlimit};

/// Largest RLIMIT_NOFILE (/proc/sys/fs/nr_open).
const NR_OPEN: u64 = 1 << 20;

/// Reads and, when `new` is given, changes a limit; returns the old one.
fn exchange(
    task: &CurrentTask,
    target: &Task,
    resource: u32,
    new: Option<(u64, u64)>,
) -> Result<(u64, u64), Errno> {
    let may_raise = task.cred().has(Caps::SYS_RESOURCE);
    let mut state = target.group.state.lock();
    let slot = state.rlimits.get_mut(resource as usize).ok_or(Errno::EINVAL)?;
    let old = *slot;
    if let Some((soft, hard)) = new {
        if soft > hard {
            return Err(Errno::EINVAL);
        }
        let too_high = resource as usize == rlimit::NOFILE && hard > NR_OPEN;
        if too_high || (hard > old.1 && !may_raise) {
            return Err(Errno::EPERM);
        }
        *slot = (soft, hard);
        if resource as usize == rlimit::CPU {
            drop(state);
            target.group.watch_cpu_limit(&task.kernel);
        }
    }
    Ok(old)
}

fn read(task: &CurrentTask, at: UserAddr) -> Result<(u64, u64), Errno> {
    let [soft, hard]: [u64; 2] = task.read_struct(at)?;
    Ok((soft, hard))
}

/// getrlimit(2).
pub fn getrlimit(task: &CurrentTask, resource: u32, limit: UserAddr) -> Result<(), Errno> {
    let (soft, hard) = exchange(task, task, resource, None)?;
    task.write_struct(limit, &[soft, hard])
}

/// setrlimit(2).
pub fn setrlimit(task: &CurrentTask, resource: u32, limit: UserAddr) -> Result<(), Errno> {
    let new = read(task, limit)?;
    exchange(task, task, resource, Some(new)).map(|_| ())
}

/// prlimit(2).
pub fn prlimit64(
    task: &CurrentTask,
    pid: i32,
    resource: u32,
    new: UserAddr,
    old: UserAddr,
) -> Result<(), Errno> {
    let new = if new.is_null() {
        None
    } else {
        Some(read(task, new)?)
    };
    let target = target(task, pid)?;
    let (soft, hard) = exchange(task, &target, resource, new)?;
    if old.is_null() {
        return Ok(());
    }
    task.write_struct(old, &[soft, hard])
}

/// The process whose limits are asked for: `EPERM` when its ids differ and the caller lacks CAP_SYS_RESOURCE.
fn target(task: &CurrentTask, pid: i32) -> Result<Arc<Task>, Errno> {
    let Ok(pid) = u32::try_from(pid) else {
        return Err(Errno::ESRCH);
    };
    if pid == 0 || pid == task.own_tid() {
        return Ok(task.task().clone());
    }
    let target = task.find_task(pid)?;
    let (mine, theirs) = (task.cred(), target.cred());
    let same = [theirs.uid, theirs.euid, theirs.suid]
        .iter()
        .all(|uid| *uid == mine.uid)
        && [theirs.gid, theirs.egid, theirs.sgid]
            .iter()
            .all(|gid| *gid == mine.gid);
    if same || mine.has_in(&theirs.user_ns, Caps::SYS_RESOURCE) {
        Ok(target)
    } else {
        Err(Errno::EPERM)
    }
}
