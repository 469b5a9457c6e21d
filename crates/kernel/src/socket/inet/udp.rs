//! udp(7): datagrams go straight to the receiver's inbox when it is in the sandbox, else through the stack; they are lost
//! when an inbox is full. What arrives is in `udp_arrival`.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Events, Mutex, PollTable, rank};

use super::error_queue::ErrorQueue;
use super::groups::Membership;
use super::knobs::{IPPROTO_UDP, Knobs, UDP_CORK};
use super::ports::Claim;
use super::{Summary, check_port, decode, decode_local, unspecified};
use crate::Kernel;
use crate::io::{Sink, SliceSource};
use crate::socket::address::encode_inet;
use crate::socket::ancillary::Journey;
use crate::socket::inbox::{Inbox, read_message};
use crate::socket::network::Way;
use crate::socket::{
    AF_INET, AF_INET6, Base, Control, Incoming, Kind, NetNs, Outgoing, Shutdown, SocketOps, msg,
};
use crate::task::CurrentTask;

/// net.core.rmem_default and wmem_default.
const BUFFER: usize = 212_992;
/// Bytes of the largest datagram.
pub(super) const MAX_DATAGRAM: usize = 65_507;
/// Datagrams that wait at one receiver.
const MOST_MESSAGES: usize = 4096;

#[derive(Default)]
pub(super) struct State {
    pub local: Option<SocketAddr>,
    /// The local address was found by connect(2), which may find another one later.
    pub found: bool,
    pub remote: Option<SocketAddr>,
    pub shut_read: bool,
    pub shut_write: bool,
    pub closed: bool,
    pub groups: Vec<Membership>,
    /// A datagram that more is to be added to (MSG_MORE, UDP_CORK).
    begun: Option<Begun>,
}

/// The first parts of a datagram.
struct Begun {
    to: SocketAddr,
    journey: Journey,
    data: Vec<u8>,
}

/// A UDP socket.
pub struct UdpSocket {
    pub(super) base: Base,
    me: Weak<UdpSocket>,
    pub(super) inbox: Inbox,
    pub(super) state: Mutex<State>,
    pub(super) knobs: Knobs,
    pub(super) errors: ErrorQueue,
}

impl UdpSocket {
    pub(super) fn new(kernel: &Arc<Kernel>, net: &Arc<NetNs>, family: u16) -> Arc<UdpSocket> {
        let protocol = super::IPPROTO_UDP;
        let ino = kernel.next_ino();
        let base = Base::new(net, family, Kind::Datagram, protocol, ino, (BUFFER, BUFFER));
        let socket = Arc::new_cyclic(|me| UdpSocket {
            inbox: Inbox::new(MOST_MESSAGES, &base.queue),
            base,
            me: me.clone(),
            state: Mutex::new(rank::FILE_STATE, State::default()),
            knobs: Knobs::new(family, Kind::Datagram),
            errors: ErrorQueue::default(),
        });
        net.ports.udp.add(ino, &socket);
        socket
    }

