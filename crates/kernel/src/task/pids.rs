//! The process table: every relation between processes, as plain data keyed by ids, under one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Task, ThreadGroup};

/// A process in the table: alive or a zombie.
pub struct GroupEntry {
    /// The process.
    pub group: Arc<ThreadGroup>,
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
    /// Signal sent to the parent at exit (clone(2)).
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

    /// The processes of a process group.
    pub fn pgrp_members(&self, pgrp: u32) -> Vec<Arc<ThreadGroup>> {
        self.groups
            .values()
            .filter(|entry| entry.pgrp == pgrp)
            .map(|entry| entry.group.clone())
            .collect()
    }
}
