//! The run loop of a sentry thread: switch to the guest, serve its event, look at signals, again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use abi::signal::*;
use abi::{Errno, UserAddr};
use platform::{Death, Event};

use super::ptrace::{StopKind, event, options};
use super::seccomp_notify::Answer;
use super::{CurrentTask, Verdict};
use crate::signal::{self, Flow, SigInfo};
use crate::syscall;

/// The wait status of a sandbox whose sentry failed: as if ended by SIGABRT.
const ABORTED: i32 = SIGABRT as i32;

/// Why the run loop was left.
enum Next {
    /// The thread ends with this wait status.
    Exit(i32),
    /// It becomes the leader of its process (execve by another thread).
    BecomeLeader,
}

impl CurrentTask {
    /// Serves the task until it has exited. A panic ends the sandbox: its state can be trusted no more.
    pub fn run(self) {
        let kernel = self.kernel.clone();
        let mut current = self;
        loop {
            let next = catch_unwind(AssertUnwindSafe(|| current.serve()));
            let done = match next {
                Ok(Next::BecomeLeader) => {
                    current = current.become_leader();
                    continue;
                }
                Ok(Next::Exit(status)) => {
                    let nr = current.serving.get();
                    let end = || {
                        current.trace_event(options::TRACEEXIT, event::EXIT, status as u64);
                        current.exit(status);
                    };
                    catch_unwind(AssertUnwindSafe(end)).map_err(|_| nr)
                }
                Err(_) => Err(current.serving.get()),
            };
            if let Err(nr) = done {
                let name = syscall::lookup(nr).map_or("an event", |row| row.name);
                kernel
                    .log
                    .line(&format!("panic while serving {name} ({nr}): the sandbox ends"));
                kernel.abort(ABORTED);
            }
            return;
        }
    }

    fn serve(&self) -> Next {
        let word = std::mem::take(&mut self.state.lock().set_child_tid);
        if !word.is_null() {
            let _ = self.copy_out(word, &self.own_tid().to_le_bytes());
        }
        loop {
            if self.needs_attention()
                && let Flow::Exit(status) = self.attend(None)
            {
                return Next::Exit(status);
            }
            let event = self.context.borrow_mut().run();
            self.meter_start();
            match event {
                Event::Syscall => self.serve_call(),
                Event::Fault(fault) if self.grow_stack(&fault) => {}
                Event::Fault(fault) => signal::force_fault(self, fault),
                Event::Interrupted => self.update_cpu_time(),
                Event::Died(death) => self.died(death),
            }
            self.meter_stop();
            if let Some(status) = self.exit_status.take() {
                return Next::Exit(status);
            }
            if self.take_over.get() {
                return Next::BecomeLeader;
            }
        }
    }

    /// What was asked of the task: other answers of the engine (filters, ids), signals, stops, its end.
    fn attend(&self, restart: Option<Errno>) -> Flow {
        if std::mem::take(&mut self.state.lock().answers_changed) {
            self.update_local_answers();
        }
        signal::attend(self, restart)
    }

    /// Serves one system call, as often as it restarts without a handler.
    fn serve_call(&self) {
        let nr = self.context.borrow().regs().orig_rax;
        loop {
            self.set_serving(nr);
            if self.dispatched_to_user() {
                break;
            }
            let traced = self.traced();
            if traced && !self.trace_entry() {
                return;
            }
            let outcome = match self.passes_seccomp() {
                Passage::Call => syscall::dispatch(self),
                Passage::Done => return,
                Passage::Interrupted(error) => {
                    let value = (-i64::from(error.raw())) as u64;
                    self.context.borrow_mut().set_return(value);
                    Some(error)
                }
            };
            let ending = self.exit_status.take();
            self.exit_status.set(ending);
            if traced && ending.is_none() && !self.group.signals.lock().exiting() {
                self.trace_syscall(StopKind::SyscallExit);
            }
            if self.temporary_mask.get() && !matches!(outcome, Some(error) if interrupted(error)) {
                self.restore_mask();
            }
            let Some(restart) = outcome.filter(|error| error.is_restart()) else {
                break;
            };
            match self.attend(Some(restart)) {
                Flow::Continue => self.resumed.set(self.restart.take()),
                Flow::Handler => break,
                Flow::Exit(status) => {
                    self.exit_status.set(Some(status));
                    break;
                }
            }
            // The result of the interrupted attempt must not be seen.
            self.context.borrow_mut().set_return(nr);
        }
        self.restart.set(None);
        self.resumed.set(None);
        self.set_serving(u64::MAX);
    }

