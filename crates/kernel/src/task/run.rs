//! The run loop of a sentry thread: switch to the guest, serve its event, look at signals, again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use abi::signal::*;
use abi::{Errno, UserAddr};
use platform::{Death, Event};

use super::ptrace::{StopKind, event, options};
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
            if self.needs_attention() {
                if std::mem::take(&mut self.state.lock().answers_changed) {
                    self.update_local_answers();
                }
                if let Flow::Exit(status) = signal::attend(self, None) {
                    return Next::Exit(status);
                }
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

    /// Serves one system call, as often as it restarts without a handler.
    fn serve_call(&self) {
        let nr = self.context.borrow().regs().orig_rax;
        loop {
            self.set_serving(nr);
            let traced = self.traced();
            if traced && !self.trace_entry() {
                return;
            }
            if !self.passes_seccomp() {
                return;
            }
            let outcome = syscall::dispatch(self);
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
            match signal::attend(self, Some(restart)) {
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
    fn passes_seccomp(&self) -> bool {
        match self.seccomp_verdict() {
            None => return true,
            Some(Verdict::Allow | Verdict::Log) => return true,
            Some(Verdict::Errno(errno)) => {
                let value = (-i64::from(errno)) as u64;
                self.context.borrow_mut().set_return(value);
            }
            Some(Verdict::Nobody) => {
                let value = (-i64::from(Errno::ENOSYS.raw())) as u64;
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
        false
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

/// Errors with which a call with a temporary mask ends when a signal interrupted it.
fn interrupted(error: Errno) -> bool {
    error.is_restart() || error == Errno::EINTR
}
