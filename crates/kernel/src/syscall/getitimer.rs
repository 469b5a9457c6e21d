//! getitimer(2), setitimer(2), alarm(2).

use abi::{Errno, UserAddr};

use crate::task::CurrentTask;
use crate::time::{ITimerVal, SECOND, TimeVal, TimerKind};

fn kind(which: i32) -> Result<TimerKind, Errno> {
    Ok(match which {
        0 => TimerKind::Real,
        1 => TimerKind::Virtual,
        2 => TimerKind::Prof,
        _ => return Err(Errno::EINVAL),
    })
}

fn to_user((interval, left): (i64, i64)) -> ITimerVal {
    // Less than a microsecond is left, but something is.
    let value = if left > 0 { left.max(1000) } else { 0 };
    ITimerVal {
        interval: TimeVal::from_ns(interval),
        value: TimeVal::from_ns(value),
    }
}

/// getitimer(2).
pub fn getitimer(task: &CurrentTask, which: i32, current: UserAddr) -> Result<(), Errno> {
    let timer = task.group.interval_timer(&task.kernel, kind(which)?);
    task.write_struct(current, &to_user(timer.get()))
}

/// setitimer(2).
pub fn setitimer(task: &CurrentTask, which: i32, new: UserAddr, old: UserAddr) -> Result<(), Errno> {
    // A null address stands for zeroes (Linux warns of it, but takes it).
    let setting = match new.is_null() {
        true => ITimerVal::default(),
        false => task.read_struct(new)?,
    };
    let (value, interval) = (setting.value.to_ns()?, setting.interval.to_ns()?);
    let timer = task.group.interval_timer(&task.kernel, kind(which)?);
    if timer_counts_cpu(which) {
        task.update_cpu_time();
    }
    let before = timer.set(value, interval, false);
    if !old.is_null() {
        task.write_struct(old, &to_user(before))?;
    }
    Ok(())
}

fn timer_counts_cpu(which: i32) -> bool {
    which != TimerKind::Real as i32
}

/// alarm(2): the seconds that were left, rounded, but not to 0.
pub fn alarm(task: &CurrentTask, seconds: u32) -> Result<u64, Errno> {
    let timer = task.group.interval_timer(&task.kernel, TimerKind::Real);
    let (_, left) = timer.set(i64::from(seconds) * SECOND, 0, false);
    let rounded = left.saturating_add(SECOND / 2) / SECOND;
    let rounded = if left > 0 { rounded.max(1) } else { 0 };
    Ok(u64::try_from(rounded).unwrap_or(0))
}
