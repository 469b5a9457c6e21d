//! Waiting and waking: FUTEX_WAIT, FUTEX_WAKE, FUTEX_REQUEUE, FUTEX_WAKE_OP, futex_waitv(2).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use abi::Errno;
use platform::Prot;

use super::table::{Bucket, Entry, FutexTable, Kind, Waiting, wake_all};
use super::{ANY, Key, Word};
use crate::task::CurrentTask;

/// Attempts at an atomic update while other threads change the word.
const SWAP_RETRIES: usize = 128;

/// A word and the value that it must have for the wait to begin.
pub struct Expect {
    /// The word.
    pub word: Word,
    /// Its value.
    pub value: u32,
}

/// How a wait that was not woken ends.
fn unwoken(task: &CurrentTask, reason: Errno, deadline: Option<Instant>) -> Errno {
    match (reason, deadline) {
        (Errno::ERESTARTSYS, Some(at)) => task.interrupted_until(at),
        (reason, _) => reason,
    }
}

/// FUTEX_WAIT, FUTEX_WAIT_BITSET: `EAGAIN` when the word has another value.
pub fn wait(
    task: &CurrentTask,
    expect: &Expect,
    bitset: u32,
    deadline: Option<Instant>,
) -> Result<(), Errno> {
    if bitset == 0 {
        return Err(Errno::EINVAL);
    }
    let table = &task.kernel.futexes;
    let waiting = Waiting::new(task.waiter.clone(), task.own_tid(), bitset);
    task.waiter.reset();
    enqueue(table, expect, Kind::Plain, &waiting)?;
    sleep(task, &waiting, deadline)
}

/// Queues a wait if the word still has the expected value, checked under the bucket's lock so that no wake-up after
/// the check is lost.
pub(super) fn enqueue(
    table: &FutexTable,
    expect: &Expect,
    kind: Kind,
    waiting: &Arc<Waiting>,
) -> Result<(), Errno> {
    let mut bucket = table.bucket(&expect.word.key);
    if expect.word.load()? != expect.value {
        return Err(Errno::EAGAIN);
    }
    let entry = Entry {
        key: expect.word.key,
        kind,
        owner: 0,
        waiting: waiting.clone(),
    };
    bucket.push(table, entry);
    Ok(())
}

/// Sleeps until woken; takes the wait off its queue when something else ends the sleep.
pub(super) fn sleep(
    task: &CurrentTask,
    waiting: &Arc<Waiting>,
    deadline: Option<Instant>,
) -> Result<(), Errno> {
    loop {
        if waiting.is_woken() {
            return Ok(());
        }
        if let Err(reason) = task.sleep(deadline) {
            return if task.kernel.futexes.cancel(waiting) {
                Err(unwoken(task, reason, deadline))
            } else {
                Ok(())
            };
        }
    }
}

/// futex_waitv(2): waits on several words; returns the index of one that was woken.
pub fn wait_many(task: &CurrentTask, words: &[Expect], deadline: Option<Instant>) -> Result<usize, Errno> {
    let table = &task.kernel.futexes;
    task.waiter.reset();
    let mut queued: Vec<Arc<Waiting>> = Vec::with_capacity(words.len());
    let mut outcome = Ok(());
    for expect in words {
        let waiting = Waiting::new(task.waiter.clone(), task.own_tid(), ANY);
        outcome = enqueue(table, expect, Kind::Plain, &waiting);
        if outcome.is_err() {
            break;
        }
        queued.push(waiting);
    }
    while outcome.is_ok() && !queued.iter().any(|waiting| waiting.is_woken()) {
        outcome = task.sleep(deadline);
    }
    let mut woken = None;
    for (index, waiting) in queued.iter().enumerate() {
        if !table.cancel(waiting) {
            woken = Some(index);
        }
    }
    match (woken, outcome) {
        (Some(index), _) => Ok(index),
        (None, Err(reason)) => Err(unwoken(task, reason, deadline)),
        // Not reached: the loop ends with a wake or an error.
        (None, Ok(())) => Err(Errno::EAGAIN),
    }
}

/// FUTEX_WAKE, FUTEX_WAKE_BITSET: how many were woken.
pub fn wake(table: &FutexTable, word: &Word, count: usize, bitset: u32) -> Result<usize, Errno> {
    if bitset == 0 {
        return Err(Errno::EINVAL);
    }
    let mut woken = table.wake(&word.key, count, bitset);
    // Threads that wait inside the guest, on the host's futex.
    if woken < count
        && matches!(word.key, Key::Private { .. })
        && table.engine_private.load(Ordering::Relaxed)
    {
        let more = u32::try_from(count - woken).unwrap_or(u32::MAX);
        woken += word.mm.space.futex_wake(word.addr, more, bitset)? as usize;
    }
    Ok(woken)
}

