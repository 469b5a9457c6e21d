//! What happens between a system call (or an interrupt) and the guest's next instruction: exit, stops, signals.

use std::sync::atomic::Ordering;

use abi::Errno;
use abi::signal::*;
use platform::Fault;

use super::queue::take;
use super::{DefaultAction, SigAction, SigInfo, SigSet, default_action, frame, send, stop};
use crate::task::{CurrentTask, rlimit};

/// Where a task goes after its signals were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// On with guest code; no handler was entered, so an interrupted call restarts.
    Continue,
    /// On with guest code, in a handler.
    Handler,
    /// The thread ends with this wait status.
    Exit(i32),
}

/// The core-dump bit of a wait status.
const CORE_BIT: i32 = 0x80;

/// Looks at the group's end, stops and pending signals. `restart`: the restart error that the current call ended with.
pub(crate) fn attend(task: &CurrentTask, mut restart: Option<Errno>) -> Flow {
    let mut handled = false;
    loop {
        task.attention.store(false, Ordering::SeqCst);
        let stopping = {
            let group = task.group.signals.lock();
            if let Some(status) = group.exit {
                return Flow::Exit(status);
            }
            if group.exec_by.is_some_and(|tid| tid != task.tid) {
                return Flow::Exit(0);
            }
            group.stop
        };
        if task.traced() {
            task.trace_interrupt();
        }
        if let Some(signal) = stopping {
            if task.traced() {
                task.trace_group_stop(signal);
            } else {
                stop::park(task);
            }
            continue;
        }
        let next = {
            let mut group = task.group.signals.lock();
            let mut own = task.signals.lock_nested();
            let allowed = SigSet(!own.blocked.0);
            take(&mut own.pending, allowed).or_else(|| take(&mut group.pending, allowed))
        };
        match next {
            Some(info) => match deliver(task, &info, &mut restart) {
                Flow::Continue => {}
                Flow::Handler => handled = true,
                exit @ Flow::Exit(_) => return exit,
            },
            None if task.restore_mask() || task.needs_attention() => {}
            None => break,
        }
    }
    if handled { Flow::Handler } else { Flow::Continue }
}

fn deliver(task: &CurrentTask, info: &SigInfo, restart: &mut Option<Errno>) -> Flow {
    let changed;
    let info = if task.traced() && info.signal != SIGKILL {
        match task.trace_signal(*info) {
            Some(info) => {
                changed = info;
                &changed
            }
            None => return Flow::Continue,
        }
    } else {
        info
    };
    let action = take_action(task, info.signal);
    if task.kernel.config.strace {
        crate::syscall::strace::signal(task, info);
    }
    match action.handler {
        SIG_IGN => Flow::Continue,
        SIG_DFL => by_default(task, info),
        _ => {
            if frame::push(task, info, &action, restart.take()).is_err() {
                force_segv(task, info.signal);
                return Flow::Continue;
            }
            Flow::Handler
        }
    }
}

/// The action in force; SA_RESETHAND takes the handler away.
fn take_action(task: &CurrentTask, signal: u32) -> SigAction {
    let table = task.group.action_table();
    let mut actions = table.lock();
    let Some(slot) = actions.get_mut((signal as usize).wrapping_sub(1)) else {
        return SigAction::default();
    };
    let action = *slot;
    if action.handler > SIG_IGN && action.flags & SA_RESETHAND != 0 {
        slot.handler = SIG_DFL;
    }
    action
}

fn by_default(task: &CurrentTask, info: &SigInfo) -> Flow {
    let kind = default_action(info.signal);
    if matches!(kind, DefaultAction::Ignore | DefaultAction::Continue) {
        return Flow::Continue;
    }
    // Of the kernel or the runtime, or of an outer pid namespace, whose processes have no number here.
    let nobody = info.code > 0 || (info.pid == 0 && !task.group.pid_ns.is_first());
    let from_outside = nobody && matches!(info.signal, SIGKILL | SIGSTOP);
    if !from_outside && task.group.signals.lock().protected {
        return Flow::Continue;
    }
    match kind {
        DefaultAction::Stop => {
            if info.signal == SIGSTOP || !task.kernel.pids.read().pgrp_is_orphaned_of(task.tgid()) {
                stop::begin(task, info.signal);
            }
            Flow::Continue
        }
        _ => {
            let core = kind == DefaultAction::Core && task.group.rlimit(rlimit::CORE) > 0;
            let status = info.signal as i32 | if core { CORE_BIT } else { 0 };
            let mut group = task.group.signals.lock();
            send::kill_all(&mut group, status);
            Flow::Exit(group.exit.unwrap_or(status))
        }
    }
}

/// A fault of guest code becomes a signal that cannot be blocked or ignored away.
pub fn force_fault(task: &CurrentTask, fault: Fault) {
    let info = SigInfo {
        signal: fault.signal,
        code: fault.code,
        addr: fault.addr,
        trap: (fault.trap, fault.error),
        ..SigInfo::default()
    };
    force_signal(task, info);
}

/// Sends a signal to the running task itself that must be taken: when it is blocked or ignored it gets its default action,
/// which ends a protected first process, too.
pub fn force_signal(task: &CurrentTask, info: SigInfo) {
    let table = task.group.action_table();
    let mut actions = table.lock();
    let mut own = task.signals.lock();
    let mut by_default = false;
    if let Some(action) = actions.get_mut((info.signal as usize).wrapping_sub(1)) {
        let set = SigSet::of(info.signal);
        if own.blocked.has(info.signal) || action.handler == SIG_IGN {
            action.handler = SIG_DFL;
            own.blocked = own.blocked.without(set);
        }
        by_default = action.handler == SIG_DFL;
        own.pending.retain(|other| other.signal != info.signal);
        own.pending.insert(0, info);
        task.attention.store(true, Ordering::SeqCst);
    }
    drop((own, actions));
    if by_default {
        task.group.signals.lock().protected = false;
    }
}

/// A handler's frame could not be made: SIGSEGV, fatal when it was SIGSEGV's own frame.
fn force_segv(task: &CurrentTask, failed: u32) {
    if failed == SIGSEGV {
        let table = task.group.action_table();
        if let Some(action) = table.lock().get_mut(SIGSEGV as usize - 1) {
            action.handler = SIG_DFL;
        }
    }
    force_signal(task, SigInfo::kernel(SIGSEGV));
}
