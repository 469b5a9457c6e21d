//! Scheduling calls (sched(7)): affinity acts where the engine's processors are the guest's; policies and priorities are
//! remembered, not acted on; the host schedules.

use std::sync::Arc;

use abi::{AbiField, Errno, UserAddr};

use crate::cred::Caps;
use crate::task::sched::{Deadline, Sched, policy};
use crate::task::{CurrentTask, Task, rlimit};

/// Highest real-time priority.
const PRIORITY_MAX: u32 = 99;
/// Shortest runtime of SCHED_DEADLINE, nanoseconds.
const RUNTIME_MIN: u64 = 1024;
/// Shortest and longest period, nanoseconds (kernel.sched_deadline_period_min_us and max_us).
const PERIODS: (u64, u64) = (100_000, (1 << 22) * 1000);
/// Shortest and longest time slice that may be asked for, nanoseconds.
const SLICES: (u64, u64) = (100_000, 100_000_000);

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

/// Policy and parameters of a task, and its nice value.
pub(super) fn scheduling(target: &Task) -> (Sched, i32) {
    let state = target.state.lock();
    (state.sched, state.nice)
}

/// Whether what SCHED_DEADLINE is to promise makes sense.
fn check_deadline(promise: &Deadline) -> Result<(), Errno> {
    let period = match promise.period {
        0 => promise.deadline,
        period => period,
    };
    let sound = promise.deadline != 0
        && promise.runtime >= RUNTIME_MIN
        && (promise.deadline | promise.period) >> 63 == 0
        && promise.runtime <= promise.deadline
        && promise.deadline <= period
        && (PERIODS.0..=PERIODS.1).contains(&period);
    if sound { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Whether the change takes a privilege (user_check_sched_setscheduler).
fn needs_privilege(task: &CurrentTask, target: &Task, new: &Sched, nice: i32) -> bool {
    let (now, now_nice) = scheduling(target);
    let (mine, theirs) = (task.cred(), target.cred());
    let nice_allowed = |nice: i32| i64::from(20 - nice) <= target.group.rlimit(rlimit::NICE).min(40) as i64;
    let priority_allowed = target.group.rlimit(rlimit::RTPRIO);
    let fair = matches!(new.policy, policy::OTHER | policy::BATCH);
    (fair && nice < now_nice && !nice_allowed(nice))
        || (new.is_real_time() && new.policy != now.policy && priority_allowed == 0)
        || (new.is_real_time() && new.priority > now.priority && u64::from(new.priority) > priority_allowed)
        || new.policy == policy::DEADLINE
        || (now.policy == policy::IDLE && new.policy != policy::IDLE && !nice_allowed(now_nice))
        || (mine.euid != theirs.euid && mine.euid != theirs.uid)
        || (now.reset_on_fork && !new.reset_on_fork)
}

/// Sets how a task is scheduled after Linux's checks (__sched_setscheduler). `clamps`: also its utilisation, which is not
/// offered.
pub(super) fn set_scheduling(
    task: &CurrentTask,
    target: &Task,
    mut new: Sched,
    nice: i32,
    clamps: bool,
) -> Result<(), Errno> {
    let known = matches!(
        new.policy,
        policy::OTHER | policy::FIFO | policy::RR | policy::BATCH | policy::IDLE | policy::DEADLINE
    );
    if !known || new.priority > PRIORITY_MAX {
        return Err(Errno::EINVAL);
    }
    let promises = new.policy == policy::DEADLINE;
    if promises {
        check_deadline(&new.deadline)?;
    }
    if new.is_real_time() != (new.priority != 0) {
        return Err(Errno::EINVAL);
    }
    if needs_privilege(task, target, &new, nice)
        && !task.cred().has_in(&target.cred().user_ns, Caps::SYS_NICE)
    {
        return Err(Errno::EPERM);
    }
    if clamps {
        return Err(Errno::EOPNOTSUPP);
    }
    if promises && target.affinity() != task.kernel.allowed_processors() {
        return Err(Errno::EPERM);
    }
    let mut state = target.state.lock();
    if matches!(new.policy, policy::OTHER | policy::BATCH) {
        state.nice = nice;
        if new.slice != 0 {
            new.slice = new.slice.clamp(SLICES.0, SLICES.1);
        }
    } else {
        new.slice = state.sched.slice;
    }
    match (promises, new.deadline.period) {
        (false, _) => new.deadline = Deadline::default(),
        (true, 0) => new.deadline.period = new.deadline.deadline,
        (true, _) => {}
    }
    state.sched = new;
    Ok(())
}

/// sched_yield(2).
pub fn sched_yield(_: &CurrentTask) -> Result<(), Errno> {
    std::thread::yield_now();
    Ok(())
}

/// Where the engine is to run the task's guest thread: all bits when it may choose.
pub(crate) fn processors_of(task: &Task) -> u64 {
    let mask = task.affinity();
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
    let cpus = target.affinity();
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
    let wanted = u64::get(&bytes) & task.kernel.allowed_processors();
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
        let allowed = task.affinity();
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
        policy::FIFO | policy::RR => Ok(PRIORITY_MAX),
        policy::OTHER | policy::BATCH | policy::IDLE | policy::DEADLINE | policy::EXT => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// sched_get_priority_min(2).
pub fn sched_get_priority_min(_: &CurrentTask, policy: u32) -> Result<u32, Errno> {
    match policy {
        policy::FIFO | policy::RR => Ok(1),
        policy::OTHER | policy::BATCH | policy::IDLE | policy::DEADLINE | policy::EXT => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// sched_setscheduler(2).
pub fn sched_setscheduler(task: &CurrentTask, pid: i32, policy: i32, param: UserAddr) -> Result<(), Errno> {
    if policy < 0 {
        return Err(Errno::EINVAL);
    }
    set_plain(task, pid, Some(policy.unsigned_abs()), param)
}

/// sched_setparam(2).
pub fn sched_setparam(task: &CurrentTask, pid: i32, param: UserAddr) -> Result<(), Errno> {
    set_plain(task, pid, None, param)
}

/// Policy (`None`: as it is) and priority; nice value and slice stay.
fn set_plain(task: &CurrentTask, pid: i32, policy: Option<u32>, param: UserAddr) -> Result<(), Errno> {
    if pid < 0 || param.is_null() {
        return Err(Errno::EINVAL);
    }
    let priority: u32 = task.read_struct(param)?;
    let target = thread(task, pid)?;
    let (now, nice) = scheduling(&target);
    let wanted = policy.map(|policy| Sched::new(policy, priority));
    let reset = wanted.map_or(now.reset_on_fork, |sched| sched.reset_on_fork);
    let new = Sched {
        policy: wanted.map_or(now.policy, |sched| sched.policy),
        priority,
        reset_on_fork: reset,
        slice: now.slice,
        deadline: Deadline::default(),
    };
    set_scheduling(task, &target, new, nice, false)
}

/// sched_getscheduler(2).
pub fn sched_getscheduler(task: &CurrentTask, pid: i32) -> Result<u32, Errno> {
    let target = thread(task, pid)?;
    let (now, _) = scheduling(&target);
    let flag = if now.reset_on_fork {
        policy::RESET_ON_FORK
    } else {
        0
    };
    Ok(now.policy | flag)
}

/// sched_getparam(2).
pub fn sched_getparam(task: &CurrentTask, pid: i32, param: UserAddr) -> Result<(), Errno> {
    if pid < 0 || param.is_null() {
        return Err(Errno::EINVAL);
    }
    let target = thread(task, pid)?;
    task.write_struct(param, &scheduling(&target).0.priority)
}

/// sched_rr_get_interval(2): Linux's default slice for SCHED_RR; those of other policies are shorter than a tick.
pub fn sched_rr_get_interval(task: &CurrentTask, pid: i32, interval: UserAddr) -> Result<(), Errno> {
    let target = thread(task, pid)?;
    let ns: i64 = match scheduling(&target).0.policy {
        policy::RR => 100_000_000,
        _ => 0,
    };
    task.write_struct(interval, &[0, ns])
}
