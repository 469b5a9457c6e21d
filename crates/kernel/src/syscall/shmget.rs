//! shmget(2), shmat(2), shmdt(2).

use abi::{Errno, UserAddr};

use super::arg::Flags;
use crate::ipc::shm;
use crate::task::CurrentTask;

/// shmget(2).
pub fn shmget(task: &CurrentTask, key: i32, size: u64, flags: Flags) -> Result<i32, Errno> {
    shm::get(task, key, size, flags.0)
}

/// shmat(2).
pub fn shmat(task: &CurrentTask, id: i32, addr: UserAddr, flags: Flags) -> Result<UserAddr, Errno> {
    shm::attach(task, id, addr, flags.0)
}

/// shmdt(2).
pub fn shmdt(task: &CurrentTask, addr: UserAddr) -> Result<(), Errno> {
    shm::detach(task, addr)
}
