//! Making tasks: fork(2), vfork(2), clone(2).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::signal::SIGCHLD;
use abi::{Errno, UserAddr};
use platform::{Context, Registers};
use sync::{Events, Mutex, rank};

use super::ptrace::{event, options};
use super::{
    CurrentTask, GroupEntry, GroupState, PROCESSES_MAX, PidNs, PidTable, TASKS_MAX, Task, ThreadGroup, rlimit,
};
use crate::cred::Caps;
use crate::mm::Mm;

/// CLONE_ flags.
pub mod clone_flags {
    macro_rules! numbers {
        ($($name:ident = $value:literal;)*) => { $(#[doc = concat!("CLONE_", stringify!($name))] pub const $name: u64 = $value;)* };
    }
    numbers! {
        VM = 0x100;
        FS = 0x200;
        FILES = 0x400;
        SIGHAND = 0x800;
        PIDFD = 0x1000;
        PTRACE = 0x2000;
        VFORK = 0x4000;
        PARENT = 0x8000;
        THREAD = 0x1_0000;
        NEWNS = 0x2_0000;
        SYSVSEM = 0x4_0000;
        SETTLS = 0x8_0000;
        PARENT_SETTID = 0x10_0000;
        CHILD_CLEARTID = 0x20_0000;
        DETACHED = 0x40_0000;
        UNTRACED = 0x80_0000;
        CHILD_SETTID = 0x100_0000;
        NEWCGROUP = 0x200_0000;
        NEWUTS = 0x400_0000;
        NEWIPC = 0x800_0000;
        NEWUSER = 0x1000_0000;
        NEWPID = 0x2000_0000;
        NEWNET = 0x4000_0000;
        IO = 0x8000_0000;
        CLEAR_SIGHAND = 0x1_0000_0000;
        INTO_CGROUP = 0x2_0000_0000;
    }
    /// Every namespace flag but that of users.
    pub const NAMESPACES: u64 = NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWPID | NEWNET;
}
use clone_flags as f;

/// clone3(2)'s arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloneArgs {
    /// CLONE_ flags, without the signal.
    pub flags: u64,
    /// Where a pidfd is stored (CLONE_PIDFD).
    pub pidfd: UserAddr,
    /// CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID.
    pub child_tid: UserAddr,
    /// CLONE_PARENT_SETTID.
    pub parent_tid: UserAddr,
    /// Sent to the parent at exit.
    pub exit_signal: u32,
    /// The child's stack pointer; 0: the parent's.
    pub stack: u64,
    /// CLONE_SETTLS.
    pub tls: u64,
    /// The ids that the child is to have (clone3's set_tid), innermost pid namespace first.
    pub set_tid: Vec<u32>,
}

/// Checks combinations of flags as Linux's copy_process does.
fn check_flags(task: &CurrentTask, flags: u64) -> Result<(), Errno> {
    let has = |flag: u64| flags & flag != 0;
    if (has(f::NEWNS) || has(f::NEWUSER)) && has(f::FS) {
        return Err(Errno::EINVAL);
    }
    if (has(f::THREAD) && !has(f::SIGHAND)) || (has(f::SIGHAND) && !has(f::VM)) {
        return Err(Errno::EINVAL);
    }
    if has(f::SIGHAND) && has(f::CLEAR_SIGHAND) {
        return Err(Errno::EINVAL);
    }
    if has(f::PARENT) && task.group.is_init() {
        return Err(Errno::EINVAL);
    }
    let own_pids = task.namespaces.lock().pid_for_children == task.group.pid_ns;
    if has(f::THREAD) && (has(f::NEWUSER | f::NEWPID) || !own_pids) {
        return Err(Errno::EINVAL);
    }
    if has(f::NEWPID) && !own_pids {
        return Err(Errno::EINVAL);
    }
    if has(f::NEWIPC) && has(f::SYSVSEM) {
        return Err(Errno::EINVAL);
    }
    if has(f::PIDFD) && has(f::DETACHED) {
        return Err(Errno::EINVAL);
    }
    check_namespace_flags(task, flags)?;
    let sched = task.state.lock().sched;
    if sched.policy == super::sched::policy::DEADLINE && !sched.reset_on_fork {
        return Err(Errno::EAGAIN);
    }
    if has(f::INTO_CGROUP) {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(())
}

/// Whether the task may make the namespaces of `flags`: in a user namespace that is made with them it may.
pub(crate) fn check_namespace_flags(task: &CurrentTask, flags: u64) -> Result<(), Errno> {
    if flags & f::NEWUSER != 0 {
        // A root directory that is not the namespace's could be left by who has every capability.
        let root = task.fs().root();
        if !root.same(&task.kernel.vfs.top_of(&root)) {
            return Err(Errno::EPERM);
        }
    }
    if flags & f::NAMESPACES == 0 {
        return Ok(());
    }
    if flags & f::NEWUSER == 0 && !task.cred().has_own(Caps::SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    Ok(())
}

impl CurrentTask {
    /// clone(2): makes a task and starts it; returns its id. With CLONE_VFORK waits until it has left the address space.
    pub fn clone_task(&self, args: &CloneArgs) -> Result<u32, Errno> {
        let flags = args.flags;
        check_flags(self, flags)?;
        // Looked at again when the task enters the table; here it spares the host a process that could not stay.
        self.check_task_limit(&self.kernel.pids.read(), flags & f::THREAD == 0)?;
        let mm = self.mm_ref();
        let mm = if flags & f::VM != 0 {
            mm
        } else {
            mm.fork().map_err(no_room)?
        };
        let context = self.child_context(&mm, args)?;
        let child = self.new_task(&mm, args)?;
        if flags & f::PARENT_SETTID != 0 {
            // As in Linux, a bad address is not reported.
            let _ = self.copy_out(args.parent_tid, &self.own_pid(child.tid).to_le_bytes());
        }
        let pidfd = match flags & f::PIDFD {
            0 => None,
            _ => match self.give_pidfd(&child, args) {
                Ok(fd) => Some(fd),
                Err(error) => {
                    child.abandon();
                    return Err(error);
                }
            },
        };
        if flags & f::VFORK != 0 {
            child.state.lock().vfork = true;
        }
        let (tid, own) = (child.tid, self.own_pid(child.tid));
        // The child must find the ids stored.
        self.settle();
        let traced = self.trace_child(&child, flags, args.exit_signal);
        if let Err(error) = super::spawn(child.clone(), context, mm) {
            let _closed = pidfd.map(|fd| self.files().remove(fd));
            child.abandon();
            return Err(error);
        }
        if let Some((option, event)) = traced {
            self.trace_event(option, event, u64::from(tid));
        }
        if flags & f::VFORK != 0 {
            self.wait_vfork(&child);
            self.trace_event(options::TRACEVFORKDONE, event::VFORK_DONE, u64::from(tid));
        }
        Ok(own)
    }

    /// CLONE_PIDFD: a descriptor of the child for the parent.
    fn give_pidfd(&self, child: &Arc<Task>, args: &CloneArgs) -> Result<i32, Errno> {
        let thread = (args.flags & f::THREAD != 0).then(|| child.clone());
        let group = child.group.clone();
        let fd = self.install_pidfd(super::PidFd { group, thread }, false)?;
        let stored = self.copy_out(args.pidfd, &fd.to_le_bytes());
        if stored.is_err() {
            let _closed = self.files().remove(fd);
        }
        stored.map(|()| fd)
    }

    fn child_context(&self, mm: &Arc<Mm>, args: &CloneArgs) -> Result<Box<dyn Context>, Errno> {
        let (mut regs, xstate): (Registers, _) = {
            let mut context = self.context.borrow_mut();
            (*context.regs(), context.xstate()?)
        };
        regs.rax = 0;
        regs.orig_rax = u64::MAX;
        if args.stack != 0 {
            regs.rsp = args.stack;
        }
        if args.flags & f::SETTLS != 0 {
            if args.tls >= self.kernel.platform.user_range().end.0 {
                return Err(Errno::EPERM);
            }
            regs.fs_base = args.tls;
        }
        mm.space.new_context(&regs, &xstate)
    }

    /// Makes the task and enters it everywhere, stopped before its first instruction.
    fn new_task(&self, mm: &Arc<Mm>, args: &CloneArgs) -> Result<Arc<Task>, Errno> {
        let flags = args.flags;
        let cred = match flags & f::NEWUSER {
            0 => self.cred(),
            _ => Arc::new(self.cred().in_new_user_ns(super::next_number())?),
        };
        let files = self.files();
        let files = if flags & f::FILES != 0 {
            files
        } else {
            Arc::new(files.duplicate())
        };
        let fs = self.fs();
        let fs = if flags & f::FS != 0 {
            fs
        } else if flags & f::NEWNS != 0 {
            crate::vfs::new_mount_namespace(&self.kernel, &fs, &cred.user_ns)?
        } else {
            fs.duplicate()
        };
        let namespaces = self.namespaces.lock().clone();
        let mut namespaces = namespaces.changed(flags, &cred.user_ns)?;
        if flags & f::THREAD != 0 {
            namespaces.pid_for_children = self.group.pid_ns.clone();
        }
        let pid_ns = namespaces.pid_for_children.clone();
        self.check_set_tid(&args.set_tid, &pid_ns)?;
        let shared = (Some(mm.clone()), files, fs);
        let comm = self.comm.lock().clone();
        let inherited = self.inherited_group_state();
        let mut table = self.kernel.pids.write();
        self.check_task_limit(&table, flags & f::THREAD == 0)?;
        let tid = table.allocate_in(&pid_ns, &args.set_tid)?;
        let group = if flags & f::THREAD != 0 {
            self.group.clone()
        } else {
            let actions = self.child_actions(flags);
            ThreadGroup::with(tid, pid_ns, inherited, actions)
        };
        let child = Task::new(&self.kernel, tid, &group, shared, cred, comm);
        *child.namespaces.lock() = namespaces;
        self.inherit(&child, args);
        {
            let mut signals = group.signals.lock();
            if flags & f::THREAD != 0 {
                if signals.exiting() || signals.exec_by.is_some() {
                    group.pid_ns.leave(tid);
                    return Err(Errno::ERESTARTNOINTR);
                }
                if signals.stop.is_some() {
                    child.attention.store(true, Ordering::SeqCst);
                }
            }
            // Signals with default action from inside do nothing to a namespace's first process.
            signals.protected |= flags & f::THREAD == 0 && !group.pid_ns.is_first() && group.is_init();
            signals.threads.push(child.clone());
        }
        enter_table(&mut table, self, &child, args);
        drop(table);
        if flags & f::THREAD == 0 {
            group.watch_cpu_limit(&self.kernel);
        }
        Ok(child)
    }

    /// clone3's set_tid needs CAP_SYS_ADMIN over each namespace that it names an id of.
    fn check_set_tid(&self, wanted: &[u32], pid_ns: &Arc<PidNs>) -> Result<(), Errno> {
        let mut at = Some(pid_ns);
        for _ in wanted {
            let ns = at.ok_or(Errno::EINVAL)?;
            if !self.cred().has_in(&ns.user_ns, Caps::SYS_ADMIN) {
                return Err(Errno::EPERM);
            }
            at = ns.parent.as_ref();
        }
        Ok(())
    }

    fn inherited_group_state(&self) -> GroupState {
        let parent = self.group.state.lock();
        GroupState {
            child_subreaper: false,
            did_exec: false,
            children_ns: (0, 0),
            exited_ns: (0, 0),
            ..parent.clone()
        }
    }

    /// The signal actions of a new process: shared, copied, or copied with handlers reset.
    fn child_actions(&self, flags: u64) -> Arc<Mutex<crate::signal::SigActions>> {
        let table = self.group.action_table();
        if flags & f::SIGHAND != 0 {
            return table;
        }
        let mut actions = *table.lock();
        if flags & f::CLEAR_SIGHAND != 0 {
            for action in &mut actions {
                if action.handler != abi::signal::SIG_IGN {
                    *action = Default::default();
                }
            }
        }
        Arc::new(Mutex::new(rank::SIGACTIONS, actions))
    }

    /// RLIMIT_NPROC counts the user's tasks; the privileged are bound by the sandbox's limit only.
    fn check_task_limit(&self, table: &PidTable, new_process: bool) -> Result<(), Errno> {
        if new_process && table.groups.len() >= PROCESSES_MAX {
            return Err(Errno::EAGAIN);
        }
        let most = self.kernel.limits.read().pids;
        if most.is_some_and(|most| table.count() as u64 >= most) {
            self.kernel.tasks_refused.fetch_add(1, Ordering::Relaxed);
            return Err(Errno::EAGAIN);
        }
        let limit = self.group.rlimit(rlimit::NPROC);
        let cred = self.cred();
        if limit >= TASKS_MAX as u64
            || (cred.uid == 0 && cred.user_ns.is_first())
            || cred.has(Caps::SYS_RESOURCE)
            || cred.has(Caps::SYS_ADMIN)
        {
            return Ok(());
        }
        let mine = table
            .tasks
            .values()
            .filter(|task| task.cred().uid == cred.uid)
            .count();
        if mine as u64 >= limit {
            return Err(Errno::EAGAIN);
        }
        Ok(())
    }

    /// What a child takes over from its parent.
    fn inherit(&self, child: &Task, args: &CloneArgs) {
        let flags = args.flags;
        let parent = self.state.lock().clone();
        let (sched, nice) = parent.sched.for_child(parent.nice);
        {
            let mut state = child.state.lock();
            *state = super::TaskState {
                clear_child_tid: if flags & f::CHILD_CLEARTID != 0 {
                    args.child_tid
                } else {
                    UserAddr::NULL
                },
                set_child_tid: if flags & f::CHILD_SETTID != 0 {
                    args.child_tid
                } else {
                    UserAddr::NULL
                },
                rseq: if flags & f::VM == 0 {
                    parent.rseq
                } else {
                    Default::default()
                },
                no_new_privs: parent.no_new_privs,
                nice,
                sched,
                affinity: parent.affinity,
                personality: parent.personality,
                ioprio: parent.ioprio,
                login: parent.login,
                timer_slack: parent.timer_slack,
                treatment: parent.treatment,
                mempolicy: parent.mempolicy,
                start_ns: self.kernel.time.monotonic_ns(),
                ..super::TaskState::default()
            };
        }
        let filters = self.seccomp.lock().clone();
        *child.seccomp.lock() = filters;
        let own = self.signals.lock();
        let (blocked, altstack) = (own.blocked, own.altstack);
        drop(own);
        let mut signals = child.signals.lock();
        signals.blocked = blocked;
        // A thread in the same memory cannot use the same stack; after vfork(2) the parent sleeps.
        if flags & (f::VM | f::VFORK) != f::VM {
            signals.altstack = altstack;
        }
    }

    /// vfork(2): sleeps until the child leaves the address space; only the end of this process is noticed earlier.
    fn wait_vfork(&self, child: &Arc<Task>) {
        self.context.borrow_mut().will_sleep();
        let queue = &child.group.exit_events;
        let id = queue.add(self.waiter.clone(), 0, Events::all());
        while child.state.lock().vfork && !self.group.signals.lock().exiting() {
            self.waiter.wait(None);
        }
        queue.remove(id);
    }
}

/// A host without room for another process is, for the guest, a system at its limit of processes.
fn no_room(error: Errno) -> Errno {
    match error {
        Errno::EMFILE | Errno::ENFILE => Errno::EAGAIN,
        other => other,
    }
}

fn enter_table(table: &mut PidTable, parent: &CurrentTask, child: &Arc<Task>, args: &CloneArgs) {
    let tid = child.tid;
    table.tasks.insert(tid, child.clone());
    if args.flags & f::THREAD != 0 {
        if let Some(entry) = table.groups.get_mut(&child.tgid()) {
            entry.tasks.insert(tid);
        }
        return;
    }
    let caller = parent.tgid();
    let (pgrp, session) = table.pgrp_and_session(caller).unwrap_or((caller, caller));
    let (real_parent, exit_signal) = if args.flags & f::PARENT != 0 {
        // A sibling: parent and exit signal are those of the caller.
        table
            .groups
            .get(&caller)
            .map_or((1, SIGCHLD), |entry| (entry.parent, entry.exit_signal))
    } else {
        (caller, args.exit_signal)
    };
    if let Some(entry) = table.groups.get_mut(&real_parent) {
        entry.children.insert(tid);
    }
    let entry = GroupEntry {
        group: child.group.clone(),
        leader: child.clone(),
        parent: real_parent,
        children: BTreeSet::new(),
        pgrp,
        session,
        tasks: BTreeSet::from([tid]),
        exit_signal,
        zombie: None,
    };
    table.groups.insert(tid, entry);
}

impl Task {
    /// Takes a task back that never ran.
    pub(crate) fn abandon(&self) {
        self.group
            .signals
            .lock()
            .threads
            .retain(|thread| thread.tid != self.tid);
        let mut table = self.kernel.pids.write();
        self.end_trace(&mut table, 0);
        table.tasks.remove(&self.tid);
        if self.tid == self.tgid() {
            table.forget(self.tid);
        } else if let Some(entry) = table.groups.get_mut(&self.tgid()) {
            entry.tasks.remove(&self.tid);
        }
        drop(table);
        // Dropped without the lock: what was mapped may be the last of an open file.
        let mm = self.mm.lock().take();
        drop(mm);
    }
}
