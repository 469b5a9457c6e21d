//! netlink(7): the route family (interfaces, addresses, routes and neighbours, asked for and changed), sock_diag(7) and
//! device events. Other families: `EPROTONOSUPPORT`. No events come.

mod addr;
mod link;
mod message;
mod neigh;
mod route;
mod rtnetlink;
mod sock_diag;

use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Events, Mutex, PollTable, rank};

use super::address::{decode_netlink, encode_netlink, family};
use super::inbox::{Inbox, read_message};
use super::{AF_NETLINK, Base, Control, Incoming, Kind, Outgoing, Shutdown, SocketOps, Ucred, msg};
use crate::Kernel;
use crate::cred::Caps;
use crate::io::Sink;
use crate::task::CurrentTask;

const NETLINK_ROUTE: i32 = 0;
const NETLINK_SOCK_DIAG: i32 = 4;
/// Device events: there are none, so its sockets stay silent.
const NETLINK_KOBJECT_UEVENT: i32 = 15;
/// SOL_NETLINK: its options are accepted without an effect.
const SOL_NETLINK: i32 = 270;
const BUFFER: usize = 212_992;
/// Bytes of one request.
const MAX_REQUEST: usize = 32 << 10;
/// Replies that wait.
const MOST_MESSAGES: usize = 1024;

/// A netlink socket.
pub struct NetlinkSocket {
    base: Base,
    kernel: Arc<Kernel>,
    inbox: Inbox,
    /// Port id (0: not bound) and multicast groups.
    bound: Mutex<(u32, u32)>,
    _me: Weak<NetlinkSocket>,
}

/// socket(2) of AF_NETLINK.
pub(super) fn create(kernel: &Arc<Kernel>, kind: Kind, protocol: i32) -> Result<Arc<dyn SocketOps>, Errno> {
    if !matches!(kind, Kind::Raw | Kind::Datagram) {
        return Err(Errno::ESOCKTNOSUPPORT);
    }
    if ![NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_KOBJECT_UEVENT].contains(&protocol) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let ino = kernel.next_ino();
    let base = Base::new(AF_NETLINK, kind, protocol, ino, (BUFFER, BUFFER));
    Ok(Arc::new_cyclic(|me| NetlinkSocket {
        inbox: Inbox::new(MOST_MESSAGES, &base.queue),
        base,
        kernel: kernel.clone(),
        bound: Mutex::new(rank::FILE_STATE, (0, 0)),
        _me: me.clone(),
    }))
}

impl NetlinkSocket {
    /// Takes a port id: the one asked for, else the process id, else a free one. `EADDRINUSE`.
    fn bind_to(&self, asked: u32, groups: u32) -> Result<(), Errno> {
        let mut bound = self.bound.lock();
        if bound.0 != 0 {
            if asked != 0 && asked != bound.0 {
                return Err(Errno::EINVAL);
            }
            bound.1 = groups;
            return Ok(());
        }
        let mut taken = self.kernel.sockets.netlink.lock();
        let port = if asked != 0 {
            if taken.contains(&asked) {
                return Err(Errno::EADDRINUSE);
            }
            asked
        } else {
            let pid = crate::task::current().map_or(1, |task| task.tgid());
            let free = |port: &u32| !taken.contains(port);
            Some(pid)
                .filter(free)
                .or_else(|| (0x8000_0001..=u32::MAX).rev().find(free))
                .ok_or(Errno::EADDRINUSE)?
        };
        taken.insert(port);
        *bound = (port, groups);
        Ok(())
    }

    fn port(&self) -> Result<u32, Errno> {
        if self.bound.lock().0 == 0 {
            self.bind_to(0, 0)?;
        }
        Ok(self.bound.lock().0)
    }
}

impl SocketOps for NetlinkSocket {
    fn base(&self) -> &Base {
        &self.base
    }

    fn tell(&self, message: Vec<u8>) -> Result<(), Errno> {
        let kernel = Ucred {
            pid: 0,
            uid: 0,
            gid: 0,
        };
        if !self.inbox.has_room(message.len(), BUFFER) {
            return Err(Errno::ENOBUFS);
        }
        let from = Some(encode_netlink(0, 0));
        self.inbox
            .push(message, from, Some(kernel), &mut Control::default());
        Ok(())
    }

    fn bind(&self, _: &CurrentTask, addr: &[u8]) -> Result<(), Errno> {
        let (port, groups) = decode_netlink(addr)?;
        self.bind_to(port, groups)
    }

    fn connect(&self, _: &CurrentTask, addr: &[u8], _: bool) -> Result<(), Errno> {
        if family(addr)? != 0 {
            decode_netlink(addr)?;
        }
        self.port().map(|_| ())
    }

    fn name(&self) -> Result<Vec<u8>, Errno> {
        let (port, groups) = *self.bound.lock();
        Ok(encode_netlink(port, groups))
    }

    fn peer_name(&self) -> Result<Vec<u8>, Errno> {
        Ok(encode_netlink(0, 0))
    }

    fn shutdown(&self, _: Shutdown) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn send(&self, message: &mut Outgoing<'_>) -> Result<usize, Errno> {
        if message.flags & msg::OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if let Some(to) = message.to.filter(|to| !to.is_empty()) {
            // Only the kernel listens.
            let (port, groups) = decode_netlink(to)?;
            if groups != 0 {
                return Err(Errno::EPERM);
            }
            if port != 0 {
                return Err(Errno::ECONNREFUSED);
            }
        }
        let port = self.port()?;
        let request = read_message(message.src, MAX_REQUEST)?;
        let admin = crate::task::current().is_some_and(|task| task.cred().has(Caps::NET_ADMIN));
        let replies = match self.base.protocol {
            NETLINK_ROUTE => rtnetlink::answer(&self.kernel, admin, &request, port),
            NETLINK_SOCK_DIAG => sock_diag::answer(&self.kernel, &request, port),
            _ => return Err(Errno::EPERM),
        };
        for reply in replies {
            if self.tell(reply).is_err() {
                self.base.fail(Errno::ENOBUFS);
                break;
            }
        }
        Ok(request.len())
    }

    fn receive(&self, dst: &mut dyn Sink, flags: u32) -> Result<Incoming, Errno> {
        if flags & msg::OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        self.base.take_error()?;
        self.inbox.receive(dst, flags)
    }

    fn poll(&self, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.base.queue);
        }
        let mut events = Events::WRITABLE;
        if !self.inbox.is_empty() {
            events |= Events::READABLE;
        }
        if self.base.has_error() {
            events |= Events::ERR;
        }
        events
    }

    fn set_option(&self, _: &CurrentTask, level: i32, _: i32, _: &[u8]) -> Result<(), Errno> {
        if level == SOL_NETLINK {
            Ok(())
        } else {
            Err(Errno::ENOPROTOOPT)
        }
    }

    fn option(&self, level: i32, _: i32) -> Result<Vec<u8>, Errno> {
        if level == SOL_NETLINK {
            Ok(vec![0; 4])
        } else {
            Err(Errno::ENOPROTOOPT)
        }
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        Ok(self.inbox.next_len())
    }

    fn close(&self) {
        let port = self.bound.lock().0;
        self.kernel.sockets.netlink.lock().remove(&port);
        self.inbox.clear();
    }
}
