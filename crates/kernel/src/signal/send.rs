//! Sending signals: permission, queueing, and choosing the thread that takes a signal.

use std::sync::Arc;

use abi::Errno;
use abi::signal::*;

use super::queue::{flush, numbers};
use super::{SigAction, SigInfo, SigSet, Signal, TaskSignals, siginfo, stop};
use crate::Kernel;
use crate::cred::{Caps, Credentials, IdKind, NO_ID};
use crate::task::{Task, ThreadGroup, rlimit};

/// Most signals that one queue keeps, whatever RLIMIT_SIGPENDING says: bounds the sentry's memory.
const QUEUE_MAX: u64 = 16_384;

/// Sends a signal to one task (tgkill(2), faults, pthread_kill). Permissions were checked.
pub fn send_to_task(task: &Arc<Task>, info: SigInfo) {
    let _ = send(&task.group, Some(task), info);
}

/// Sends a signal to a thread group (kill(2)): some thread that does not block it takes it.
pub fn send_to_group(group: &Arc<ThreadGroup>, info: SigInfo) {
    let _ = send(group, None, info);
}

/// Sends a signal to all members of a process group (terminal signals, kill(-pgid)). Returns how many there were.
pub fn send_to_pgrp(kernel: &Arc<Kernel>, pgrp: u32, info: SigInfo) -> usize {
    let members = kernel.pids.read().pgrp_members(pgrp);
    for group in &members {
        send_to_group(group, info);
    }
    members.len()
}

/// SIGPIPE for a writer whose pipe or socket has no reader (the caller answers `EPIPE`). Takes the task, not its group:
/// the signal is the writing thread's.
pub fn send_sigpipe(task: &Task) {
    if let Some(task) = task.me.upgrade() {
        let info = SigInfo::user(SIGPIPE, task.tgid(), task.cred().uid);
        send_to_task(&task, info);
    }
}

/// Whether `cred` may send `signal` to `target` (kill(2)); `session_mate`: both are in one session.
pub fn may_signal(cred: &Credentials, target: &Task, signal: Signal, session_mate: bool) -> bool {
    let theirs = target.cred();
    cred.has_in(&theirs.user_ns, Caps::KILL)
        || [theirs.suid, theirs.uid]
            .iter()
            .any(|uid| *uid == cred.euid || *uid == cred.uid)
        || (signal == SIGCONT && session_mate)
}

/// Queues a signal to a group, or to one of its tasks. `EAGAIN` when the queue is full (sigqueue(3) reports that;
/// kill(2) loses the details only).
pub fn send_checked(group: &Arc<ThreadGroup>, task: Option<&Arc<Task>>, info: SigInfo) -> Result<(), Errno> {
    send(group, task, info)
}

fn send(group: &Arc<ThreadGroup>, task: Option<&Arc<Task>>, info: SigInfo) -> Result<(), Errno> {
    if !(1..=64).contains(&info.signal) {
        return Ok(());
    }
    let (info, forced) = seen_by(group, task, info);
    let action = group.action(info.signal);
    let limit = group.rlimit(rlimit::SIGPENDING).min(QUEUE_MAX);
    // Timers keep a place each.
    let limit = limit.saturating_sub(group.timer_count());
    let mut notice = None;
    let result = {
        let mut signals = group.signals.lock();
        if signals.threads.is_empty() {
            return Ok(());
        }
        if stop::STOP_SIGNALS.has(info.signal) {
            flush_all(&mut signals, SigSet::of(SIGCONT));
        } else if info.signal == SIGCONT {
            flush_all(&mut signals, stop::STOP_SIGNALS);
            notice = stop::resume(&mut signals);
        }
        if !forced && ignored(&signals, task, &action, &info) {
            Ok(())
        } else {
            enqueue(&mut signals, task, info, limit)
        }
    };
    if let Some(event) = notice {
        stop::notify_parent(group, event);
    }
    group.signal_events.wake(sync::Events::READABLE);
    result
}

/// The details with sender and user as the receiver's namespaces number them; and whether the signal comes from an outer
/// pid namespace and is one that its first process cannot escape.
fn seen_by(group: &ThreadGroup, task: Option<&Arc<Task>>, mut info: SigInfo) -> (SigInfo, bool) {
    let first = || group.signals.lock().threads.first().cloned();
    let Some(target) = task.cloned().or_else(first) else {
        return (info, false);
    };
    let (ns, ids) = (&group.pid_ns, target.cred().user_ns.clone());
    if info.code == SI_KERNEL || !siginfo::names_sender(&info) {
        return (info, false);
    }
    let sender = crate::task::current();
    let outside = sender
        .as_ref()
        .is_some_and(|sender| !sender.group.pid_ns.is_in(ns));
    // What sigqueue(3) names is the sender's own number, which its namespace shares.
    let queued = info.code < 0 && info.code != SI_TKILL;
    if outside {
        info.pid = 0;
    } else if !queued {
        info.pid = ns.own(info.pid);
    }
    let uid = match sender.filter(|_| queued) {
        Some(sender) => sender.cred().user_ns.to_kernel(IdKind::User, info.uid),
        None => Some(info.uid),
    };
    if !ids.is_first() || queued {
        info.uid = ids.shown_uid(uid.unwrap_or(NO_ID));
    }
    (info, outside && matches!(info.signal, SIGKILL | SIGSTOP))
}

