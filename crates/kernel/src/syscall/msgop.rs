//! msgget(2), msgsnd(2), msgrcv(2).

use abi::{Errno, UserAddr};

use super::arg::Flags;
use crate::ipc::msg::{self, MSGMAX, Message};
use crate::task::CurrentTask;

/// msgget(2).
pub fn msgget(task: &CurrentTask, key: i32, flags: Flags) -> Result<i32, Errno> {
    msg::get(task, key, flags.0)
}

/// msgsnd(2).
pub fn msgsnd(task: &CurrentTask, id: i32, message: UserAddr, len: u64, flags: Flags) -> Result<(), Errno> {
    let kind: i64 = task.read_struct(message)?;
    let len = usize::try_from(len)
        .ok()
        .filter(|len| *len <= MSGMAX)
        .ok_or(Errno::EINVAL)?;
    if id < 0 || kind < 1 {
        return Err(Errno::EINVAL);
    }
    let mut text = vec![0; len];
    task.copy_in(message.add(8)?, &mut text)?;
    msg::send(task, id, Message { kind, text }, flags.0)
}

/// msgrcv(2).
pub fn msgrcv(
    task: &CurrentTask,
    id: i32,
    message: UserAddr,
    len: u64,
    kind: i64,
    flags: Flags,
) -> Result<usize, Errno> {
    let max = i64::try_from(len)
        .ok()
        .and_then(|len| usize::try_from(len).ok())
        .ok_or(Errno::EINVAL)?;
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let taken = msg::receive(task, id, max, kind, flags.0)?;
    task.write_struct(message, &taken.kind)?;
    task.copy_out(message.add(8)?, &taken.text)?;
    Ok(taken.text.len())
}
