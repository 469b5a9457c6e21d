//! futex(2): wait queues keyed by guest words.

/// All futex queues of the sandbox.
#[derive(Default)]
pub struct FutexTable {}

/// What a task's exit or execve(2) does to futexes: robust lists, and the word of CLONE_CHILD_CLEARTID
/// (set_tid_address(2)) becomes 0 and its waiters are woken.
pub fn exit_task(task: &crate::task::CurrentTask) {
    let word = std::mem::take(&mut task.state.lock().clear_child_tid);
    if !word.is_null() {
        // A bad address concerns nobody but the guest.
        let _ = task.copy_out(word, &0_u32.to_le_bytes());
    }
}
