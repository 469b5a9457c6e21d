//! sched_setattr(2), sched_getattr(2).

use abi::{AbiField, Errno, PAGE_SIZE, UserAddr, abi_struct};

use super::sched::{scheduling, set_scheduling, thread};
use crate::task::sched::{Deadline, Sched, policy};
use crate::task::{CurrentTask, Task};

abi_struct! {
    /// `struct sched_attr`.
    struct SchedAttr {
        size: u32, policy: u32, flags: u64, nice: i32, priority: u32, runtime: u64, deadline: u64, period: u64,
        util_min: u32, util_max: u32,
    }
}

/// Bytes of its first version, without the utilisation.
const FIRST_SIZE: u32 = 48;

/// SCHED_FLAG_ numbers.
mod flag {
    pub const RESET_ON_FORK: u64 = 1;
    pub const RECLAIM: u64 = 2;
    pub const DL_OVERRUN: u64 = 4;
    pub const KEEP_POLICY: u64 = 8;
    pub const KEEP_PARAMS: u64 = 0x10;
    pub const UTIL_CLAMP: u64 = 0x60;
    pub const ALL: u64 = 0x7f;
}

/// Reads what the caller gave, however long it thinks that the structure is: beyond what is known there must be zeroes.
fn read(task: &CurrentTask, at: UserAddr) -> Result<SchedAttr, Errno> {
    let too_big = || {
        let _ = task.write_struct(at, &(SchedAttr::SIZE as u32));
        Errno::E2BIG
    };
    let size = match task.read_struct(at)? {
        0 => FIRST_SIZE,
        size => size,
    };
    if !(FIRST_SIZE..=PAGE_SIZE as u32).contains(&size) {
        return Err(too_big());
    }
    let mut bytes = vec![0; (size as usize).max(SchedAttr::SIZE)];
    task.copy_in(at, bytes.get_mut(..size as usize).unwrap_or_default())?;
    if bytes.iter().skip(SchedAttr::SIZE).any(|byte| *byte != 0) {
        return Err(too_big());
    }
    let attr = SchedAttr::get(&bytes);
    if attr.flags & flag::UTIL_CLAMP != 0 && (size as usize) < SchedAttr::SIZE {
        return Err(Errno::EINVAL);
    }
    Ok(SchedAttr {
        nice: attr.nice.clamp(-20, 19),
        ..attr
    })
}

/// Those parameters that belong to the task's present policy, as it has them.
fn keep_parameters(attr: &mut SchedAttr, target: &Task) {
    let now = shown(target);
    match now.policy {
        policy::DEADLINE => {
            (attr.runtime, attr.deadline, attr.period) = (now.runtime, now.deadline, now.period);
            attr.flags |= now.flags;
        }
        policy::FIFO | policy::RR => attr.priority = now.priority,
        _ => (attr.nice, attr.runtime) = (now.nice, now.runtime),
    }
}

/// sched_setattr(2).
pub fn sched_setattr(task: &CurrentTask, pid: i32, attr: UserAddr, flags: u32) -> Result<(), Errno> {
    if attr.is_null() || pid < 0 || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let mut attr = read(task, attr)?;
    if attr.policy as i32 <= -1 {
        return Err(Errno::EINVAL);
    }
    let target = thread(task, pid)?;
    let keeps = attr.flags & flag::KEEP_PARAMS != 0;
    if keeps {
        keep_parameters(&mut attr, &target);
    }
    let (now, _) = scheduling(&target);
    let keeps_policy = attr.flags & flag::KEEP_POLICY != 0;
    if attr.flags & !flag::ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let new = Sched {
        policy: if keeps_policy { now.policy } else { attr.policy },
        priority: attr.priority,
        reset_on_fork: if keeps_policy {
            now.reset_on_fork
        } else {
            attr.flags & flag::RESET_ON_FORK != 0
        },
        slice: attr.runtime,
        deadline: Deadline {
            runtime: attr.runtime,
            deadline: attr.deadline,
            period: attr.period,
            flags: attr.flags & (flag::RECLAIM | flag::DL_OVERRUN),
        },
    };
    // No utilisation is clamped here.
    set_scheduling(task, &target, new, attr.nice, attr.flags & flag::UTIL_CLAMP != 0)
}

/// What sched_getattr(2) tells of a task.
fn shown(target: &Task) -> SchedAttr {
    let (now, nice) = scheduling(target);
    let mut attr = SchedAttr {
        policy: now.policy,
        flags: u64::from(now.reset_on_fork),
        ..SchedAttr::default()
    };
    match now.policy {
        policy::DEADLINE => {
            let promise = now.deadline;
            (attr.runtime, attr.deadline, attr.period) = (promise.runtime, promise.deadline, promise.period);
            attr.flags |= promise.flags;
        }
        policy::FIFO | policy::RR => attr.priority = now.priority,
        _ => {
            attr.nice = nice;
            attr.runtime = match now.slice {
                0 => default_slice(target.kernel.config.cpus),
                slice => slice,
            };
        }
    }
    attr
}

/// Linux's time slice on a machine with so many processors, nanoseconds.
fn default_slice(cpus: u32) -> u64 {
    750_000 * (1 + u64::from(cpus.clamp(1, 8).ilog2()))
}

/// sched_getattr(2).
pub fn sched_getattr(
    task: &CurrentTask,
    pid: i32,
    attr: UserAddr,
    size: u32,
    flags: u32,
) -> Result<(), Errno> {
    let fits = (FIRST_SIZE..=PAGE_SIZE as u32).contains(&size);
    if attr.is_null() || pid < 0 || flags != 0 || !fits {
        return Err(Errno::EINVAL);
    }
    let target = thread(task, pid)?;
    let len = (size as usize).min(SchedAttr::SIZE);
    let shown = SchedAttr {
        size: len as u32,
        ..shown(&target)
    };
    let mut bytes = [0; SchedAttr::SIZE];
    shown.put(&mut bytes);
    task.copy_out(attr, bytes.get(..len).unwrap_or_default())
}
