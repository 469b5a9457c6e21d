//! Tracing (ptrace(2)): a tracee stops in its own sentry thread, lends its registers to the tracer, and goes on as told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::signal::*;
use platform::{Registers, XState};

use super::{CurrentTask, PidTable, Task};
use crate::signal::{SigInfo, send_to_group, send_to_task};

/// PTRACE_O_ options.
pub mod options {
    macro_rules! numbers {
        ($($name:ident = $value:literal;)*) => { $(#[doc = concat!("PTRACE_O_", stringify!($name))] pub const $name: u32 = $value;)* };
    }
    numbers! {
        TRACESYSGOOD = 0x1;
        TRACEFORK = 0x2;
        TRACEVFORK = 0x4;
        TRACECLONE = 0x8;
        TRACEEXEC = 0x10;
        TRACEVFORKDONE = 0x20;
        TRACEEXIT = 0x40;
        TRACESECCOMP = 0x80;
        EXITKILL = 0x10_0000;
    }
    /// Those that are known.
    pub const ALL: u32 = 0x10_00ff;
}

/// PTRACE_EVENT_ numbers.
pub mod event {
    macro_rules! numbers {
        ($($name:ident = $value:literal;)*) => { $(#[doc = concat!("PTRACE_EVENT_", stringify!($name))] pub const $name: i32 = $value;)* };
    }
    numbers! {
        FORK = 1;
        VFORK = 2;
        CLONE = 3;
        EXEC = 4;
        VFORK_DONE = 5;
        EXIT = 6;
        SECCOMP = 7;
        STOP = 128;
    }
}

/// Trap flag: a trap after the next instruction.
const TF: u64 = 0x100;

/// How a tracee runs after a stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// PTRACE_CONT.
    #[default]
    Run,
    /// PTRACE_SYSCALL.
    ToSyscall,
    /// PTRACE_SINGLESTEP.
    Step,
}

/// What a tracee stopped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopKind {
    /// Before the delivery of a signal, which the tracer may change.
    Signal,
    /// Before a system call.
    SyscallEntry,
    /// After one.
    SyscallExit,
    /// PTRACE_EVENT_*.
    Event,
    /// A group stop.
    Group,
}

/// A tracee's stop, while it lasts.
#[derive(Clone, Debug)]
pub struct TraceStop {
    /// Signal, and event in the second byte: wait4(2)'s status without its low byte.
    pub code: i32,
    /// Kind.
    pub kind: StopKind,
    /// PTRACE_GETSIGINFO.
    pub info: SigInfo,
    /// Registers, to be read and changed by the tracer.
    pub regs: Registers,
    /// Extended state.
    pub xstate: XState,
    /// The tracer changed registers or extended state.
    pub changed: bool,
    /// wait4(2) told of it.
    pub reported: bool,
    /// The tracer lets it go on, with this signal.
    pub resumed: Option<u32>,
    /// PTRACE_LISTEN: it stays, until its group is continued.
    pub listening: bool,
}

/// A task's tracing state.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The tracing process.
    pub tracer: u32,
    /// PTRACE_SEIZE, not ATTACH or TRACEME.
    pub seized: bool,
    /// PTRACE_O_*.
    pub options: u32,
    /// Who asked for it had CAP_SYS_PTRACE then: set-user-ID programs keep their effect.
    pub capable: bool,
    /// How it runs.
    pub resume: Resume,
    /// PTRACE_GETEVENTMSG.
    pub message: u64,
    /// PTRACE_INTERRUPT, or the first stop of a seized child.
    pub interrupt: bool,
    /// The stop it sits in.
    pub stop: Option<TraceStop>,
}

impl Trace {
    /// Tracing by this process from now on.
    pub fn starting(tracer: u32, seized: bool, options: u32, capable: bool) -> Trace {
        Trace {
            tracer,
            seized,
            options,
            capable,
            resume: Resume::Run,
            message: 0,
            interrupt: false,
            stop: None,
        }
    }
}

/// A traced task that has ended, until its tracer waits for it.
#[derive(Clone, Copy, Debug)]
pub struct TracedExit {
    /// The tracer.
    pub tracer: u32,
    /// Wait status.
    pub status: i32,
    /// Real user id.
    pub uid: u32,
}

impl Task {
    /// Whether it is traced.
    pub fn traced(&self) -> bool {
        self.traced.load(Ordering::Relaxed)
    }

