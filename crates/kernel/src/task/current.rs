//! The task that this sentry thread serves: what only its own thread may touch.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::sync::Arc;

use platform::{Context, LocalAnswers};

use super::accounting::CpuMeter;
use super::restart::Restart;
use super::user_dispatch::UserDispatch;
use super::{GroupEntry, Seccomp, Task};
use crate::mm::Mm;

/// The running task with its context. Not `Sync`: it never leaves its sentry thread.
pub struct CurrentTask {
    task: Arc<Task>,
    /// The guest thread. Borrow it shortly: never across a call into a file or a wait.
    pub context: RefCell<Box<dyn Context>>,
    /// The address space, so that copies take no lock. Changed by execve(2) together with `Task::mm`.
    pub(super) mm: RefCell<Arc<Mm>>,
    /// Set while a temporary signal mask is in force for the current call.
    pub(crate) temporary_mask: Cell<bool>,
    /// The number of the call being served, for restarts and panics.
    pub(crate) serving: Cell<u64>,
    /// The wait status with which this thread is to end (exit(2)).
    pub(super) exit_status: Cell<Option<i32>>,
    /// What an interrupted call left, to go on with when no handler runs.
    pub(super) restart: Cell<Option<Restart>>,
    /// The deadline of the call that is being gone on with.
    pub(super) resumed: Cell<Option<Restart>>,
    /// After execve(2) by another thread than the leader: to become the leader.
    pub(super) take_over: Cell<bool>,
    /// Whether filters are in force, as of the last look: saves the common call a lock.
    pub(super) has_filters: Cell<bool>,
    /// Calls that the thread serves itself.
    pub(super) user_dispatch: Cell<Option<UserDispatch>>,
    pub(super) meter: CpuMeter,
}

/// Calls that an engine may answer without asking: sched_yield, getpid, getuid, getgid, geteuid, getegid, getppid, gettid,
/// futex, getcpu.
const ANSWERED_BY_ENGINE: [u64; 10] = [24, 39, 102, 104, 107, 108, 110, 186, 202, 309];

thread_local! {
    static CURRENT: RefCell<Option<Arc<Task>>> = const { RefCell::new(None) };
    static SERVING: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// The task that this sentry thread serves (Linux's `current`); `None` on threads that serve none.
pub fn current() -> Option<Arc<Task>> {
    CURRENT.with_borrow(Clone::clone)
}

/// The system call that this sentry thread serves, for reports of a panic.
pub fn current_call() -> Option<&'static str> {
    crate::syscall::lookup(SERVING.get()).map(|row| row.name)
}

impl CurrentTask {
    /// Notes the call that is served from now on; `u64::MAX`: none.
    pub(super) fn set_serving(&self, nr: u64) {
        self.serving.set(nr);
        SERVING.set(nr);
    }

    /// Makes this sentry thread serve `task` from now on.
    pub fn new(task: Arc<Task>, context: Box<dyn Context>, mm: Arc<Mm>) -> CurrentTask {
        *task.interrupter.lock() = Some(context.interrupter());
        CURRENT.set(Some(task.clone()));
        let current = CurrentTask {
            task,
            context: RefCell::new(context),
            mm: RefCell::new(mm),
            temporary_mask: Cell::new(false),
            serving: Cell::new(u64::MAX),
            exit_status: Cell::new(None),
            restart: Cell::new(None),
            resumed: Cell::new(None),
            take_over: Cell::new(false),
            has_filters: Cell::new(false),
            user_dispatch: Cell::new(None),
            meter: CpuMeter::default(),
        };
        current.update_local_answers();
        let rseq = current.state.lock().rseq;
        if !rseq.addr.is_null() {
            // Inherited by fork(2).
            current.context.borrow_mut().set_rseq(Some(rseq));
        }
        current
    }

    /// The shared part.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// The address space.
    pub fn mm_ref(&self) -> Arc<Mm> {
        self.mm.borrow().clone()
    }

