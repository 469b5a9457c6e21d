//! Signals: sets, queues, actions, sending and delivery.
//!
//! Locks: `ThreadGroup::signals` is the outer one (Linux's siglock), a task's `signals` the inner; both have rank
//! SIGNALS, so callers of the functions here hold nothing from that rank on: send after dropping file and timer locks.

mod action;
mod altstack;
mod deliver;
mod frame;
mod mask;
mod queue;
mod send;
mod set;
mod siginfo;
mod stop;

pub use action::{DefaultAction, SigAction, SigActions, default_action, flush_handlers};
pub use altstack::StackT;
pub(crate) use deliver::attend;
pub use deliver::{Flow, force_fault, force_signal};
pub use frame::sigreturn;
pub use queue::{GroupSignals, TaskSignals, dequeue, pending};
pub use send::{
    flush_pending, may_signal, send_checked, send_sigpipe, send_to_group, send_to_pgrp, send_to_task,
};
pub(crate) use send::{kill_all, queued, retarget};
pub use set::{SigInfo, SigSet};
pub use siginfo::{SIGINFO_BYTES, from_bytes, to_bytes};
pub use stop::ChildEvent;
pub(crate) use stop::{complete as complete_stop, notify_parent};

/// A signal number, 1 to 64.
pub type Signal = u32;

/// Signals that cannot be blocked, caught or ignored.
pub const UNBLOCKABLE: SigSet = SigSet::of(abi::signal::SIGKILL).union(SigSet::of(abi::signal::SIGSTOP));
