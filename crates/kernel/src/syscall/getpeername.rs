//! getpeername(2).

use abi::{Errno, UserAddr};

use super::arg::Fd;
use super::socket::{lookup, write_address};
use crate::task::CurrentTask;

/// getpeername(2).
pub fn getpeername(task: &CurrentTask, fd: Fd, addr: UserAddr, len: UserAddr) -> Result<(), Errno> {
    let (_file, socket) = lookup(task, fd)?;
    write_address(task, &socket.peer_name()?, addr, len)
}
