//! netlink(7): the route family (interfaces, addresses, routes and neighbours, asked for and changed), sock_diag(7) and
//! device events. Other families: `EPROTONOSUPPORT`. No events come.

mod addr;
pub(super) mod events;
mod link;
mod message;
mod neigh;
mod new_link;
mod nsid;
mod route;
mod rtnetlink;
mod sock_diag;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Events, Mutex, PollTable, rank};

use super::address::{decode_netlink, encode_netlink, family};
use super::filter::Beside;
use super::inbox::{Inbox, read_message};
use super::{AF_NETLINK, Base, Control, Incoming, Kind, NetNs, Outgoing, Shutdown, SocketOps, Ucred, msg};
use crate::Kernel;
use crate::cred::Caps;
use crate::io::Sink;
use crate::task::CurrentTask;

const NETLINK_ROUTE: i32 = 0;
const NETLINK_SOCK_DIAG: i32 = 4;
/// Device events: there are none, so its sockets stay silent.
const NETLINK_KOBJECT_UEVENT: i32 = 15;
const SOL_NETLINK: i32 = 270;
const NETLINK_ADD_MEMBERSHIP: i32 = 1;
const NETLINK_DROP_MEMBERSHIP: i32 = 2;
const NETLINK_LIST_MEMBERSHIPS: i32 = 9;
/// Groups that a socket can be a member of.
const GROUPS: u32 = 32;
/// NETLINK_PKTINFO, BROADCAST_ERROR, NO_ENOBUFS, LISTEN_ALL_NSID, CAP_ACK, EXT_ACK, GET_STRICT_CHK: kept and given back.
const SWITCHES: &[i32] = &[3, 4, 5, 8, 10, 11, 12];
const BUFFER: usize = 212_992;
/// Bytes of one request.
const MAX_REQUEST: usize = 32 << 10;
/// Replies that wait.
const MOST_MESSAGES: usize = 1024;

/// A netlink socket.
pub struct NetlinkSocket {
    base: Base,
    inbox: Inbox,
    /// Port id (0: not bound) and multicast groups.
    bound: Mutex<(u32, u32)>,
    me: Weak<NetlinkSocket>,
    /// SOL_NETLINK's switches that are on: one bit each.
    switches: AtomicU32,
}

/// socket(2) of AF_NETLINK.
pub(super) fn create(
    kernel: &Arc<Kernel>,
    net: &Arc<NetNs>,
    kind: Kind,
    protocol: i32,
) -> Result<Arc<dyn SocketOps>, Errno> {
    if !matches!(kind, Kind::Raw | Kind::Datagram) {
        return Err(Errno::ESOCKTNOSUPPORT);
    }
    if ![NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_KOBJECT_UEVENT].contains(&protocol) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let ino = kernel.next_ino();
    let base = Base::new(net, AF_NETLINK, kind, protocol, ino, (BUFFER, BUFFER));
    Ok(Arc::new_cyclic(|me| NetlinkSocket {
        inbox: Inbox::new(MOST_MESSAGES, &base.queue),
        base,
        bound: Mutex::new(rank::FILE_STATE, (0, 0)),
        me: me.clone(),
        switches: AtomicU32::new(0),
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
        let mut taken = self.base.net.netlink.lock();
        let port = if asked != 0 {
            if taken.contains_key(&asked) {
                return Err(Errno::EADDRINUSE);
            }
            asked
        } else {
            let pid = crate::task::current().map_or(1, |task| task.tgid());
            let free = |port: &u32| !taken.contains_key(port);
            Some(pid)
                .filter(free)
                .or_else(|| (0x8000_0001..=u32::MAX).rev().find(free))
                .ok_or(Errno::EADDRINUSE)?
        };
        taken.insert(port, self.me.clone());
        *bound = (port, groups);
        Ok(())
    }

    /// A message of the kernel: an answer, or (`groups`) an event.
    fn take(&self, message: Vec<u8>, groups: u32) -> Result<(), Errno> {
        let kernel = Ucred {
            pid: 0,
            uid: 0,
            gid: 0,
        };
        if !self.inbox.has_room(message.len(), BUFFER) {
            return Err(Errno::ENOBUFS);
        }
        if self.base.filtered(&message, Beside::default()).is_none() {
            return Ok(());
        }
        let from = Some(encode_netlink(0, groups));
        self.inbox
            .push(message, from, Some(kernel), &mut Control::default());
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
        self.take(message, 0)
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
        let net = &self.base.net;
        let admin = crate::task::current().is_some_and(|task| net.permits(&task.cred(), Caps::NET_ADMIN));
        let replies = match self.base.protocol {
            NETLINK_ROUTE => rtnetlink::answer(net, admin, &request, port),
            NETLINK_SOCK_DIAG => sock_diag::answer(net, &request, port),
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
        let mut events = Events::WRITABLE | Events::WRBAND;
        if !self.inbox.is_empty() {
            events |= Events::READABLE;
        }
        if self.base.has_error() {
            events |= Events::ERR;
        }
        events
    }

    fn set_option(&self, _: &CurrentTask, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if level != SOL_NETLINK {
            return Err(Errno::ENOPROTOOPT);
        }
        let number = value.first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        match name {
            NETLINK_ADD_MEMBERSHIP | NETLINK_DROP_MEMBERSHIP => {
                if !(1..=GROUPS).contains(&number) {
                    return Err(Errno::EINVAL);
                }
                let bit = 1 << (number - 1);
                // Whoever is to be told has a port id.
                self.port()?;
                let mut bound = self.bound.lock();
                if name == NETLINK_ADD_MEMBERSHIP {
                    bound.1 |= bit;
                } else {
                    bound.1 &= !bit;
                }
            }
            name if SWITCHES.contains(&name) => {
                let bit = 1 << name;
                if number == 0 {
                    self.switches.fetch_and(!bit, Ordering::Relaxed);
                } else {
                    self.switches.fetch_or(bit, Ordering::Relaxed);
                }
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    fn option_of(&self, level: i32, name: i32, asked: &[u8]) -> Option<Result<Vec<u8>, Errno>> {
        let short = level == SOL_NETLINK && SWITCHES.contains(&name) && asked.len() < 4;
        short.then_some(Err(Errno::EINVAL))
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let word = match (level, name) {
            (SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS) => self.bound.lock().1,
            (SOL_NETLINK, name) if SWITCHES.contains(&name) => {
                self.switches.load(Ordering::Relaxed) >> name & 1
            }
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(word.to_le_bytes().to_vec())
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        Ok(self.inbox.next_len())
    }

    fn close(&self) {
        let port = self.bound.lock().0;
        if port != 0 {
            self.base.net.netlink.lock().remove(&port);
        }
        self.inbox.clear();
    }
}
