//! recvmmsg(2).

use std::time::Instant;

use abi::{Errno, UserAddr};

use super::arg::{Fd, Flags};
use super::poll::{read_timeout, write_remaining};
use super::recv::receive_one;
use super::sendmmsg::{LENGTH_AT, MOST, STRIDE};
use super::socket::lookup;
use crate::socket::msg;
use crate::task::CurrentTask;

/// recvmmsg(2). The timeout is looked at after each message only, as in Linux.
pub fn recvmmsg(
    task: &CurrentTask,
    fd: Fd,
    vector: UserAddr,
    count: u32,
    flags: Flags,
    timeout: UserAddr,
) -> Result<u32, Errno> {
    let deadline = read_timeout(task, timeout)?;
    let (file, socket) = lookup(task, fd)?;
    let mut flags = flags.0;
    let mut done = 0;
    while done < count.min(MOST) {
        let at = vector.add(u64::from(done) * STRIDE)?;
        let got = receive_one(task, &file, &socket, at, flags & !msg::WAITFORONE).and_then(|got| {
            let got = u32::try_from(got).unwrap_or(u32::MAX);
            task.write_struct(at.add(LENGTH_AT)?, &got)
        });
        match got {
            Ok(()) => done += 1,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
        if flags & msg::WAITFORONE != 0 {
            flags |= msg::DONTWAIT;
        }
        if deadline.is_some_and(|at| at <= Instant::now()) {
            break;
        }
    }
    write_remaining(task, timeout, deadline);
    Ok(done)
}