    /// Moves to another address space with a new guest thread (execve(2)); a parent in vfork(2) goes on.
    pub fn replace_context(&self, mm: Arc<Mm>, context: Box<dyn Context>) {
        *self.task.interrupter.lock() = Some(context.interrupter());
        let old_mm = self.task.mm.lock().replace(mm.clone());
        let own_mm = self.mm.replace(mm);
        let old_context = self.context.replace(context);
        // The old guest thread ends before its memory goes.
        drop(old_context);
        drop((old_mm, own_mm));
        self.vfork_done();
        self.user_dispatch.set(None);
        self.update_local_answers();
    }

    /// Changes the credentials; a program that gained or changed ids becomes undumpable, as in Linux's commit_creds.
    pub fn set_credentials(&self, new: crate::cred::Credentials) {
        let old = self.cred();
        if new.raises_over(&old) {
            self.group.state.lock().dumpable = false;
            self.state.lock().pdeath_signal = 0;
        }
        *self.cred.write() = Arc::new(new);
        self.update_local_answers();
    }

    /// Tells the engine what it may answer itself; call it when ids, credentials or filters change.
    pub fn update_local_answers(&self) {
        let cred = self.cred();
        let ids = &cred.user_ns;
        self.has_filters.set(self.filtered());
        let answers = LocalAnswers {
            enabled: !self.kernel.config.strace
                && self.filters_spare_engine()
                && !self.traced()
                && self.user_dispatch.get().is_none(),
            pid: self.own_tgid(),
            tid: self.own_tid(),
            // The parent may change at any time.
            ppid: 0,
            uid: ids.shown_uid(cred.uid),
            euid: ids.shown_uid(cred.euid),
            gid: ids.shown_gid(cred.gid),
            egid: ids.shown_gid(cred.egid),
            private_futex: false,
        };
        let processors = crate::syscall::processors_of(self);
        let mut context = self.context.borrow_mut();
        context.set_local_answers(&answers);
        context.set_processors(processors);
    }

    /// Whether the engine may answer calls itself as far as filters are concerned: they allow all such calls anyway.
    fn filters_spare_engine(&self) -> bool {
        let filters = self.seccomp.lock();
        let allow = |filters: &Arc<Seccomp>| ANSWERED_BY_ENGINE.iter().all(|nr| filters.always_allows(*nr));
        filters.as_ref().is_none_or(allow)
    }

    /// Serves the leader's place from now on: the same thread under the id of the process.
    pub(super) fn become_leader(mut self) -> CurrentTask {
        self.take_over.set(false);
        let old = self.task.clone();
        let leader = old.with_id(old.tgid());
        let interrupter = old.interrupter.lock().take();
        *leader.interrupter.lock() = interrupter;
        {
            let mut table = old.kernel.pids.write();
            table.tasks.remove(&old.tid);
            table.tasks.insert(leader.tid, leader.clone());
            for tracees in table.tracees.values_mut() {
                if tracees.remove(&old.tid) {
                    tracees.insert(leader.tid);
                }
            }
            if let Some(GroupEntry {
                tasks, leader: place, ..
            }) = table.groups.get_mut(&leader.tid)
            {
                tasks.clear();
                tasks.insert(leader.tid);
                *place = leader.clone();
            }
            let mut signals = old.group.signals.lock();
            signals.threads.clear();
            signals.threads.push(leader.clone());
            signals.exec_by = None;
            signals.leader_exit = None;
            let own = std::mem::take(&mut *old.signals.lock_nested());
            *leader.signals.lock_nested() = own;
        }
        // What was sent to the old task in between.
        leader.attention.store(true, std::sync::atomic::Ordering::SeqCst);
        CURRENT.set(Some(leader.clone()));
        self.task = leader;
        self.update_local_answers();
        self
    }
}

impl Deref for CurrentTask {
    type Target = Task;
    fn deref(&self) -> &Task {
        &self.task
    }
}

impl Drop for CurrentTask {
    fn drop(&mut self) {
        *self.task.interrupter.lock() = None;
        CURRENT.set(None);
    }
}
