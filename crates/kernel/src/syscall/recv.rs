//! recv(2): recvfrom, recvmsg.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::{Errno, UserAddr};
use sync::Events;

use super::arg::{Fd, Flags};
use super::send::MsgHdr;
use super::socket::{lookup, wait, write_address};
use crate::file::FileDescription;
use crate::io::Sink;
use crate::socket::{Incoming, Kind, SocketOps, msg};
use crate::task::CurrentTask;

/// recvfrom(2).
pub fn recvfrom(
    task: &CurrentTask,
    fd: Fd,
    buf: UserAddr,
    len: usize,
    flags: Flags,
    addr: UserAddr,
    addr_len: UserAddr,
) -> Result<usize, Errno> {
    let (file, socket) = lookup(task, fd)?;
    let mut dst = task.buffer(buf, len);
    let incoming = receive(task, &file, &socket, &mut dst, flags.0)?;
    if !addr.is_null() {
        write_address(task, incoming.from.as_deref().unwrap_or_default(), addr, addr_len)?;
    }
    Ok(result(&socket, &incoming, flags.0))
}

/// recvmsg(2).
pub fn recvmsg(task: &CurrentTask, fd: Fd, header: UserAddr, flags: Flags) -> Result<usize, Errno> {
    let (file, socket) = lookup(task, fd)?;
    receive_one(task, &file, &socket, header, flags.0)
}

/// Receives into the msghdr at `at` and writes what came with the bytes.
pub(super) fn receive_one(
    task: &CurrentTask,
    file: &FileDescription,
    socket: &Arc<dyn SocketOps>,
    at: UserAddr,
    flags: u32,
) -> Result<usize, Errno> {
    let mut header = MsgHdr::read(task, at)?;
    let count = usize::try_from(header.vector_count).map_err(|_| Errno::EMSGSIZE)?;
    let vectors = task.read_iovecs(header.vectors, count)?;
    let mut incoming = receive(task, file, socket, &mut task.buffers(vectors), flags)?;
    let result = result(socket, &incoming, flags);
    header.flags = incoming.flags | (flags & msg::CMSG_CLOEXEC);
    let from = incoming.from.take().unwrap_or_default();
    if !header.name.is_null() {
        let room = usize::try_from(header.name_len).unwrap_or(0).min(from.len());
        task.copy_out(header.name, &from[..room])?;
    }
    header.name_len = i32::try_from(from.len()).unwrap_or(0);
    let room = if header.control.is_null() {
        0
    } else {
        usize::try_from(header.control_len).unwrap_or(usize::MAX)
    };
    let pass = socket.base().options.lock().pass_credentials();
    let cloexec = flags & msg::CMSG_CLOEXEC != 0;
    let (used, cut) = incoming
        .control
        .deliver(task, header.control, room, cloexec, pass)?;
    header.control_len = used as u64;
    if cut {
        header.flags |= msg::CTRUNC;
    }
    // Everything but the addresses and counts that the caller gave.
    task.copy_out(at, &header.bytes())?;
    Ok(result)
}

/// Bytes to report: with MSG_TRUNC the whole message's.
fn result(socket: &Arc<dyn SocketOps>, incoming: &Incoming, flags: u32) -> usize {
    if flags & msg::TRUNC != 0 && socket.base().kind != Kind::Stream {
        incoming.full
    } else {
        incoming.stored
    }
}

/// Receives once; a stream with MSG_WAITALL until `dst` is full, else until there is as much as SO_RCVLOWAT asks for.
fn receive(
    task: &CurrentTask,
    file: &FileDescription,
    socket: &Arc<dyn SocketOps>,
    dst: &mut dyn Sink,
    flags: u32,
) -> Result<Incoming, Errno> {
    if flags & msg::ERRQUEUE != 0 {
        return socket.receive_error(dst);
    }
    let nonblocking = file.nonblocking() || flags & msg::DONTWAIT != 0;
    let flags = flags | if nonblocking { msg::DONTWAIT } else { 0 };
    let total = dst.remaining();
    let once = |dst: &mut dyn Sink| {
        wait(task, &**socket, Events::READABLE, nonblocking, || {
            socket.receive(dst, flags)
        })
    };
    let mut incoming = once(dst)?;
    let least = match flags & msg::WAITALL {
        0 => socket.base().low_water.load(Ordering::Relaxed).min(total),
        _ => total,
    };
    let gathers = flags & msg::PEEK == 0 && socket.base().kind == Kind::Stream && !nonblocking;
    while gathers
        && (1..least).contains(&incoming.stored)
        && dst.remaining() > 0
        && incoming.control.files.is_empty()
    {
        match once(dst) {
            Ok(more) if more.stored > 0 => {
                incoming.stored += more.stored;
                incoming.full += more.full;
                incoming.control.files = more.control.files;
            }
            _ => break,
        }
    }
    Ok(incoming)
}