    /// Stops before a call for the tracer; false when the tracer made it no call.
    fn trace_entry(&self) -> bool {
        let nr = {
            let mut context = self.context.borrow_mut();
            let nr = context.regs().orig_rax;
            // What a tracer sees at the entry.
            context.set_return((-i64::from(Errno::ENOSYS.raw())) as u64);
            nr
        };
        self.trace_syscall(StopKind::SyscallEntry);
        let mut context = self.context.borrow_mut();
        let now = context.regs().orig_rax;
        if now == u64::MAX {
            drop(context);
            self.trace_syscall(StopKind::SyscallExit);
            return false;
        }
        context.set_return(nr);
        self.set_serving(now);
        true
    }

    /// Whether the task's own filters let the call pass; else what they want was done.
    fn passes_seccomp(&self) -> Passage {
        match self.seccomp_verdict() {
            None => return Passage::Call,
            Some(Verdict::Allow | Verdict::Log) => return Passage::Call,
            Some(Verdict::Notify) => match self.ask_listener() {
                Ok(Answer::Continue) => return Passage::Call,
                Ok(Answer::Return(value)) => self.context.borrow_mut().set_return(value),
                Err(error) => return Passage::Interrupted(error),
            },
            Some(Verdict::Trace(data)) => return self.ask_tracer(data),
            Some(Verdict::Errno(errno)) => {
                let value = (-i64::from(errno)) as u64;
                self.context.borrow_mut().set_return(value);
            }
            Some(Verdict::Trap(data)) => {
                let (nr, ip) = {
                    let context = self.context.borrow();
                    (context.regs().orig_rax, context.regs().rip)
                };
                self.context.borrow_mut().set_return(nr);
                let info = SigInfo {
                    signal: SIGSYS,
                    code: SYS_SECCOMP,
                    errno: i32::from(data),
                    addr: UserAddr(ip),
                    syscall: (nr as i32, super::seccomp::AUDIT_ARCH),
                    ..SigInfo::default()
                };
                signal::force_signal(self, info);
            }
            Some(Verdict::Strict) => self.end_thread(SIGKILL as i32),
            Some(Verdict::KillThread) if self.group.signals.lock().threads.len() > 1 => {
                self.exit_status.set(Some(SIGSYS as i32));
            }
            Some(Verdict::KillThread | Verdict::KillProcess) => self.exit_group(SIGSYS as i32),
        }
        Passage::Done
    }

    /// SECCOMP_RET_TRACE: a stop for the tracer, which may change the call (to -1: none). `ENOSYS` without a tracer that
    /// wants to know.
    fn ask_tracer(&self, data: u16) -> Passage {
        let nobody = (-i64::from(Errno::ENOSYS.raw())) as u64;
        if !self.trace_option(options::TRACESECCOMP) {
            self.context.borrow_mut().set_return(nobody);
            return Passage::Done;
        }
        // What a tracer sees at the entry.
        self.context.borrow_mut().set_return(nobody);
        self.trace_event(options::TRACESECCOMP, event::SECCOMP, u64::from(data));
        if self.group.signals.lock().exiting() {
            return Passage::Done;
        }
        let now = self.context.borrow().regs().orig_rax;
        // A negative number is no call: the result is what the tracer left.
        if (now as u32 as i32) < 0 {
            return Passage::Done;
        }
        // A changed call is asked about again, as by who had no tracer.
        let allowed = matches!(
            self.seccomp_verdict(),
            None | Some(Verdict::Allow | Verdict::Log | Verdict::Trace(_))
        );
        if !allowed {
            self.exit_group(SIGSYS as i32);
            return Passage::Done;
        }
        self.context.borrow_mut().set_return(now);
        self.set_serving(now);
        Passage::Call
    }

    /// The guest thread is gone without the kernel's doing: the process ends as by SIGKILL, or by that signal.
    fn died(&self, death: Death) {
        let signal = match death {
            Death::Signal(signal @ 1..=64) => signal,
            _ => SIGKILL,
        };
        if death == Death::Protocol {
            let line = format!(
                "process {} broke the engine's protocol and was ended",
                self.tgid()
            );
            self.kernel.log.line(&line);
        }
        self.exit_group(signal as i32);
    }
}

/// What becomes of a call after the filters.
enum Passage {
    /// It is made.
    Call,
    /// It is not; the result is set.
    Done,
    /// A signal came while somebody was asked.
    Interrupted(Errno),
}

/// Errors with which a call with a temporary mask ends when a signal interrupted it.
fn interrupted(error: Errno) -> bool {
    error.is_restart() || error == Errno::EINTR
}
