//! Priority-inheriting locks: FUTEX_LOCK_PI and kin. Ownership is handed over in order of arrival; priorities are not
//! inherited, since all guest threads have the same.

use std::time::Instant;

use abi::Errno;

use super::table::{Bucket, Entry, FutexTable, Kind, Waiting, wake_all};
use super::wait::{Expect, check_writable, enqueue, sleep};
use super::{ANY, Key, Word};
use crate::task::CurrentTask;

/// Somebody waits: the owner must unlock through the kernel.
pub const FUTEX_WAITERS: u32 = 0x8000_0000;
/// The owner ended without unlocking.
pub const FUTEX_OWNER_DIED: u32 = 0x4000_0000;
/// The owner's thread id.
pub const FUTEX_TID_MASK: u32 = 0x3fff_ffff;
/// Attempts at an atomic update while other threads change the word.
const RETRIES: usize = 128;

/// What an attempt to take a lock comes to.
enum Attempt {
    Acquired,
    /// Held by this thread; the waiters bit is set.
    Held(u32),
}

/// Takes a free lock for `tid`, or marks it as waited for. Called with the bucket locked.
fn attempt(bucket: &Bucket, word: &Word, tid: u32) -> Result<Attempt, Errno> {
    for _ in 0..RETRIES {
        let value = word.load()?;
        let owner = value & FUTEX_TID_MASK;
        if owner == tid {
            return Err(Errno::EDEADLK);
        }
        if owner == 0 {
            let mut new = tid | (value & FUTEX_OWNER_DIED);
            if bucket.has_lock_waiter(&word.key) {
                new |= FUTEX_WAITERS;
            }
            if word.swap(value, new)? {
                return Ok(Attempt::Acquired);
            }
        } else if value & FUTEX_WAITERS != 0 || word.swap(value, value | FUTEX_WAITERS)? {
            return Ok(Attempt::Held(owner));
        }
    }
    Err(Errno::EAGAIN)
}

/// FUTEX_LOCK_PI, FUTEX_TRYLOCK_PI (`wait` false).
pub fn lock(task: &CurrentTask, word: &Word, wait: bool, deadline: Option<Instant>) -> Result<(), Errno> {
    check_writable(word)?;
    let table = &task.kernel.futexes;
    let waiting = Waiting::new(task.waiter.clone(), task.own_tid(), ANY);
    task.waiter.reset();
    {
        let mut bucket = table.bucket(&word.key);
        if !wait {
            let value = word.load()?;
            let owner = value & FUTEX_TID_MASK;
            if owner != 0 && owner != task.own_tid() {
                return Err(Errno::EAGAIN);
            }
        }
        let owner = match attempt(&bucket, word, task.own_tid())? {
            Attempt::Acquired => return Ok(()),
            Attempt::Held(owner) => owner,
        };
        if !wait {
            return Err(Errno::EAGAIN);
        }
        bucket.push(
            table,
            Entry {
                key: word.key,
                kind: Kind::Lock,
                owner,
                waiting: waiting.clone(),
            },
        );
    }
    // Looked up without the bucket, whose rank is above the process table's. An owner that ends from now on finds us.
    let owner = word.load().unwrap_or(0) & FUTEX_TID_MASK;
    let alive = owner == 0 || task.find_task(owner).is_ok();
    if !alive && table.cancel(&waiting) {
        return Err(Errno::ESRCH);
    }
    match sleep(task, &waiting, deadline) {
        // The lock is taken again from the start, whatever handler runs in between.
        Err(Errno::ERESTARTSYS | Errno::ERESTART_RESTARTBLOCK) => Err(Errno::ERESTARTNOINTR),
        other => other,
    }
}

/// FUTEX_UNLOCK_PI: `EPERM` when the caller is not the owner.
pub fn unlock(task: &CurrentTask, word: &Word) -> Result<(), Errno> {
    let table = &task.kernel.futexes;
    let mut bucket = table.bucket(&word.key);
    for _ in 0..RETRIES {
        let value = word.load()?;
        if value & FUTEX_TID_MASK != task.own_tid() {
            return Err(Errno::EPERM);
        }
        let heir = hand_over(table, &mut bucket, word, value, 0)?;
        if let Some(heir) = heir {
            drop(bucket);
            wake_all(&heir);
            return Ok(());
        }
    }
    Err(Errno::EAGAIN)
}

