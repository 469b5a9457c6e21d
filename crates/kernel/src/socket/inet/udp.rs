//! udp(7) inside the sandbox: datagrams go straight to the receiver's inbox, and are lost when it is full.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Events, Mutex, PollTable, rank};

use super::knobs::Knobs;
use super::ports::Claim;
use super::tcp::FIRST_FREE_PORT;
use super::{Summary, decode, decode_local, route, unspecified};
use crate::Kernel;
use crate::cred::Caps;
use crate::io::Sink;
use crate::socket::address::encode_inet;
use crate::socket::inbox::{Arrival, Inbox, read_message};
use crate::socket::{AF_INET6, Base, Incoming, Kind, Outgoing, Shutdown, SocketOps, msg};
use crate::task::CurrentTask;

/// net.core.rmem_default and wmem_default.
const BUFFER: usize = 212_992;
/// Bytes of the largest datagram.
const MAX_DATAGRAM: usize = 65_507;
/// Datagrams that wait at one receiver.
const MOST_MESSAGES: usize = 4096;

#[derive(Default)]
struct State {
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    shut_read: bool,
    shut_write: bool,
    closed: bool,
}

/// A UDP socket.
pub struct UdpSocket {
    base: Base,
    me: Weak<UdpSocket>,
    kernel: Arc<Kernel>,
    inbox: Inbox,
    state: Mutex<State>,
    knobs: Knobs,
}

