//! The end of a thread and of a process: what it gives back, whom it tells, who inherits its children.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::signal::*;
use sync::Events;

use super::{CurrentTask, PidTable, Task, ThreadGroup};
use crate::file::FdTable;
use crate::signal::{SigInfo, send_to_group, send_to_task};

/// A terminal whose session has ended, and its foreground group's members.
type HangUp = (Arc<dyn super::ControllingTerminal>, Vec<Arc<ThreadGroup>>);

/// Signals to send once the process table is unlocked.
#[derive(Default)]
struct Outbox {
    groups: Vec<(Arc<ThreadGroup>, SigInfo)>,
    tasks: Vec<(Arc<Task>, SigInfo)>,
    wake: Vec<Arc<ThreadGroup>>,
    terminal: Option<HangUp>,
}

impl Outbox {
    fn send(self) {
        for (task, info) in self.tasks {
            send_to_task(&task, info);
        }
        for (group, info) in self.groups {
            send_to_group(&group, info);
        }
        for group in self.wake {
            group.child_events.wake(Events::all());
        }
        if let Some((terminal, foreground)) = self.terminal {
            for group in foreground {
                send_to_group(&group, SigInfo::kernel(SIGHUP));
                send_to_group(&group, SigInfo::kernel(SIGCONT));
            }
            terminal.disassociate();
        }
    }
}

impl CurrentTask {
    /// exit_group(2), a fatal signal: decides the end of the whole process. The run loop ends this thread next.
    pub fn exit_group(&self, status: i32) {
        crate::signal::kill_all(&mut self.group.signals.lock(), status);
        self.attention.store(true, Ordering::SeqCst);
    }

    /// exit(2): this thread ends once the call returns to the run loop.
    pub fn end_thread(&self, status: i32) {
        self.exit_status.set(Some(status));
    }

    /// Ends this thread with `status`, and its process when it is the last. Consumes the guest thread.
    pub(super) fn exit(self, status: i32) {
        let task = self.task().clone();
        task.state.lock().exiting = true;
        self.update_cpu_time();
        self.release_mm();
        // The guest thread ends here, before its memory and files go.
        drop(self);
        task.release_files();
        // A supervisor must not wait for questions of those that have ended, though nobody has waited for them yet.
        let filters = task.seccomp.lock().take();
        drop(filters);
        // Dropped without the lock: what was mapped may be the last of an open file.
        let mm = task.mm.lock().take();
        drop(mm);
        task.run_state.store(u32::from(b'Z'), Ordering::Relaxed);
        let group_status = task.leave_group(status);
        task.leave_trace(group_status.unwrap_or(status));
        if group_status.is_some() {
            CurrentTask::end_pid_namespace(&task);
        }
        if let Some(status) = group_status {
            task.end_process(status);
        } else {
            let mut table = task.kernel.pids.write();
            table.tasks.remove(&task.tid);
            if let Some(entry) = table.groups.get_mut(&task.tgid()) {
                entry.tasks.remove(&task.tid);
            }
        }
        task.kernel.task_ended.wake(Events::READABLE);
        task.group.exit_events.wake(Events::all());
        match group_status {
            Some(status) if task.tgid() == 1 => task.kernel.init_ended(status),
            Some(status) => task.kernel.entered_ended(task.tgid(), status),
            None => {}
        }
    }

    /// Leaves the address space (exit, execve): robust futexes, the word of CLONE_CHILD_CLEARTID, a parent in vfork(2).
    pub(super) fn release_mm(&self) {
        self.end_rseq();
        crate::futex::exit_task(self);
        let _ = self.context.borrow_mut().flush();
        self.vfork_done();
    }

    /// The engine keeps the thread's rseq(2) area no longer: once others in the same memory hear that the thread is gone,
    /// they may use it for something else.
    pub(crate) fn end_rseq(&self) {
        let rseq = std::mem::take(&mut self.state.lock().rseq);
        // Beside the two references of this task.
        let shared = Arc::strong_count(&self.mm_ref()) > 3;
        if shared && !rseq.addr.is_null() {
            self.context.borrow_mut().set_rseq(None);
        }
    }

    /// Lets the parent go on that waits in vfork(2) for this task.
    pub(super) fn vfork_done(&self) {
        if std::mem::take(&mut self.state.lock().vfork) {
            self.group.exit_events.wake(Events::all());
        }
    }
}

impl Task {
    /// Gives up the descriptors; the last user closes them.
    fn release_files(&self) {
        let files = std::mem::replace(&mut *self.files.lock(), Arc::new(FdTable::default()));
        // Exactly one of several users that end at once gets the table.
        if let Some(table) = Arc::into_inner(files) {
            for entry in table.remove_where(|_, _| true) {
                // Nobody is left to hear of an error.
                let _ = crate::file::close(&self.kernel, entry.file, self.tgid());
            }
        }
    }

