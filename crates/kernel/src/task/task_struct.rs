//! A task (Linux's task_struct): one guest thread as every thread of the sentry may see it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use abi::{Errno, UserAddr};
use platform::Interrupter;
use sync::{Mutex, RwLock, Waiter, rank};

use super::ptrace::{Trace, TraceStop};
use super::{Namespaces, Seccomp, ThreadGroup};
use crate::Kernel;
use crate::cred::Credentials;
use crate::file::{FdTable, FileDescription};
use crate::mm::Mm;
use crate::signal::{SigInfo, TaskSignals};
use crate::vfs::FsContext;

/// A guest thread.
pub struct Task {
    /// Its thread id.
    pub tid: u32,
    /// The kernel it belongs to.
    pub kernel: Arc<Kernel>,
    /// Its process.
    pub group: Arc<ThreadGroup>,
    /// A handle on itself.
    pub me: Weak<Task>,
    /// Its address space; `None` once it has exited.
    pub mm: Mutex<Option<Arc<Mm>>>,
    /// Its descriptors.
    pub files: Mutex<Arc<FdTable>>,
    /// Its root, working directory and umask.
    pub fs: Mutex<Arc<FsContext>>,
    /// Its namespaces.
    pub namespaces: Mutex<Namespaces>,
    /// Its credentials.
    pub cred: RwLock<Arc<Credentials>>,
    /// Its signal state. After changing what is pending or blocked, set [`Task::notify_signal`].
    pub signals: Mutex<TaskSignals>,
    /// Set when the task must look at signals, stops or its exit before it continues guest code.
    pub attention: AtomicBool,
    /// Where it sleeps.
    pub waiter: Arc<Waiter>,
    /// Ends its running of guest code; set while it has a context.
    pub interrupter: Mutex<Option<Arc<dyn Interrupter>>>,
    /// prctl(PR_SET_NAME), at most 15 bytes.
    pub comm: Mutex<Vec<u8>>,
    /// The rest of its changeable state.
    pub state: Mutex<TaskState>,
    /// System call filters, the newest with a link to those before it.
    pub seccomp: Mutex<Option<Arc<Seccomp>>>,
    /// Whether `trace` is set: what the run loop looks at.
    pub traced: AtomicBool,
    /// Who traces it, and the stop it sits in.
    pub trace: Mutex<Option<Trace>>,
    /// The stop it sat in when tracing ended.
    pub(super) trace_left: Mutex<Option<TraceStop>>,
    /// PTRACE_SETSIGINFO for the signal being delivered.
    pub(crate) trace_info: Mutex<Option<SigInfo>>,
    /// R, S, D, T, t, Z, X as in /proc/PID/stat (an ASCII code).
    pub run_state: AtomicU32,
}

/// What prctl(2) asks for of a task; remembered and passed on to children.
pub mod treat {
    /// PR_MCE_KILL_SET: not as the system does by default.
    pub const MEMORY_ERRORS: u32 = 1;
    /// PR_MCE_KILL_EARLY.
    pub const MEMORY_ERRORS_EARLY: u32 = 2;
    /// PR_SET_IO_FLUSHER.
    pub const IO_FLUSHER: u32 = 4;
}

/// Plain changeable state of a task.
#[derive(Clone, Debug, Default)]
pub struct TaskState {
    /// set_tid_address(2), CLONE_CHILD_CLEARTID.
    pub clear_child_tid: UserAddr,
    /// CLONE_CHILD_SETTID: written when the task starts.
    pub set_child_tid: UserAddr,
    /// Its parent waits in vfork(2) until it leaves the shared address space.
    pub vfork: bool,
    /// set_robust_list(2): head and length.
    pub robust_list: (UserAddr, u64),
    /// rseq(2).
    pub rseq: platform::Rseq,
    /// PR_SET_PDEATHSIG.
    pub pdeath_signal: u32,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// Nice value.
    pub nice: i32,
    /// Scheduling policy and its parameters.
    pub sched: super::sched::Sched,
    /// Affinity mask; bit n is processor n.
    pub affinity: u64,
    /// The task is exiting: it runs no more guest code.
    pub exiting: bool,
    /// CPU time in the sentry on its behalf, nanoseconds.
    pub system_ns: u64,
    /// CPU time in guest code, nanoseconds, of the present guest thread.
    pub user_ns: u64,
    /// The same of the guest threads before execve(2).
    pub exec_user_ns: u64,
    /// Start, nanoseconds of CLOCK_MONOTONIC.
    pub start_ns: u64,
    /// Personality (personality(2)).
    pub personality: u32,
    /// Another thread changed what the engine may answer itself.
    pub answers_changed: bool,
    /// ioprio_set(2).
    pub ioprio: u32,
    /// set_mempolicy(2): the mode with its flags, and whether the (only) node is in its mask.
    pub mempolicy: (u32, bool),
    /// Who logged in, in which session of the audit system.
    pub login: Login,
    /// PR_SET_TIMERSLACK, nanoseconds.
    pub timer_slack: u64,
    /// prctl(2): how the task wants to be treated, bits of [`treat`].
    pub treatment: u32,
    /// Voluntary and forced switches away from it.
    pub switches: (u64, u64),
}

/// /proc/PID/loginuid and sessionid: children inherit both, and nothing else depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user as the kernel knows it; `u32::MAX`: nobody has logged in.
    pub uid: u32,
    /// The session; `u32::MAX`: none.
    pub session: u32,
}

