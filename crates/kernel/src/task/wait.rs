//! Waiting for children: wait4(2) and waitid(2).

use abi::Errno;
use abi::signal::{SIGCHLD, SIGCONT};
use bitflags::bitflags;

use super::exit::exit_code;
use super::{CurrentTask, GroupEntry, PidTable};
use crate::signal::ChildEvent;

/// Which children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// Any.
    Any,
    /// The one with this process id.
    Pid(u32),
    /// Those of this process group.
    Pgrp(u32),
}

bitflags! {
    /// Options; the numbers of waitid(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WaitOptions: u32 {
        /// WNOHANG.
        const NOHANG = 1;
        /// WUNTRACED, WSTOPPED.
        const STOPPED = 2;
        /// WEXITED.
        const EXITED = 4;
        /// WCONTINUED.
        const CONTINUED = 8;
        /// WNOWAIT.
        const NOWAIT = 0x0100_0000;
        /// __WNOTHREAD.
        const NOTHREAD = 0x2000_0000;
        /// __WALL.
        const ALL = 0x4000_0000;
        /// __WCLONE.
        const CLONE = 0x8000_0000;
    }
}

/// What wait found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// The child.
    pub pid: u32,
    /// Its real user id.
    pub uid: u32,
    /// The status as wait4(2) stores it.
    pub status: i32,
    /// CLD_ code.
    pub code: i32,
    /// si_status.
    pub value: i32,
    /// CPU time of the child and its waited-for children: user, system, nanoseconds.
    pub cpu_ns: (u64, u64),
}

