//! Advisory locks: flock(2), POSIX record locks and open-file-description locks (fcntl_locking(2)).

use std::collections::HashMap;

use abi::Errno;
use sync::{Events, Mutex, WaitQueue, rank};

use super::FileDescription;
use crate::task::CurrentTask;

/// The end of a lock that reaches to the end of the file, wherever that is.
pub const END: u64 = u64::MAX;
/// Record locks on one file, of all owners together (`ENOLCK` beyond).
const LOCKS_PER_FILE: usize = 16 << 10;

/// Shared or exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// F_RDLCK, LOCK_SH.
    Read,
    /// F_WRLCK, LOCK_EX.
    Write,
}

/// Who holds a record lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOwner {
    /// A process, by id (POSIX locks).
    Process(u32),
    /// An open file, by its id (OFD locks).
    File(u64),
}

/// A lock on the bytes `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLock {
    /// Who.
    pub owner: LockOwner,
    /// How.
    pub kind: LockKind,
    /// First byte.
    pub start: u64,
    /// One past the last byte; [`END`] for all.
    pub end: u64,
}

impl RecordLock {
    fn conflicts(&self, other: &RecordLock) -> bool {
        self.owner != other.owner
            && self.start < other.end
            && other.start < self.end
            && (self.kind == LockKind::Write || other.kind == LockKind::Write)
    }
}

/// The locks of an inode; attached to it.
struct InodeLocks {
    records: Mutex<Vec<RecordLock>>,
    /// flock(2) locks: open file's id and kind.
    flocks: Mutex<Vec<(u64, LockKind)>>,
    released: WaitQueue,
}

impl Default for InodeLocks {
    fn default() -> Self {
        InodeLocks {
            records: Mutex::new(rank::LEAF, Vec::new()),
            flocks: Mutex::new(rank::LEAF, Vec::new()),
            released: WaitQueue::new(),
        }
    }
}

/// Which process waits for which, to find deadlocks.
pub struct LockWaits(Mutex<HashMap<u32, u32>>);

impl Default for LockWaits {
    fn default() -> Self {
        LockWaits(Mutex::new(rank::LEAF, HashMap::new()))
    }
}

impl LockWaits {
    /// Notes that `waiter` waits for `holder`. `EDEADLK` when `holder` waits, perhaps indirectly, for `waiter`.
    fn wait_for(&self, waiter: u32, holder: u32) -> Result<(), Errno> {
        let mut waits = self.0.lock();
        let mut at = holder;
        // No chain is longer than the map.
        for _ in 0..=waits.len() {
            if at == waiter {
                return Err(Errno::EDEADLK);
            }
            match waits.get(&at) {
                Some(next) => at = *next,
                None => break,
            }
        }
        waits.insert(waiter, holder);
        Ok(())
    }

    fn done(&self, waiter: u32) {
        self.0.lock().remove(&waiter);
    }
}

/// A lock that keeps `wanted` from being set.
pub fn conflicting(file: &FileDescription, wanted: &RecordLock) -> Result<Option<RecordLock>, Errno> {
    let Some(locks) = file.path().inode()?.attached::<InodeLocks>() else {
        return Ok(None);
    };
    let records = locks.records.lock();
    let against = records.iter().filter(|held| held.conflicts(wanted));
    Ok(against.min_by_key(|held| held.start).copied())
}

/// Sets a record lock. `EAGAIN` when another stands against it.
pub fn set(file: &FileDescription, wanted: RecordLock) -> Result<(), Errno> {
    let locks = file.path().inode()?.attach(InodeLocks::default);
    let mut records = locks.records.lock();
    if records.iter().any(|held| held.conflicts(&wanted)) {
        return Err(Errno::EAGAIN);
    }
    if records.len() + 2 > LOCKS_PER_FILE {
        return Err(Errno::ENOLCK);
    }
    cut(&mut records, wanted.owner, wanted.start, wanted.end);
    insert_merged(&mut records, wanted);
    drop(records);
    // It may have become weaker.
    locks.released.wake(Events::all());
    Ok(())
}

/// Sets a record lock, waiting for others to go. `EDEADLK` when that would never happen.
pub fn set_waiting(task: &CurrentTask, file: &FileDescription, wanted: RecordLock) -> Result<(), Errno> {
    let locks = file.path().inode()?.attach(InodeLocks::default);
    let waits = &task.kernel.vfs.lock_waits;
    let result = task.wait_on(&locks.released, None, || match set(file, wanted) {
        Err(Errno::EAGAIN) => {
            if let LockOwner::Process(waiter) = wanted.owner
                && let Some(held) = conflicting(file, &wanted)?
                && let LockOwner::Process(holder) = held.owner
            {
                waits.wait_for(waiter, holder)?;
            }
            Err(Errno::EAGAIN)
        }
        done => done,
    });
    if let LockOwner::Process(waiter) = wanted.owner {
        waits.done(waiter);
    }
    result
}

