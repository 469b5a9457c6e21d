//! sigreturn(2).

use abi::Errno;

use crate::task::CurrentTask;

/// rt_sigreturn(2).
pub fn rt_sigreturn(task: &CurrentTask) -> Result<u64, Errno> {
    crate::signal::sigreturn(task)
}
