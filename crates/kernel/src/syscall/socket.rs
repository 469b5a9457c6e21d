//! socket(2), and what all socket calls share: descriptors, addresses, waiting.

use std::sync::Arc;
use std::time::Instant;

use abi::fcntl::{O_CLOEXEC, O_NONBLOCK, O_PATH};
use abi::{Errno, UserAddr};
use sync::Events;

use super::arg::{Fd, Flags};
use crate::file::FileDescription;
use crate::socket::{self, Kind, SocketOps, address, socket_of};
use crate::task::CurrentTask;

/// The bits of a type argument that name the kind.
const TYPE_MASK: u32 = 0xf;

/// socket(2).
pub fn socket(task: &CurrentTask, family: i32, kind: Flags, protocol: i32) -> Result<Fd, Errno> {
    let (kind, flags) = split_type(kind)?;
    let socket = socket::create(&task.kernel, &task.net(), family, kind, protocol)?;
    let file = socket::install(&task.kernel, socket, flags);
    let (cloexec, limit) = (flags & O_CLOEXEC != 0, task.group.fd_limit());
    task.files().install(file, cloexec, 0, limit).map(Fd)
}

/// A type argument's kind and flags.
pub(super) fn split_type(kind: Flags) -> Result<(Kind, u32), Errno> {
    let flags = kind.0 & !TYPE_MASK;
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok((Kind::from_type(kind.0 & TYPE_MASK)?, flags))
}

/// The open file and the socket of a descriptor. `EBADF`, `ENOTSOCK`.
pub(super) fn lookup(
    task: &CurrentTask,
    fd: Fd,
) -> Result<(Arc<FileDescription>, Arc<dyn SocketOps>), Errno> {
    let file = task.files().get(fd.0)?;
    if file.flags() & O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    let socket = socket_of(&file)?.clone();
    Ok((file, socket))
}

/// An address argument. `EINVAL` for a negative or too long one.
pub(super) fn read_address(task: &CurrentTask, addr: UserAddr, len: i32) -> Result<Vec<u8>, Errno> {
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    if len > address::MAX_BYTES {
        return Err(Errno::EINVAL);
    }
    let mut raw = vec![0; len];
    task.copy_in(addr, &mut raw)?;
    Ok(raw)
}

/// Gives an address back: as much as there is room for, and its full length.
pub(super) fn write_address(
    task: &CurrentTask,
    raw: &[u8],
    addr: UserAddr,
    len_addr: UserAddr,
) -> Result<(), Errno> {
    let room: i32 = task.read_struct(len_addr)?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    task.copy_out(addr, &raw[..raw.len().min(room)])?;
    task.write_struct(len_addr, &u32::try_from(raw.len()).unwrap_or(u32::MAX))
}

/// Runs an attempt; waits for `events` for as long as the socket's timeout allows, unless it is not to wait.
pub(super) fn wait<T>(
    task: &CurrentTask,
    socket: &dyn SocketOps,
    events: Events,
    nonblocking: bool,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    if nonblocking {
        return attempt();
    }
    let timeout = socket::timeout(socket, events.contains(Events::OUT));
    let deadline = timeout.and_then(|length| Instant::now().checked_add(length));
    let register = |table: &mut sync::PollTable| {
        socket.poll(Some(table));
    };
    match task.blocking_op(deadline, register, events, attempt) {
        // A connection may have timed out as well.
        Err(Errno::ETIMEDOUT) if deadline.is_some_and(|at| at <= Instant::now()) => Err(Errno::EAGAIN),
        // With a timeout a call is not restarted: it would start anew (signal(7)).
        Err(Errno::ERESTARTSYS) if timeout.is_some() => Err(Errno::EINTR),
        other => other,
    }
}
