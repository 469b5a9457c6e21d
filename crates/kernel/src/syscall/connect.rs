//! connect(2).

use abi::{Errno, UserAddr};

use super::arg::Fd;
use super::socket::{lookup, read_address};
use crate::task::CurrentTask;

/// connect(2).
pub fn connect(task: &CurrentTask, fd: Fd, addr: UserAddr, len: i32) -> Result<(), Errno> {
    let (file, socket) = lookup(task, fd)?;
    let addr = read_address(task, addr, len)?;
    socket.connect(task, &addr, file.nonblocking())
}