    fn bind_to(&self, addr: SocketAddr) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.local.is_some() || state.closed {
            return Err(Errno::EINVAL);
        }
        let uid = crate::task::current().map_or(0, |task| task.cred().euid);
        let dual = self.base.family == AF_INET6 && !self.knobs.v6only();
        let claim = {
            let options = self.base.options.lock();
            Claim {
                ip: addr.ip(),
                dual,
                reuse_address: options.reuse_address(),
                reuse_port: options.reuse_port(),
                uid,
            }
        };
        let table = &self.base.net.ports.udp;
        let port = table.claim(self.base.ino, &self.me, addr.port(), claim)?;
        state.local = Some(SocketAddr::new(addr.ip(), port));
        Ok(())
    }

    fn bound(&self) -> Result<SocketAddr, Errno> {
        let local = self.state.lock().local;
        match local {
            Some(local) => Ok(local),
            None => {
                self.bind_to(SocketAddr::new(unspecified(self.base.family), 0))?;
                self.state.lock().local.ok_or(Errno::EINVAL)
            }
        }
    }

    /// Its line of /proc/net/udp.
    pub fn summary(&self) -> Summary {
        let none = SocketAddr::new(unspecified(self.base.family), 0);
        let (local, remote) = {
            let state = self.state.lock();
            (state.local, state.remote)
        };
        Summary {
            ipv6: self.base.family == AF_INET6,
            local: local.unwrap_or(none),
            remote: remote.unwrap_or(none),
            state: if remote.is_some() { 1 } else { 7 },
            ino: self.base.ino,
            uid: self.base.uid,
            to_send: 0,
            to_read: self.inbox.total_len(),
        }
    }

    /// Whether it has a port (only those are in /proc/net/udp).
    pub fn is_bound(&self) -> bool {
        self.state.lock().local.is_some()
    }

    fn device(&self, journey: Journey) -> Option<u32> {
        journey.interface.or_else(|| self.base.options.lock().device())
    }

    fn destination(&self, message: &Outgoing<'_>) -> Result<SocketAddr, Errno> {
        let to = match message.to.filter(|to| !to.is_empty()) {
            Some(to) => match decode(self.base.family, to)? {
                Some(to) => to,
                None if self.base.family == AF_INET6 => {
                    self.state.lock().remote.ok_or(Errno::EDESTADDRREQ)?
                }
                // As good as AF_INET.
                None => decode(
                    AF_INET,
                    &[&AF_INET.to_le_bytes(), to.get(2..).unwrap_or_default()].concat(),
                )?
                .ok_or(Errno::EINVAL)?,
            },
            None => self.state.lock().remote.ok_or(Errno::EDESTADDRREQ)?,
        };
        if to.port() == 0 {
            return Err(Errno::EINVAL);
        }
        Ok(to)
    }

    /// Sends a whole datagram.
    fn transmit(&self, to: SocketAddr, data: Vec<u8>, message: &mut Outgoing<'_>) -> Result<(), Errno> {
        let journey = message.control.journey;
        let way = self.way(to.ip(), journey)?;
        let local = self.bound()?;
        let from_ip = match journey.source {
            Some(source) => source,
            None if local.ip().is_unspecified() || local.ip().is_multicast() => way.source(),
            None => local.ip(),
        };
        let from = SocketAddr::new(from_ip, local.port());
        match way {
            // Lost on a loopback interface that is down.
            Way::Local { .. } if !self.base.net.network.inventory().loops() => {}
            Way::Local { to: ip, .. } => {
                let to = SocketAddr::new(ip, to.port());
                let quoted = self.knobs.receive_errors().then(|| data.clone());
                let arrived = self.base.net.network.asks_resolver(from, to, &data)
                    || self.deliver(from, to, data, message);
                if !arrived {
                    self.unreachable(to, quoted);
                }
            }
            // What is for this sandbox only has no business elsewhere.
            Way::Outside { .. } if from_ip.is_loopback() => return Err(Errno::EINVAL),
            Way::Outside { interface, .. } => self.send_outside(interface, from, to, data, message)?,
        }
        Ok(())
    }

    /// UDP_CORK was switched off: what was begun goes.
    fn uncork(&self) -> Result<(), Errno> {
        let Some(begun) = self.state.lock().begun.take() else {
            return Ok(());
        };
        let mut message = Outgoing {
            src: &mut SliceSource(&[]),
            to: None,
            task: None,
            control: Control {
                journey: begun.journey,
                ..Control::default()
            },
            flags: 0,
        };
        self.transmit(begun.to, begun.data, &mut message)
    }

    /// Over which interface and from which address something to `to` goes.
    fn way(&self, to: IpAddr, journey: Journey) -> Result<Way, Errno> {
        let device = self.device(journey).or_else(|| self.group_interface(to));
        let network = &self.base.net.network;
        let way = network.inventory().way(to, device)?;
        if network.inventory().is_broadcast(to) && !self.base.options.lock().broadcast() {
            return Err(Errno::EACCES);
        }
        Ok(way)
    }
}

impl SocketOps for UdpSocket {
    fn base(&self) -> &Base {
        &self.base
    }

    fn bind(&self, task: &CurrentTask, addr: &[u8]) -> Result<(), Errno> {
        let addr = decode_local(&self.base.net, self.base.family, addr, &self.knobs, true)?;
        check_port(&self.base.net, task, addr.port())?;
        self.bind_to(addr)
    }

    fn connect(&self, _: &CurrentTask, addr: &[u8], _: bool) -> Result<(), Errno> {
        let Some(to) = decode(self.base.family, addr)? else {
            self.state.lock().remote = None;
            return Ok(());
        };
        let way = self.way(to.ip(), Journey::default())?;
        self.bound()?;
        let ip = match way {
            Way::Local { to, .. } => to,
            Way::Outside { .. } => to.ip(),
        };
        let mut state = self.state.lock();
        state.remote = Some(SocketAddr::new(ip, to.port()));
        if let Some(local) = state.local
            && (local.ip().is_unspecified() || state.found)
        {
            state.local = Some(SocketAddr::new(way.source(), local.port()));
            state.found = true;
        }
        Ok(())
    }

