//! The first process: making it, its end, and what the embedding program asks of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use abi::Errno;
use sync::{Events, Mutex, WaitQueue, Waiter, rank};

use super::{GroupEntry, Rlimits, Task, ThreadGroup};
use crate::Kernel;
use crate::cred::Credentials;
use crate::file::FdTable;
use crate::mm::Mm;
use crate::signal::{SigInfo, Signal, send_to_group};
use crate::vfs::FsContext;

/// Longest wait for the other processes' end after the first one's. They were killed; only a stuck host call delays them.
const REAP_TIME: Duration = Duration::from_secs(3);

/// The sandbox's life: whether its first process has ended, and how; the same for processes that came in from outside.
pub struct Lifecycle {
    status: Mutex<Option<i32>>,
    /// Wait statuses of the processes made by [`create_entered`], by process id; `None` while they live.
    entered: Mutex<BTreeMap<u32, Option<i32>>>,
    ended: WaitQueue,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Lifecycle {
            status: Mutex::new(rank::LEAF, None),
            entered: Mutex::new(rank::LEAF, BTreeMap::new()),
            ended: WaitQueue::new(),
        }
    }
}

/// What the first process starts with.
pub struct InitTask {
    /// Its address space.
    pub mm: Arc<Mm>,
    /// Its descriptors.
    pub files: Arc<FdTable>,
    /// Its root and working directory.
    pub fs: Arc<FsContext>,
    /// Its credentials.
    pub cred: Arc<Credentials>,
    /// Its name.
    pub comm: Vec<u8>,
    /// Its resource limits.
    pub rlimits: Rlimits,
    /// Whether it has the protection that Linux gives a pid namespace's first process: signals with default action
    /// from inside do nothing. Signals of the kernel, terminals and the runtime act always.
    pub protected: bool,
}

/// Makes the first process (pid 1, leader of session 1) and enters it into the process table; the caller then gives
/// it a context and [`super::spawn`]s it. `EEXIST` when there is one.
pub fn create_init(kernel: &Arc<Kernel>, init: InitTask) -> Result<Arc<Task>, Errno> {
    let mut table = kernel.pids.write();
    if table.groups.contains_key(&1) {
        return Err(Errno::EEXIST);
    }
    let task = enter(kernel, &mut table, 1, init);
    table.last_pid = 1;
    Ok(task)
}

/// Makes a process that the runtime brings into a running sandbox: a session of its own, no parent inside (as after
/// setns(2) of a pid namespace). `ESRCH` when the first process has ended, `EAGAIN` when there are too many.
/// [`Kernel::wait_entered`] is to be called once for it.
pub fn create_entered(kernel: &Arc<Kernel>, init: InitTask) -> Result<Arc<Task>, Errno> {
    let mut table = kernel.pids.write();
    let living = table.groups.get(&1).is_some_and(|first| first.zombie.is_none());
    if !living || kernel.init_status().is_some() {
        return Err(Errno::ESRCH);
    }
    if table.groups.len() >= super::PROCESSES_MAX {
        return Err(Errno::EAGAIN);
    }
    let pid = table.allocate()?;
    kernel.lifecycle.entered.lock().insert(pid, None);
    Ok(enter(kernel, &mut table, pid, init))
}

/// A process without a parent, in the table.
fn enter(kernel: &Arc<Kernel>, table: &mut super::PidTable, pid: u32, init: InitTask) -> Arc<Task> {
    let group = ThreadGroup::new(pid, init.rlimits);
    let shared = (Some(init.mm), init.files, init.fs);
    let task = Task::new(kernel, pid, &group, shared, init.cred, init.comm);
    task.state.lock().affinity = u64::MAX;
    {
        let mut signals = group.signals.lock();
        signals.threads.push(task.clone());
        signals.protected = init.protected;
    }
    let entry = GroupEntry {
        group,
        leader: task.clone(),
        parent: 0,
        children: BTreeSet::new(),
        pgrp: pid,
        session: pid,
        tasks: BTreeSet::from([pid]),
        exit_signal: abi::signal::SIGCHLD,
        zombie: None,
    };
    table.groups.insert(pid, entry);
    table.tasks.insert(pid, task.clone());
    task
}

