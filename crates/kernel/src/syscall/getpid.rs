//! getpid(2), getppid(2), gettid(2), set_tid_address(2).

use abi::{Errno, UserAddr};

use crate::task::CurrentTask;

/// getpid(2).
pub fn getpid(task: &CurrentTask) -> Result<u32, Errno> {
    Ok(task.own_tgid())
}

/// gettid(2).
pub fn gettid(task: &CurrentTask) -> Result<u32, Errno> {
    Ok(task.own_tid())
}

/// getppid(2).
pub fn getppid(task: &CurrentTask) -> Result<u32, Errno> {
    let parent = {
        let table = task.kernel.pids.read();
        table.group(task.tgid()).map_or(0, |entry| entry.parent)
    };
    Ok(task.own_pid(parent))
}

/// set_tid_address(2).
pub fn set_tid_address(task: &CurrentTask, addr: UserAddr) -> Result<u32, Errno> {
    task.state.lock().clear_child_tid = addr;
    Ok(task.own_tid())
}