/// Gives a lock whose word is `value` to who waits longest, or to nobody; the heir, to be woken. `None`: the word changed.
fn hand_over(
    table: &FutexTable,
    bucket: &mut Bucket,
    word: &Word,
    value: u32,
    mark: u32,
) -> Result<Option<Vec<Entry>>, Errno> {
    let mut lockers = bucket
        .entries
        .iter()
        .filter(|entry| entry.key == word.key && entry.kind == Kind::Lock);
    let heir = lockers.next().map(|entry| entry.waiting.tid);
    let more = lockers.next().is_some();
    let new = match heir {
        Some(tid) => tid | mark | if more { FUTEX_WAITERS } else { 0 },
        None => mark,
    };
    if !word.swap(value, new)? {
        return Ok(None);
    }
    let taken = bucket.take(table, usize::from(heir.is_some()), |entry| {
        entry.key == word.key && entry.kind == Kind::Lock
    });
    if let Some(owner) = heir {
        for entry in &mut bucket.entries {
            if entry.key == word.key && entry.kind == Kind::Lock {
                entry.owner = owner;
            }
        }
    }
    Ok(Some(taken))
}

/// The owner of a lock ends: the next waiter owns it, marked as the heir of a dead owner.
pub(super) fn owner_died(table: &FutexTable, word: &Word, owner: u32) -> Result<(), Errno> {
    let mut bucket = table.bucket(&word.key);
    for _ in 0..RETRIES {
        let value = word.load()?;
        if value & FUTEX_TID_MASK != owner {
            return Ok(());
        }
        if let Some(heir) = hand_over(table, &mut bucket, word, value, FUTEX_OWNER_DIED)? {
            drop(bucket);
            wake_all(&heir);
            return Ok(());
        }
    }
    Err(Errno::EAGAIN)
}

/// FUTEX_WAIT_REQUEUE_PI: waits on a word until FUTEX_CMP_REQUEUE_PI moves the wait to a lock, and for that lock.
pub fn wait_requeue(
    task: &CurrentTask,
    expect: &Expect,
    lock: Key,
    bitset: u32,
    deadline: Option<Instant>,
) -> Result<(), Errno> {
    if expect.word.key == lock || bitset == 0 {
        return Err(Errno::EINVAL);
    }
    let waiting = Waiting::new(task.waiter.clone(), task.own_tid(), bitset);
    task.waiter.reset();
    enqueue(&task.kernel.futexes, expect, Kind::RequeueToLock(lock), &waiting)?;
    match sleep(task, &waiting, deadline) {
        Err(Errno::ERESTARTSYS | Errno::ERESTART_RESTARTBLOCK) => Err(Errno::ERESTARTNOINTR),
        other => other,
    }
}

/// FUTEX_CMP_REQUEUE_PI: the first waiter gets the lock if it is free, others wait for it from now on.
pub fn requeue(
    table: &FutexTable,
    from: &Word,
    to: &Word,
    movable: usize,
    expected: u32,
) -> Result<usize, Errno> {
    if from.key == to.key {
        return Err(Errno::EINVAL);
    }
    check_writable(to)?;
    let (mut first, mut second) = table.two(&from.key, &to.key);
    if from.load()? != expected {
        return Err(Errno::EAGAIN);
    }
    let ready = |entry: &Entry| entry.key == from.key && entry.kind == Kind::RequeueToLock(to.key);
    let others = |entry: &Entry| entry.key == from.key && !ready(entry);
    if first.entries.iter().any(others) {
        // Somebody waits there who does not want this lock.
        return Err(Errno::EINVAL);
    }
    let mut woken = Vec::new();
    let next = first.entries.iter().find(|entry| ready(entry));
    let Some(tid) = next.map(|entry| entry.waiting.tid) else {
        return Ok(0);
    };
    let target: &Bucket = second.as_deref().unwrap_or(&first);
    let mut owner = match attempt(target, to, tid)? {
        Attempt::Acquired => {
            woken = first.take(table, 1, ready);
            tid
        }
        Attempt::Held(owner) => owner,
    };
    let moved = first.take(table, movable + 1 - woken.len(), ready);
    let count = woken.len() + moved.len();
    if !moved.is_empty() && owner == tid {
        let value = to.load()?;
        // The waiters bit; when the owner has unlocked in the guest already, it finds the waiters by it next time.
        let _ = to.swap(value, value | FUTEX_WAITERS)?;
        owner = value & FUTEX_TID_MASK;
    }
    let target: &mut Bucket = second.as_deref_mut().unwrap_or(&mut first);
    for mut entry in moved {
        (entry.key, entry.kind, entry.owner) = (to.key, Kind::Lock, owner);
        target.push(table, entry);
    }
    drop(second);
    drop(first);
    wake_all(&woken);
    Ok(count)
}
