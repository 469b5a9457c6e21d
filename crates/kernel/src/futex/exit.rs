//! What a thread leaves behind: locks it held (set_robust_list(2)) and the word of CLONE_CHILD_CLEARTID.

use std::sync::Arc;

use abi::{AbiField, Errno, UserAddr, abi_struct};

use super::lock::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, owner_died};
use super::table::Kind;
use super::{ANY, Key, Word};
use crate::mm::Mm;
use crate::task::CurrentTask;

/// Locks of a robust list that are looked at (ROBUST_LIST_LIMIT): the list may be a circle.
const ROBUST_LIST_LIMIT: usize = 2048;
/// Attempts at an atomic update while other threads change the word.
const RETRIES: usize = 128;

abi_struct! {
    /// `struct robust_list_head`.
    struct RobustListHead { next: u64, offset: i64, pending: u64 }
}

/// Bytes of `struct robust_list_head`, which set_robust_list(2) insists on.
pub const ROBUST_HEAD_BYTES: u64 = 24;

/// A task leaves its address space (exit or execve): its robust list, its priority-inheriting locks and its
/// clear_child_tid are served. Addresses that are bad concern nobody but the guest.
pub fn exit_task(task: &CurrentTask) {
    let (robust, clear) = {
        let mut state = task.state.lock();
        let robust = std::mem::take(&mut state.robust_list).0;
        (robust, std::mem::take(&mut state.clear_child_tid))
    };
    let mm = task.mm_ref();
    if !robust.is_null() {
        let _ = robust_list(task, &mm, robust);
    }
    inherited_locks(task, &mm);
    if !clear.is_null() {
        clear_child_tid(task, &mm, clear);
    }
}

fn clear_child_tid(task: &CurrentTask, mm: &Arc<Mm>, addr: UserAddr) {
    let stored = task.copy_out(addr, &0_u32.to_le_bytes());
    // Other threads must see the store before they are woken.
    let _ = task.context.borrow_mut().flush();
    if stored.is_ok()
        && let Ok(word) = Word::new(mm.clone(), addr, false)
    {
        task.kernel.futexes.wake(&word.key, 1, ANY);
    }
}

/// Hands over the locks that others wait for and this thread owns.
fn inherited_locks(task: &CurrentTask, mm: &Arc<Mm>) {
    let table = &task.kernel.futexes;
    let own = task.own_tid();
    let keys = table.lock_waits(|entry| entry.kind == Kind::Lock && entry.owner == own);
    for key in keys {
        let (Key::Private { addr, mm: id } | Key::Local { addr, mm: id }) = key else {
            continue;
        };
        // The same number may be another thread's in another pid namespace.
        if id != mm.id {
            continue;
        }
        let word = Word {
            mm: mm.clone(),
            addr: UserAddr(addr),
            key,
        };
        let _ = owner_died(table, &word, own);
    }
}

/// One link of the list: the entry's address, and whether its lock inherits priorities.
fn link(raw: u64) -> (u64, bool) {
    (raw & !1, raw & 1 != 0)
}

fn robust_list(task: &CurrentTask, mm: &Arc<Mm>, head: UserAddr) -> Result<(), Errno> {
    let mut raw = [0; RobustListHead::SIZE];
    mm.read(head, &mut raw)?;
    let list = RobustListHead::get(&raw);
    let lock_of = |entry: u64| UserAddr(entry.wrapping_add(list.offset as u64));
    let (pending, pending_pi) = link(list.pending);
    let (mut entry, mut pi) = link(list.next);
    for _ in 0..ROBUST_LIST_LIMIT {
        if entry == head.0 || entry == 0 {
            break;
        }
        // Read on before the lock is given up: then the memory may be reused.
        let mut next = [0; 8];
        let read = mm.read(UserAddr(entry), &mut next);
        if entry != pending {
            dead_owner(task, mm, lock_of(entry), pi, false)?;
        }
        read?;
        (entry, pi) = link(u64::from_le_bytes(next));
    }
    if pending != 0 {
        dead_owner(task, mm, lock_of(pending), pending_pi, true)?;
    }
    Ok(())
}

/// Marks a lock as left by a dead owner and wakes one waiter (Linux's handle_futex_death).
fn dead_owner(
    task: &CurrentTask,
    mm: &Arc<Mm>,
    addr: UserAddr,
    pi: bool,
    pending: bool,
) -> Result<(), Errno> {
    let table = &task.kernel.futexes;
    let word = Word::new(mm.clone(), addr, false)?;
    for _ in 0..RETRIES {
        let value = word.load()?;
        if pending && !pi && value == 0 {
            // It had unlocked in memory, but not woken anybody yet.
            table.wake(&word.key, 1, ANY);
            return Ok(());
        }
        if value & FUTEX_TID_MASK != task.own_tid() {
            return Ok(());
        }
        if pi && value & FUTEX_WAITERS != 0 {
            return owner_died(table, &word, task.own_tid());
        }
        if word.swap(value, (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED)? {
            if value & FUTEX_WAITERS != 0 {
                table.wake(&word.key, 1, ANY);
            }
            return Ok(());
        }
    }
    Err(Errno::EAGAIN)
}
