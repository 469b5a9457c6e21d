//! Who may look into another task (ptrace(2), "Ptrace access mode checking").

use std::sync::Arc;

use super::Task;
use crate::cred::Caps;

impl Task {
    /// Whether this task may read and change `target`: its own process, or the same user and a dumpable program, or
    /// CAP_SYS_PTRACE.
    pub fn may_access(&self, target: &Task) -> bool {
        if self.tgid() == target.tgid() {
            return true;
        }
        let (mine, theirs) = (self.cred(), target.cred());
        let (dumpable, program_ns) = {
            let state = target.group.state.lock();
            (state.dumpable, state.program_ns.clone())
        };
        if !dumpable && !mine.has_in(&program_ns, Caps::SYS_PTRACE) {
            return false;
        }
        if mine.has_in(&theirs.user_ns, Caps::SYS_PTRACE) {
            return true;
        }
        let same_user = [theirs.uid, theirs.euid, theirs.suid]
            .iter()
            .all(|uid| *uid == mine.fsuid);
        let same_group = [theirs.gid, theirs.egid, theirs.sgid]
            .iter()
            .all(|gid| *gid == mine.fsgid);
        // Capabilities in another namespace cannot be compared.
        same_user && same_group && mine.user_ns == theirs.user_ns && mine.permitted.contains(theirs.permitted)
    }

    /// Whether somebody could use what this task gains by a set-user-ID program, or turn the program: a tracer without
    /// CAP_SYS_PTRACE, or another process with the same root and working directory (Linux's LSM_UNSAFE_PTRACE and _SHARE).
    /// CAP_SETUID could become the other user anyway.
    pub fn is_watched(&self) -> bool {
        !self.cred().has_own(Caps::SETUID) && self.has_watchers()
    }

    /// The same whatever the task may do itself.
    pub fn has_watchers(&self) -> bool {
        if self.trace.lock().as_ref().is_some_and(|trace| !trace.capable) {
            return true;
        }
        let fs = self.fs();
        // Alone: the task's reference and the one above.
        if Arc::strong_count(&fs) <= 2 {
            return false;
        }
        let others: Vec<Arc<Task>> = {
            let table = self.kernel.pids.read();
            let foreign = |task: &&Arc<Task>| task.tgid() != self.tgid();
            table.tasks.values().filter(foreign).cloned().collect()
        };
        others.iter().any(|other| Arc::ptr_eq(&other.fs(), &fs))
    }
}
