//! System V semaphore sets.

use std::collections::BTreeMap;
use std::sync::Arc;

use abi::{Errno, abi_struct};
use sync::{Events, Mutex, WaitQueue, rank};

use super::IpcTable;
use super::perm::{Found, IPC_NOWAIT, Perm, find_or_absent};
use super::{Budget, UNDO_MAX};
use crate::cred::Credentials;
use crate::task::{CurrentTask, Deadline};

/// Sets of the sandbox (SEMMNI).
pub const SEMMNI: usize = 32000;
/// Semaphores of a set (SEMMSL).
pub const SEMMSL: usize = 32000;
/// Operations of one call (SEMOPM).
pub const SEMOPM: usize = 500;
/// Largest value (SEMVMX).
pub const SEMVMX: i32 = 32767;
/// Semaphores of all sets together: bounds the memory.
const SEMMNS: usize = 1 << 20;
const SEM_UNDO: u16 = 0x1000;

abi_struct! {
    /// `struct sembuf`.
    pub struct SemBuf { pub num: u16, pub op: i16, pub flags: i16 }
}

/// One semaphore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Semaphore {
    /// Value.
    pub value: i32,
    /// Process of the last change.
    pub pid: u32,
    /// Threads that wait for a larger value.
    pub increase_waiters: u32,
    /// Threads that wait for zero.
    pub zero_waiters: u32,
}

/// A set.
pub struct SemSet {
    /// Changeable state.
    pub state: Mutex<SetState>,
    /// Woken at every change.
    changed: WaitQueue,
}

/// The changeable part of a set.
pub struct SetState {
    /// Permissions.
    pub perm: Perm,
    /// The semaphores; never empty.
    pub semaphores: Vec<Semaphore>,
    /// What a process's end adds, by process and semaphore (SEM_UNDO).
    undo: BTreeMap<u32, BTreeMap<u16, i32>>,
    /// What they count against.
    budget: Arc<Budget>,
    /// Last semop(2), seconds.
    pub otime: i64,
    /// Last change.
    pub ctime: i64,
    /// Removed: waiting calls end with `EIDRM`.
    pub removed: bool,
}

impl SemSet {
    /// Wakes those that wait, after a change.
    pub fn wake(&self) {
        self.changed.wake(Events::all());
    }
}

impl Drop for SetState {
    fn drop(&mut self) {
        self.clear_undo(None);
    }
}

impl SetState {
    /// Forgets what processes' ends would add to a semaphore (SETVAL), or to all.
    pub fn clear_undo(&mut self, number: Option<u16>) {
        for adjust in self.undo.values_mut() {
            let before = adjust.len();
            match number {
                Some(number) => {
                    adjust.remove(&number);
                }
                None => adjust.clear(),
            }
            self.budget.give_back((before - adjust.len()) as u64);
        }
    }

    /// Performs all operations or none. `Err((EAGAIN, index))`: the operation that would have to wait.
    fn perform(&mut self, ops: &[SemBuf], pid: u32) -> Result<(), (Errno, usize)> {
        let mut values: BTreeMap<u16, i32> = BTreeMap::new();
        let mut adjusts: BTreeMap<u16, i32> = BTreeMap::new();
        for (index, op) in ops.iter().enumerate() {
            let known = self.semaphores.get(usize::from(op.num));
            let known = known.ok_or((Errno::EFBIG, index))?;
            let value = *values.get(&op.num).unwrap_or(&known.value);
            let change = i32::from(op.op);
            if (change == 0 && value != 0) || value + change < 0 {
                return Err((Errno::EAGAIN, index));
            }
            if value + change > SEMVMX {
                return Err((Errno::ERANGE, index));
            }
            values.insert(op.num, value + change);
            if op.flags as u16 & SEM_UNDO != 0 {
                let old = self.undo.get(&pid).and_then(|adjust| adjust.get(&op.num));
                let adjust = adjusts.entry(op.num).or_insert(old.copied().unwrap_or(0));
                *adjust -= change;
                if !(-SEMVMX - 1..=SEMVMX).contains(adjust) {
                    return Err((Errno::ERANGE, index));
                }
            }
        }
        let known = self.undo.get(&pid);
        let fresh = |number: &&u16| known.is_none_or(|adjust| !adjust.contains_key(number));
        let more = adjusts.keys().filter(fresh).count() as u64;
        if !self.budget.take(more, UNDO_MAX) {
            return Err((Errno::ENOSPC, 0));
        }
        for (number, value) in values {
            if let Some(semaphore) = self.semaphores.get_mut(usize::from(number)) {
                (semaphore.value, semaphore.pid) = (value, pid);
            }
        }
        if !adjusts.is_empty() {
            self.undo.entry(pid).or_default().extend(adjusts);
        }
        Ok(())
    }

    fn count_waiter(&mut self, op: &SemBuf, waits: bool) {
        if let Some(semaphore) = self.semaphores.get_mut(usize::from(op.num)) {
            let count = if op.op == 0 {
                &mut semaphore.zero_waiters
            } else {
                &mut semaphore.increase_waiters
            };
            *count = if waits {
                count.saturating_add(1)
            } else {
                count.saturating_sub(1)
            };
        }
    }
}

