//! Sessions, process groups and the terminal that controls a session (credentials(7), setsid(2), setpgid(2)).

use std::sync::Arc;

use abi::Errno;

use super::{CurrentTask, PidTable};

/// A terminal as the process table sees it. The terminal keeps its foreground process group itself.
///
/// Called with the process table locked where it says so; then it must not take that lock.
pub trait ControllingTerminal: Send + Sync {
    /// Its device number (st_rdev): tty_nr of /proc/PID/stat.
    fn device(&self) -> u64;
    /// Its foreground process group; 0 when it has none. Called with the table locked.
    fn foreground(&self) -> u32;
    /// The session's leader has exited or gave the terminal up: it controls no session any more.
    /// SIGHUP and SIGCONT to the foreground group are sent by the caller.
    fn disassociate(&self);
}

impl PidTable {
    /// The terminal that controls the session of this process.
    pub fn terminal_of(&self, pid: u32) -> Option<Arc<dyn ControllingTerminal>> {
        let session = self.groups.get(&pid)?.session;
        self.terminals.get(&session).cloned()
    }

    /// Makes `terminal` the session's controlling terminal (TIOCSCTTY, open(2) without O_NOCTTY). The caller has checked
    /// that the process leads its session. `EPERM` when the session has one already.
    pub fn set_terminal(
        &mut self,
        session: u32,
        terminal: Arc<dyn ControllingTerminal>,
    ) -> Result<(), Errno> {
        if self.terminals.contains_key(&session) {
            return Err(Errno::EPERM);
        }
        self.terminals.insert(session, terminal);
        Ok(())
    }

    /// Takes the session's terminal away (TIOCNOTTY of the leader, hang-up).
    pub fn clear_terminal(&mut self, session: u32) -> Option<Arc<dyn ControllingTerminal>> {
        self.terminals.remove(&session)
    }

    /// setsid(2). `EPERM` when the process leads a process group already.
    pub(crate) fn setsid(&mut self, pid: u32) -> Result<u32, Errno> {
        let leads_group = self.groups.values().any(|entry| entry.pgrp == pid);
        let entry = self.groups.get_mut(&pid).ok_or(Errno::ESRCH)?;
        if leads_group || entry.session == pid {
            return Err(Errno::EPERM);
        }
        entry.session = pid;
        entry.pgrp = pid;
        Ok(pid)
    }

    /// setpgid(2) by process `caller`.
    pub(crate) fn setpgid(&mut self, caller: u32, pid: u32, pgid: u32) -> Result<(), Errno> {
        let session = self.groups.get(&caller).ok_or(Errno::ESRCH)?.session;
        let target = self.groups.get(&pid).ok_or(Errno::ESRCH)?;
        if target.parent == caller {
            if target.session != session {
                return Err(Errno::EPERM);
            }
            if target.group.state.lock().did_exec {
                return Err(Errno::EACCES);
            }
        } else if pid != caller {
            return Err(Errno::ESRCH);
        }
        if target.session == pid {
            return Err(Errno::EPERM);
        }
        let exists = |entry: &super::GroupEntry| entry.pgrp == pgid && entry.session == session;
        if pgid != pid && !self.groups.values().any(exists) {
            return Err(Errno::EPERM);
        }
        if let Some(entry) = self.groups.get_mut(&pid) {
            entry.pgrp = pgid;
        }
        Ok(())
    }
}

impl CurrentTask {
    /// Process group and session of the running process.
    pub fn pgrp_and_session(&self) -> (u32, u32) {
        let table = self.kernel.pids.read();
        table.pgrp_and_session(self.tgid()).unwrap_or((0, 0))
    }

    /// Whether the running process leads its session.
    pub fn is_session_leader(&self) -> bool {
        self.pgrp_and_session().1 == self.tgid()
    }

    /// Whether the running process's group is orphaned (terminal reads then answer `EIO` instead of SIGTTIN).
    pub fn in_orphaned_pgrp(&self) -> bool {
        self.kernel.pids.read().pgrp_is_orphaned_of(self.tgid())
    }
}
