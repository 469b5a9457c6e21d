//! shutdown(2).

use abi::Errno;

use super::arg::Fd;
use super::socket::lookup;
use crate::socket::Shutdown;
use crate::task::CurrentTask;

/// shutdown(2): 0 ends reading, 1 writing, 2 both.
pub fn shutdown(task: &CurrentTask, fd: Fd, how: i32) -> Result<(), Errno> {
    let (_file, socket) = lookup(task, fd)?;
    let (read, write) = match how {
        0 => (true, false),
        1 => (false, true),
        2 => (true, true),
        _ => return Err(Errno::EINVAL),
    };
    socket.shutdown(Shutdown { read, write })
}
