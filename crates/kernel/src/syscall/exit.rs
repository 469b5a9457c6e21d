//! exit(2), exit_group(2).

use abi::Errno;

use crate::task::CurrentTask;

/// exit(2): the calling thread ends.
pub fn exit(task: &CurrentTask, status: i32) -> Result<(), Errno> {
    task.end_thread((status & 0xff) << 8);
    Ok(())
}

/// exit_group(2): the whole process ends.
pub fn exit_group(task: &CurrentTask, status: i32) -> Result<(), Errno> {
    task.exit_group((status & 0xff) << 8);
    Ok(())
}
