//! futex(2), and the newer calls that split it: futex_wait, futex_wake, futex_requeue, futex_waitv.

use std::time::{Duration, Instant};

use abi::{AbiField, Errno, UserAddr, abi_struct};

use super::arg::Flags;
use crate::futex::{self, ANY, Expect, Word};
use crate::task::CurrentTask;

const FUTEX_WAIT: u32 = 0;
const FUTEX_WAKE: u32 = 1;
const FUTEX_REQUEUE: u32 = 3;
const FUTEX_CMP_REQUEUE: u32 = 4;
const FUTEX_WAKE_OP: u32 = 5;
const FUTEX_LOCK_PI: u32 = 6;
const FUTEX_UNLOCK_PI: u32 = 7;
const FUTEX_TRYLOCK_PI: u32 = 8;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAKE_BITSET: u32 = 10;
const FUTEX_WAIT_REQUEUE_PI: u32 = 11;
const FUTEX_CMP_REQUEUE_PI: u32 = 12;
const FUTEX_LOCK_PI2: u32 = 13;
const FUTEX_PRIVATE_FLAG: u32 = 128;
const FUTEX_CLOCK_REALTIME: u32 = 256;

const FUTEX2_SIZE_U32: u32 = 2;
const FUTEX2_PRIVATE: u32 = 128;
/// Most words of futex_waitv(2) (FUTEX_WAITV_MAX).
const WAITV_MAX: u32 = 128;
const CLOCK_REALTIME: i32 = 0;
const CLOCK_MONOTONIC: i32 = 1;

abi_struct! {
    /// `struct timespec`.
    struct TimeSpec { sec: i64, nsec: i64 }
}

abi_struct! {
    /// `struct futex_waitv`.
    struct WaitV { value: u64, addr: u64, flags: u32, reserved: u32 }
}

/// Nanoseconds of a timespec in guest memory; `None` for a null pointer.
pub(super) fn read_time(task: &CurrentTask, addr: UserAddr) -> Result<Option<u64>, Errno> {
    const SECOND: u64 = 1_000_000_000;
    if addr.is_null() {
        return Ok(None);
    }
    let time: TimeSpec = task.read_struct(addr)?;
    match (u64::try_from(time.sec), u64::try_from(time.nsec)) {
        (Ok(sec), Ok(nsec)) if nsec < SECOND => Ok(Some(sec.saturating_mul(SECOND).saturating_add(nsec))),
        _ => Err(Errno::EINVAL),
    }
}

/// A count argument: negative ones are not counts.
fn count(raw: u32) -> Result<usize, Errno> {
    i32::try_from(raw)
        .ok()
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(Errno::EINVAL)
}

/// FUTEX_WAKE wakes at least one, whatever the count says.
fn wake_count(raw: u32) -> usize {
    usize::try_from(raw as i32).unwrap_or(1).max(1)
}