impl Kernel {
    /// Waits for the end of the first process (and of all others, which end with it); returns its wait status.
    pub fn wait_init(&self) -> i32 {
        let waiter = Arc::new(Waiter::default());
        let id = self.lifecycle.ended.add(waiter.clone(), 0, Events::READABLE);
        let status = loop {
            if let Some(status) = *self.lifecycle.status.lock() {
                break status;
            }
            waiter.wait(None);
        };
        self.lifecycle.ended.remove(id);
        status
    }

    /// The first process's wait status once it has ended.
    pub fn init_status(&self) -> Option<i32> {
        *self.lifecycle.status.lock()
    }

    /// Waits for the end of a process made by [`create_entered`]; returns its wait status, and forgets it.
    pub fn wait_entered(&self, pid: u32) -> Option<i32> {
        let waiter = Arc::new(Waiter::default());
        let id = self.lifecycle.ended.add(waiter.clone(), 0, Events::READABLE);
        let status = loop {
            let mut entered = self.lifecycle.entered.lock();
            match entered.get(&pid) {
                None => break None,
                Some(Some(_)) => break entered.remove(&pid).flatten(),
                Some(None) => {}
            }
            drop(entered);
            waiter.wait(None);
        };
        self.lifecycle.ended.remove(id);
        status
    }

    /// Takes back a process made by [`create_entered`] that was never started.
    pub fn forget_entered(&self, pid: u32) {
        self.lifecycle.entered.lock().remove(&pid);
    }

    /// Sends a signal from outside to one process. `ESRCH` when there is no such process.
    pub fn signal_process(&self, pid: u32, signal: Signal) -> Result<(), Errno> {
        let group = self.pids.read().group(pid).map(|entry| entry.group.clone());
        send_to_group(&group.ok_or(Errno::ESRCH)?, SigInfo::kernel(signal));
        Ok(())
    }

    /// Sends a signal from outside to every process.
    pub fn signal_all(&self, signal: Signal) {
        let groups: Vec<_> = self
            .pids
            .read()
            .groups
            .values()
            .map(|entry| entry.group.clone())
            .collect();
        for group in groups {
            send_to_group(&group, SigInfo::kernel(signal));
        }
    }

    /// Sends a signal from outside to the first process: it acts as on any other process. Nothing after its end.
    pub fn signal_init(&self, signal: Signal) {
        let group = self.pids.read().group(1).map(|entry| entry.group.clone());
        if let Some(group) = group {
            send_to_group(&group, SigInfo::kernel(signal));
        }
    }

    /// Ends the sandbox at once: [`Kernel::wait_init`] returns `status`, every process is killed.
    pub fn abort(&self, status: i32) {
        self.finish(status);
        self.kill_all_but(0);
    }

    fn finish(&self, status: i32) {
        self.lifecycle.status.lock().get_or_insert(status);
        self.lifecycle.ended.wake(Events::READABLE);
    }

    /// A process has ended: whoever waits for it from outside is told.
    pub(super) fn entered_ended(&self, pid: u32, status: i32) {
        let mut entered = self.lifecycle.entered.lock();
        if let Some(slot) = entered.get_mut(&pid) {
            *slot = Some(status);
            drop(entered);
            self.lifecycle.ended.wake(Events::READABLE);
        }
    }

    /// SIGKILL to every process but one.
    fn kill_all_but(&self, spared: u32) {
        let groups: Vec<Arc<ThreadGroup>> = {
            let table = self.pids.read();
            let others = table.groups.iter().filter(|(pid, _)| **pid != spared);
            others.map(|(_, entry)| entry.group.clone()).collect()
        };
        for group in groups {
            send_to_group(&group, SigInfo::kernel(abi::signal::SIGKILL));
        }
    }

    /// The first process has ended: everything else is killed and, for a bounded time, waited for.
    pub(super) fn init_ended(&self, status: i32) {
        let deadline = Instant::now() + REAP_TIME;
        let waiter = Arc::new(Waiter::default());
        let id = self.task_ended.add(waiter.clone(), 0, Events::READABLE);
        loop {
            // Again in each round: a fork may have been under way.
            self.kill_all_but(1);
            if self.pids.read().tasks.is_empty() || Instant::now() >= deadline {
                break;
            }
            waiter.wait(Some(deadline.min(Instant::now() + Duration::from_millis(50))));
        }
        self.task_ended.remove(id);
        self.finish(status);
    }
}

impl Task {
    /// Whether the task runs no more guest code.
    pub fn has_exited(&self) -> bool {
        matches!(
            u8::try_from(self.run_state.load(Ordering::Relaxed)),
            Ok(b'Z' | b'X')
        )
    }
}