/// FUTEX_REQUEUE, FUTEX_CMP_REQUEUE: wakes some, moves others to a second word; returns both counts' sum.
pub fn requeue(
    table: &FutexTable,
    from: &Word,
    to: &Word,
    wake: usize,
    movable: usize,
    expected: Option<u32>,
) -> Result<usize, Errno> {
    let (mut first, mut second) = table.two(&from.key, &to.key);
    if let Some(expected) = expected
        && from.load()? != expected
    {
        return Err(Errno::EAGAIN);
    }
    let plain = |entry: &Entry| entry.key == from.key && entry.kind == Kind::Plain;
    let woken = first.take(table, wake, plain);
    let moved = if from.key == to.key {
        // Nothing changes, but those that stay count as requeued.
        let staying = first.entries.iter().filter(|entry| plain(entry));
        staying.take(movable).count()
    } else {
        let moved = first.take(table, movable, plain);
        let count = moved.len();
        let target: &mut Bucket = second.as_deref_mut().unwrap_or(&mut first);
        for mut entry in moved {
            entry.key = to.key;
            target.push(table, entry);
        }
        count
    };
    drop(second);
    drop(first);
    wake_all(&woken);
    Ok(woken.len() + moved)
}

/// The encoded operation of FUTEX_WAKE_OP.
#[derive(Clone, Copy)]
struct WakeOp {
    op: u32,
    cmp: u32,
    oparg: u32,
    cmparg: i32,
}

impl WakeOp {
    fn decode(raw: u32) -> Result<WakeOp, Errno> {
        const OPARG_SHIFT: u32 = 8;
        // Both arguments are twelve bits with a sign.
        let signed = |value: u32| ((value << 20) as i32) >> 20;
        let mut oparg = signed((raw >> 12) & 0xfff) as u32;
        let op = (raw >> 28) & 0xf;
        if op & OPARG_SHIFT != 0 {
            oparg = 1 << (oparg & 31);
        }
        let decoded = WakeOp {
            op: op & 7,
            cmp: (raw >> 24) & 0xf,
            oparg,
            cmparg: signed(raw & 0xfff),
        };
        if decoded.op > 4 || decoded.cmp > 5 {
            return Err(Errno::ENOSYS);
        }
        Ok(decoded)
    }

    fn apply(self, old: u32) -> u32 {
        match self.op {
            0 => self.oparg,
            1 => old.wrapping_add(self.oparg),
            2 => old | self.oparg,
            3 => old & !self.oparg,
            _ => old ^ self.oparg,
        }
    }

    fn holds(self, old: u32) -> bool {
        let old = old as i32;
        match self.cmp {
            0 => old == self.cmparg,
            1 => old != self.cmparg,
            2 => old < self.cmparg,
            3 => old <= self.cmparg,
            4 => old > self.cmparg,
            _ => old >= self.cmparg,
        }
    }
}

/// FUTEX_WAKE_OP: changes the second word, wakes on the first, and on the second if its old value compares.
pub fn wake_op(
    table: &FutexTable,
    one: &Word,
    two: &Word,
    wake_one: usize,
    wake_two: usize,
    raw: u32,
) -> Result<usize, Errno> {
    let op = WakeOp::decode(raw)?;
    // Linux holds both buckets over the change; so that no waiter checks the second word in between, so do we.
    let (mut first, mut second) = table.two(&one.key, &two.key);
    let old = update(two, |old| op.apply(old))?;
    let on = |key: Key| move |entry: &Entry| entry.key == key && entry.kind == Kind::Plain;
    let mut woken = first.take(table, wake_one, on(one.key));
    if op.holds(old) {
        let bucket: &mut Bucket = second.as_deref_mut().unwrap_or(&mut first);
        woken.extend(bucket.take(table, wake_two, on(two.key)));
    }
    drop(second);
    drop(first);
    wake_all(&woken);
    Ok(woken.len())
}

/// Changes a word atomically; returns its old value.
fn update(word: &Word, change: impl Fn(u32) -> u32) -> Result<u32, Errno> {
    let mut old = word.load()?;
    for _ in 0..SWAP_RETRIES {
        let seen = word.mm.space.compare_exchange_u32(word.addr, old, change(old))?;
        if seen == old {
            return Ok(old);
        }
        old = seen;
    }
    // Only a guest that changes the word all the time gets here.
    Err(Errno::EAGAIN)
}

/// Whether a word can be written (FUTEX_LOCK_PI refuses read-only memory as a fault).
pub(super) fn check_writable(word: &Word) -> Result<(), Errno> {
    match word.mm.area_at(word.addr) {
        Some(area) if area.prot.contains(Prot::WRITE) => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}
