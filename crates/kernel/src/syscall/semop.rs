//! semget(2), semop(2), semtimedop(2).

use std::time::{Duration, Instant};

use abi::{AbiField, Errno, UserAddr};

use super::arg::Flags;
use crate::ipc::sem::{self, SEMOPM, SemBuf};
use crate::task::CurrentTask;

/// semget(2).
pub fn semget(task: &CurrentTask, key: i32, count: i32, flags: Flags) -> Result<i32, Errno> {
    sem::get(task, key, count, flags.0)
}

/// semop(2).
pub fn semop(task: &CurrentTask, id: i32, ops: UserAddr, count: usize) -> Result<(), Errno> {
    semtimedop(task, id, ops, count, UserAddr::NULL)
}

/// semtimedop(2).
pub fn semtimedop(
    task: &CurrentTask,
    id: i32,
    ops: UserAddr,
    count: usize,
    timeout: UserAddr,
) -> Result<(), Errno> {
    let wait = super::futex::read_time(task, timeout)?;
    let deadline = wait.map(|ns| {
        let now = Instant::now();
        now.checked_add(Duration::from_nanos(ns)).unwrap_or(now)
    });
    if count < 1 || id < 0 {
        return Err(Errno::EINVAL);
    }
    if count > SEMOPM {
        return Err(Errno::E2BIG);
    }
    let mut bytes = vec![0; count * SemBuf::SIZE];
    task.copy_in(ops, &mut bytes)?;
    let ops: Vec<SemBuf> = bytes.chunks_exact(SemBuf::SIZE).map(SemBuf::get).collect();
    sem::operate(task, id, &ops, deadline)
}