/// Takes an owner's locks off `[start, end)`.
pub fn unlock(file: &FileDescription, owner: LockOwner, start: u64, end: u64) -> Result<(), Errno> {
    let Some(locks) = file.path().inode()?.attached::<InodeLocks>() else {
        return Ok(());
    };
    let mut records = locks.records.lock();
    if records.len() + 1 > LOCKS_PER_FILE {
        return Err(Errno::ENOLCK);
    }
    cut(&mut records, owner, start, end);
    drop(records);
    locks.released.wake(Events::all());
    Ok(())
}

/// Removes `[start, end)` from the owner's locks; what lies outside stays.
fn cut(records: &mut Vec<RecordLock>, owner: LockOwner, start: u64, end: u64) {
    let mut kept = Vec::new();
    records.retain(|held| {
        let hit = held.owner == owner && held.start < end && start < held.end;
        if hit && held.start < start {
            kept.push(RecordLock { end: start, ..*held });
        }
        if hit && held.end > end {
            kept.push(RecordLock { start: end, ..*held });
        }
        !hit
    });
    records.append(&mut kept);
}

/// Adds a lock, joined with its owner's neighbours of the same kind.
fn insert_merged(records: &mut Vec<RecordLock>, mut new: RecordLock) {
    records.retain(|held| {
        let joins = held.owner == new.owner
            && held.kind == new.kind
            && (held.end == new.start || held.start == new.end);
        if joins {
            new.start = new.start.min(held.start);
            new.end = new.end.max(held.end);
        }
        !joins
    });
    records.push(new);
}

/// flock(2): `None` unlocks. Without `wait`, `EAGAIN` when another open file's lock stands against it.
pub fn flock(
    task: &CurrentTask,
    file: &FileDescription,
    kind: Option<LockKind>,
    wait: bool,
) -> Result<(), Errno> {
    let locks = file.path().inode()?.attach(InodeLocks::default);
    let attempt = || {
        let mut flocks = locks.flocks.lock();
        // As on Linux a change of kind gives the old lock up first, and is not atomic.
        let held = flocks
            .iter()
            .find(|(id, _)| *id == file.id())
            .map(|(_, kind)| *kind);
        if held == kind {
            return Ok(());
        }
        flocks.retain(|(id, _)| *id != file.id());
        let result = match kind {
            None => Ok(()),
            Some(wanted) => {
                let free = |other: &(u64, LockKind)| wanted == LockKind::Read && other.1 == LockKind::Read;
                if flocks.iter().all(free) {
                    flocks.push((file.id(), wanted));
                    Ok(())
                } else {
                    Err(Errno::EAGAIN)
                }
            }
        };
        drop(flocks);
        if held.is_some() {
            locks.released.wake(Events::all());
        }
        result
    };
    if wait {
        task.wait_on(&locks.released, None, attempt)
    } else {
        attempt()
    }
}

/// Gives up the flock(2) and open-file-description locks of a file that is being dropped.
pub fn release_all(file: &FileDescription) {
    let Ok(inode) = file.path().dentry.inode_ref() else {
        return;
    };
    let Some(locks) = inode.attached::<InodeLocks>() else {
        return;
    };
    locks.flocks.lock().retain(|(id, _)| *id != file.id());
    let owner = LockOwner::File(file.id());
    locks.records.lock().retain(|held| held.owner != owner);
    locks.released.wake(Events::all());
}

/// Gives up the POSIX record locks that the process `tgid` has on the file.
pub fn release_posix(file: &FileDescription, tgid: u32) {
    let Ok(inode) = file.path().dentry.inode_ref() else {
        return;
    };
    let Some(locks) = inode.attached::<InodeLocks>() else {
        return;
    };
    let owner = LockOwner::Process(tgid);
    let mut records = locks.records.lock();
    let before = records.len();
    records.retain(|held| held.owner != owner);
    let changed = records.len() != before;
    drop(records);
    if changed {
        locks.released.wake(Events::all());
    }
}

/// A line of /proc/locks about one inode: kind of lock, mode, process id, start, end.
pub fn describe(file: &FileDescription) -> Vec<RecordLock> {
    let Ok(inode) = file.path().dentry.inode_ref() else {
        return Vec::new();
    };
    let locks = inode.attached::<InodeLocks>();
    locks.map_or_else(Vec::new, |locks| locks.records.lock().clone())
}
