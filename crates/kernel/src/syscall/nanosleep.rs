//! nanosleep(2), clock_nanosleep(2).

use std::time::{Duration, Instant};

use abi::{Errno, UserAddr};

use super::arg::Flags;
use crate::task::CurrentTask;
use crate::time::{Clock, Grade, TICK, TimeSpec};

const TIMER_ABSTIME: u32 = 1;

/// nanosleep(2).
pub fn nanosleep(task: &CurrentTask, time: UserAddr, remaining: UserAddr) -> Result<(), Errno> {
    let length = task.read_struct::<TimeSpec>(time)?.to_ns()?;
    sleep_for(task, length, remaining)
}

/// clock_nanosleep(2).
pub fn clock_nanosleep(
    task: &CurrentTask,
    id: i32,
    flags: Flags,
    time: UserAddr,
    remaining: UserAddr,
) -> Result<(), Errno> {
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    let (clock, grade) = Clock::from_id(task, id)?;
    match (&clock, grade) {
        _ if id == CLOCK_THREAD_CPUTIME_ID => return Err(Errno::EOPNOTSUPP),
        (_, Grade::Coarse | Grade::Raw) => return Err(Errno::EOPNOTSUPP),
        (Clock::Thread(thread, _), _) if thread.tid == task.tid => return Err(Errno::EINVAL),
        _ => {}
    }
    let value = task.read_struct::<TimeSpec>(time)?.to_ns()?;
    let absolute = flags.0 & TIMER_ABSTIME != 0;
    if !absolute && !clock.is_cpu() {
        return sleep_for(task, value, remaining);
    }
    let target = match absolute {
        true => value,
        false => clock.now(&task.kernel.time).saturating_add(value),
    };
    let result = sleep_until(task, &clock, target);
    if result == Err(Errno::ERESTARTSYS) {
        if !absolute && !remaining.is_null() {
            let left = target.saturating_sub(clock.now(&task.kernel.time)).max(0);
            task.write_struct(remaining, &TimeSpec::from_ns(left))?;
        }
        // An absolute sleep is simply made again; a relative one on a CPU clock ends.
        return Err(if absolute {
            Errno::ERESTARTNOHAND
        } else {
            Errno::EINTR
        });
    }
    result
}

/// A relative sleep on a clock that runs with real time.
fn sleep_for(task: &CurrentTask, length: i64, remaining: UserAddr) -> Result<(), Errno> {
    let deadline = task.deadline_after(Duration::from_nanos(u64::try_from(length).unwrap_or(0)));
    task.waiter.reset();
    loop {
        match task.sleep(Some(deadline)) {
            Ok(()) => {}
            Err(Errno::ETIMEDOUT) => return Ok(()),
            Err(_) => break,
        }
    }
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(());
    }
    if !remaining.is_null() {
        let left = i64::try_from(left.as_nanos()).unwrap_or(i64::MAX);
        task.write_struct(remaining, &TimeSpec::from_ns(left))?;
    }
    Err(task.interrupted_until(deadline))
}

/// Sleeps until the clock shows `target`.
fn sleep_until(task: &CurrentTask, clock: &Clock, target: i64) -> Result<(), Errno> {
    task.waiter.reset();
    loop {
        let now = clock.now(&task.kernel.time);
        if now >= target {
            return Ok(());
        }
        let mut deadline = clock.instant_of(&task.kernel.time, target);
        if clock.is_cpu() {
            // Others spend it, several at a time perhaps.
            deadline = deadline.min(Instant::now() + Duration::from_nanos(TICK.unsigned_abs()));
        }
        match task.sleep(Some(deadline)) {
            Ok(()) | Err(Errno::ETIMEDOUT) => {}
            Err(error) => return Err(error),
        }
    }
}
