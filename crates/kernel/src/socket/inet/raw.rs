//! raw(7) and icmp(7): sockets that send and see IP packets, and ping sockets, which see the answers to their own echo
//! requests only.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};

use abi::{AbiField, Errno};
use sync::{Events, Mutex, PollTable, rank};

use super::error_queue::{ErrorQueue, Report};
use super::knobs::{IPPROTO_IP, IPPROTO_IPV6, Knobs, SOL_RAW};
use super::ports::Claim;
use super::udp_arrival::errno;
use super::{IPPROTO_ICMP, IPPROTO_ICMPV6, Summary, decode, decode_local, unspecified};
use crate::Kernel;
use crate::io::Sink;
use crate::socket::address::encode_inet;
use crate::socket::filter::Beside;
use crate::socket::inbox::{Arrival, Inbox, read_message};
use crate::socket::options::int;
use crate::socket::{
    AF_INET, AF_INET6, Base, Control, Incoming, Kind, NetNs, Outgoing, Shutdown, SocketOps, msg,
};
use crate::task::CurrentTask;

/// net.core.rmem_default.
const BUFFER: usize = 212_992;
/// Packets that wait at one receiver.
const MOST_MESSAGES: usize = 4096;
/// Bytes of the largest packet.
const MAX_PACKET: usize = 65_535;
/// IPPROTO_RAW: sends packets with their header, and receives none.
const IPPROTO_RAW: i32 = 255;
/// Bytes of an ICMP header.
const ICMP_HEADER: usize = 8;

const ICMP_FILTER: i32 = 1;
const ICMPV6_FILTER: i32 = 1;
const IP_HDRINCL: i32 = 3;
const IPV6_CHECKSUM: i32 = 7;

struct State {
    local: Option<SocketAddr>,
    /// The identifier of a ping socket's requests is claimed like a port.
    claimed: bool,
    remote: Option<SocketAddr>,
    /// IP_HDRINCL.
    header_included: bool,
    /// IPV6_CHECKSUM: where the stack puts one.
    checksum_at: Option<usize>,
    /// ICMP_FILTER: bit n keeps out type n. ICMPV6's has 256 bits.
    filter: [u32; 8],
    shut_read: bool,
    closed: bool,
}

/// A raw or ping socket.
pub struct RawSocket {
    base: Base,
    me: Weak<RawSocket>,
    inbox: Inbox,
    state: Mutex<State>,
    knobs: Knobs,
    errors: ErrorQueue,
}

impl RawSocket {
    /// A raw socket (`Kind::Raw`) or a ping socket (`Kind::Datagram`). Permissions are the caller's to check.
    pub(super) fn new(
        kernel: &Arc<Kernel>,
        net: &Arc<NetNs>,
        family: u16,
        kind: Kind,
        protocol: i32,
    ) -> Arc<RawSocket> {
        let ino = kernel.next_ino();
        let base = Base::new(net, family, kind, protocol, ino, (BUFFER, BUFFER));
        let state = State {
            local: None,
            claimed: false,
            remote: None,
            header_included: protocol == IPPROTO_RAW,
            checksum_at: (protocol == IPPROTO_ICMPV6).then_some(2),
            filter: [0; 8],
            shut_read: false,
            closed: false,
        };
        let socket = Arc::new_cyclic(|me| RawSocket {
            inbox: Inbox::new(MOST_MESSAGES, &base.queue),
            base,
            me: me.clone(),
            state: Mutex::new(rank::FILE_STATE, state),
            knobs: Knobs::new(family, kind),
            errors: ErrorQueue::default(),
        });
        net.ports.raw.add(ino, &socket);
        if kind == Kind::Raw {
            socket.want(true);
        }
        socket
    }

    fn is_ping(&self) -> bool {
        self.base.kind == Kind::Datagram
    }

    fn protocol(&self) -> u8 {
        u8::try_from(self.base.protocol).unwrap_or(0)
    }

    /// Has the stack give copies of the protocol's packets, for as long as any socket wants them.
    fn want(&self, wanted: bool) {
        let (family, protocol) = (self.base.family, self.protocol());
        let others = self.base.net.ports.raw.sockets();
        let needed = wanted
            || others.iter().any(|other| {
                other.base.ino != self.base.ino
                    && !other.is_ping()
                    && (other.base.family, other.protocol()) == (family, protocol)
            });
        let stack = self.base.net.network.stack();
        stack.call(|stack, _| stack.want_raw(family == AF_INET6, protocol, needed));
    }

