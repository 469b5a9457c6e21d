//! The one place where a task waits: register, retry, sleep; signals and deadlines end it.

use std::sync::atomic::Ordering;
use std::time::Instant;

use abi::Errno;
use sync::{Events, PollTable, WaitQueue};

use super::CurrentTask;
use crate::file::FileDescription;

/// When to give up; `None`: never. Host monotonic time.
pub type Deadline = Option<Instant>;

impl CurrentTask {
    /// Runs `attempt` until it answers something else than `EAGAIN`, sleeping in between until a queue that
    /// `register` named is woken. `ERESTARTSYS` when a signal (or a stop, an exit) wants the task;
    /// `ETIMEDOUT` once `deadline` has passed (the last attempt is made after it).
    pub fn blocking_op<T>(
        &self,
        deadline: Deadline,
        mut register: impl FnMut(&mut PollTable),
        mask: Events,
        mut attempt: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match attempt() {
            Err(Errno::EAGAIN) => {}
            done => return done,
        }
        self.waiter.reset();
        let mut table = PollTable::new(self.waiter.clone(), 0, mask);
        register(&mut table);
        let _registrations = table.into_registrations();
        loop {
            match attempt() {
                Err(Errno::EAGAIN) => {}
                done => return done,
            }
            self.sleep(deadline)?;
        }
    }

    /// Waits on one queue; see [`CurrentTask::blocking_op`].
    pub fn wait_on<T>(
        &self,
        queue: &WaitQueue,
        deadline: Deadline,
        attempt: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        self.blocking_op(deadline, |table| table.register(queue), Events::all(), attempt)
    }

    /// Runs a file operation; waits for `events` unless the file is non-blocking.
    pub fn file_op<T>(
        &self,
        file: &FileDescription,
        events: Events,
        deadline: Deadline,
        mut attempt: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        if file.nonblocking() {
            return attempt();
        }
        let register = |table: &mut PollTable| {
            file.ops().poll(file, Some(table));
        };
        self.blocking_op(deadline, register, events, attempt)
    }

    /// Has the guest's memory show what was copied out so far: others may look before this task continues.
    pub fn settle(&self) {
        // A bad address is met by whoever copies there next.
        let _ = self.context.borrow_mut().flush();
    }

    /// Sleeps once: until the waiter is notified. `ERESTARTSYS` for a signal, `ETIMEDOUT` at the deadline.
    /// For callers with queues of their own: register, look, call this, look again.
    pub fn sleep(&self, deadline: Deadline) -> Result<(), Errno> {
        if self.needs_attention() {
            return Err(Errno::ERESTARTSYS);
        }
        self.settle();
        self.context.borrow_mut().will_sleep();
        self.run_state.store(u32::from(b'S'), Ordering::Relaxed);
        let since = self.metered().then(Instant::now);
        let notified = self.waiter.wait(deadline);
        if let Some(since) = since {
            self.meter_slept(since);
        }
        self.run_state.store(u32::from(b'R'), Ordering::Relaxed);
        if self.needs_attention() {
            return Err(Errno::ERESTARTSYS);
        }
        if notified { Ok(()) } else { Err(Errno::ETIMEDOUT) }
    }
}
