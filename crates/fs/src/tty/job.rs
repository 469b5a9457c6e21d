//! Job control: which process group may use a terminal, and what happens to the others.

use std::sync::Arc;

use abi::Errno;
use kernel::Kernel;
use kernel::cred::Caps;
use kernel::signal::{SigInfo, Signal, send_to_group, send_to_pgrp};
use kernel::task::{Task, current};

use super::Tty;
use super::ldisc::Raised;

/// SIGHUP.
const SIGHUP: Signal = 1;
/// SIGINT.
const SIGINT: Signal = 2;
/// SIGQUIT.
const SIGQUIT: Signal = 3;
/// SIGCONT.
const SIGCONT: Signal = 18;
/// SIGTSTP.
const SIGTSTP: Signal = 20;
/// SIGTTIN.
pub const SIGTTIN: Signal = 21;
/// SIGTTOU.
pub const SIGTTOU: Signal = 22;
/// SIGWINCH.
const SIGWINCH: Signal = 28;

impl Tty {
    /// Sends a signal that was typed.
    pub(super) fn signal(&self, foreground: u32, raised: Raised) {
        let signal = match raised {
            Raised::Interrupt => SIGINT,
            Raised::Quit => SIGQUIT,
            Raised::Suspend => SIGTSTP,
        };
        self.signal_group(foreground, signal);
    }

    fn signal_group(&self, pgrp: u32, signal: Signal) {
        if pgrp != 0
            && let Ok(kernel) = self.kernel()
        {
            send_to_pgrp(&kernel, pgrp, SigInfo::kernel(signal));
        }
    }

    /// Tells the foreground group that the window's size changed.
    pub(super) fn signal_window(&self) {
        let foreground = self.lock().foreground;
        self.signal_group(foreground, SIGWINCH);
    }

    /// Whether the calling process may read (SIGTTIN) or change (SIGTTOU) the terminal now. A background process is
    /// sent the signal with its group and told `ERESTARTSYS`; `EIO` when the signal could not stop it.
    pub(super) fn check_job(&self, signal: Signal) -> Result<(), Errno> {
        let Some(task) = current() else {
            return Ok(());
        };
        let (pgrp, orphaned) = {
            let pids = task.kernel.pids.read();
            let Some((pgrp, session)) = pids.pgrp_and_session(task.tgid()) else {
                return Ok(());
            };
            let state = self.lock();
            let foreign = state.session == 0 || state.session != session;
            if foreign || state.foreground == 0 || state.foreground == pgrp {
                return Ok(());
            }
            drop(state);
            (pgrp, pids.pgrp_is_orphaned(pgrp, None))
        };
        if is_ignored(&task, signal) {
            return if signal == SIGTTIN {
                Err(Errno::EIO)
            } else {
                Ok(())
            };
        }
        if orphaned {
            return Err(Errno::EIO);
        }
        send_to_pgrp(&task.kernel, pgrp, SigInfo::kernel(signal));
        Err(Errno::ERESTARTSYS)
    }

    /// Whether this terminal controls the session of the calling process.
    pub(super) fn controls(&self, task: &Task) -> bool {
        let session = task.kernel.pids.read().pgrp_and_session(task.tgid());
        let own = self.lock().session;
        own != 0 && session.is_some_and(|(_, session)| session == own)
    }

    /// open(2) without O_NOCTTY: a session leader without a terminal gets this one, when it controls nobody yet.
    pub(super) fn control_on_open(self: &Arc<Self>) {
        if let Some(task) = current() {
            let _ = self.control(&task, false);
        }
    }

    /// Makes this the terminal of the task's session (TIOCSCTTY). `EPERM` unless the process leads a session without
    /// a terminal and this one controls none; with `steal`, CAP_SYS_ADMIN takes it from another session.
    pub(super) fn control(self: &Arc<Self>, task: &Task, steal: bool) -> Result<(), Errno> {
        let mut pids = task.kernel.pids.write();
        let (pgrp, session) = pids.pgrp_and_session(task.tgid()).ok_or(Errno::EPERM)?;
        let mut state = self.lock();
        let leads = session == task.tgid();
        if leads && state.session == session {
            return Ok(());
        }
        if !leads || pids.terminals.contains_key(&session) {
            return Err(Errno::EPERM);
        }
        if state.session != 0 {
            if !(steal && task.cred().has(Caps::SYS_ADMIN)) {
                return Err(Errno::EPERM);
            }
            pids.clear_terminal(state.session);
        }
        pids.set_terminal(session, self.clone())?;
        (state.session, state.foreground) = (session, pgrp);
        Ok(())
    }

    /// TIOCNOTTY: a leader gives the terminal up for its session. Other processes keep it until they leave the session.
    pub(super) fn give_up(&self, task: &Task) -> Result<(), Errno> {
        if !self.controls(task) {
            return Err(Errno::ENOTTY);
        }
        let foreground = {
            let mut pids = task.kernel.pids.write();
            let (_, session) = pids.pgrp_and_session(task.tgid()).ok_or(Errno::ENOTTY)?;
            if session != task.tgid() {
                return Ok(());
            }
            pids.clear_terminal(session);
            let mut state = self.lock();
            state.session = 0;
            std::mem::take(&mut state.foreground)
        };
        self.signal_group(foreground, SIGHUP);
        self.signal_group(foreground, SIGCONT);
        Ok(())
    }

    /// TIOCSPGRP.
    pub(super) fn set_foreground(&self, task: &Task, pgrp: i32) -> Result<(), Errno> {
        let pgrp = task.kernel_pid(u32::try_from(pgrp).map_err(|_| Errno::EINVAL)?)?;
        let pids = task.kernel.pids.read();
        let (_, session) = pids.pgrp_and_session(task.tgid()).ok_or(Errno::ENOTTY)?;
        let mut state = self.lock();
        if state.session == 0 || state.session != session {
            return Err(Errno::ENOTTY);
        }
        let mut members = pids.groups.values().filter(|entry| entry.pgrp == pgrp);
        let member = members.next().ok_or(Errno::ESRCH)?;
        if member.session != session {
            return Err(Errno::EPERM);
        }
        state.foreground = pgrp;
        Ok(())
    }
}

/// Whether the task ignores or blocks the signal.
fn is_ignored(task: &Task, signal: Signal) -> bool {
    if task.signals.lock().blocked.has(signal) {
        return true;
    }
    let actions = task.group.actions.lock().clone();
    let actions = actions.lock();
    let action = actions.get(signal as usize - 1);
    action.is_some_and(|action| action.handler == 1)
}

/// The terminal of a session is gone: its leader and the foreground group get SIGHUP and SIGCONT.
pub(super) fn session_hung_up(kernel: &Arc<Kernel>, session: u32, foreground: u32) {
    if session == 0 {
        return;
    }
    let leader = {
        let mut pids = kernel.pids.write();
        pids.clear_terminal(session);
        pids.group(session).map(|entry| (entry.group.clone(), entry.pgrp))
    };
    if let Some((leader, pgrp)) = leader
        && pgrp != foreground
    {
        send_to_group(&leader, SigInfo::kernel(SIGHUP));
        send_to_group(&leader, SigInfo::kernel(SIGCONT));
    }
    if foreground != 0 {
        send_to_pgrp(kernel, foreground, SigInfo::kernel(SIGHUP));
        send_to_pgrp(kernel, foreground, SigInfo::kernel(SIGCONT));
    }
}
