//! fork(2), vfork(2).

use abi::Errno;
use abi::signal::SIGCHLD;

use crate::task::{CloneArgs, CurrentTask, clone_flags};

/// fork(2).
pub fn fork(task: &CurrentTask) -> Result<u32, Errno> {
    task.clone_task(&CloneArgs {
        exit_signal: SIGCHLD,
        ..CloneArgs::default()
    })
}

/// vfork(2).
pub fn vfork(task: &CurrentTask) -> Result<u32, Errno> {
    task.clone_task(&CloneArgs {
        flags: clone_flags::VFORK | clone_flags::VM,
        exit_signal: SIGCHLD,
        ..CloneArgs::default()
    })
}