    /// Starts tracing. `EPERM` when it is traced already.
    pub(crate) fn start_trace(&self, table: &mut PidTable, trace: Trace) -> Result<(), Errno> {
        let mut slot = self.trace.lock();
        if slot.is_some() {
            return Err(Errno::EPERM);
        }
        table.tracees.entry(trace.tracer).or_default().insert(self.tid);
        *slot = Some(trace);
        drop(slot);
        self.trace_changed(true);
        Ok(())
    }

    /// Ends tracing; a stopped tracee goes on with `signal`.
    pub(crate) fn end_trace(&self, table: &mut PidTable, signal: u32) {
        let Some(mut trace) = self.trace.lock().take() else {
            return;
        };
        if let Some(tracees) = table.tracees.get_mut(&trace.tracer) {
            tracees.remove(&self.tid);
            if tracees.is_empty() {
                table.tracees.remove(&trace.tracer);
            }
        }
        if let Some(mut stop) = trace.stop.take() {
            stop.resumed = Some(signal);
            *self.trace_left.lock() = Some(stop);
        }
        self.trace_changed(false);
        self.waiter.notify();
    }

    fn trace_changed(&self, traced: bool) {
        self.traced.store(traced, Ordering::SeqCst);
        self.state.lock().answers_changed = true;
        self.notify_signal();
    }

    pub(super) fn trace_option(&self, option: u32) -> bool {
        self.traced()
            && self
                .trace
                .lock()
                .as_ref()
                .is_some_and(|trace| trace.options & option != 0)
    }
}

impl CurrentTask {
    /// Sits in a stop until the tracer lets it go on; returns the signal to go on with. Not traced (any more): `pass`.
    pub(crate) fn trace_stop(&self, code: i32, kind: StopKind, info: SigInfo, pass: u32) -> u32 {
        let (regs, xstate) = {
            let mut context = self.context.borrow_mut();
            let _ = context.flush();
            (*context.regs(), context.xstate().unwrap_or_default())
        };
        let tracer = {
            let mut slot = self.trace.lock();
            let Some(trace) = slot.as_mut() else { return pass };
            trace.stop = Some(TraceStop {
                code,
                kind,
                info,
                regs,
                xstate,
                changed: false,
                reported: false,
                resumed: None,
                listening: false,
            });
            trace.tracer
        };
        self.run_state.store(u32::from(b't'), Ordering::Relaxed);
        self.tell_tracer(tracer, code);
        let stop = self.await_tracer(kind);
        self.run_state.store(u32::from(b'R'), Ordering::Relaxed);
        let Some(mut stop) = stop else { return pass };
        let step = self
            .trace
            .lock()
            .as_ref()
            .is_some_and(|trace| trace.resume == Resume::Step);
        let wanted = if step {
            stop.regs.eflags | TF
        } else {
            stop.regs.eflags & !TF
        };
        if wanted != stop.regs.eflags || stop.changed {
            stop.regs.eflags = wanted;
            let mut context = self.context.borrow_mut();
            if stop.changed {
                let _ = context.set_xstate(&stop.xstate);
            }
            *context.regs_mut() = stop.regs;
        }
        stop.resumed.unwrap_or(pass)
    }