/// futex(2). `timeout` is a second count for the calls that move waiters.
pub fn futex(
    task: &CurrentTask,
    addr: UserAddr,
    op: Flags,
    value: u32,
    timeout: UserAddr,
    addr2: UserAddr,
    value3: u32,
) -> Result<usize, Errno> {
    let private = op.0 & FUTEX_PRIVATE_FLAG != 0;
    let realtime = op.0 & FUTEX_CLOCK_REALTIME != 0;
    let command = op.0 & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    if realtime
        && !matches!(
            command,
            FUTEX_WAIT | FUTEX_WAIT_BITSET | FUTEX_WAIT_REQUEUE_PI | FUTEX_LOCK_PI2
        )
    {
        return Err(Errno::ENOSYS);
    }
    let table = &task.kernel.futexes;
    let word = |at: UserAddr| Word::new(task.mm_ref(), at, private);
    let second = timeout.0 as u32;
    match command {
        FUTEX_WAIT | FUTEX_WAIT_BITSET => {
            let deadline = wait_deadline(task, command, timeout, realtime)?;
            let bitset = if command == FUTEX_WAIT { ANY } else { value3 };
            let expect = Expect {
                word: word(addr)?,
                value,
            };
            futex::wait(task, &expect, bitset, deadline).map(|()| 0)
        }
        FUTEX_WAKE => futex::wake(table, &word(addr)?, wake_count(value), ANY),
        FUTEX_WAKE_BITSET => futex::wake(table, &word(addr)?, wake_count(value), value3),
        FUTEX_REQUEUE | FUTEX_CMP_REQUEUE => {
            let expected = (command == FUTEX_CMP_REQUEUE).then_some(value3);
            let (wake, moved) = (count(value)?, count(second)?);
            futex::requeue(table, &word(addr)?, &word(addr2)?, wake, moved, expected)
        }
        FUTEX_WAKE_OP => {
            let (one, two) = (word(addr)?, word(addr2)?);
            futex::wake_op(table, &one, &two, wake_count(value), wake_count(second), value3)
        }
        FUTEX_LOCK_PI | FUTEX_LOCK_PI2 => {
            let clock = realtime || command == FUTEX_LOCK_PI;
            let deadline = read_time(task, timeout)?.map(|ns| task.kernel.time.deadline_at(clock, ns));
            futex::lock(task, &word(addr)?, true, deadline).map(|()| 0)
        }
        FUTEX_TRYLOCK_PI => futex::lock(task, &word(addr)?, false, None).map(|()| 0),
        FUTEX_UNLOCK_PI => futex::unlock(task, &word(addr)?).map(|()| 0),
        FUTEX_WAIT_REQUEUE_PI => {
            let deadline = read_time(task, timeout)?.map(|ns| task.kernel.time.deadline_at(realtime, ns));
            let expect = Expect {
                word: word(addr)?,
                value,
            };
            futex::wait_requeue(task, &expect, word(addr2)?.key, ANY, deadline).map(|()| 0)
        }
        FUTEX_CMP_REQUEUE_PI => {
            if value != 1 {
                return Err(Errno::EINVAL);
            }
            futex::requeue_lock(table, &word(addr)?, &word(addr2)?, count(second)?, value3)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// FUTEX_WAIT's timeout is relative (on the monotonic clock unless it says otherwise), FUTEX_WAIT_BITSET's absolute.
fn wait_deadline(
    task: &CurrentTask,
    command: u32,
    timeout: UserAddr,
    realtime: bool,
) -> Result<Option<Instant>, Errno> {
    let Some(ns) = read_time(task, timeout)? else {
        return Ok(None);
    };
    Ok(Some(if command == FUTEX_WAIT {
        task.deadline_after(Duration::from_nanos(ns))
    } else {
        task.kernel.time.deadline_at(realtime, ns)
    }))
}

/// The absolute deadline of the newer calls.
fn clock_deadline(task: &CurrentTask, timeout: UserAddr, clock: i32) -> Result<Option<Instant>, Errno> {
    if timeout.is_null() {
        return Ok(None);
    }
    if clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC {
        return Err(Errno::EINVAL);
    }
    let ns = read_time(task, timeout)?;
    Ok(ns.map(|ns| task.kernel.time.deadline_at(clock == CLOCK_REALTIME, ns)))
}

/// Checks FUTEX2_ flags: only 32-bit words. Whether the word is private.
fn is_private(flags: u32) -> Result<bool, Errno> {
    if flags & !FUTEX2_PRIVATE != FUTEX2_SIZE_U32 {
        return Err(Errno::EINVAL);
    }
    Ok(flags & FUTEX2_PRIVATE != 0)
}

/// futex_wait(2).
pub fn futex_wait(
    task: &CurrentTask,
    addr: UserAddr,
    value: u64,
    mask: u64,
    flags: Flags,
    timeout: UserAddr,
    clock: i32,
) -> Result<(), Errno> {
    let private = is_private(flags.0)?;
    let value = u32::try_from(value).map_err(|_| Errno::EINVAL)?;
    let bitset = u32::try_from(mask).map_err(|_| Errno::EINVAL)?;
    let deadline = clock_deadline(task, timeout, clock)?;
    let expect = Expect {
        word: Word::new(task.mm_ref(), addr, private)?,
        value,
    };
    futex::wait(task, &expect, bitset, deadline)
}

/// futex_wake(2).
pub fn futex_wake(
    task: &CurrentTask,
    addr: UserAddr,
    mask: u64,
    wake: i32,
    flags: Flags,
) -> Result<usize, Errno> {
    let private = is_private(flags.0)?;
    let bitset = u32::try_from(mask).map_err(|_| Errno::EINVAL)?;
    let word = Word::new(task.mm_ref(), addr, private)?;
    // Unlike futex(2), none means none.
    match usize::try_from(wake) {
        Ok(0) | Err(_) if bitset == 0 => Err(Errno::EINVAL),
        Ok(0) | Err(_) => Ok(0),
        Ok(wake) => futex::wake(&task.kernel.futexes, &word, wake, bitset),
    }
}

fn read_waiter(task: &CurrentTask, raw: &[u8]) -> Result<Expect, Errno> {
    let entry = WaitV::get(raw);
    if entry.reserved != 0 {
        return Err(Errno::EINVAL);
    }
    let private = is_private(entry.flags)?;
    Ok(Expect {
        word: Word::new(task.mm_ref(), UserAddr(entry.addr), private)?,
        value: u32::try_from(entry.value).map_err(|_| Errno::EINVAL)?,
    })
}

fn read_waiters(task: &CurrentTask, addr: UserAddr, count: u32) -> Result<Vec<Expect>, Errno> {
    let mut bytes = vec![0; count as usize * WaitV::SIZE];
    task.copy_in(addr, &mut bytes)?;
    bytes
        .chunks_exact(WaitV::SIZE)
        .map(|raw| read_waiter(task, raw))
        .collect()
}

/// futex_requeue(2).
pub fn futex_requeue(
    task: &CurrentTask,
    waiters: UserAddr,
    flags: Flags,
    wake: i32,
    moved: i32,
) -> Result<usize, Errno> {
    if flags.0 != 0 || waiters.is_null() {
        return Err(Errno::EINVAL);
    }
    let two = read_waiters(task, waiters, 2)?;
    let [from, to] = two.as_slice() else {
        return Err(Errno::EINVAL);
    };
    let wake = usize::try_from(wake).map_err(|_| Errno::EINVAL)?;
    let moved = usize::try_from(moved).map_err(|_| Errno::EINVAL)?;
    let table = &task.kernel.futexes;
    futex::requeue(table, &from.word, &to.word, wake, moved, Some(from.value))
}

/// futex_waitv(2): the index of a woken word.
pub fn futex_waitv(
    task: &CurrentTask,
    waiters: UserAddr,
    count: u32,
    flags: Flags,
    timeout: UserAddr,
    clock: i32,
) -> Result<usize, Errno> {
    if flags.0 != 0 || count == 0 || count > WAITV_MAX || waiters.is_null() {
        return Err(Errno::EINVAL);
    }
    let deadline = clock_deadline(task, timeout, clock)?;
    let words = read_waiters(task, waiters, count)?;
    futex::wait_many(task, &words, deadline)
}
