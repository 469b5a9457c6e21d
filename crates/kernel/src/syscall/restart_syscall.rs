//! restart_syscall(2).

use abi::Errno;

use crate::task::CurrentTask;

/// restart_syscall(2): interrupted calls go on inside the kernel, so there is never anything to restart from outside.
pub fn restart_syscall(_: &CurrentTask) -> Result<(), Errno> {
    Err(Errno::EINTR)
}
