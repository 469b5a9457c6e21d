//! The run loop of a sentry thread: switch to the guest, serve its event, look at signals, again.
//! Completed by the task developer (exit, signals, stops).

use std::sync::Arc;

use abi::Errno;
use platform::{Context, Event};

use super::{CurrentTask, Task};
use crate::mm::Mm;
use crate::syscall;

/// Stack of a sentry thread, in bytes: the deepest path walk and the largest local buffers fit several times.
const STACK_BYTES: usize = 512 << 10;

/// Starts a sentry thread that serves `task`. `EAGAIN` when the host gives no thread.
pub fn spawn(task: Arc<Task>, context: Box<dyn Context>, mm: Arc<Mm>) -> Result<(), Errno> {
    let builder = std::thread::Builder::new()
        .name(format!("task-{}", task.tid))
        .stack_size(STACK_BYTES);
    builder
        .spawn(move || CurrentTask::new(task, context, mm).run())
        .map(|_| ())
        .map_err(|_| Errno::EAGAIN)
}

impl CurrentTask {
    /// Serves the task until it has exited.
    pub fn run(self) {
        loop {
            let event = self.context.borrow_mut().run();
            match event {
                Event::Syscall => syscall::dispatch(&self),
                Event::Fault(_) | Event::Died(_) => return,
                Event::Interrupted => {}
            }
        }
    }
}
