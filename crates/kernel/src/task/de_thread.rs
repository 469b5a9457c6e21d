//! execve(2) in a process with several threads: all others end, and the caller becomes the leader.

use std::sync::atomic::Ordering;

use abi::Errno;
use sync::Events;

use super::CurrentTask;
use super::ptrace::{event, options};

impl CurrentTask {
    /// Ends all other threads of the process and waits for their end. After it the caller is alone and runs on under the
    /// process's id (from its return to the guest on). `ERESTARTNOINTR` when another thread calls execve(2) or the
    /// process is ending: the caller returns it and will end.
    pub fn de_thread(&self) -> Result<(), Errno> {
        {
            let mut group = self.group.signals.lock();
            if group.exiting() || group.exec_by.is_some() {
                self.attention.store(true, Ordering::SeqCst);
                return Err(Errno::ERESTARTNOINTR);
            }
            if group.threads.len() == 1 && self.tid == self.tgid() {
                return Ok(());
            }
            group.exec_by = Some(self.tid);
            for thread in group.threads.iter().filter(|thread| thread.tid != self.tid) {
                thread.notify_signal();
            }
        }
        let queue = &self.group.exit_events;
        let id = queue.add(self.waiter.clone(), 0, Events::all());
        let result = loop {
            let group = self.group.signals.lock();
            if group.exiting() {
                self.attention.store(true, Ordering::SeqCst);
                break Err(Errno::ERESTARTNOINTR);
            }
            if group.threads.len() <= 1 {
                break Ok(());
            }
            drop(group);
            self.waiter.wait(None);
        };
        queue.remove(id);
        if result.is_ok() {
            if self.tid == self.tgid() {
                self.group.signals.lock().exec_by = None;
            } else {
                self.take_over.set(true);
            }
        }
        result
    }

    /// A tracer hears of execve(2): by an event, or by SIGTRAP when it neither asked for that nor seized.
    fn trace_exec(&self) {
        let asked = self
            .trace
            .lock()
            .as_ref()
            .map(|trace| (trace.options & options::TRACEEXEC != 0, trace.seized));
        match asked {
            Some((true, _)) => self.trace_event(options::TRACEEXEC, event::EXEC, u64::from(self.tid)),
            Some((false, false)) => {
                let info = crate::signal::SigInfo::user(abi::signal::SIGTRAP, self.tgid(), self.cred().uid);
                crate::signal::send_to_task(self.task(), info);
            }
            _ => {}
        }
    }

    /// What execve(2) resets on the task's side once the new program is in place: handlers, the alternate stack, CPU
    /// meters, the exit signal.
    pub fn after_exec(&self) {
        crate::signal::flush_handlers(&self.group);
        self.signals.lock().altstack = Default::default();
        {
            let mut state = self.state.lock();
            state.exec_user_ns = state.exec_user_ns.saturating_add(state.user_ns);
            state.user_ns = 0;
        }
        self.group.delete_created_timers();
        self.group.state.lock().did_exec = true;
        let mut table = self.kernel.pids.write();
        if let Some(entry) = table.groups.get_mut(&self.tgid()) {
            entry.exit_signal = abi::signal::SIGCHLD;
        }
        drop(table);
        self.update_local_answers();
        if self.traced() {
            self.trace_exec();
        }
    }
}