    fn name(&self) -> Result<Vec<u8>, Errno> {
        let local = self.state.lock().local;
        let none = SocketAddr::new(unspecified(self.base.family), 0);
        Ok(encode_inet(self.base.family, local.unwrap_or(none)))
    }

    fn peer_name(&self) -> Result<Vec<u8>, Errno> {
        let remote = self.state.lock().remote.ok_or(Errno::ENOTCONN)?;
        Ok(encode_inet(self.base.family, remote))
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        {
            let mut state = self.state.lock();
            state.shut_read |= how.read;
            state.shut_write |= how.write;
        }
        self.base.queue.wake(Events::all());
        // Noted without a peer, too (inet_shutdown).
        self.state.lock().remote.map(drop).ok_or(Errno::ENOTCONN)
    }

    fn send(&self, message: &mut Outgoing<'_>) -> Result<usize, Errno> {
        if message.flags & msg::OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if message.src.remaining() > MAX_DATAGRAM {
            return Err(Errno::EMSGSIZE);
        }
        // What was begun goes where its first part was to go.
        let begun = self.state.lock().begun.take();
        let (to, mut data) = match begun {
            Some(begun) => {
                message.control.journey = begun.journey;
                (begun.to, begun.data)
            }
            None => (self.destination(message)?, Vec::new()),
        };
        self.base.take_error()?;
        if self.state.lock().shut_write {
            return Err(Errno::EPIPE);
        }
        let more = message.flags & msg::MORE != 0 || self.knobs.corks();
        let journey = message.control.journey;
        if more && data.is_empty() {
            self.way(to.ip(), journey)?;
            self.bound()?;
        }
        let mut part = read_message(message.src, MAX_DATAGRAM - data.len())?;
        let sent = part.len();
        if data.is_empty() {
            data = part;
        } else {
            data.append(&mut part);
        }
        if more {
            self.state.lock().begun = Some(Begun { to, journey, data });
        } else {
            self.transmit(to, data, message)?;
        }
        Ok(sent)
    }

    fn receive(&self, dst: &mut dyn Sink, flags: u32) -> Result<Incoming, Errno> {
        self.base.take_error()?;
        match self.inbox.receive(dst, flags) {
            // Whoever would wait gets the end.
            Err(Errno::EAGAIN) if flags & msg::DONTWAIT == 0 && self.state.lock().shut_read => {
                Ok(Incoming::default())
            }
            received => Ok(self.knobs.annotate(&self.base, received?)),
        }
    }

    fn receive_error(&self, dst: &mut dyn Sink) -> Result<Incoming, Errno> {
        self.errors.receive(self.base.family, dst)
    }

    fn poll(&self, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.base.queue);
        }
        let mut events = Events::WRITABLE | Events::WRBAND;
        let (read, write) = {
            let state = self.state.lock();
            (state.shut_read, state.shut_write)
        };
        if !self.inbox.is_empty() || read {
            events |= Events::READABLE;
        }
        if read {
            events |= Events::RDHUP;
        }
        if read && write {
            events |= Events::HUP;
        }
        if self.base.has_error() || !self.errors.is_empty() {
            events |= Events::ERR;
        }
        events
    }

    fn set_option(&self, _: &CurrentTask, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        match self.set_group_option(level, name, value) {
            Err(Errno::ENOPROTOOPT) => self.knobs.set(level, name, value)?,
            done => done?,
        }
        if (level, name) == (IPPROTO_UDP, UDP_CORK) && !self.knobs.corks() {
            return self.uncork();
        }
        Ok(())
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        if let Some(value) = self.group_option(level, name) {
            return Ok(value);
        }
        self.knobs.get(level, name, 0)
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        Ok(self.inbox.next_len())
    }

    fn close(&self) {
        let (port, groups) = {
            let mut state = self.state.lock();
            state.closed = true;
            (
                state.local.map(|addr| addr.port()),
                std::mem::take(&mut state.groups),
            )
        };
        for membership in groups {
            self.base
                .net
                .network
                .leave(membership.interface, membership.group);
        }
        self.base.net.ports.udp.remove(self.base.ino, port);
        self.inbox.clear();
        self.base.queue.wake(Events::all());
    }
}
