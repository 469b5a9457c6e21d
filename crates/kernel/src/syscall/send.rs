//! send(2): sendto, sendmsg.

use std::sync::Arc;

use abi::{AbiStruct, Errno, UserAddr, abi_struct};
use sync::Events;

use super::arg::{Fd, Flags};
use super::socket::{lookup, read_address, wait};
use crate::file::FileDescription;
use crate::file::pipe::raise_sigpipe;
use crate::io::Source;
use crate::socket::{AF_UNIX, Control, Kind, Outgoing, SocketOps, address, msg};
use crate::task::CurrentTask;

abi_struct! {
    /// `struct msghdr`.
    pub(super) struct MsgHdr {
        pub(super) name: UserAddr, pub(super) name_len: i32, pad: u32,
        pub(super) vectors: UserAddr, pub(super) vector_count: u64,
        pub(super) control: UserAddr, pub(super) control_len: u64,
        pub(super) flags: u32, pad2: u32,
    }
}

impl MsgHdr {
    /// Reads it; `EMSGSIZE` for too many vectors.
    pub(super) fn read(task: &CurrentTask, addr: UserAddr) -> Result<MsgHdr, Errno> {
        let header: MsgHdr = task.read_struct(addr)?;
        if header.vector_count > 1024 {
            return Err(Errno::EMSGSIZE);
        }
        if header.name_len < 0 {
            return Err(Errno::EINVAL);
        }
        Ok(header)
    }

    /// As bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

/// sendto(2).
pub fn sendto(
    task: &CurrentTask,
    fd: Fd,
    buf: UserAddr,
    len: usize,
    flags: Flags,
    addr: UserAddr,
    addr_len: i32,
) -> Result<usize, Errno> {
    let (file, socket) = lookup(task, fd)?;
    let to = if addr.is_null() {
        None
    } else {
        Some(read_address(task, addr, addr_len)?)
    };
    let mut src = task.buffer(buf, len);
    let mut message = Outgoing {
        src: &mut src,
        to: to.as_deref(),
        task: Some(task),
        control: Control::default(),
        flags: flags.0,
    };
    send(task, &file, &socket, &mut message)
}

/// sendmsg(2).
pub fn sendmsg(task: &CurrentTask, fd: Fd, header: UserAddr, flags: Flags) -> Result<usize, Errno> {
    let (file, socket) = lookup(task, fd)?;
    send_one(task, &file, &socket, header, flags.0)
}

/// Sends the message of a msghdr.
pub(super) fn send_one(
    task: &CurrentTask,
    file: &FileDescription,
    socket: &Arc<dyn SocketOps>,
    header: UserAddr,
    flags: u32,
) -> Result<usize, Errno> {
    let header = MsgHdr::read(task, header)?;
    let to = if header.name.is_null() {
        None
    } else {
        let most = i32::try_from(address::MAX_BYTES).unwrap_or(0);
        Some(read_address(task, header.name, header.name_len.min(most))?)
    };
    let count = usize::try_from(header.vector_count).map_err(|_| Errno::EMSGSIZE)?;
    let vectors = task.read_iovecs(header.vectors, count)?;
    let control = if header.control_len > 0 {
        let len = usize::try_from(header.control_len).map_err(|_| Errno::ENOBUFS)?;
        let unix = socket.base().family == AF_UNIX;
        Control::read(task, header.control, len, unix)?
    } else {
        Control::default()
    };
    let mut src = task.buffers(vectors);
    let mut message = Outgoing {
        src: &mut src,
        to: to.as_deref(),
        task: Some(task),
        control,
        flags,
    };
    send(task, file, socket, &mut message)
}

/// Sends all of a stream's bytes, or one message; waits unless told not to.
fn send(
    task: &CurrentTask,
    file: &FileDescription,
    socket: &Arc<dyn SocketOps>,
    message: &mut Outgoing<'_>,
) -> Result<usize, Errno> {
    let nonblocking = file.nonblocking() || message.flags & msg::DONTWAIT != 0;
    message.flags |= if nonblocking { msg::DONTWAIT } else { 0 };
    let stream = socket.base().kind == Kind::Stream;
    let mut done = 0;
    loop {
        let sent = wait(task, &**socket, Events::WRITABLE, nonblocking, || {
            socket.send(message)
        });
        match sent {
            Ok(count) => {
                done += count;
                if !stream || nonblocking || count == 0 || Source::remaining(&*message.src) == 0 {
                    return Ok(done);
                }
            }
            Err(_) if done > 0 => return Ok(done),
            Err(error) => {
                if error == Errno::EPIPE && stream && message.flags & msg::NOSIGNAL == 0 {
                    raise_sigpipe();
                }
                return Err(error);
            }
        }
    }
}
