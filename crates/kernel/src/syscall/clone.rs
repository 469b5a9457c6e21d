//! clone(2), clone3(2).

use abi::{AbiField, Errno, UserAddr, abi_struct};

use crate::task::{CloneArgs, CurrentTask, clone_flags};

/// Sizes of clone3's structure: the first published and the one known here.
const CLONE_ARGS_SIZE_VER0: usize = 64;
/// Largest structure that is looked at (a page, as in Linux).
const CLONE_ARGS_MAX: usize = 4096;
/// Most ids of clone3's set_tid (MAX_PID_NS_LEVEL).
const SET_TID_MAX: u64 = 32;
/// CSIGNAL: the exit signal's bits in clone(2)'s flags.
const CSIGNAL: u64 = 0xff;

abi_struct! {
    /// `struct clone_args`.
    struct RawArgs {
        flags: u64, pidfd: UserAddr, child_tid: UserAddr, parent_tid: UserAddr, exit_signal: u64, stack: u64,
        stack_size: u64, tls: u64, set_tid: UserAddr, set_tid_size: u64, cgroup: u64,
    }
}

/// clone(2) with x86-64's order of arguments. CLONE_PIDFD stores where CLONE_PARENT_SETTID would.
pub fn clone(
    task: &CurrentTask,
    flags: u64,
    stack: u64,
    parent_tid: UserAddr,
    child_tid: UserAddr,
    tls: u64,
) -> Result<u32, Errno> {
    let exit_signal = (flags & CSIGNAL) as u32;
    let flags = flags & 0xffff_ffff & !CSIGNAL;
    let both = clone_flags::PIDFD | clone_flags::PARENT_SETTID;
    if flags & both == both {
        return Err(Errno::EINVAL);
    }
    if flags & clone_flags::PIDFD != 0 && flags & clone_flags::THREAD != 0 {
        return Err(Errno::EINVAL);
    }
    task.clone_task(&CloneArgs {
        flags,
        pidfd: parent_tid,
        child_tid,
        parent_tid,
        exit_signal,
        stack,
        tls,
        set_tid: Vec::new(),
    })
}

/// clone3(2).
pub fn clone3(task: &CurrentTask, args: UserAddr, size: usize) -> Result<u32, Errno> {
    if size > CLONE_ARGS_MAX {
        return Err(Errno::E2BIG);
    }
    if size < CLONE_ARGS_SIZE_VER0 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; size.max(RawArgs::SIZE)];
    task.copy_in(args, bytes.get_mut(..size).unwrap_or_default())?;
    if bytes.iter().skip(RawArgs::SIZE).any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    let raw = RawArgs::get(&bytes);
    let stack = check(&raw)?;
    let set_tid = read_set_tid(task, &raw)?;
    task.clone_task(&CloneArgs {
        flags: raw.flags,
        pidfd: raw.pidfd,
        child_tid: raw.child_tid,
        parent_tid: raw.parent_tid,
        exit_signal: raw.exit_signal as u32,
        stack,
        tls: raw.tls,
        set_tid,
    })
}

/// The ids that the child is to have, innermost namespace first.
fn read_set_tid(task: &CurrentTask, raw: &RawArgs) -> Result<Vec<u32>, Errno> {
    if raw.set_tid_size > SET_TID_MAX {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; raw.set_tid_size as usize * 4];
    task.copy_in(raw.set_tid, &mut bytes)?;
    let wanted = bytes.chunks_exact(4).map(|raw| u32::try_from(i32::get(raw)));
    wanted.map(|id| id.map_err(|_| Errno::EINVAL)).collect()
}

/// Linux's clone3_args_valid; returns the stack pointer.
fn check(raw: &RawArgs) -> Result<u64, Errno> {
    const KNOWN: u64 = 0x3_ffff_ffff & !CSIGNAL;
    let flags = raw.flags;
    if raw.set_tid_size != 0 && raw.set_tid.is_null() || raw.set_tid_size == 0 && !raw.set_tid.is_null() {
        return Err(Errno::EINVAL);
    }
    if raw.exit_signal & !CSIGNAL != 0 || raw.exit_signal > 64 {
        return Err(Errno::EINVAL);
    }
    if flags & !KNOWN != 0 || flags & clone_flags::DETACHED != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & (clone_flags::THREAD | clone_flags::PARENT) != 0 && raw.exit_signal != 0 {
        return Err(Errno::EINVAL);
    }
    match (raw.stack, raw.stack_size) {
        (0, 0) => Ok(0),
        (0, _) | (_, 0) => Err(Errno::EINVAL),
        (start, size) => start.checked_add(size).ok_or(Errno::EINVAL),
    }
}