    /// Waits for the tracer's word. `None`: the process is ending.
    fn await_tracer(&self, kind: StopKind) -> Option<TraceStop> {
        loop {
            if let Some(left) = self.trace_left.lock().take() {
                return Some(left);
            }
            let mut continued = false;
            {
                let group = self.group.signals.lock();
                let killed = group.exit.is_some_and(|status| status & 0x7f == SIGKILL as i32);
                let ending = killed
                    || (group.exiting() && kind != StopKind::Event)
                    || group.exec_by.is_some_and(|tid| tid != self.tid);
                let mut slot = self.trace.lock();
                let trace = slot.as_mut()?;
                if ending {
                    trace.stop = None;
                    return None;
                }
                let stop = trace.stop.as_ref()?;
                if stop.resumed.is_some() {
                    return trace.stop.take();
                }
                if stop.listening && (group.stop.is_none() || trace.interrupt) {
                    continued = true;
                }
            }
            if continued {
                self.leave_listening();
                continue;
            }
            self.waiter.wait(None);
        }
    }

    /// PTRACE_LISTEN ends when the group is continued: the tracer hears of a new stop.
    fn leave_listening(&self) {
        let mut slot = self.trace.lock();
        let Some(trace) = slot.as_mut() else { return };
        trace.interrupt = false;
        let tracer = trace.tracer;
        let code = SIGTRAP as i32 | event::STOP << 8;
        if let Some(stop) = trace.stop.as_mut() {
            stop.listening = false;
            stop.reported = false;
            stop.code = code;
            stop.kind = StopKind::Event;
        }
        drop(slot);
        self.tell_tracer(tracer, code);
    }

    fn tell_tracer(&self, tracer: u32, code: i32) {
        let group = {
            let table = self.kernel.pids.read();
            table.group(tracer).map(|entry| entry.group.clone())
        };
        let Some(group) = group else { return };
        let action = group.action(SIGCHLD);
        if action.handler != SIG_IGN && action.flags & SA_NOCLDSTOP == 0 {
            let info = SigInfo {
                signal: SIGCHLD,
                code: CLD_TRAPPED,
                pid: self.tid,
                uid: self.cred().uid,
                status: code & 0x7f,
                ..SigInfo::default()
            };
            send_to_group(&group, info);
        }
        group.child_events.wake(sync::Events::READABLE);
    }

    /// A stop for a PTRACE_EVENT_ that the tracer asked for.
    pub(super) fn trace_event(&self, option: u32, event: i32, message: u64) {
        if !self.trace_option(option) {
            return;
        }
        let tracer = self.trace.lock().as_ref().map_or(0, |trace| trace.tracer);
        let message = match (event, u32::try_from(message)) {
            // The tracer's number of the task that is meant.
            (event::FORK | event::VFORK | event::CLONE | event::VFORK_DONE | event::EXEC, Ok(id)) => {
                let table = self.kernel.pids.read();
                let own = table.group(tracer).map_or(0, |entry| entry.group.pid_ns.own(id));
                u64::from(own)
            }
            _ => message,
        };
        if let Some(trace) = self.trace.lock().as_mut() {
            trace.message = message;
        }
        let info = SigInfo::user(SIGTRAP, self.tid, 0);
        let code = SIGTRAP as i32 | event << 8;
        self.trace_stop(code, StopKind::Event, SigInfo { code, ..info }, 0);
    }

    /// A stop before or after a system call, when the tracer asked for it.
    pub(super) fn trace_syscall(&self, kind: StopKind) {
        let code = {
            let slot = self.trace.lock();
            match slot.as_ref() {
                Some(trace) if trace.resume == Resume::ToSyscall => {
                    let good = trace.options & options::TRACESYSGOOD != 0;
                    SIGTRAP as i32 | if good { 0x80 } else { 0 }
                }
                _ => return,
            }
        };
        let info = SigInfo {
            code,
            ..SigInfo::user(SIGTRAP, self.tid, self.cred().uid)
        };
        let signal = self.trace_stop(code, kind, info, 0);
        if signal != 0 {
            send_to_task(self.task(), SigInfo::user(signal, self.tid, 0));
        }
    }