    /// Its line of /proc/net/raw or icmp.
    pub fn summary(&self) -> Summary {
        let none = SocketAddr::new(unspecified(self.base.family), 0);
        let (local, remote) = {
            let state = self.state.lock();
            (state.local.unwrap_or(none), state.remote.unwrap_or(none))
        };
        let number = if self.is_ping() {
            local.port()
        } else {
            self.protocol().into()
        };
        Summary {
            ipv6: self.base.family == AF_INET6,
            local: SocketAddr::new(local.ip(), number),
            remote,
            state: if self.state.lock().remote.is_some() { 1 } else { 7 },
            ino: self.base.ino,
            uid: self.base.uid,
            to_send: 0,
            to_read: self.inbox.total_len(),
        }
    }

    /// Whether it is a ping socket (/proc/net/icmp), not a raw one (/proc/net/raw).
    pub fn pings(&self) -> bool {
        self.is_ping()
    }

    fn bind_to(&self, addr: SocketAddr) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.closed || (self.is_ping() && state.claimed) {
            return Err(Errno::EINVAL);
        }
        let mut port = 0;
        if self.is_ping() {
            let claim = Claim {
                ip: unspecified(self.base.family),
                dual: false,
                reuse_address: false,
                reuse_port: false,
                uid: self.base.uid,
            };
            let table = &self.base.net.ports.raw;
            port = table.claim(self.base.ino, &self.me, addr.port(), claim)?;
            state.claimed = true;
        }
        state.local = Some(SocketAddr::new(addr.ip(), port));
        Ok(())
    }

    /// Whether a packet from `source` to `destination` by `interface` may be for this socket.
    fn concerns(&self, source: IpAddr, destination: IpAddr, interface: u32) -> bool {
        let device = self.base.options.lock().device();
        let state = self.state.lock();
        let local = state
            .local
            .map(|addr| addr.ip())
            .filter(|ip| !ip.is_unspecified());
        let remote = state.remote.map(|addr| addr.ip());
        !state.closed
            && !state.shut_read
            && (self.base.family == AF_INET6) == source.is_ipv6()
            && device.is_none_or(|device| device == interface)
            && local.is_none_or(|local| local == destination)
            && remote.is_none_or(|remote| remote == source)
    }

    fn filtered(&self, kind: u8) -> bool {
        let filter = self.state.lock().filter;
        let word = filter.get(usize::from(kind / 32)).copied().unwrap_or(0);
        word & 1 << (kind % 32) != 0
    }

    fn take(&self, packet: &net::RawPacket, data: &[u8]) {
        let limit = self.base.options.lock().receive_buffer;
        if !self.inbox.has_room(data.len(), limit) {
            return;
        }
        let arrival = Arrival {
            to: packet.destination,
            interface: packet.interface,
            hops: i32::from(packet.ttl),
            class: i32::from(packet.tos),
            time: crate::vfs::now_ns(),
        };
        let Some(kept) = self.base.filtered(data, Beside::of(&arrival)) else {
            return;
        };
        let data = data.get(..kept).unwrap_or_default();
        let from = encode_inet(self.base.family, SocketAddr::new(packet.source, 0));
        let control = &mut Control::default();
        self.inbox
            .push_arrival(data.to_vec(), Some(from), None, control, Some(arrival));
    }

    /// The bytes of a packet: those of the message, with a ping socket's own identifier.
    fn packet(&self, mut data: Vec<u8>) -> Result<Vec<u8>, Errno> {
        if !self.is_ping() {
            return Ok(data);
        }
        const ECHO: u8 = 8;
        const ECHO_V6: u8 = 128;
        let request = if self.base.family == AF_INET6 {
            ECHO_V6
        } else {
            ECHO
        };
        if data.len() < ICMP_HEADER || data[0] != request || data[1] != 0 {
            return Err(Errno::EINVAL);
        }
        if !self.state.lock().claimed {
            self.bind_to(SocketAddr::new(unspecified(self.base.family), 0))?;
        }
        let local = self.state.lock().local;
        let identifier = local.map_or(0, |addr| addr.port());
        data[4..6].copy_from_slice(&identifier.to_be_bytes());
        Ok(data)
    }
}