/// semget(2).
pub fn get(task: &CurrentTask, key: i32, count: i32, flags: u32) -> Result<i32, Errno> {
    let cred = task.cred();
    let count = usize::try_from(count)
        .ok()
        .filter(|count| *count <= SEMMSL)
        .ok_or(Errno::EINVAL)?;
    let ipc = task.ipc();
    let mut table = ipc.semaphores.lock();
    match find_or_absent(&table, key, flags)? {
        Found::Existing(id, set) => {
            let state = set.state.lock();
            if count > state.semaphores.len() {
                return Err(Errno::EINVAL);
            }
            state.perm.check(&cred, flags & 0o777)?;
            Ok(id)
        }
        Found::Absent => {
            if count == 0 {
                return Err(Errno::EINVAL);
            }
            let used: usize = table
                .iter()
                .map(|(_, set)| set.state.lock().semaphores.len())
                .sum();
            if used + count > SEMMNS {
                return Err(Errno::ENOSPC);
            }
            let state = SetState {
                perm: Perm::new(key, &cred, flags),
                semaphores: vec![Semaphore::default(); count],
                undo: BTreeMap::new(),
                budget: task.ipc().undo_entries.clone(),
                otime: 0,
                ctime: super::now(&task.kernel),
                removed: false,
            };
            let set = Arc::new(SemSet {
                state: Mutex::new(rank::FILE_STATE, state),
                changed: WaitQueue::new(),
            });
            table.insert(key, set)
        }
    }
}

/// semop(2), semtimedop(2). A wait is never restarted after a signal.
pub fn operate(task: &CurrentTask, id: i32, ops: &[SemBuf], deadline: Deadline) -> Result<(), Errno> {
    if ops.is_empty() {
        return Err(Errno::EINVAL);
    }
    if ops.len() > SEMOPM {
        return Err(Errno::E2BIG);
    }
    let set = task.ipc().semaphores.lock().get(id)?;
    let cred = task.cred();
    {
        let state = set.state.lock();
        if ops.iter().any(|op| usize::from(op.num) >= state.semaphores.len()) {
            return Err(Errno::EFBIG);
        }
        let alters = ops.iter().any(|op| op.op != 0);
        state.perm.check(&cred, if alters { 0o222 } else { 0o444 })?;
    }
    let mut waiting: Option<SemBuf> = None;
    let mut refused = None;
    let outcome = task.wait_on(&set.changed, deadline, || {
        let mut state = set.state.lock();
        if let Some(op) = waiting.take() {
            state.count_waiter(&op, false);
        }
        if state.removed {
            return Err(Errno::EIDRM);
        }
        match state.perform(ops, task.tgid()) {
            Ok(()) => {
                state.otime = super::now(&task.kernel);
                Ok(())
            }
            Err((Errno::EAGAIN, index)) => {
                let op = ops.get(index).copied().unwrap_or_default();
                if u32::from(op.flags as u16) & IPC_NOWAIT != 0 {
                    // Not to be taken for "wait".
                    refused = Some(Errno::EAGAIN);
                    return Ok(());
                }
                state.count_waiter(&op, true);
                waiting = Some(op);
                Err(Errno::EAGAIN)
            }
            Err((errno, _)) => Err(errno),
        }
    });
    if let Some(op) = waiting {
        set.state.lock().count_waiter(&op, false);
    }
    if let Some(errno) = refused {
        return Err(errno);
    }
    match outcome {
        Ok(()) => {
            set.wake();
            Ok(())
        }
        Err(Errno::ERESTARTSYS) => Err(Errno::EINTR),
        Err(Errno::ETIMEDOUT) => Err(Errno::EAGAIN),
        Err(errno) => Err(errno),
    }
}

impl IpcTable {
    /// Removes a set; those that wait on it end with `EIDRM`.
    pub fn remove_semaphores(&self, id: i32, cred: &Credentials) -> Result<(), Errno> {
        let set = {
            let mut table = self.semaphores.lock();
            let set = table.get(id)?;
            let mut state = set.state.lock();
            state.perm.check_owner(cred)?;
            state.removed = true;
            table.remove(id, state.perm.key);
            drop(state);
            set
        };
        set.wake();
        Ok(())
    }

    /// A process ends: what it promised to undo is done.
    pub(super) fn undo_semaphores(&self, pid: u32) {
        let sets: Vec<Arc<SemSet>> = {
            let table = self.semaphores.lock();
            table.iter().map(|(_, set)| set.clone()).collect()
        };
        for set in sets {
            let mut state = set.state.lock();
            let Some(adjusts) = state.undo.remove(&pid) else {
                continue;
            };
            for (number, adjust) in adjusts {
                if let Some(semaphore) = state.semaphores.get_mut(usize::from(number)) {
                    semaphore.value = (semaphore.value + adjust).clamp(0, SEMVMX);
                    semaphore.pid = pid;
                }
            }
            drop(state);
            set.wake();
        }
    }
}