    /// A wish of the tracer to stop (PTRACE_INTERRUPT, a new seized child).
    pub(crate) fn trace_interrupt(&self) {
        let wanted = match self.trace.lock().as_mut() {
            Some(trace) => std::mem::take(&mut trace.interrupt),
            None => false,
        };
        if wanted {
            let code = SIGTRAP as i32 | event::STOP << 8;
            let info = SigInfo {
                code,
                ..SigInfo::user(SIGTRAP, self.tid, 0)
            };
            self.trace_stop(code, StopKind::Event, info, 0);
        }
    }

    /// A traced task in a group stop. The tracer decides how it goes on.
    pub(crate) fn trace_group_stop(&self, signal: u32) {
        let seized = self.trace.lock().as_ref().is_some_and(|trace| trace.seized);
        let code = signal as i32 | if seized { event::STOP << 8 } else { 0 };
        self.trace_stop(code, StopKind::Group, SigInfo::user(signal, 0, 0), 0);
        // Let go on by its tracer, it counts as continued.
        let mut group = self.group.signals.lock();
        if group.stop.is_some() {
            group.stop = None;
            group.stopped = false;
            for thread in &group.threads {
                thread.waiter.notify();
            }
        }
    }

    /// Before a signal's delivery: what the tracer makes of it. `None`: nothing is delivered.
    pub(crate) fn trace_signal(&self, info: SigInfo) -> Option<SigInfo> {
        let given = self.trace_stop(info.signal as i32, StopKind::Signal, info, info.signal);
        match given {
            0 => None,
            signal if signal == info.signal => {
                let changed = self.trace_info.lock().take();
                Some(SigInfo {
                    signal,
                    ..changed.unwrap_or(info)
                })
            }
            signal => Some(SigInfo::user(signal, self.tgid(), 0)),
        }
    }

    /// A new child of a traced task is traced too when the tracer asked for it. Returns the event to stop for.
    pub(super) fn trace_child(&self, child: &Task, flags: u64, exit_signal: u32) -> Option<(u32, i32)> {
        use super::clone_flags as f;
        if !self.traced() || flags & f::UNTRACED != 0 {
            return None;
        }
        let (option, event) = if flags & f::VFORK != 0 {
            (options::TRACEVFORK, event::VFORK)
        } else if exit_signal == SIGCHLD {
            (options::TRACEFORK, event::FORK)
        } else {
            (options::TRACECLONE, event::CLONE)
        };
        let mut trace = {
            let slot = self.trace.lock();
            let own = slot.as_ref()?;
            if own.options & option == 0 && flags & f::PTRACE == 0 {
                return None;
            }
            Trace::starting(own.tracer, own.seized, own.options, own.capable)
        };
        trace.interrupt = trace.seized;
        let stop_signal = !trace.seized;
        let _ = child.start_trace(&mut self.kernel.pids.write(), trace);
        if stop_signal {
            child.signals.lock().pending.push(SigInfo::user(SIGSTOP, 0, 0));
        }
        child.attention.store(true, Ordering::SeqCst);
        Some((option, event))
    }
}

/// The traced children of a process that has ended are let go, or killed when it asked for that.
pub(super) fn release_tracees(table: &mut PidTable, tracer: u32) -> Vec<(Arc<Task>, SigInfo)> {
    let tids: Vec<u32> = table
        .tracees
        .get(&tracer)
        .into_iter()
        .flatten()
        .copied()
        .collect();
    let mut killed = Vec::new();
    let tasks: Vec<Arc<Task>> = tids.iter().filter_map(|tid| table.task(*tid)).collect();
    for task in tasks {
        if task.trace_option(options::EXITKILL) {
            killed.push((task.clone(), SigInfo::kernel(SIGKILL)));
        }
        task.end_trace(table, 0);
    }
    table.traced_exits.retain(|_, exit| exit.tracer != tracer);
    killed
}
