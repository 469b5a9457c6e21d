//! A thread group: what users call a process.

use std::sync::Arc;

use abi::Errno;
use sync::{Mutex, WaitQueue, rank};

use crate::cred::UserNs;
use crate::signal::{GroupSignals, SigAction, SigActions, Signal};

/// Resource limits, soft and hard, by RLIMIT_ number. `u64::MAX` is RLIM_INFINITY.
pub type Rlimits = [(u64, u64); 16];

/// A process (Linux's signal_struct and thread group).
pub struct ThreadGroup {
    /// The process id.
    pub pid: u32,
    /// The pid namespace that it is in.
    pub pid_ns: Arc<super::PidNs>,
    /// Changeable state.
    pub state: Mutex<GroupState>,
    /// Signal actions; the Arc is shared by CLONE_SIGHAND without CLONE_THREAD.
    pub actions: Mutex<Arc<Mutex<SigActions>>>,
    /// Signals sent to the process, its living threads, its stops and its end.
    pub signals: Mutex<GroupSignals>,
    /// setitimer(2), timer_create(2).
    pub timers: Mutex<crate::time::ProcessTimers>,
    /// Woken when a child changes state (wait4(2)).
    pub child_events: WaitQueue,
    /// Woken when a thread has ended, the group has exited (pidfd poll) or left its parent's address space (vfork).
    pub exit_events: WaitQueue,
    /// Woken when a signal is queued to the process or one of its threads (signalfd(2)).
    pub signal_events: WaitQueue,
}

/// The changeable state of a process.
#[derive(Clone, Debug)]
pub struct GroupState {
    /// Resource limits.
    pub rlimits: Rlimits,
    /// PR_SET_DUMPABLE.
    pub dumpable: bool,
    /// The user namespace in which its program was started: who may look into it when it is not dumpable.
    pub program_ns: Arc<UserNs>,
    /// PR_SET_CHILD_SUBREAPER.
    pub child_subreaper: bool,
    /// Whether it has called execve(2) since it was forked (setpgid(2)).
    pub did_exec: bool,
    /// /proc/PID/oom_score_adj.
    pub oom_score_adj: i32,
    /// CPU time of waited-for children: user, system, nanoseconds.
    pub children_ns: (u64, u64),
    /// CPU time of its threads that have exited.
    pub exited_ns: (u64, u64),
}

/// RLIMIT_ numbers.
pub mod rlimit {
    macro_rules! numbers {
        ($($name:ident = $value:literal;)*) => { $(#[doc = concat!("RLIMIT_", stringify!($name))] pub const $name: usize = $value;)* };
    }
    numbers! {
        CPU = 0;
        FSIZE = 1;
        DATA = 2;
        STACK = 3;
        CORE = 4;
        RSS = 5;
        NPROC = 6;
        NOFILE = 7;
        MEMLOCK = 8;
        AS = 9;
        LOCKS = 10;
        SIGPENDING = 11;
        MSGQUEUE = 12;
        NICE = 13;
        RTPRIO = 14;
        RTTIME = 15;
    }
}

/// RLIMIT_NOFILE's index.
pub const RLIMIT_NOFILE: usize = rlimit::NOFILE;

/// The limits that Linux gives its first process, with the descriptor and core limits that distributions set.
pub fn default_rlimits() -> Rlimits {
    const INFINITY: u64 = u64::MAX;
    let mut limits = [(INFINITY, INFINITY); 16];
    limits[rlimit::STACK] = (8 << 20, INFINITY);
    limits[rlimit::CORE] = (0, INFINITY);
    limits[rlimit::NPROC] = (super::TASKS_MAX as u64, super::TASKS_MAX as u64);
    limits[rlimit::NOFILE] = (1024, 1 << 20);
    limits[rlimit::MEMLOCK] = (8 << 20, 8 << 20);
    limits[rlimit::SIGPENDING] = (super::TASKS_MAX as u64, super::TASKS_MAX as u64);
    limits[rlimit::MSGQUEUE] = (819_200, 819_200);
    limits[rlimit::NICE] = (0, 0);
    limits[rlimit::RTPRIO] = (0, 0);
    limits
}

impl ThreadGroup {
    /// A process with default signal actions and the given limits.
    pub fn new(pid: u32, rlimits: Rlimits) -> Arc<ThreadGroup> {
        let state = GroupState {
            rlimits,
            dumpable: true,
            program_ns: UserNs::first(),
            child_subreaper: false,
            did_exec: false,
            oom_score_adj: 0,
            children_ns: (0, 0),
            exited_ns: (0, 0),
        };
        let actions = Arc::new(Mutex::new(rank::SIGACTIONS, [SigAction::default(); 64]));
        Self::with(pid, super::PidNs::first(), state, actions)
    }

    pub(super) fn with(
        pid: u32,
        pid_ns: Arc<super::PidNs>,
        state: GroupState,
        actions: Arc<Mutex<SigActions>>,
    ) -> Arc<ThreadGroup> {
        Arc::new(ThreadGroup {
            pid,
            pid_ns,
            state: Mutex::new(rank::GROUP, state),
            actions: Mutex::new(rank::GROUP, actions),
            signals: Mutex::new(rank::SIGNALS, GroupSignals::default()),
            timers: Mutex::new(rank::TIMERS, crate::time::ProcessTimers::default()),
            child_events: WaitQueue::new(),
            exit_events: WaitQueue::new(),
            signal_events: WaitQueue::new(),
        })
    }

    /// The shared table of signal actions.
    pub fn action_table(&self) -> Arc<Mutex<SigActions>> {
        self.actions.lock().clone()
    }

    /// The action of one signal; the default one for a number outside 1 to 64.
    pub fn action(&self, signal: Signal) -> SigAction {
        let table = self.action_table();
        let actions = table.lock();
        let index = (signal as usize).wrapping_sub(1);
        actions.get(index).copied().unwrap_or_default()
    }

    /// The kernel it lives in; `None` once its last thread has ended.
    pub fn kernel(&self) -> Option<Arc<crate::Kernel>> {
        self.signals
            .lock()
            .threads
            .first()
            .map(|task| task.kernel.clone())
    }

    /// The wait status of the whole group once it exits (exit_group(2), a fatal signal).
    pub fn exit_status(&self) -> Option<i32> {
        self.signals.lock().exit
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
        if size > self.rlimit(rlimit::FSIZE) {
            Err(Errno::EFBIG)
        } else {
            Ok(())
        }
    }
}
