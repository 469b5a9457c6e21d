//! The process table: every relation between processes, as plain data keyed by ids, under one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use abi::Errno;

use super::ptrace::TracedExit;
use super::{ControllingTerminal, PidNs, Task, ThreadGroup};

/// Largest process id plus one (/proc/sys/kernel/pid_max).
pub const PID_MAX: u32 = 32_768;
/// Ids below are not given out again after the first round, as in Linux.
const RESERVED_PIDS: u32 = 300;
/// Most tasks of a sandbox. Each costs a host thread in the guest's process, one in the sentry, and a few host
/// mappings of the sentry, of which the host allows 65,530 by default.
pub const TASKS_MAX: usize = 15_000;
/// Most processes, zombies included: each takes a few of the sentry's host descriptors and a process of the host.
pub const PROCESSES_MAX: usize = 4_000;

/// A process in the table: alive or a zombie.
pub struct GroupEntry {
    /// The process.
    pub group: Arc<ThreadGroup>,
    /// Its first thread (after execve(2) the one that called it), kept also as a zombie: name, credentials, counters.
    pub leader: Arc<Task>,
    /// Its parent's process id; 0 for the first process.
    pub parent: u32,
    /// Its children's process ids, zombies included.
    pub children: BTreeSet<u32>,
    /// Process group id.
    pub pgrp: u32,
    /// Session id.
    pub session: u32,
    /// Its living threads.
    pub tasks: BTreeSet<u32>,
    /// Signal sent to the parent at exit (clone(2)); 0 for none.
    pub exit_signal: u32,
    /// A zombie's wait status.
    pub zombie: Option<i32>,
}

/// All processes and threads (Linux's tasklist under tasklist_lock).
#[derive(Default)]
pub struct PidTable {
    /// Living tasks by thread id.
    pub tasks: BTreeMap<u32, Arc<Task>>,
    /// Processes by id, zombies included.
    pub groups: BTreeMap<u32, GroupEntry>,
    /// The id given last.
    pub last_pid: u32,
    /// Traced tasks by the id of the tracing process.
    pub tracees: BTreeMap<u32, BTreeSet<u32>>,
    /// Traced tasks that have ended, until their tracers wait for them.
    pub traced_exits: BTreeMap<u32, TracedExit>,
    /// Controlling terminals by session.
    pub terminals: BTreeMap<u32, Arc<dyn ControllingTerminal>>,
    /// Pid namespaces beside the first.
    pub(super) namespaces: Vec<Weak<PidNs>>,
}

impl PidTable {
    /// The task with this thread id.
    pub fn task(&self, tid: u32) -> Option<Arc<Task>> {
        self.tasks.get(&tid).cloned()
    }

    /// The process with this id.
    pub fn group(&self, pid: u32) -> Option<&GroupEntry> {
        self.groups.get(&pid)
    }

    /// The living task with this id, or the leader of the zombie with this id.
    pub fn task_or_zombie(&self, tid: u32) -> Option<Arc<Task>> {
        self.task(tid)
            .or_else(|| self.groups.get(&tid).map(|entry| entry.leader.clone()))
    }

    /// The processes of a process group.
    pub fn pgrp_members(&self, pgrp: u32) -> Vec<Arc<ThreadGroup>> {
        self.groups
            .values()
            .filter(|entry| entry.pgrp == pgrp)
            .map(|entry| entry.group.clone())
            .collect()
    }

    /// Process group and session of a process.
    pub fn pgrp_and_session(&self, pid: u32) -> Option<(u32, u32)> {
        self.groups.get(&pid).map(|entry| (entry.pgrp, entry.session))
    }

    pub(super) fn in_use(&self, id: u32) -> bool {
        self.tasks.contains_key(&id)
            || self.traced_exits.contains_key(&id)
            || self.groups.contains_key(&id)
            || self
                .groups
                .values()
                .any(|entry| entry.pgrp == id || entry.session == id)
    }

    /// Tasks, with the processes that have ended but were not waited for, as a control group counts them.
    pub fn count(&self) -> usize {
        self.tasks.len()
            + self
                .groups
                .values()
                .filter(|entry| entry.zombie.is_some())
                .count()
    }

    /// A free id. `EAGAIN` when the sandbox has all the tasks it may have.
    pub(super) fn allocate(&mut self) -> Result<u32, Errno> {
        if self.tasks.len() + self.groups.len() >= 2 * TASKS_MAX || self.tasks.len() >= TASKS_MAX {
            return Err(Errno::EAGAIN);
        }
        for _ in 0..PID_MAX {
            let next = self.last_pid + 1;
            self.last_pid = if next >= PID_MAX { RESERVED_PIDS } else { next };
            if !self.in_use(self.last_pid) {
                let id = self.last_pid;
                self.given(id);
                return Ok(id);
            }
        }
        Err(Errno::EAGAIN)
    }

    /// An id is given out again: no namespace may take it for the task that had it before.
    fn given(&mut self, id: u32) {
        self.namespaces.retain(|ns| match ns.upgrade() {
            Some(ns) => {
                ns.leave(id);
                true
            }
            None => false,
        });
    }

    /// A free id, which has a number in `ns` and those around it; `wanted` are the numbers asked for (clone3's set_tid),
    /// innermost first.
    pub(super) fn allocate_in(&mut self, ns: &Arc<PidNs>, wanted: &[u32]) -> Result<u32, Errno> {
        let mut inner = wanted.len();
        let id = match ns.numbers_up_to(&PidNs::first(), 0).len() {
            levels if levels == inner => {
                inner -= 1;
                self.reserve(wanted.last().copied().unwrap_or(0))?
            }
            _ => self.allocate()?,
        };
        if ns.is_first() {
            return Ok(id);
        }
        if !self
            .namespaces
            .iter()
            .any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(ns)))
        {
            self.namespaces.push(Arc::downgrade(ns));
        }
        ns.enter(self, id, wanted.get(..inner).unwrap_or_default())?;
        Ok(id)
    }

    /// Takes a certain free id (clone3's set_tid). `EEXIST` when it is in use.
    pub(super) fn reserve(&mut self, wanted: u32) -> Result<u32, Errno> {
        if self.tasks.len() >= TASKS_MAX {
            return Err(Errno::EAGAIN);
        }
        if wanted == 0 || wanted >= PID_MAX {
            return Err(Errno::EINVAL);
        }
        if self.in_use(wanted) {
            return Err(Errno::EEXIST);
        }
        self.given(wanted);
        Ok(wanted)
    }

    /// Whether no member of the process group has a parent in another group of the same session: nobody could
    /// continue it after a stop from the terminal. `without`: this process does not count (it is exiting).
    pub fn pgrp_is_orphaned(&self, pgrp: u32, without: Option<u32>) -> bool {
        !self.groups.iter().any(|(pid, entry)| {
            entry.pgrp == pgrp
                && entry.zombie.is_none()
                && Some(*pid) != without
                && self.groups.get(&entry.parent).is_some_and(|parent| {
                    parent.pgrp != pgrp && parent.session == entry.session && entry.parent != 0
                })
        })
    }

    /// Whether the process belongs to an orphaned process group.
    pub fn pgrp_is_orphaned_of(&self, pid: u32) -> bool {
        self.groups
            .get(&pid)
            .is_none_or(|entry| self.pgrp_is_orphaned(entry.pgrp, None))
    }
}
