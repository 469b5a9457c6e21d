//! adjtimex(2), clock_adjtime(2): how the clock is kept, to be read only.

use abi::{AbiField, Errno, UserAddr};

use super::arg::Flags;
use crate::task::CurrentTask;
use crate::time::{Clock, Grade, TimeVal};
use crate::vfs::now_ns;

/// Bytes of struct timex.
const TIMEX: usize = 208;
/// Nobody disciplines the clock that the guest sees.
const STA_UNSYNC: i32 = 0x40;
// Bits of `modes`: the call of adjtime(3), which needs the second, and with the third only reads.
const ADJ_ADJTIME: u32 = 0x8000;
const ADJ_OFFSET_SINGLESHOT: u32 = 1;
const ADJ_OFFSET_READONLY: u32 = 0x2000;
/// What the call returns then.
const TIME_ERROR: i32 = 5;

/// adjtimex(2).
pub fn adjtimex(task: &CurrentTask, timex: UserAddr) -> Result<i32, Errno> {
    let mut bytes = [0; TIMEX];
    task.copy_in(timex, &mut bytes)?;
    let modes = u32::get(&bytes);
    if modes & ADJ_ADJTIME != 0 && modes & ADJ_OFFSET_SINGLESHOT == 0 {
        return Err(Errno::EINVAL);
    }
    let reads = modes & ADJ_ADJTIME != 0 && modes & ADJ_OFFSET_READONLY != 0;
    if modes != 0 && !reads {
        return Err(Errno::EPERM);
    }
    let now = TimeVal::from_ns(now_ns());
    let mut bytes = [0; TIMEX];
    16_000_000_i64.put(&mut bytes[24..]); // maxerror
    16_000_000_i64.put(&mut bytes[32..]); // esterror
    STA_UNSYNC.put(&mut bytes[40..]);
    2_i64.put(&mut bytes[48..]); // constant
    1_i64.put(&mut bytes[56..]); // precision
    32_768_000_i64.put(&mut bytes[64..]); // tolerance
    now.put(&mut bytes[72..]);
    10_000_i64.put(&mut bytes[88..]); // tick
    task.copy_out(timex, &bytes)?;
    Ok(TIME_ERROR)
}

/// clock_adjtime(2).
pub fn clock_adjtime(task: &CurrentTask, id: i32, timex: UserAddr) -> Result<i32, Errno> {
    match Clock::from_id(task, id)? {
        (Clock::Real, Grade::Fine) => adjtimex(task, timex),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// settimeofday(2): no guest sets a clock.
pub fn settimeofday(task: &CurrentTask, time: UserAddr, _zone: Flags) -> Result<(), Errno> {
    if !time.is_null() {
        task.read_struct::<TimeVal>(time)?.to_ns()?;
    }
    Err(Errno::EPERM)
}
