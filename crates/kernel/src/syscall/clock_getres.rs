//! clock_gettime(2), clock_getres(2), clock_settime(2); gettimeofday(2) and time(2), which read the same clock.

use abi::{Errno, UserAddr, abi_struct};

use crate::task::CurrentTask;
use crate::time::{Clock, Grade, TICK, TimeSpec, TimeVal};
use crate::vfs::now_ns;

abi_struct! {
    /// `struct timezone`.
    struct TimeZone { minutes_west: i32, dst: i32 }
}

/// clock_gettime(2).
pub fn clock_gettime(task: &CurrentTask, id: i32, time: UserAddr) -> Result<(), Errno> {
    let (clock, _) = Clock::from_id(task, id)?;
    if clock.is_cpu() {
        task.update_cpu_time();
    }
    task.write_struct(time, &TimeSpec::from_ns(clock.now(&task.kernel.time)))
}

/// clock_getres(2).
pub fn clock_getres(task: &CurrentTask, id: i32, resolution: UserAddr) -> Result<(), Errno> {
    let (_, grade) = Clock::from_id(task, id)?;
    if resolution.is_null() {
        return Ok(());
    }
    let ns = if grade == Grade::Coarse { TICK } else { 1 };
    task.write_struct(resolution, &TimeSpec::from_ns(ns))
}

/// clock_settime(2): no guest sets a clock.
pub fn clock_settime(task: &CurrentTask, id: i32, time: UserAddr) -> Result<(), Errno> {
    let (clock, grade) = Clock::from_id(task, id)?;
    if !matches!(clock, Clock::Real) || grade != Grade::Fine {
        return Err(Errno::EINVAL);
    }
    task.read_struct::<TimeSpec>(time)?.to_ns()?;
    Err(Errno::EPERM)
}

/// gettimeofday(2).
pub fn gettimeofday(task: &CurrentTask, time: UserAddr, zone: UserAddr) -> Result<(), Errno> {
    if !time.is_null() {
        task.write_struct(time, &TimeVal::from_ns(now_ns()))?;
    }
    if !zone.is_null() {
        task.write_struct(zone, &TimeZone::default())?;
    }
    Ok(())
}

/// time(2).
pub fn time(task: &CurrentTask, result: UserAddr) -> Result<i64, Errno> {
    let seconds = TimeSpec::from_ns(now_ns()).sec;
    if !result.is_null() {
        task.write_struct(result, &seconds)?;
    }
    Ok(seconds)
}
