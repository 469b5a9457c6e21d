//! listen(2).

use abi::Errno;

use super::arg::Fd;
use super::socket::lookup;
use crate::task::CurrentTask;

/// listen(2).
pub fn listen(task: &CurrentTask, fd: Fd, backlog: i32) -> Result<(), Errno> {
    let (_file, socket) = lookup(task, fd)?;
    socket.listen(task, backlog)
}
