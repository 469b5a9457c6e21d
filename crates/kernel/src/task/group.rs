//! A thread group: what users call a process.

use std::sync::Arc;

use abi::Errno;
use sync::{Mutex, WaitQueue, rank};

use crate::signal::{GroupSignals, SigAction, SigActions};

/// A process (Linux's signal_struct and thread group).
pub struct ThreadGroup {
    /// The process id.
    pub pid: u32,
    /// Changeable state.
    pub state: Mutex<GroupState>,
    /// Signal actions; the Arc is shared by CLONE_SIGHAND without CLONE_THREAD.
    pub actions: Mutex<Arc<Mutex<SigActions>>>,
    /// Signals sent to the process.
    pub signals: Mutex<GroupSignals>,
    /// Woken when a child changes state (wait4(2)) and when the group does (pidfd, vfork).
    pub child_events: WaitQueue,
    /// Woken when the group has exited (pidfd poll) or left its parent's address space (vfork).
    pub exit_events: WaitQueue,
}

/// The changeable state of a process. Completed by the task developer.
#[derive(Clone, Debug)]
pub struct GroupState {
    /// Resource limits: soft and hard, by RLIMIT_ number.
    pub rlimits: [(u64, u64); 16],
    /// The program: /proc/PID/exe's text is made from the path kept in the mm.
    pub dumpable: bool,
    /// Set once the whole group exits: the wait status.
    pub exit_status: Option<i32>,
    /// PR_SET_CHILD_SUBREAPER.
    pub child_subreaper: bool,
    /// Whether it has called execve(2) since it was forked (setpgid(2)).
    pub did_exec: bool,
    /// CPU time of waited-for children: user, system, nanoseconds.
    pub children_ns: (u64, u64),
    /// CPU time of its threads that have exited.
    pub exited_ns: (u64, u64),
}

/// RLIMIT_NOFILE's index.
pub const RLIMIT_NOFILE: usize = 7;

impl ThreadGroup {
    /// A process with default signal actions and the given limits.
    pub fn new(pid: u32, rlimits: [(u64, u64); 16]) -> Arc<ThreadGroup> {
        let state = GroupState {
            rlimits,
            dumpable: true,
            exit_status: None,
            child_subreaper: false,
            did_exec: false,
            children_ns: (0, 0),
            exited_ns: (0, 0),
        };
        let actions = Arc::new(Mutex::new(rank::SIGACTIONS, [SigAction::default(); 64]));
        Arc::new(ThreadGroup {
            pid,
            state: Mutex::new(rank::GROUP, state),
            actions: Mutex::new(rank::GROUP, actions),
            signals: Mutex::new(rank::SIGNALS, GroupSignals::default()),
            child_events: WaitQueue::new(),
            exit_events: WaitQueue::new(),
        })
    }

    /// A resource limit's soft value; `RLIM_INFINITY` is `u64::MAX`.
    pub fn rlimit(&self, resource: usize) -> u64 {
        self.state
            .lock()
            .rlimits
            .get(resource)
            .map_or(u64::MAX, |limit| limit.0)
    }

    /// The limit on descriptor numbers.
    pub fn fd_limit(&self) -> u64 {
        self.rlimit(RLIMIT_NOFILE)
    }

    /// Checks a file size against RLIMIT_FSIZE (the caller sends SIGXFSZ on `EFBIG`).
    pub fn check_file_size(&self, size: u64) -> Result<(), Errno> {
        if size > self.rlimit(1) {
            Err(Errno::EFBIG)
        } else {
            Ok(())
        }
    }
}
