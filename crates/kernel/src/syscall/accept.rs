//! accept(2).

use abi::fcntl::{O_CLOEXEC, O_NONBLOCK};
use abi::{Errno, UserAddr};
use sync::Events;

use super::arg::{Fd, Flags};
use super::socket::{lookup, wait, write_address};
use crate::socket;
use crate::task::CurrentTask;

/// accept(2).
pub fn accept(task: &CurrentTask, fd: Fd, addr: UserAddr, len: UserAddr) -> Result<Fd, Errno> {
    accept4(task, fd, addr, len, Flags(0))
}

/// accept4(2).
pub fn accept4(task: &CurrentTask, fd: Fd, addr: UserAddr, len: UserAddr, flags: Flags) -> Result<Fd, Errno> {
    if flags.0 & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let (file, listener) = lookup(task, fd)?;
    let accepted = wait(task, &*listener, Events::READABLE, file.nonblocking(), || {
        listener.accept()
    })?;
    // From here on an error closes the connection, as in Linux.
    let file = socket::install(&task.kernel, accepted.socket, flags.0);
    if !addr.is_null() {
        write_address(task, &accepted.from, addr, len)?;
    }
    let (cloexec, limit) = (flags.0 & O_CLOEXEC != 0, task.group.fd_limit());
    task.files().install(file, cloexec, 0, limit).map(Fd)
}
