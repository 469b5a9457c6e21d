//! sigaction(2).

use abi::signal::*;
use abi::{Errno, UserAddr, abi_struct};

use crate::signal::{SigAction, SigSet, UNBLOCKABLE, flush_pending};
use crate::task::CurrentTask;

abi_struct! {
    /// `struct kernel_sigaction` of x86-64.
    struct RawAction { handler: u64, flags: u64, restorer: u64, mask: u64 }
}

/// Bytes of the kernel's sigset_t.
pub const SIGSET_BYTES: usize = 8;
/// Flags that are kept; Linux clears the others so that programs can detect what it supports.
const KNOWN: u64 = SA_NOCLDSTOP
    | SA_NOCLDWAIT
    | SA_SIGINFO
    | SA_EXPOSE_TAGBITS
    | SA_RESTORER
    | SA_ONSTACK
    | SA_RESTART
    | SA_NODEFER
    | SA_RESETHAND;

/// rt_sigaction(2).
pub fn rt_sigaction(
    task: &CurrentTask,
    signal: i32,
    new: UserAddr,
    old: UserAddr,
    size: usize,
) -> Result<(), Errno> {
    if size != SIGSET_BYTES {
        return Err(Errno::EINVAL);
    }
    let new: Option<RawAction> = if new.is_null() {
        None
    } else {
        Some(task.read_struct(new)?)
    };
    let signal = u32::try_from(signal).map_err(|_| Errno::EINVAL)?;
    let fixed = signal == SIGKILL || signal == SIGSTOP;
    if !(1..=SIGRTMAX).contains(&signal) || (new.is_some() && fixed) {
        return Err(Errno::EINVAL);
    }
    let before = {
        let table = task.group.action_table();
        let mut actions = table.lock();
        let slot = actions.get_mut(signal as usize - 1).ok_or(Errno::EINVAL)?;
        let before = *slot;
        if let Some(new) = &new {
            *slot = SigAction {
                handler: new.handler,
                flags: new.flags & KNOWN,
                restorer: new.restorer,
                mask: SigSet(new.mask).without(UNBLOCKABLE),
            };
        }
        before
    };
    if task.group.action(signal).ignores(signal) && new.is_some() {
        flush_pending(&task.group, SigSet::of(signal));
    }
    if old.is_null() {
        return Ok(());
    }
    let raw = RawAction {
        handler: before.handler,
        flags: before.flags,
        restorer: before.restorer,
        mask: before.mask.0,
    };
    task.write_struct(old, &raw)
}
