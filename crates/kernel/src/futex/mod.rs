//! futex(2): wait queues keyed by guest words.

/// All futex queues of the sandbox.
#[derive(Default)]
pub struct FutexTable {}

/// A task leaves its address space (exit or execve): its robust list and its clear_child_tid are served.
pub fn exit_task(task: &crate::task::CurrentTask) {
    let _ = task;
}
