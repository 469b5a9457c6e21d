//! Sockets: families in a table, each with its own kinds of socket behind [`SocketOps`].
//!
//! `unix` is complete in itself; `inet` is the loopback network inside the sandbox (an in-kernel path between
//! queues, without packets); `netlink` answers what programs ask of the route family. Like files, sockets never block:
//! `syscall` waits and retries.

pub mod address;
pub mod ancillary;
mod base;
mod channel;
mod file;
pub mod filter;
pub mod host;
mod in_flight;
mod inbox;
pub mod inet;
mod interface;
mod net_ns;
pub mod netlink;
pub mod network;
pub mod options;
pub mod packet;
mod segments;
#[cfg(test)]
mod tests;
pub mod unix;

use std::sync::Arc;

use abi::Errno;
use sync::{Events, PollTable};

pub use ancillary::{Control, Ucred};
pub use base::{Base, Kind};
pub use file::{SocketFile, install, socket_of, timeout};
pub use net_ns::NetNs;

use crate::Kernel;
use crate::io::{Sink, Source};
use crate::task::CurrentTask;

/// AF_UNIX.
pub const AF_UNIX: u16 = 1;
/// AF_INET.
pub const AF_INET: u16 = 2;
/// AF_INET6.
pub const AF_INET6: u16 = 10;
/// AF_NETLINK.
pub const AF_NETLINK: u16 = 16;
/// AF_PACKET.
pub const AF_PACKET: u16 = 17;

/// Flags of send(2) and recv(2).
pub mod msg {
    #![allow(missing_docs, reason = "the names are those of the man pages")]
    pub const OOB: u32 = 1;
    pub const PEEK: u32 = 2;
    pub const DONTROUTE: u32 = 4;
    pub const CTRUNC: u32 = 8;
    pub const TRUNC: u32 = 0x20;
    pub const DONTWAIT: u32 = 0x40;
    pub const EOR: u32 = 0x80;
    pub const WAITALL: u32 = 0x100;
    pub const ERRQUEUE: u32 = 0x2000;
    pub const NOSIGNAL: u32 = 0x4000;
    pub const MORE: u32 = 0x8000;
    pub const FASTOPEN: u32 = 0x2000_0000;
    pub const WAITFORONE: u32 = 0x10000;
    pub const CMSG_CLOEXEC: u32 = 0x4000_0000;
}

/// Which directions shutdown(2) ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// No more is received.
    pub read: bool,
    /// No more is sent.
    pub write: bool,
}

/// A message to send.
pub struct Outgoing<'a> {
    /// The bytes.
    pub src: &'a mut dyn Source,
    /// Destination, as the caller gave it.
    pub to: Option<&'a [u8]>,
    /// Who sends; there whenever `to` is.
    pub task: Option<&'a CurrentTask>,
    /// Files and credentials; taken when the message is.
    pub control: Control,
    /// MSG_*.
    pub flags: u32,
}

/// What came with received bytes.
#[derive(Default)]
pub struct Incoming {
    /// Bytes stored.
    pub stored: usize,
    /// Bytes the message had (more than stored when it was cut).
    pub full: usize,
    /// Sender's address; `None` when the kind of socket has none to tell.
    pub from: Option<Vec<u8>>,
    /// MSG_* that describe the message (MSG_TRUNC, MSG_EOR).
    pub flags: u32,
    /// Files and credentials.
    pub control: Control,
    /// How a datagram of an internet family came.
    pub arrival: Option<inbox::Arrival>,
}

/// A connection that accept(2) takes.
pub struct Accepted {
    /// The new socket.
    pub socket: Arc<dyn SocketOps>,
    /// The other side's address.
    pub from: Vec<u8>,
}