    /// A traced task's end is told to its tracer: as a child's when it is one, else by a record of its own.
    fn leave_trace(&self, status: i32) {
        if !self.traced() {
            return;
        }
        let mut table = self.kernel.pids.write();
        let tracer = self.trace.lock().as_ref().map(|trace| trace.tracer);
        self.end_trace(&mut table, 0);
        let Some(tracer) = tracer else { return };
        let parent = table.groups.get(&self.tgid()).map(|entry| entry.parent);
        let tracing = table.groups.get(&tracer).map(|entry| entry.group.clone());
        if self.tid != self.tgid() || parent != Some(tracer) {
            let uid = self.cred().uid;
            table
                .traced_exits
                .insert(self.tid, super::ptrace::TracedExit { tracer, status, uid });
        }
        drop(table);
        if let Some(group) = tracing {
            group.child_events.wake(Events::READABLE);
        }
    }

    /// Takes this thread off its group; the wait status of the group when it was the last.
    fn leave_group(&self, status: i32) -> Option<i32> {
        let (user, system) = {
            let state = self.state.lock();
            (state.user_ns, state.system_ns)
        };
        {
            let mut state = self.group.state.lock();
            state.exited_ns.0 = state.exited_ns.0.saturating_add(user);
            state.exited_ns.1 = state.exited_ns.1.saturating_add(system);
        }
        let mut group = self.group.signals.lock();
        group.threads.retain(|thread| thread.tid != self.tid);
        if self.tid == self.group.pid {
            group.leader_exit = Some(status);
        }
        if group.threads.is_empty() {
            return Some(group.exit.or(group.leader_exit).unwrap_or(status));
        }
        crate::signal::retarget(&group);
        let event = crate::signal::complete_stop(&mut group);
        drop(group);
        if let Some(event) = event {
            crate::signal::notify_parent(&self.group, event);
        }
        None
    }

    /// The last thread has gone: children get a new parent, the parent is told, the zombie waits (or not).
    fn end_process(&self, status: i32) {
        let pid = self.tgid();
        let ipc = self.namespaces.lock().ipc.clone();
        ipc.exit_process(pid);
        self.group.stop_timers();
        let mut out = Outbox::default();
        {
            let mut table = self.kernel.pids.write();
            table.tasks.remove(&self.tid);
            if let Some(entry) = table.groups.get_mut(&pid) {
                entry.tasks.clear();
            }
            let (pgrp, session) = table.pgrp_and_session(pid).unwrap_or((0, 0));
            if session == pid {
                leave_terminal(&mut table, session, &mut out);
            }
            out.tasks.extend(super::ptrace::release_tracees(&mut table, pid));
            let inherited = reparent(&mut table, pid, &mut out);
            hang_up_orphans(&table, pgrp, pid, &inherited, &mut out);
            become_zombie(&mut table, pid, status, &mut out);
            for child in inherited {
                // A zombie's new parent may not care for it.
                retell(&mut table, child, &mut out);
            }
        }
        out.send();
    }
}

/// The session's leader ends: its terminal's foreground group is hung up.
fn leave_terminal(table: &mut PidTable, session: u32, out: &mut Outbox) {
    if let Some(terminal) = table.clear_terminal(session) {
        let foreground = table.pgrp_members(terminal.foreground());
        out.terminal = Some((terminal, foreground));
    }
}

/// Gives the children of `pid` to the nearest living subreaper, else to the first process. Returns their ids.
fn reparent(table: &mut PidTable, pid: u32, out: &mut Outbox) -> Vec<u32> {
    let Some(entry) = table.groups.get_mut(&pid) else {
        return Vec::new();
    };
    let children: Vec<u32> = std::mem::take(&mut entry.children).into_iter().collect();
    let mut heir = entry.parent;
    let own_ns = &entry.group.pid_ns;
    // The children of a namespace's first process, if it has any left, belong to the namespace around it.
    let around = own_ns.parent.as_ref().filter(|_| entry.group.is_init());
    let pid_ns = around.unwrap_or(own_ns).clone();
    let init = pid_ns.init();
    while heir > 1 && heir != init {
        let Some(entry) = table.groups.get(&heir) else {
            break;
        };
        if entry.group.pid_ns != pid_ns {
            // Its own namespace's first process is nearer.
            heir = init;
            break;
        }
        if entry.zombie.is_none() && entry.group.state.lock().child_subreaper {
            break;
        }
        heir = entry.parent;
    }
    let heir = if heir == 0 || pid == 1 { init } else { heir };
    for child in &children {
        let Some(entry) = table.groups.get_mut(child) else {
            continue;
        };
        entry.parent = if pid == 1 { 0 } else { heir };
        entry.exit_signal = SIGCHLD;
        let tasks: Vec<u32> = entry.tasks.iter().copied().collect();
        for task in tasks.iter().filter_map(|tid| table.task(*tid)) {
            let signal = task.state.lock().pdeath_signal;
            if signal != 0 {
                out.tasks.push((task, SigInfo::user(signal, pid, 0)));
            }
        }
    }
    if pid != 1
        && let Some(entry) = table.groups.get_mut(&heir)
    {
        entry.children.extend(children.iter().copied());
    }
    children
}

