//! Signals: sets, queues, actions, delivery. Completed by the signal developer; the functions here are the contract.

mod set;

pub use set::{SigInfo, SigSet};

use std::sync::Arc;

use abi::UserAddr;

use crate::Kernel;
use crate::task::{Task, ThreadGroup};

/// A signal number, 1 to 64.
pub type Signal = u32;

/// A task's own signal state.
#[derive(Default)]
pub struct TaskSignals {
    /// Blocked signals.
    pub blocked: SigSet,
    /// The mask to restore after sigsuspend(2), ppoll(2) and the like once a handler frame was made (or none was needed).
    pub saved_mask: Option<SigSet>,
    /// Signals sent to this task alone.
    pub pending: Vec<SigInfo>,
    /// sigaltstack(2): start, bytes, flags.
    pub altstack: (UserAddr, u64, u32),
}

/// Signals sent to a thread group as a whole.
#[derive(Default)]
pub struct GroupSignals {
    /// Shared pending signals.
    pub pending: Vec<SigInfo>,
}

/// What sigaction(2) sets for a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigAction {
    /// SIG_DFL (0), SIG_IGN (1) or a handler's address.
    pub handler: u64,
    /// SA_ flags.
    pub flags: u64,
    /// sa_restorer.
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: SigSet,
}

/// The actions of all signals (Linux's sighand_struct), shared with CLONE_SIGHAND. Index 0 is signal 1.
pub type SigActions = [SigAction; 64];

/// Sends a signal to one task (tgkill(2), faults, pthread_kill). Permissions were checked.
pub fn send_to_task(task: &Arc<Task>, info: SigInfo) {
    let _ = (task, info);
}

/// Sends a signal to a thread group (kill(2)): some thread that does not block it takes it.
pub fn send_to_group(group: &Arc<ThreadGroup>, info: SigInfo) {
    let _ = (group, info);
}

/// Sends a signal to all members of a process group (terminal signals, kill(-pgid)). Returns how many there were.
pub fn send_to_pgrp(kernel: &Arc<Kernel>, pgrp: u32, info: SigInfo) -> usize {
    let _ = (kernel, pgrp, info);
    0
}