/// The operations of a socket. They never wait: `EAGAIN` says that they would, and `poll` names the queues to wait on.
pub trait SocketOps: Send + Sync {
    /// What all sockets have.
    fn base(&self) -> &Base;
    /// A message of the kernel's own (netlink). `EINVAL` for other families.
    fn tell(&self, message: Vec<u8>) -> Result<(), Errno> {
        let _ = message;
        Err(Errno::EINVAL)
    }
    /// bind(2).
    fn bind(&self, task: &CurrentTask, addr: &[u8]) -> Result<(), Errno>;
    /// connect(2). The only one that may wait, in `task`, unless `nonblocking`.
    fn connect(&self, task: &CurrentTask, addr: &[u8], nonblocking: bool) -> Result<(), Errno>;
    /// listen(2).
    fn listen(&self, task: &CurrentTask, backlog: i32) -> Result<(), Errno> {
        let _ = (task, backlog);
        Err(Errno::EOPNOTSUPP)
    }
    /// accept(2).
    fn accept(&self) -> Result<Accepted, Errno> {
        Err(Errno::EOPNOTSUPP)
    }
    /// getsockname(2).
    fn name(&self) -> Result<Vec<u8>, Errno>;
    /// getpeername(2).
    fn peer_name(&self) -> Result<Vec<u8>, Errno>;
    /// shutdown(2).
    fn shutdown(&self, how: Shutdown) -> Result<(), Errno>;
    /// sendmsg(2). `EPIPE` comes without the signal.
    fn send(&self, message: &mut Outgoing<'_>) -> Result<usize, Errno>;
    /// recvmsg(2).
    fn receive(&self, dst: &mut dyn Sink, flags: u32) -> Result<Incoming, Errno>;
    /// recvmsg(2) with MSG_ERRQUEUE: the next error about something sent.
    fn receive_error(&self, dst: &mut dyn Sink) -> Result<Incoming, Errno> {
        let _ = dst;
        Err(Errno::EAGAIN)
    }
    /// Readiness; registers first.
    fn poll(&self, table: Option<&mut PollTable>) -> Events;
    /// setsockopt(2) of what only this kind knows. `ENOPROTOOPT`: unknown.
    fn set_option(&self, task: &CurrentTask, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let _ = (task, level, name, value);
        Err(Errno::ENOPROTOOPT)
    }
    /// setsockopt(2) of what all sockets keep alike has been done.
    fn general_option_set(&self, name: i32, value: &[u8]) -> Result<(), Errno> {
        let _ = (name, value);
        Ok(())
    }
    /// getsockopt(2) of what only this kind knows. `ENOPROTOOPT`: unknown.
    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let _ = (level, name);
        Err(Errno::ENOPROTOOPT)
    }
    /// getsockopt(2) of an option whose value depends on what the caller put into the buffer. `None`: not such a one.
    fn option_of(&self, level: i32, name: i32, asked: &[u8]) -> Option<Result<Vec<u8>, Errno>> {
        let _ = (level, name, asked);
        None
    }
    /// mmap(2).
    fn map(&self, offset: u64, len: u64) -> Result<Vec<crate::file::MapPiece>, Errno> {
        let _ = (offset, len);
        Err(Errno::ENODEV)
    }
    /// SO_SNDBUF or SO_RCVBUF changed.
    fn buffers_changed(&self) {}
    /// FIONREAD: bytes that can be read (of the next message).
    fn readable_bytes(&self) -> Result<usize, Errno>;
    /// SIOCATMARK: whether reading has come to an urgent byte.
    fn at_mark(&self) -> Result<bool, Errno> {
        Err(Errno::ENOTTY)
    }
    /// SIOCOUTQ: bytes sent that were not taken yet.
    fn unsent_bytes(&self) -> Result<usize, Errno> {
        Ok(0)
    }
    /// SIOCOUTQNSD: those of them that have not gone out.
    fn unsent_here(&self) -> Result<usize, Errno> {
        Err(Errno::ENOTTY)
    }
    /// The last open file of it is gone.
    fn close(&self);
}

/// A new socket of any kind.
pub type NewSocket = Result<Arc<dyn SocketOps>, Errno>;

/// A family's row: its number and how it makes sockets.
struct Family {
    number: u16,
    create: fn(&Arc<Kernel>, &Arc<NetNs>, Kind, i32) -> NewSocket,
}

const FAMILIES: &[Family] = &[
    Family {
        number: AF_UNIX,
        create: unix::create,
    },
    Family {
        number: AF_INET,
        create: |kernel, net, kind, protocol| inet::create(kernel, net, AF_INET, kind, protocol),
    },
    Family {
        number: AF_INET6,
        create: |kernel, net, kind, protocol| inet::create(kernel, net, AF_INET6, kind, protocol),
    },
    Family {
        number: AF_NETLINK,
        create: netlink::create,
    },
    Family {
        number: AF_PACKET,
        create: packet::create,
    },
];

/// socket(2) in a network namespace. `EAFNOSUPPORT` for families that are not in the table.
pub fn create(
    kernel: &Arc<Kernel>,
    net: &Arc<NetNs>,
    family: i32,
    kind: Kind,
    protocol: i32,
) -> Result<Arc<dyn SocketOps>, Errno> {
    let row = FAMILIES
        .iter()
        .find(|row| i32::from(row.number) == family)
        .ok_or(Errno::EAFNOSUPPORT)?;
    (row.create)(kernel, net, kind, protocol)
}
