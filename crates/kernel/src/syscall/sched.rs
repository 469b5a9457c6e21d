//! Scheduling calls (sched(7)): affinity acts where the engine's processors are the guest's; policies and priorities are
//! remembered, not acted on; the host schedules.

use std::sync::Arc;

use abi::{AbiField, Errno, UserAddr, abi_struct};

use crate::cred::Caps;
use crate::task::{CurrentTask, Task, rlimit};

const SCHED_OTHER: u32 = 0;
const SCHED_FIFO: u32 = 1;
const SCHED_RR: u32 = 2;
const SCHED_BATCH: u32 = 3;
const SCHED_IDLE: u32 = 5;
const SCHED_DEADLINE: u32 = 6;
const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;

/// The thread `pid` (0: the caller).
pub(super) fn thread(task: &CurrentTask, pid: i32) -> Result<Arc<Task>, Errno> {
    match u32::try_from(pid) {
        Ok(0) => Ok(task.task().clone()),
        Ok(pid) => task.find_task(pid),
        Err(_) => Err(Errno::EINVAL),
    }
}

/// Whether the caller may change another thread's scheduling.
fn may_change(task: &CurrentTask, target: &Task) -> Result<(), Errno> {
    let (mine, theirs) = (task.cred(), target.cred());
    if mine.euid == theirs.euid || mine.euid == theirs.uid || mine.has_in(&theirs.user_ns, Caps::SYS_NICE) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// sched_yield(2).
pub fn sched_yield(_: &CurrentTask) -> Result<(), Errno> {
    std::thread::yield_now();
    Ok(())
}

fn affinity(target: &Task) -> u64 {
    let all = target.kernel.processors();
    match target.state.lock().affinity & all {
        0 => all,
        mask => mask,
    }
}

/// Where the engine is to run the task's guest thread: all bits when it may choose.
pub(crate) fn processors_of(task: &Task) -> u64 {
    let mask = affinity(task);
    if mask == task.kernel.processors() || !task.kernel.processors_are_the_engines() {
        u64::MAX
    } else {
        mask
    }
}

/// sched_getaffinity(2): the mask's bytes.
pub fn sched_getaffinity(task: &CurrentTask, pid: i32, len: u32, mask: UserAddr) -> Result<u32, Errno> {
    if len < 8 || !len.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let target = thread(task, pid).map_err(|_| Errno::ESRCH)?;
    let cpus = affinity(&target);
    task.write_struct(mask, &cpus)?;
    Ok(8)
}

/// sched_setaffinity(2).
pub fn sched_setaffinity(task: &CurrentTask, pid: i32, len: u32, mask: UserAddr) -> Result<(), Errno> {
    let mut bytes = [0; 8];
    let take = (len as usize).min(8);
    task.copy_in(mask, bytes.get_mut(..take).unwrap_or_default())?;
    let target = thread(task, pid).map_err(|_| Errno::ESRCH)?;
    may_change(task, &target)?;
    let wanted = u64::get(&bytes) & task.kernel.processors();
    if wanted == 0 {
        return Err(Errno::EINVAL);
    }
    {
        let mut state = target.state.lock();
        state.affinity = wanted;
        state.answers_changed = true;
    }
    if target.tid == task.tid {
        task.update_local_answers();
    } else {
        target.notify_signal();
    }
    Ok(())
}

/// getcpu(2): where the thread ran when it called; the first processor of its affinity mask if that is not known.
pub fn getcpu(task: &CurrentTask, cpu: UserAddr, node: UserAddr) -> Result<(), Errno> {
    if !cpu.is_null() {
        let allowed = affinity(task);
        let real = task.context.borrow().processor();
        let real = real.filter(|cpu| {
            task.kernel.processors_are_the_engines() && allowed.checked_shr(*cpu).unwrap_or(0) & 1 != 0
        });
        task.write_struct(cpu, &real.unwrap_or(allowed.trailing_zeros()))?;
    }
    if !node.is_null() {
        task.write_struct(node, &0_u32)?;
    }
    Ok(())
}

/// sched_get_priority_max(2).
pub fn sched_get_priority_max(_: &CurrentTask, policy: u32) -> Result<u32, Errno> {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok(99),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// sched_get_priority_min(2).
pub fn sched_get_priority_min(_: &CurrentTask, policy: u32) -> Result<u32, Errno> {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok(1),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// Sets policy and priority after Linux's checks.
fn set(task: &CurrentTask, target: &Task, policy: u32, priority: u32) -> Result<(), Errno> {
    let plain = policy & !SCHED_RESET_ON_FORK;
    let real_time = matches!(plain, SCHED_FIFO | SCHED_RR);
    if !real_time && !matches!(plain, SCHED_OTHER | SCHED_BATCH | SCHED_IDLE) {
        return Err(Errno::EINVAL);
    }
    if priority > 99 || real_time != (priority != 0) {
        return Err(Errno::EINVAL);
    }
    may_change(task, target)?;
    let limit = target.group.rlimit(rlimit::RTPRIO);
    if real_time && u64::from(priority) > limit && !task.cred().has(Caps::SYS_NICE) {
        return Err(Errno::EPERM);
    }
    target.state.lock().sched = (policy, priority);
    Ok(())
}

/// sched_setscheduler(2).
pub fn sched_setscheduler(task: &CurrentTask, pid: i32, policy: i32, param: UserAddr) -> Result<(), Errno> {
    if policy < 0 || pid < 0 || param.is_null() {
        return Err(Errno::EINVAL);
    }
    let priority: u32 = task.read_struct(param)?;
    let target = thread(task, pid)?;
    set(task, &target, policy.unsigned_abs(), priority)
}

/// sched_getscheduler(2).
pub fn sched_getscheduler(task: &CurrentTask, pid: i32) -> Result<u32, Errno> {
    let target = thread(task, pid)?;
    let policy = target.state.lock().sched.0;
    Ok(policy)
}

/// sched_setparam(2).
pub fn sched_setparam(task: &CurrentTask, pid: i32, param: UserAddr) -> Result<(), Errno> {
    if pid < 0 || param.is_null() {
        return Err(Errno::EINVAL);
    }
    let priority: u32 = task.read_struct(param)?;
    let target = thread(task, pid)?;
    let policy = target.state.lock().sched.0;
    set(task, &target, policy, priority)
}

/// sched_getparam(2).
pub fn sched_getparam(task: &CurrentTask, pid: i32, param: UserAddr) -> Result<(), Errno> {
    if pid < 0 || param.is_null() {
        return Err(Errno::EINVAL);
    }
    let target = thread(task, pid)?;
    let priority = target.state.lock().sched.1;
    task.write_struct(param, &priority)
}

/// sched_rr_get_interval(2): Linux's default slice for SCHED_RR, its usual granularity else.
pub fn sched_rr_get_interval(task: &CurrentTask, pid: i32, interval: UserAddr) -> Result<(), Errno> {
    let target = thread(task, pid)?;
    let policy = target.state.lock().sched.0;
    let ns: i64 = match policy & !SCHED_RESET_ON_FORK {
        SCHED_RR => 100_000_000,
        SCHED_FIFO => 0,
        _ => 4_000_000,
    };
    task.write_struct(interval, &[0, ns])
}

abi_struct! {
    /// `struct sched_attr`, first version.
    struct SchedAttr {
        size: u32, policy: u32, flags: u64, nice: i32, priority: u32, runtime: u64, deadline: u64, period: u64,
    }
}

/// sched_setattr(2).
pub fn sched_setattr(task: &CurrentTask, pid: i32, attr: UserAddr, flags: u32) -> Result<(), Errno> {
    if attr.is_null() || pid < 0 || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let size: u32 = task.read_struct(attr)?;
    if size != 0 && (size as usize) < SchedAttr::SIZE {
        task.write_struct(attr, &(SchedAttr::SIZE as u32))?;
        return Err(Errno::E2BIG);
    }
    let wanted: SchedAttr = task.read_struct(attr)?;
    let target = thread(task, pid)?;
    let reset = if wanted.flags & 1 != 0 {
        SCHED_RESET_ON_FORK
    } else {
        0
    };
    set(task, &target, wanted.policy | reset, wanted.priority)?;
    if matches!(wanted.policy, SCHED_OTHER | SCHED_BATCH) {
        target.state.lock().nice = wanted.nice.clamp(-20, 19);
    }
    Ok(())
}

/// sched_getattr(2).
pub fn sched_getattr(
    task: &CurrentTask,
    pid: i32,
    attr: UserAddr,
    size: u32,
    flags: u32,
) -> Result<(), Errno> {
    let fits = (SchedAttr::SIZE..=4096).contains(&(size as usize));
    if attr.is_null() || pid < 0 || flags != 0 || !fits {
        return Err(Errno::EINVAL);
    }
    let target = thread(task, pid)?;
    let state = target.state.lock().clone();
    let (policy, priority) = state.sched;
    task.write_struct(
        attr,
        &SchedAttr {
            size: SchedAttr::SIZE as u32,
            policy: policy & !SCHED_RESET_ON_FORK,
            flags: u64::from(policy & SCHED_RESET_ON_FORK != 0),
            nice: state.nice,
            priority,
            ..SchedAttr::default()
        },
    )
}