impl SocketOps for RawSocket {
    fn base(&self) -> &Base {
        &self.base
    }

    fn bind(&self, _: &CurrentTask, addr: &[u8]) -> Result<(), Errno> {
        let addr = decode_local(&self.base.net, self.base.family, addr, &self.knobs, true)?;
        self.bind_to(addr)
    }

    fn connect(&self, _: &CurrentTask, addr: &[u8], _: bool) -> Result<(), Errno> {
        let to = decode(self.base.family, addr)?;
        if let Some(to) = to {
            let device = self.base.options.lock().device();
            let way = self.base.net.network.inventory().way(to.ip(), device)?;
            if self.is_ping() && !self.state.lock().claimed {
                self.bind_to(SocketAddr::new(unspecified(self.base.family), 0))?;
            }
            let mut state = self.state.lock();
            let port = state.local.map_or(0, |addr| addr.port());
            if state.local.is_none_or(|addr| addr.ip().is_unspecified()) {
                state.local = Some(SocketAddr::new(way.source(), port));
            }
        }
        self.state.lock().remote = to;
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
        let mut state = self.state.lock();
        if state.remote.is_none() {
            return Err(Errno::ENOTCONN);
        }
        state.shut_read |= how.read;
        drop(state);
        self.base.queue.wake(Events::all());
        Ok(())
    }

    fn send(&self, message: &mut Outgoing<'_>) -> Result<usize, Errno> {
        if message.flags & msg::OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let to = match message.to.filter(|to| !to.is_empty()) {
            Some(to) => decode(self.base.family, to)?.ok_or(Errno::EAFNOSUPPORT)?,
            None => self.state.lock().remote.ok_or(Errno::EDESTADDRREQ)?,
        };
        self.base.take_error()?;
        let data = self.packet(read_message(message.src, MAX_PACKET)?)?;
        let journey = message.control.journey;
        let device = journey.interface.or_else(|| self.base.options.lock().device());
        let many = self.base.net.network.inventory().is_broadcast(to.ip());
        if many && !self.base.options.lock().broadcast() {
            return Err(Errno::EACCES);
        }
        let (local, header, checksum) = {
            let state = self.state.lock();
            (state.local, state.header_included, state.checksum_at)
        };
        let local = local
            .map(|addr| addr.ip())
            .filter(|ip| !ip.is_unspecified() && !ip.is_multicast());
        let (hops, class) = self.knobs.journey(to.is_ipv6(), journey);
        let options = net::SendOptions {
            ttl: u8::try_from(hops).ok(),
            tos: u8::try_from(class).unwrap_or(0),
            dont_fragment: self.knobs.whole(to.is_ipv6()),
            interface: device,
            checksum_at: if self.is_ping() { Some(2) } else { checksum },
            ..net::SendOptions::default()
        };
        let source = journey.source.or(local);
        let protocol = self.protocol();
        let stack = self.base.net.network.stack();
        let sent = stack.call(|stack, now| {
            if header {
                stack.raw_send_header(now, &data, &options)
            } else {
                stack.raw_send(now, source, to.ip(), protocol, &data, &options)
            }
        });
        match sent {
            Ok(()) | Err(net::Error::NoBuffers | net::Error::WouldBlock) => Ok(data.len()),
            Err(error) => Err(errno(error)),
        }
    }