/// Process groups that lost their last link to their session and have stopped members get SIGHUP and SIGCONT.
fn hang_up_orphans(table: &PidTable, own: u32, pid: u32, children: &[u32], out: &mut Outbox) {
    let Some((parent, session)) = table.groups.get(&pid).map(|entry| (entry.parent, entry.session)) else {
        return;
    };
    let linked = |(pgrp, of): (u32, u32), other: u32| pgrp != other && of == session;
    let mut pgrps = Vec::new();
    // It was the link of its own group to the parent, and of its children's groups to itself.
    if table
        .pgrp_and_session(parent)
        .is_some_and(|parent| linked(parent, own))
    {
        pgrps.push(own);
    }
    let children = children.iter().filter_map(|child| table.pgrp_and_session(*child));
    pgrps.extend(children.filter(|child| linked(*child, own)).map(|(pgrp, _)| pgrp));
    pgrps.sort_unstable();
    pgrps.dedup();
    for pgrp in pgrps {
        let members = table.pgrp_members(pgrp);
        let stopped = members
            .iter()
            .any(|group| group.pid != pid && group.signals.lock().stopped);
        if stopped && table.pgrp_is_orphaned(pgrp, Some(pid)) {
            for group in members {
                out.groups.push((group.clone(), SigInfo::kernel(SIGHUP)));
                out.groups.push((group, SigInfo::kernel(SIGCONT)));
            }
        }
    }
}

fn become_zombie(table: &mut PidTable, pid: u32, status: i32, out: &mut Outbox) {
    if let Some(entry) = table.groups.get_mut(&pid) {
        entry.zombie = Some(status);
    }
    retell(table, pid, out);
}

/// Tells a zombie's parent; a parent that ignores SIGCHLD (or is gone) leaves no zombie.
fn retell(table: &mut PidTable, pid: u32, out: &mut Outbox) {
    let Some(entry) = table.groups.get(&pid) else {
        return;
    };
    let Some(status) = entry.zombie else { return };
    let parent = table
        .groups
        .get(&entry.parent)
        .filter(|parent| parent.zombie.is_none());
    let Some(parent) = parent.map(|parent| parent.group.clone()) else {
        table.forget(pid);
        return;
    };
    let mut reap = false;
    if entry.exit_signal == SIGCHLD {
        let action = parent.action(SIGCHLD);
        reap = action.handler == SIG_IGN || action.flags & SA_NOCLDWAIT != 0;
        if action.handler != SIG_IGN {
            out.groups
                .push((parent.clone(), child_info(entry, SIGCHLD, status)));
        }
    } else if entry.exit_signal != 0 {
        let signal = entry.exit_signal;
        out.groups
            .push((parent.clone(), child_info(entry, signal, status)));
    }
    if reap || parent.signals.lock().exiting() {
        table.forget(pid);
    }
    out.wake.push(parent);
}

/// CLD_ code and si_status of a wait status.
pub fn exit_code(status: i32) -> (i32, i32) {
    match status & 0x7f {
        0 => (CLD_EXITED, (status >> 8) & 0xff),
        signal if status & 0x80 != 0 => (CLD_DUMPED, signal),
        signal => (CLD_KILLED, signal),
    }
}

fn child_info(entry: &super::GroupEntry, signal: u32, status: i32) -> SigInfo {
    let (code, si_status) = exit_code(status);
    let (user, system) = entry.group.state.lock().exited_ns;
    SigInfo {
        signal,
        code,
        pid: entry.group.pid,
        uid: entry.leader.cred().uid,
        status: si_status,
        utime: ticks(user),
        stime: ticks(system),
        ..SigInfo::default()
    }
}

/// Nanoseconds as clock ticks (100 a second).
pub fn ticks(ns: u64) -> i64 {
    i64::try_from(ns / 10_000_000).unwrap_or(i64::MAX)
}

impl PidTable {
    /// Removes a zombie that was waited for (or that nobody waits for).
    pub(super) fn forget(&mut self, pid: u32) {
        if let Some(entry) = self.groups.remove(&pid)
            && let Some(parent) = self.groups.get_mut(&entry.parent)
        {
            parent.children.remove(&pid);
        }
    }
}
