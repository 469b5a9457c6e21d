//! timer_create(2), timer_settime(2), timer_gettime(2), timer_getoverrun(2), timer_delete(2).

use std::sync::Arc;

use abi::signal::SIGALRM;
use abi::{Errno, UserAddr, abi_struct};

use super::arg::Flags;
use crate::cred::Caps;
use crate::task::CurrentTask;
use crate::time::{Clock, Grade, ITimerSpec, Notify, TimeSpec};

abi_struct! {
    /// `struct sigevent`, without the part that the kernel does not read.
    struct SigEvent { value: u64, signal: u32, notify: u32, thread: u32 }
}

const SIGEV_SIGNAL: u32 = 0;
const SIGEV_NONE: u32 = 1;
const SIGEV_THREAD: u32 = 2;
const SIGEV_THREAD_ID: u32 = 4;
const TIMER_ABSTIME: u32 = 1;

/// timer_create(2).
pub fn timer_create(task: &CurrentTask, id: i32, event: UserAddr, timer: UserAddr) -> Result<(), Errno> {
    let (clock, grade) = Clock::from_id(task, id)?;
    match grade {
        Grade::Coarse | Grade::Raw => return Err(Errno::EOPNOTSUPP),
        Grade::Alarm if !task.cred().has(Caps::WAKE_ALARM) => return Err(Errno::EPERM),
        _ => {}
    }
    let notify = match event.is_null() {
        true => None,
        false => Some(read_event(task, event)?),
    };
    let number = task.group.create_timer(&task.kernel, clock, |number| {
        notify.unwrap_or(Notify::Process(SIGALRM, u64::try_from(number).unwrap_or(0)))
    })?;
    task.write_struct(timer, &number).inspect_err(|_| {
        // It was made a moment ago, so it is there.
        let _ = task.group.delete_timer(number);
    })
}

fn read_event(task: &CurrentTask, event: UserAddr) -> Result<Notify, Errno> {
    let event: SigEvent = task.read_struct(event)?;
    let signal = match event.signal {
        signal @ 1..=64 => Ok(signal),
        _ => Err(Errno::EINVAL),
    };
    match event.notify {
        SIGEV_NONE => Ok(Notify::None),
        SIGEV_SIGNAL | SIGEV_THREAD => Ok(Notify::Process(signal?, event.value)),
        SIGEV_THREAD_ID => {
            let thread = task.find_task(event.thread).ok();
            let thread = thread
                .filter(|thread| Arc::ptr_eq(&thread.group, &task.group))
                .ok_or(Errno::EINVAL)?;
            Ok(Notify::Thread(Arc::downgrade(&thread), signal?, event.value))
        }
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn to_user((interval, left): (i64, i64)) -> ITimerSpec {
    ITimerSpec {
        interval: TimeSpec::from_ns(interval),
        value: TimeSpec::from_ns(left),
    }
}

/// timer_settime(2).
pub fn timer_settime(
    task: &CurrentTask,
    id: i32,
    flags: Flags,
    new: UserAddr,
    old: UserAddr,
) -> Result<(), Errno> {
    if new.is_null() {
        return Err(Errno::EINVAL);
    }
    let setting: ITimerSpec = task.read_struct(new)?;
    let (value, interval) = (setting.value.to_ns()?, setting.interval.to_ns()?);
    let timer = task.group.timer(id)?;
    task.update_cpu_time();
    let before = timer.set(value, interval, flags.0 & TIMER_ABSTIME != 0);
    if !old.is_null() {
        task.write_struct(old, &to_user(before))?;
    }
    Ok(())
}

/// timer_gettime(2).
pub fn timer_gettime(task: &CurrentTask, id: i32, current: UserAddr) -> Result<(), Errno> {
    let timer = task.group.timer(id)?;
    task.write_struct(current, &to_user(timer.get()))
}

/// timer_getoverrun(2).
pub fn timer_getoverrun(task: &CurrentTask, id: i32) -> Result<i32, Errno> {
    Ok(task.group.timer(id)?.overrun())
}

/// timer_delete(2).
pub fn timer_delete(task: &CurrentTask, id: i32) -> Result<(), Errno> {
    task.group.delete_timer(id)
}
