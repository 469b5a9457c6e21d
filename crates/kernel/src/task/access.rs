//! Who may look into another task (ptrace(2), "Ptrace access mode checking").

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
        if mine.has(Caps::SYS_PTRACE) {
            return true;
        }
        let same_user = [theirs.uid, theirs.euid, theirs.suid]
            .iter()
            .all(|uid| *uid == mine.fsuid);
        let same_group = [theirs.gid, theirs.egid, theirs.sgid]
            .iter()
            .all(|gid| *gid == mine.fsgid);
        same_user
            && same_group
            && target.group.state.lock().dumpable
            && mine.permitted.contains(theirs.permitted)
    }
}
