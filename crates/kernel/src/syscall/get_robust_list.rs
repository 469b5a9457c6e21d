//! get_robust_list(2), set_robust_list(2).

use abi::{Errno, UserAddr};

use crate::futex::ROBUST_HEAD_BYTES;
use crate::task::CurrentTask;

/// set_robust_list(2).
pub fn set_robust_list(task: &CurrentTask, head: UserAddr, len: u64) -> Result<(), Errno> {
    if len != ROBUST_HEAD_BYTES {
        return Err(Errno::EINVAL);
    }
    task.state.lock().robust_list = (head, len);
    Ok(())
}

/// get_robust_list(2): of this thread (0) or of another that may be traced.
pub fn get_robust_list(task: &CurrentTask, tid: i32, head: UserAddr, len: UserAddr) -> Result<(), Errno> {
    let robust = if tid == 0 {
        task.state.lock().robust_list
    } else {
        let tid = u32::try_from(tid).map_err(|_| Errno::ESRCH)?;
        let other = task.find_task(tid)?;
        if !task.may_access(&other) {
            return Err(Errno::EPERM);
        }
        other.state.lock().robust_list
    };
    task.write_struct(len, &ROBUST_HEAD_BYTES)?;
    task.write_struct(head, &robust.0)
}
