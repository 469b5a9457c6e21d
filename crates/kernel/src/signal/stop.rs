//! Group stops (SIGSTOP, SIGTSTP …), continuation, and what the parent hears of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::signal::*;

use super::{GroupSignals, SigInfo, SigSet, Signal, send_to_group};
use crate::task::{CurrentTask, ThreadGroup};

/// Signals that stop by default.
pub(super) const STOP_SIGNALS: SigSet =
    SigSet(SigSet::of(SIGSTOP).0 | SigSet::of(SIGTSTP).0 | SigSet::of(SIGTTIN).0 | SigSet::of(SIGTTOU).0);

/// A change of a living child that wait4(2) reports once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildEvent {
    /// Stopped by this signal (WUNTRACED).
    Stopped(Signal),
    /// Continued by SIGCONT (WCONTINUED).
    Continued,
}

/// SIGCONT was generated: ends a stop that is in force or under way. Returns what the parent is to hear.
pub(super) fn resume(signals: &mut GroupSignals) -> Option<ChildEvent> {
    signals.stop.take()?;
    let was_stopped = std::mem::replace(&mut signals.stopped, false);
    for thread in &signals.threads {
        thread.waiter.notify();
    }
    if was_stopped {
        signals.child_event = Some(ChildEvent::Continued);
        Some(ChildEvent::Continued)
    } else {
        None
    }
}

/// Starts a group stop: every thread is told and parks before it runs guest code again.
pub(super) fn begin(task: &CurrentTask, signal: Signal) {
    let mut group = task.group.signals.lock();
    if group.exiting() || group.stop.is_some() {
        return;
    }
    group.stop = Some(signal);
    for thread in &group.threads {
        if thread.tid != task.tid {
            thread.notify_signal();
        }
    }
}

/// After a change of the thread list or of a thread's parking: is the stop complete now? Returns the event to tell.
pub(crate) fn complete(signals: &mut GroupSignals) -> Option<ChildEvent> {
    let signal = signals.stop?;
    if signals.stopped
        || !signals
            .threads
            .iter()
            .all(|thread| thread.signals.lock_nested().parked)
    {
        return None;
    }
    signals.stopped = true;
    signals.child_event = Some(ChildEvent::Stopped(signal));
    signals.child_event
}

/// Sits in the group stop until it is over or the task has to exit.
pub(super) fn park(task: &CurrentTask) {
    let event = {
        let mut group = task.group.signals.lock();
        if group.stop.is_none() {
            return;
        }
        task.signals.lock_nested().parked = true;
        complete(&mut group)
    };
    if let Some(event) = event {
        notify_parent(&task.group, event);
    }
    task.run_state.store(u32::from(b'T'), Ordering::Relaxed);
    task.settle();
    loop {
        {
            let mut group = task.group.signals.lock();
            let leave = group.stop.is_none() || group.exiting() || group.exec_by.is_some();
            if leave {
                if group.exec_by.is_some() {
                    // The thread that calls execve(2) must come to run: the stop is over for it (Linux wakes it too).
                    group.stop = None;
                    group.stopped = false;
                }
                task.signals.lock_nested().parked = false;
                break;
            }
        }
        task.waiter.wait(None);
    }
    task.run_state.store(u32::from(b'R'), Ordering::Relaxed);
}

/// SIGCHLD for a stop or continuation of `group`, unless the parent set SA_NOCLDSTOP; wakes its wait4(2).
pub(crate) fn notify_parent(group: &Arc<ThreadGroup>, event: ChildEvent) {
    let Some(kernel) = group.kernel() else {
        return;
    };
    let (parent, uid) = {
        let pids = kernel.pids.read();
        let Some(entry) = pids.group(group.pid) else {
            return;
        };
        let parent = pids.group(entry.parent).map(|parent| parent.group.clone());
        (parent, entry.leader.cred().uid)
    };
    let Some(parent) = parent else { return };
    let (code, status) = match event {
        ChildEvent::Stopped(signal) => (CLD_STOPPED, signal as i32),
        ChildEvent::Continued => (CLD_CONTINUED, SIGCONT as i32),
    };
    if parent.action(SIGCHLD).handler != SIG_IGN && parent.action(SIGCHLD).flags & SA_NOCLDSTOP == 0 {
        let info = SigInfo {
            signal: SIGCHLD,
            code,
            pid: group.pid,
            uid,
            status,
            ..SigInfo::default()
        };
        send_to_group(&parent, info);
    }
    parent.child_events.wake(sync::Events::READABLE);
}
