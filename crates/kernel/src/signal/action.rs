//! Signal actions (sigaction(2)) and what signals do by default (signal(7)).

use abi::signal::*;

use super::{SigSet, Signal};
use crate::task::ThreadGroup;

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

/// What a signal does without a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// Nothing.
    Ignore,
    /// Ends the process.
    Terminate,
    /// Ends the process; the wait status has the core-dump bit when RLIMIT_CORE allows one.
    Core,
    /// Stops the process.
    Stop,
    /// Continues a stopped process; else nothing.
    Continue,
}

/// The default action of a signal.
pub fn default_action(signal: Signal) -> DefaultAction {
    match signal {
        SIGCHLD | SIGURG | SIGWINCH => DefaultAction::Ignore,
        SIGCONT => DefaultAction::Continue,
        SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => DefaultAction::Stop,
        SIGQUIT | SIGILL | SIGTRAP | SIGABRT | SIGBUS | SIGFPE | SIGSEGV | SIGXCPU | SIGXFSZ | SIGSYS => {
            DefaultAction::Core
        }
        _ => DefaultAction::Terminate,
    }
}

impl SigAction {
    /// Whether the signal is thrown away under this action.
    pub fn ignores(&self, signal: Signal) -> bool {
        match self.handler {
            SIG_IGN => true,
            SIG_DFL => matches!(
                default_action(signal),
                DefaultAction::Ignore | DefaultAction::Continue
            ),
            _ => false,
        }
    }
}

/// execve(2): handlers become the default action; ignored signals stay ignored. Gives the group a table of its own.
pub fn flush_handlers(group: &ThreadGroup) {
    let mut actions = *group.action_table().lock();
    for action in &mut actions {
        let handler = if action.handler == SIG_IGN {
            SIG_IGN
        } else {
            SIG_DFL
        };
        *action = SigAction {
            handler,
            ..SigAction::default()
        };
    }
    let table = sync::Mutex::new(sync::rank::SIGACTIONS, actions);
    *group.actions.lock() = std::sync::Arc::new(table);
}
