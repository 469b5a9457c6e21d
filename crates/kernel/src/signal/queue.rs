//! Pending signals of tasks and thread groups.

use std::sync::Arc;

use abi::UserAddr;
use abi::signal::*;

use super::{ChildEvent, SigInfo, SigSet, Signal};
use crate::task::Task;

/// A task's own signal state.
#[derive(Default)]
pub struct TaskSignals {
    /// Blocked signals.
    pub blocked: SigSet,
    /// The mask to restore after sigsuspend(2), ppoll(2) and the like once a handler frame was made (or none was
    /// needed); set it with `CurrentTask::set_temporary_mask`.
    pub saved_mask: Option<SigSet>,
    /// Signals sent to this task alone, oldest first.
    pub pending: Vec<SigInfo>,
    /// Signals that sigtimedwait(2) waits for: they wake the task although they are blocked.
    pub waiting: SigSet,
    /// sigaltstack(2): start, bytes, flags.
    pub altstack: (UserAddr, u64, u32),
    /// It sits in a group stop.
    pub parked: bool,
}

/// Signals sent to a thread group as a whole, and the group's life as far as signals decide it.
#[derive(Default)]
pub struct GroupSignals {
    /// Shared pending signals, oldest first.
    pub pending: Vec<SigInfo>,
    /// Living threads.
    pub threads: Vec<Arc<Task>>,
    /// The wait status of the whole group once it exits.
    pub exit: Option<i32>,
    /// The leader's own exit status, when it ended by exit(2) before others.
    pub leader_exit: Option<i32>,
    /// The thread that runs execve(2): all others are to end silently.
    pub exec_by: Option<u32>,
    /// A group stop in force or under way: its signal.
    pub stop: Option<Signal>,
    /// All threads sit in the stop.
    pub stopped: bool,
    /// What wait4(2) has to tell of a stop or continuation.
    pub child_event: Option<ChildEvent>,
    /// Signals with default action that kill this process only when the kernel or the runtime sends them (pid 1).
    pub protected: bool,
}

impl GroupSignals {
    /// Whether the group's end was decided.
    pub fn exiting(&self) -> bool {
        self.exit.is_some()
    }
}

/// The set of signals in a queue.
pub(super) fn numbers(queue: &[SigInfo]) -> SigSet {
    queue
        .iter()
        .fold(SigSet::default(), |set, info| set.union(SigSet::of(info.signal)))
}

/// Signals that faults raise: delivered before others, so that the frame shows the fault.
const SYNCHRONOUS: SigSet = SigSet(
    SigSet::of(SIGSEGV).0
        | SigSet::of(SIGBUS).0
        | SigSet::of(SIGILL).0
        | SigSet::of(SIGTRAP).0
        | SigSet::of(SIGFPE).0
        | SigSet::of(SIGSYS).0,
);

/// Takes the next signal of `allowed` out of a queue: synchronous ones first, then the lowest number, oldest first.
pub(super) fn take(queue: &mut Vec<SigInfo>, allowed: SigSet) -> Option<SigInfo> {
    let at = queue
        .iter()
        .enumerate()
        .filter(|(_, info)| allowed.has(info.signal))
        .min_by_key(|(_, info)| (!SYNCHRONOUS.has(info.signal), info.signal))
        .map(|(at, _)| at)?;
    Some(queue.remove(at))
}

/// Removes the signals of `set` from a queue.
pub(super) fn flush(queue: &mut Vec<SigInfo>, set: SigSet) {
    queue.retain(|info| !set.has(info.signal));
}

/// Takes the next signal of `allowed` that is pending for the running task, its own queue first
/// (sigtimedwait(2), signalfd(2), delivery).
pub fn dequeue(task: &Task, allowed: SigSet) -> Option<SigInfo> {
    let mut group = task.group.signals.lock();
    let mut own = task.signals.lock_nested();
    take(&mut own.pending, allowed).or_else(|| take(&mut group.pending, allowed))
}

/// Signals pending for a task, its own and the group's, blocked or not (sigpending(2) masks them).
pub fn pending(task: &Task) -> SigSet {
    let group = task.group.signals.lock();
    let own = task.signals.lock_nested();
    numbers(&group.pending).union(numbers(&own.pending))
}