impl UdpSocket {
    pub(super) fn new(kernel: &Arc<Kernel>, family: u16) -> Arc<UdpSocket> {
        let protocol = super::IPPROTO_UDP;
        let ino = kernel.next_ino();
        let base = Base::new(family, Kind::Datagram, protocol, ino, (BUFFER, BUFFER));
        let socket = Arc::new_cyclic(|me| UdpSocket {
            inbox: Inbox::new(MOST_MESSAGES, &base.queue),
            base,
            me: me.clone(),
            kernel: kernel.clone(),
            state: Mutex::new(rank::FILE_STATE, State::default()),
            knobs: Knobs::new(family, Kind::Datagram),
        });
        kernel.sockets.ports.udp.add(ino, &socket);
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
        let table = &self.kernel.sockets.ports.udp;
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

    /// Whether a datagram from `from` is for this socket: a connected one takes its peer's only.
    fn accepts(&self, from: SocketAddr) -> bool {
        let state = self.state.lock();
        !state.closed && !state.shut_read && state.remote.is_none_or(|remote| remote == from)
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

    fn deliver(&self, from: SocketAddr, to: SocketAddr, data: Vec<u8>, message: &mut Outgoing<'_>) -> bool {
        let receivers = self.kernel.sockets.ports.udp.receivers(to, false);
        let connected = |socket: &&Arc<UdpSocket>| socket.state.lock().remote == Some(from);
        let open: Vec<_> = receivers.iter().filter(|socket| socket.accepts(from)).collect();
        let turn = usize::from(from.port());
        let chosen = open
            .iter()
            .copied()
            .find(connected)
            .or_else(|| open.get(turn.checked_rem(open.len())?).copied());
        let Some(receiver) = chosen else { return false };
        let limit = receiver.base.options.lock().receive_buffer;
        if receiver.inbox.has_room(data.len(), limit) {
            let (hops, class) = self.knobs.journey(to.is_ipv6(), message.control.journey);
            let arrival = Arrival {
                to: to.ip(),
                hops,
                class,
                time: crate::vfs::now_ns(),
            };
            let from = Some(encode_inet(receiver.base.family, from));
            let control = &mut message.control;
            receiver
                .inbox
                .push_arrival(data, from, None, control, Some(arrival));
        }
        true
    }
}

impl SocketOps for UdpSocket {
    fn base(&self) -> &Base {
        &self.base
    }

    fn bind(&self, task: &CurrentTask, addr: &[u8]) -> Result<(), Errno> {
        let addr = decode_local(self.base.family, addr, self.knobs.v6only())?;
        if addr.port() != 0 && addr.port() < FIRST_FREE_PORT && !task.cred().has(Caps::NET_BIND_SERVICE) {
            return Err(Errno::EACCES);
        }
        self.bind_to(addr)
    }

    fn connect(&self, _: &CurrentTask, addr: &[u8], _: bool) -> Result<(), Errno> {
        let Some(to) = decode(self.base.family, addr)? else {
            self.state.lock().remote = None;
            return Ok(());
        };
        let (ip, from) = route(to.ip())?;
        self.bound()?;
        let mut state = self.state.lock();
        state.remote = Some(SocketAddr::new(ip, to.port()));
        if let Some(local) = state.local
            && local.ip().is_unspecified()
        {
            state.local = Some(SocketAddr::new(from, local.port()));
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
            if state.remote.is_none() {
                return Err(Errno::ENOTCONN);
            }
            state.shut_read |= how.read;
            state.shut_write |= how.write;
        }
        self.base.queue.wake(Events::all());
        Ok(())
    }

    fn send(&self, message: &mut Outgoing<'_>) -> Result<usize, Errno> {
        if message.flags & msg::OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if message.src.remaining() > MAX_DATAGRAM {
            return Err(Errno::EMSGSIZE);
        }
        let to = match message.to.filter(|to| !to.is_empty()) {
            Some(to) => decode(self.base.family, to)?.ok_or(Errno::EAFNOSUPPORT)?,
            None => self.state.lock().remote.ok_or(Errno::EDESTADDRREQ)?,
        };
        if to.port() == 0 {
            return Err(Errno::EINVAL);
        }
        if to.ip() == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) && !self.base.options.lock().broadcast() {
            return Err(Errno::EACCES);
        }
        self.base.take_error()?;
        if self.state.lock().shut_write {
            return Err(Errno::EPIPE);
        }
        let (ip, source) = route(to.ip())?;
        let local = self.bound()?;
        let from_ip = if local.ip().is_unspecified() {
            source
        } else {
            local.ip()
        };
        let data = read_message(message.src, MAX_DATAGRAM)?;
        let sent = data.len();
        let from = SocketAddr::new(from_ip, local.port());
        let arrived = self.deliver(from, SocketAddr::new(ip, to.port()), data, message);
        if !arrived && self.state.lock().remote.is_some() {
            // The sandbox's own "port unreachable".
            self.base.fail(Errno::ECONNREFUSED);
        }
        Ok(sent)
    }

    fn receive(&self, dst: &mut dyn Sink, flags: u32) -> Result<Incoming, Errno> {
        if flags & msg::OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if flags & msg::ERRQUEUE != 0 {
            return Err(Errno::EAGAIN);
        }
        self.base.take_error()?;
        match self.inbox.receive(dst, flags) {
            Err(Errno::EAGAIN) if self.state.lock().shut_read => Ok(Incoming::default()),
            Ok(mut incoming) => {
                if let Some(arrival) = incoming.arrival {
                    let timestamp = self.base.options.lock().timestamp(arrival.time);
                    incoming.control.records.extend(timestamp);
                    incoming.control.records.extend(self.knobs.records(&arrival));
                }
                Ok(incoming)
            }
            other => other,
        }
    }

    fn poll(&self, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.base.queue);
        }
        let mut events = Events::WRITABLE;
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
        if self.base.has_error() {
            events |= Events::ERR;
        }
        events
    }

    fn set_option(&self, _: &CurrentTask, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        self.knobs.set(level, name, value)
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        self.knobs.get(level, name, 0)
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        Ok(self.inbox.next_len())
    }

    fn close(&self) {
        let port = {
            let mut state = self.state.lock();
            state.closed = true;
            state.local.map(|addr| addr.port())
        };
        self.kernel.sockets.ports.udp.remove(self.base.ino, port);
        self.inbox.clear();
        self.base.queue.wake(Events::all());
    }
}
