//! The task that this sentry thread serves: what only its own thread may touch.

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;

use platform::Context;

use super::Task;
use crate::mm::Mm;

/// The running task with its context. Not `Sync`: it never leaves its sentry thread.
pub struct CurrentTask {
    task: Arc<Task>,
    /// The guest thread. Borrow it shortly: never across a call into a file or a wait.
    pub context: RefCell<Box<dyn Context>>,
    /// The address space, so that copies take no lock. Changed by execve(2) together with `Task::mm`.
    pub(super) mm: RefCell<Arc<Mm>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Task>>> = const { RefCell::new(None) };
}

/// The task that this sentry thread serves (Linux's `current`); `None` on threads that serve none.
pub fn current() -> Option<Arc<Task>> {
    CURRENT.with_borrow(Clone::clone)
}

impl CurrentTask {
    /// Makes this sentry thread serve `task` from now on.
    pub fn new(task: Arc<Task>, context: Box<dyn Context>, mm: Arc<Mm>) -> CurrentTask {
        *task.interrupter.lock() = Some(context.interrupter());
        CURRENT.set(Some(task.clone()));
        CurrentTask {
            task,
            context: RefCell::new(context),
            mm: RefCell::new(mm),
        }
    }

    /// The shared part.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// The address space.
    pub fn mm_ref(&self) -> Arc<Mm> {
        self.mm.borrow().clone()
    }

    /// Moves to another address space with a new guest thread (execve(2)).
    pub fn replace_context(&self, mm: Arc<Mm>, context: Box<dyn Context>) {
        *self.task.interrupter.lock() = Some(context.interrupter());
        *self.task.mm.lock() = Some(mm.clone());
        *self.mm.borrow_mut() = mm;
        *self.context.borrow_mut() = context;
    }
}

impl Deref for CurrentTask {
    type Target = Task;
    fn deref(&self) -> &Task {
        &self.task
    }
}

impl Drop for CurrentTask {
    fn drop(&mut self) {
        *self.task.interrupter.lock() = None;
        CURRENT.set(None);
    }
}