    fn receive(&self, dst: &mut dyn Sink, flags: u32) -> Result<Incoming, Errno> {
        if flags & msg::OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        self.base.take_error()?;
        match self.inbox.receive(dst, flags) {
            Err(Errno::EAGAIN) if self.state.lock().shut_read => Ok(Incoming::default()),
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
        if !self.inbox.is_empty() || self.state.lock().shut_read {
            events |= Events::READABLE;
        }
        if self.base.has_error() || !self.errors.is_empty() {
            events |= Events::ERR;
        }
        events
    }

    fn set_option(&self, _: &CurrentTask, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        let raw = self.base.kind == Kind::Raw;
        match (level, name) {
            (SOL_RAW, ICMP_FILTER) if raw && self.base.protocol == IPPROTO_ICMP => {
                self.state.lock().filter[0] = int(value)?.cast_unsigned();
            }
            (IPPROTO_ICMPV6, ICMPV6_FILTER) if raw && self.base.family == AF_INET6 => {
                let mut filter = [0; 8];
                for (word, bytes) in filter.iter_mut().zip(value.chunks_exact(4)) {
                    *word = u32::get(bytes);
                }
                self.state.lock().filter = filter;
            }
            (IPPROTO_IP, IP_HDRINCL) if raw && self.base.family == AF_INET => {
                self.state.lock().header_included = value.iter().take(4).any(|byte| *byte != 0);
            }
            (IPPROTO_IPV6 | SOL_RAW, IPV6_CHECKSUM) if raw && self.base.family == AF_INET6 => {
                let at = int(value)?;
                // ICMPv6 has its checksum in any case (RFC 3542, section 3.1); only the older level refuses.
                if self.base.protocol == IPPROTO_ICMPV6 {
                    return if level == SOL_RAW {
                        Ok(())
                    } else {
                        Err(Errno::EINVAL)
                    };
                }
                // A negative one switches it off.
                if at > 0 && at % 2 != 0 {
                    return Err(Errno::EINVAL);
                }
                self.state.lock().checksum_at = usize::try_from(at).ok();
            }
            _ => return self.knobs.set(level, name, value),
        }
        Ok(())
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        let state = self.state.lock();
        match (level, name) {
            (IPPROTO_IPV6 | SOL_RAW, IPV6_CHECKSUM) if self.base.family == AF_INET6 => {
                let at = state
                    .checksum_at
                    .and_then(|at| i32::try_from(at).ok())
                    .unwrap_or(-1);
                Ok(at.to_le_bytes().to_vec())
            }
            (SOL_RAW, ICMP_FILTER) if self.base.protocol == IPPROTO_ICMP => {
                Ok(state.filter[0].to_le_bytes().to_vec())
            }
            (IPPROTO_IP, IP_HDRINCL) if self.base.family == AF_INET => {
                Ok(i32::from(state.header_included).to_le_bytes().to_vec())
            }
            _ => {
                drop(state);
                self.knobs.get(level, name, 0)
            }
        }
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        Ok(self.inbox.next_len())
    }

    fn close(&self) {
        let port = {
            let mut state = self.state.lock();
            state.closed = true;
            state.local.filter(|_| state.claimed).map(|addr| addr.port())
        };
        if !self.is_ping() {
            self.want(false);
        }
        self.base.net.ports.raw.remove(self.base.ino, port);
        self.inbox.clear();
        self.base.queue.wake(Events::all());
    }
}

/// A packet came.
pub(in crate::socket) fn arrived(net: &NetNs, packet: &net::RawPacket) {
    let body = packet.data.get(packet.header_len..).unwrap_or_default();
    let icmp = matches!(i32::from(packet.protocol), IPPROTO_ICMP | IPPROTO_ICMPV6);
    let kind = body.first().copied().unwrap_or(0);
    for socket in net.ports.raw.sockets() {
        if socket.protocol() != packet.protocol
            || !socket.concerns(packet.source, packet.destination, packet.interface)
        {
            continue;
        }
        if socket.is_ping() {
            let reply = matches!((packet.protocol, kind), (1, 0) | (58, 129));
            let identifier = body
                .get(4..6)
                .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
            let own = socket.state.lock().local.map(|addr| addr.port());
            if reply && own.is_some() && own == identifier {
                socket.take(packet, body);
            }
        } else if !icmp || !socket.filtered(kind) {
            socket.take(packet, &packet.data);
        }
    }
}

/// An ICMP error about a packet came.
pub(in crate::socket) fn failed(net: &NetNs, error: &net::IcmpError) {
    for socket in net.ports.raw.sockets() {
        if socket.protocol() != error.protocol {
            continue;
        }
        let (local, remote) = {
            let state = socket.state.lock();
            (state.local, state.remote)
        };
        let own = !socket.is_ping() || local.is_some_and(|local| local.port() == error.local.port());
        if !own || remote.is_some_and(|remote| remote.ip() != error.remote.ip()) {
            continue;
        }
        let wanted = socket.knobs.receive_errors();
        if wanted {
            socket.errors.push(Report::from(error));
        }
        if wanted || (remote.is_some() && error.fatal) {
            socket.base.fail(errno(error.error));
        }
    }
}