impl CurrentTask {
    /// Waits for a change of a child. `None` with NOHANG when there is nothing to tell yet; `ECHILD` without a child to
    /// wait for.
    pub fn wait_child(&self, which: WaitFor, options: WaitOptions) -> Result<Option<Waited>, Errno> {
        let scan = || self.scan_children(which, options);
        let result = if options.contains(WaitOptions::NOHANG) {
            scan()
        } else {
            self.wait_on(&self.group.child_events, None, scan)
        };
        match result {
            Ok(found) => Ok(Some(found)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One look at the children. `EAGAIN`: nothing to tell yet.
    fn scan_children(&self, which: WaitFor, options: WaitOptions) -> Result<Waited, Errno> {
        let mut table = self.kernel.pids.write();
        let children = match table.groups.get(&self.tgid()) {
            Some(entry) => entry.children.clone(),
            None => return Err(Errno::ECHILD),
        };
        let mut eligible = false;
        for pid in children {
            let Some(entry) = table.groups.get(&pid) else {
                continue;
            };
            if !matches(entry, pid, which, options) {
                continue;
            }
            eligible = true;
            let Some(found) = report(entry, pid, options) else {
                continue;
            };
            if entry.zombie.is_some() && !options.contains(WaitOptions::NOWAIT) {
                table.forget(pid);
                let mut state = self.group.state.lock();
                state.children_ns.0 = state.children_ns.0.saturating_add(found.cpu_ns.0);
                state.children_ns.1 = state.children_ns.1.saturating_add(found.cpu_ns.1);
            }
            return Ok(found);
        }
        match self.scan_tracees(&mut table, which, options) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(_) => eligible = true,
        }
        Err(if eligible { Errno::EAGAIN } else { Errno::ECHILD })
    }
}

impl CurrentTask {
    /// Looks at traced tasks: their stops and ends. `EAGAIN`: there are some, with nothing to tell.
    fn scan_tracees(
        &self,
        table: &mut PidTable,
        which: WaitFor,
        options: WaitOptions,
    ) -> Result<Option<Waited>, Errno> {
        let mut eligible = false;
        let keep = options.contains(WaitOptions::NOWAIT);
        let chosen = |tid: u32, tgid: u32, table: &PidTable| match which {
            WaitFor::Any => true,
            WaitFor::Pid(wanted) => tid == wanted,
            WaitFor::Pgrp(wanted) => table.groups.get(&tgid).is_some_and(|entry| entry.pgrp == wanted),
        };
        let tids: Vec<u32> = table
            .tracees
            .get(&self.tgid())
            .into_iter()
            .flatten()
            .copied()
            .collect();
        for task in tids.iter().filter_map(|tid| table.task(*tid)) {
            if !chosen(task.tid, task.tgid(), table) {
                continue;
            }
            eligible = true;
            let mut slot = task.trace.lock();
            let Some(stop) = slot.as_mut().and_then(|trace| trace.stop.as_mut()) else {
                continue;
            };
            if stop.reported || stop.resumed.is_some() {
                continue;
            }
            stop.reported = !keep;
            let code = stop.code;
            drop(slot);
            return Ok(Some(Waited {
                pid: task.tid,
                uid: task.cred().uid,
                status: code << 8 | 0x7f,
                code: abi::signal::CLD_TRAPPED,
                value: code,
                cpu_ns: task.cpu_ns(),
            }));
        }
        let own = self.tgid();
        let ended = table
            .traced_exits
            .iter()
            .find(|(tid, exit)| exit.tracer == own && chosen(**tid, **tid, table));
        if let Some((tid, exit)) = ended.map(|(tid, exit)| (*tid, *exit)) {
            if options.contains(WaitOptions::EXITED) {
                if !keep {
                    table.traced_exits.remove(&tid);
                }
                let (code, value) = exit_code(exit.status);
                return Ok(Some(Waited {
                    pid: tid,
                    uid: exit.uid,
                    status: exit.status,
                    code,
                    value,
                    cpu_ns: (0, 0),
                }));
            }
            eligible = true;
        }
        if eligible { Err(Errno::EAGAIN) } else { Ok(None) }
    }
}

fn matches(entry: &GroupEntry, pid: u32, which: WaitFor, options: WaitOptions) -> bool {
    let chosen = match which {
        WaitFor::Any => true,
        WaitFor::Pid(wanted) => pid == wanted,
        WaitFor::Pgrp(wanted) => entry.pgrp == wanted,
    };
    let clone_child = entry.exit_signal != SIGCHLD;
    chosen && (options.contains(WaitOptions::ALL) || clone_child == options.contains(WaitOptions::CLONE))
}

/// What there is to tell of a child under these options; takes stop and continue events unless NOWAIT.
fn report(entry: &GroupEntry, pid: u32, options: WaitOptions) -> Option<Waited> {
    let uid = entry.leader.cred().uid;
    let base = Waited {
        pid,
        uid,
        ..Waited::default()
    };
    if let Some(status) = entry.zombie {
        if !options.contains(WaitOptions::EXITED) {
            return None;
        }
        let (code, value) = exit_code(status);
        let state = entry.group.state.lock();
        let cpu_ns = (
            state.exited_ns.0.saturating_add(state.children_ns.0),
            state.exited_ns.1.saturating_add(state.children_ns.1),
        );
        return Some(Waited {
            status,
            code,
            value,
            cpu_ns,
            ..base
        });
    }
    let mut signals = entry.group.signals.lock();
    let found = match signals.child_event? {
        ChildEvent::Stopped(signal) if options.contains(WaitOptions::STOPPED) => Waited {
            status: (signal as i32) << 8 | 0x7f,
            code: abi::signal::CLD_STOPPED,
            value: signal as i32,
            ..base
        },
        ChildEvent::Continued if options.contains(WaitOptions::CONTINUED) => Waited {
            status: 0xffff,
            code: abi::signal::CLD_CONTINUED,
            value: SIGCONT as i32,
            ..base
        },
        _ => return None,
    };
    if !options.contains(WaitOptions::NOWAIT) {
        signals.child_event = None;
    }
    drop(signals);
    Some(Waited {
        cpu_ns: entry.group.cpu_ns(),
        ..found
    })
}