impl Default for Login {
    fn default() -> Login {
        Login {
            uid: u32::MAX,
            session: u32::MAX,
        }
    }
}

impl Task {
    /// Processors that it may run on, as a mask; not empty.
    pub fn affinity(&self) -> u64 {
        let allowed = self.kernel.allowed_processors();
        match self.state.lock().affinity & allowed {
            0 => allowed,
            mask => mask,
        }
    }

    /// Sets who logged in (/proc/PID/loginuid); `u32::MAX` takes it back. Once somebody has, that takes CAP_AUDIT_CONTROL.
    pub fn log_in(&self, uid: u32) -> Result<(), Errno> {
        let privileged = self.cred().has(crate::cred::Caps::AUDIT_CONTROL);
        let mut state = self.state.lock();
        if state.login.uid != u32::MAX && !privileged {
            return Err(Errno::EPERM);
        }
        let session = match uid {
            u32::MAX => u32::MAX,
            // From 1 on; round again it never is "none".
            _ => self.kernel.logins.fetch_add(1, Ordering::Relaxed) % (u32::MAX - 1) + 1,
        };
        state.login = Login { uid, session };
        Ok(())
    }

    /// The task's address space; `None` once it has exited.
    pub fn mm(&self) -> Option<Arc<Mm>> {
        self.mm.lock().clone()
    }

    /// The task's descriptors.
    pub fn files(&self) -> Arc<FdTable> {
        self.files.lock().clone()
    }

    /// The open file of one of the task's descriptors. `EBADF` when there is none.
    pub fn fd(&self, fd: i32) -> Result<Arc<FileDescription>, Errno> {
        self.files.lock().get(fd)
    }

    /// The task's root, working directory and umask.
    pub fn fs(&self) -> Arc<FsContext> {
        self.fs.lock().clone()
    }

    /// The task's credentials.
    pub fn cred(&self) -> Arc<Credentials> {
        self.cred.read().clone()
    }

    /// The process id (what getpid(2) returns).
    pub fn tgid(&self) -> u32 {
        self.group.pid
    }

    /// Makes the task look at its signals and its group's state soon: wakes it when it sleeps, ends its running of guest code.
    pub fn notify_signal(&self) {
        self.attention.store(true, Ordering::SeqCst);
        self.waiter.notify();
        let interrupter = self.interrupter.lock().clone();
        if let Some(interrupter) = interrupter {
            interrupter.interrupt();
        }
    }

    /// Whether it must look at signals, a stop or its exit: a blocking call is to end with a restart error.
    pub fn needs_attention(&self) -> bool {
        self.attention.load(Ordering::SeqCst)
    }

    /// The same task under another id: execve(2) by a thread that is not the leader.
    pub(super) fn with_id(&self, tid: u32) -> Arc<Task> {
        let shared = (self.mm(), self.files(), self.fs());
        let comm = self.comm.lock().clone();
        let task = Task::new(&self.kernel, tid, &self.group, shared, self.cred(), comm);
        let state = self.state.lock().clone();
        *task.state.lock() = state;
        let namespaces = self.namespaces.lock().clone();
        *task.namespaces.lock() = namespaces;
        let filters = self.seccomp.lock().clone();
        *task.seccomp.lock() = filters;
        let trace = self.trace.lock().take();
        task.traced.store(trace.is_some(), Ordering::SeqCst);
        *task.trace.lock() = trace;
        task
    }

    /// Whether system call filters are in force (seccomp(2)).
    pub fn filtered(&self) -> bool {
        self.seccomp.lock().is_some()
    }

    /// A new task; not yet in the process table, without a context.
    pub fn new(
        kernel: &Arc<Kernel>,
        tid: u32,
        group: &Arc<ThreadGroup>,
        shared: (Option<Arc<Mm>>, Arc<FdTable>, Arc<FsContext>),
        cred: Arc<Credentials>,
        comm: Vec<u8>,
    ) -> Arc<Task> {
        let (mm, files, fs) = shared;
        let state = TaskState {
            start_ns: kernel.time.monotonic_ns(),
            ..TaskState::default()
        };
        Arc::new_cyclic(|me| Task {
            tid,
            kernel: kernel.clone(),
            group: group.clone(),
            me: me.clone(),
            mm: Mutex::new(rank::TASK, mm),
            files: Mutex::new(rank::TASK, files),
            fs: Mutex::new(rank::TASK, fs),
            namespaces: Mutex::new(rank::LEAF, Namespaces::first(kernel)),
            cred: RwLock::new(rank::LEAF, cred),
            signals: Mutex::new(rank::SIGNALS, TaskSignals::default()),
            attention: AtomicBool::new(false),
            waiter: Arc::new(Waiter::default()),
            interrupter: Mutex::new(rank::LEAF, None),
            comm: Mutex::new(rank::LEAF, comm),
            state: Mutex::new(rank::LEAF, state),
            seccomp: Mutex::new(rank::LEAF, None),
            traced: AtomicBool::new(false),
            trace: Mutex::new(rank::LEAF, None),
            trace_left: Mutex::new(rank::LEAF, None),
            trace_info: Mutex::new(rank::LEAF, None),
            run_state: AtomicU32::new(u32::from(b'R')),
        })
    }
}
