//! bind(2).

use abi::{Errno, UserAddr};

use super::arg::Fd;
use super::socket::{lookup, read_address};
use crate::task::CurrentTask;

/// bind(2).
pub fn bind(task: &CurrentTask, fd: Fd, addr: UserAddr, len: i32) -> Result<(), Errno> {
    let (_file, socket) = lookup(task, fd)?;
    let addr = read_address(task, addr, len)?;
    socket.bind(task, &addr)
}