/// Throws pending signals of a group and its threads away (their action became "ignore").
pub fn flush_pending(group: &ThreadGroup, set: SigSet) {
    flush_all(&mut group.signals.lock(), set);
}

fn flush_all(signals: &mut super::GroupSignals, set: SigSet) {
    flush(&mut signals.pending, set);
    for thread in &signals.threads {
        flush(&mut thread.signals.lock_nested().pending, set);
    }
}

/// Whether the signal is thrown away at once. A blocked one is kept: its action may change before it is unblocked.
fn ignored(
    signals: &super::GroupSignals,
    task: Option<&Arc<Task>>,
    action: &SigAction,
    info: &SigInfo,
) -> bool {
    let Some(target) = task.or_else(|| signals.threads.first()) else {
        return true;
    };
    let blocked = target.signals.lock_nested().blocked;
    if blocked.has(info.signal) {
        return false;
    }
    if target.traced() {
        return false;
    }
    if signals.protected && action.handler == SIG_DFL {
        // Neither what ends nor what stops has a default action for the first process; from outside two signals have.
        return info.code <= 0 || !matches!(info.signal, SIGKILL | SIGSTOP);
    }
    action.ignores(info.signal)
}

/// Signals that wait for a process and its threads.
pub(crate) fn queued(signals: &super::GroupSignals) -> u64 {
    let own = signals
        .threads
        .iter()
        .map(|thread| thread.signals.lock_nested().pending.len());
    (signals.pending.len() + own.sum::<usize>()) as u64
}

fn enqueue(
    signals: &mut super::GroupSignals,
    task: Option<&Arc<Task>>,
    info: SigInfo,
    limit: u64,
) -> Result<(), Errno> {
    if info.signal == SIGKILL {
        kill_all(signals, SIGKILL as i32);
        return Ok(());
    }
    let full = info.signal >= SIGRTMIN && queued(signals) >= limit;
    let room = |queue: &[SigInfo]| -> Result<bool, Errno> {
        if info.signal < SIGRTMIN {
            // One of each standard signal.
            Ok(!numbers(queue).has(info.signal))
        } else if full && info.code < 0 {
            Err(Errno::EAGAIN)
        } else {
            Ok(!full || !numbers(queue).has(info.signal))
        }
    };
    match task {
        Some(task) => {
            let mut own = task.signals.lock_nested();
            if room(&own.pending)? {
                own.pending.push(info);
            }
            let wants = wants(&own, info.signal);
            drop(own);
            wake(task, info.signal, wants);
        }
        None => {
            if room(&signals.pending)? {
                signals.pending.push(info);
            }
            wake_one(signals, info.signal);
        }
    }
    Ok(())
}

/// Decides the end of a group: the first status wins; every thread is told.
pub(crate) fn kill_all(signals: &mut super::GroupSignals, status: i32) {
    signals.exit.get_or_insert(status);
    signals.stop = None;
    for thread in &signals.threads {
        thread.notify_signal();
    }
}

/// How a task would take a signal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wants {
    /// It blocks it.
    No,
    /// It sits in sigtimedwait(2) for it.
    Waiting,
    /// It takes it before it continues guest code.
    Yes,
}

fn wants(own: &TaskSignals, signal: Signal) -> Wants {
    if own.waiting.has(signal) {
        Wants::Waiting
    } else if own.blocked.has(signal) {
        Wants::No
    } else {
        Wants::Yes
    }
}

fn wake(task: &Task, _signal: Signal, wants: Wants) {
    match wants {
        Wants::No => {}
        Wants::Waiting => task.waiter.notify(),
        Wants::Yes => task.notify_signal(),
    }
}

/// Tells one thread of a shared pending signal: the leader if it wants it, else the first that does.
pub(super) fn wake_one(signals: &super::GroupSignals, signal: Signal) {
    for thread in &signals.threads {
        if thread.state.lock().exiting {
            continue;
        }
        let wants = wants(&thread.signals.lock_nested(), signal);
        if wants != Wants::No {
            wake(thread, signal, wants);
            return;
        }
    }
}

/// Looks for takers of every shared pending signal: after a thread has ended or blocked more signals.
pub(crate) fn retarget(signals: &super::GroupSignals) {
    let waiting = numbers(&signals.pending);
    for signal in 1..=64 {
        if waiting.has(signal) {
            wake_one(signals, signal);
        }
    }
}
