//! The network layer's way out: routes, next hops, headers, fragments, queues.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::counters::Counters;
use crate::event::Event;
use crate::filter::{Filter, Flow, Hook, Verdict};
use crate::fragment::Reassembly;
use crate::interface::{Interface, Kind, LOOPBACK, MIN_MTU_V6};
use crate::neighbor;
use crate::queue::Frames;
use crate::route::{self, RouteKind};
use crate::siphash::{Key, Random};
use crate::wire::checksum::Sum;
use crate::wire::{ethernet, ipv4, ipv6, protocol};
use crate::{Checksum, Error, Instant, Offload, Settings};

/// Takes frames: index of the interface, what travels beside the frame, its pieces. False: no room now, the stack keeps
/// the frame and offers it again.
pub type Device<'a> = dyn FnMut(u32, &Offload, &[&[u8]]) -> bool + 'a;

/// Frames that wait for the device, and their bytes (TCP's data waits in its sockets instead).
pub const MAX_QUEUED_FRAMES: usize = 2048;
/// Bytes of frames that wait for the device.
pub const MAX_QUEUED_BYTES: usize = 8 << 20;
/// Events other than readiness of TCP that wait for the owner.
pub const MAX_EVENTS: usize = 8192;
/// Bytes in events that wait for the owner.
pub const MAX_EVENT_BYTES: usize = 16 << 20;
/// Destinations whose path MTU is remembered.
pub const MAX_PATH_MTUS: usize = 4096;
/// How long a path MTU is remembered (Linux's mtu_expires).
const PATH_MTU_EXPIRES: Duration = Duration::from_secs(600);
/// Smallest path MTU that is believed (Linux's min_pmtu).
pub(crate) const MIN_PATH_MTU: u32 = 552;
/// Room before the transport header in a [`Header`].
const HEADROOM: usize = ethernet::HEADER + ipv6::HEADER;

/// The way to a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Interface.
    pub interface: u32,
    /// Router, when the destination is not on the link.
    pub gateway: Option<IpAddr>,
    /// Our address for it.
    pub source: IpAddr,
    /// Largest packet.
    pub mtu: usize,
    /// Kind of the route.
    pub kind: RouteKind,
}

/// Fields of an IP header that differ from packet to packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    /// `None` for the default.
    pub ttl: Option<u8>,
    pub tos: u8,
    pub flow: u32,
    pub dont_fragment: bool,
}

/// A transport header, with room before it for those of IP and ethernet.
pub(crate) struct Header {
    bytes: [u8; HEADROOM + 64],
    start: usize,
    end: usize,
}

impl Header {
    /// Copies a transport header of up to 64 bytes.
    pub(crate) fn new(transport: &[u8]) -> Header {
        let mut bytes = [0; HEADROOM + 64];
        let len = transport.len().min(64);
        bytes[HEADROOM..HEADROOM + len].copy_from_slice(&transport[..len]);
        Header {
            bytes,
            start: HEADROOM,
            end: HEADROOM + len,
        }
    }

    pub(crate) fn prepend(&mut self, header: &[u8]) {
        self.start -= header.len();
        self.bytes[self.start..self.start + header.len()].copy_from_slice(header);
    }

    /// Stores the transport checksum at `offset` in the transport header.
    pub(crate) fn set_checksum(&mut self, offset: usize, sum: u16) {
        self.bytes[HEADROOM + offset..HEADROOM + offset + 2].copy_from_slice(&sum.to_be_bytes());
    }

    /// The transport header.
    pub(crate) fn transport(&self) -> &[u8] {
        &self.bytes[HEADROOM..self.end]
    }

    pub(crate) fn all(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// On its way, or lost like one on a wire.
    Done,
    /// The device has no room; nothing has happened.
    Full,
}

/// The network layer of a stack.
#[derive(Debug)]
pub(crate) struct Ip {
    pub settings: Settings,
    pub interfaces: Vec<Interface>,
    pub routes: route::Table,
    pub neighbors: neighbor::Table,
    pub reassembly: Reassembly,
    pub filter: Filter,
    pub counters: Counters,
    pub random: Random,
    pub key: Key,
    /// Raised by each change that may alter a path; paths are cached per socket.
    pub generation: u64,
    /// Our addresses and their interfaces.
    pub local: HashMap<IpAddr, u32, Key>,
    /// Groups joined: interface, group → members.
    pub groups: HashMap<(u32, IpAddr), u32, Key>,
    pub path_mtus: HashMap<IpAddr, (u32, Instant), Key>,
    pub events: VecDeque<Event>,
    pub event_bytes: usize,
    /// Frames for the device.
    pub queue: VecDeque<(u32, Offload, Vec<u8>)>,
    pub queued_bytes: usize,
    /// Buffers of frames that came in.
    pub frames: Frames,
    /// Frames that come back on `lo`.
    pub looped: VecDeque<(Offload, Vec<u8>)>,
    pub looped_bytes: usize,
    /// Whether taps want frames.
    pub tap: bool,
    /// Protocols that raw sockets want, per family (v4, v6).
    pub raw: [BTreeSet<u8>; 2],
    /// ICMP errors that we may still send in this second.
    pub icmp_tokens: (u64, u32),
    next_id: u16,
}

impl Ip {
    pub(crate) fn new(secret: &[u8; 32], settings: Settings) -> Ip {
        let key = Key::from_bytes(secret, 0);
        let mut random = Random::new(Key::from_bytes(secret, 1));
        let next_id = random.next() as u16;
        Ip {
            settings,
            interfaces: vec![Interface::loopback()],
            routes: route::Table::default(),
            neighbors: neighbor::Table::new(key),
            reassembly: Reassembly::new(key),
            filter: Filter::default(),
            counters: Counters::default(),
            random,
            key,
            generation: 1,
            local: HashMap::with_hasher(key),
            groups: HashMap::with_hasher(key),
            path_mtus: HashMap::with_hasher(key),
            events: VecDeque::new(),
            event_bytes: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            frames: Frames::default(),
            looped: VecDeque::new(),
            looped_bytes: 0,
            tap: false,
            raw: [BTreeSet::new(), BTreeSet::new()],
            icmp_tokens: (0, 0),
            next_id,
        }
    }

    pub(crate) fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.index == index)
    }

    pub(crate) fn interface_mut(&mut self, index: u32) -> Option<&mut Interface> {
        self.interfaces.iter_mut().find(|i| i.index == index)
    }

    /// Whether `ip` is one of our addresses: 127.0.0.0/8 is, once `lo` has one of it.
    pub(crate) fn is_local(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(a) if a.is_loopback() => {
                let lo = self.interface(LOOPBACK);
                lo.is_some_and(|lo| lo.addresses.iter().any(|own| own.network().contains(ip)))
            }
            _ => self.local.contains_key(&ip),
        }
    }

    /// The way to `dst`, for a socket bound to the address `src` or the interface `via`.
    pub(crate) fn route(&self, dst: IpAddr, src: Option<IpAddr>, via: Option<u32>) -> Result<Path, Error> {
        let src = src.filter(|s| !s.is_unspecified());
        if self.is_local(dst) {
            // While `lo` is down, what is sent over it is lost.
            let lo = self.interface(LOOPBACK).ok_or(Error::NetworkUnreachable)?;
            let mtu = lo.mtu;
            let source = src.unwrap_or(dst);
            return Ok(Path {
                interface: LOOPBACK,
                gateway: None,
                source,
                mtu,
                kind: RouteKind::Local,
            });
        }
        let scoped = dst.is_multicast()
            || matches!(dst, IpAddr::V6(a) if a.is_unicast_link_local())
            || dst == IpAddr::V4(Ipv4Addr::BROADCAST);
        let usable = |index: u32| self.interface(index).is_some_and(Interface::is_running);
        let found = self.routes.lookup(dst, via, usable);
        let (index, gateway, prefsrc, route_mtu, kind) = match found {
            Some(r) => (r.interface, r.gateway, r.source, r.mtu, r.kind),
            // A group or a link-local address needs no route when the interface is named.
            None if scoped && via.is_some_and(usable) => {
                (via.unwrap_or(0), None, None, None, RouteKind::Unicast)
            }
            None => return Err(Error::NetworkUnreachable),
        };
        match kind {
            RouteKind::Unreachable => return Err(Error::HostUnreachable),
            RouteKind::Prohibit => return Err(Error::AccessDenied),
            RouteKind::Blackhole => return Err(Error::Invalid),
            _ => {}
        }
        let interface = self.interface(index).ok_or(Error::NetworkUnreachable)?;
        let gateway = if scoped { None } else { gateway };
        let kind = match dst {
            _ if dst.is_multicast() => RouteKind::Multicast,
            IpAddr::V4(a) if gateway.is_none() && interface.is_broadcast(a) => RouteKind::Broadcast,
            _ => kind,
        };
        let towards = gateway.unwrap_or(dst);
        let source = match src.or(prefsrc) {
            Some(source) => source,
            None => self
                .source(interface, towards, dst)
                .ok_or(Error::AddressNotAvailable)?,
        };
        let mut mtu = interface.mtu;
        if let Some(limit) = route_mtu {
            mtu = mtu.min(limit as usize);
        }
        if let Some(&(limit, _)) = self.path_mtus.get(&dst) {
            mtu = mtu.min(limit as usize);
        }
        Ok(Path {
            interface: index,
            gateway,
            source,
            mtu,
            kind,
        })
    }

    fn source(&self, interface: &Interface, towards: IpAddr, dst: IpAddr) -> Option<IpAddr> {
        let wanted = if dst.is_ipv6() { dst } else { towards };
        interface.source_for(wanted).or_else(|| {
            let others = self
                .interfaces
                .iter()
                .filter(|i| i.kind != Kind::Loopback && i.up);
            others.filter_map(|i| i.source_for(wanted)).next()
        })
    }

    /// Remembers that packets to `dst` must not be longer than `mtu`. True when that is news.
    pub(crate) fn learn_path_mtu(&mut self, now: Instant, dst: IpAddr, mtu: u32) -> bool {
        let least = if dst.is_ipv4() {
            MIN_PATH_MTU
        } else {
            MIN_MTU_V6 as u32
        };
        let mtu = mtu.max(least);
        if self.path_mtus.len() >= MAX_PATH_MTUS {
            self.path_mtus.retain(|_, (_, until)| *until > now);
            if self.path_mtus.len() >= MAX_PATH_MTUS {
                return false;
            }
        }
        let known = self.path_mtus.get(&dst).map(|k| k.0);
        if known.is_some_and(|k| k <= mtu) {
            return false;
        }
        self.path_mtus.insert(dst, (mtu, now + PATH_MTU_EXPIRES));
        self.generation += 1;
        true
    }

    /// Sends a packet: `header` is its transport header, `body` what follows. With `device` it may go out at once,
    /// else it is queued. Too long ones are cut into fragments, or refused when they must not be.
    #[expect(clippy::too_many_arguments, reason = "what a packet is made of")]
    pub(crate) fn output(
        &mut self,
        now: Instant,
        path: &Path,
        head: &Head,
        mut header: Header,
        body: &[&[u8]],
        offload: Upper,
        device: Option<&mut Device<'_>>,
    ) -> Result<Sent, Error> {
        self.counters.ip_out_requests += 1;
        let len = header.transport().len() + body.iter().map(|b| b.len()).sum::<usize>();
        if self.check_output(path, head, header.transport()) == Verdict::Drop {
            self.counters.ip_out_discards += 1;
            return Err(Error::AccessDenied);
        }
        let ip_len = if head.dst.is_ipv4() {
            ipv4::HEADER
        } else {
            ipv6::HEADER
        };
        let tx_checksum = self
            .interface(path.interface)
            .is_some_and(|i| i.offloads.tx_checksum);
        let cut = offload.gso.is_none() && ip_len + len > path.mtu;
        let mut beside = Offload {
            checksum: Checksum::Complete,
            gso: offload.gso,
        };
        if let Some(offset) = offload.checksum_at {
            let mut sum = Sum::default();
            sum.add_pseudo(head.src, head.dst, head.protocol, len);
            if (tx_checksum && !cut) || offload.gso.is_some() {
                header.set_checksum(usize::from(offset), sum.partial());
                let start = (ethernet::HEADER + ip_len) as u16;
                beside.checksum = Checksum::Partial { start, offset };
            } else {
                sum.add(header.transport());
                body.iter().for_each(|b| sum.add(b));
                let value = match sum.finish() {
                    // RFC 768: a sum of zero is sent as all ones.
                    0 if head.protocol == protocol::UDP => 0xffff,
                    value => value,
                };
                header.set_checksum(usize::from(offset), value);
            }
        }
        if cut {
            if head.dont_fragment {
                self.counters.ip_frag_fails += 1;
                return Err(Error::MessageTooLong);
            }
            let mut whole = header.transport().to_vec();
            body.iter().for_each(|b| whole.extend_from_slice(b));
            return self.output_fragments(now, path, head, &whole);
        }
        let id = if head.dont_fragment {
            0
        } else {
            self.packet_id(head)
        };
        self.prepend_ip(head, id, &mut header, len);
        self.output_link(now, path, head.dst, header, body, beside, device)
    }

    fn check_output(&self, path: &Path, head: &Head, transport: &[u8]) -> Verdict {
        let ported = matches!(head.protocol, protocol::TCP | protocol::UDP);
        let ports = crate::wire::be16(transport, 0)
            .zip(crate::wire::be16(transport, 2))
            .filter(|_| ported);
        let flow = Flow {
            interface: path.interface,
            source: head.src,
            destination: head.dst,
            protocol: head.protocol,
            ports,
        };
        self.filter.check(Hook::Output, &flow)
    }

    /// An identification that does not tell how much we send to others (RFC 7739).
    fn packet_id(&mut self, head: &Head) -> u16 {
        self.next_id = self.next_id.wrapping_add(1);
        let bits = |a: IpAddr| match a {
            IpAddr::V4(a) => u64::from(u32::from(a)),
            IpAddr::V6(a) => u128::from(a) as u64 ^ (u128::from(a) >> 64) as u64,
        };
        (self.key.hash(&[bits(head.src), bits(head.dst), 0x6964]) as u16).wrapping_add(self.next_id)
    }

    fn ttl(&self, head: &Head) -> u8 {
        head.ttl.unwrap_or(match head.dst {
            dst if dst.is_multicast() => 1,
            IpAddr::V4(_) => self.settings.default_ttl,
            IpAddr::V6(_) => self.settings.hop_limit,
        })
    }

    fn prepend_ip(&self, head: &Head, id: u16, header: &mut Header, len: usize) {
        let ttl = self.ttl(head);
        match (head.src, head.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let ip = ipv4::Ipv4 {
                    header_len: ipv4::HEADER,
                    tos: head.tos,
                    id,
                    dont_fragment: head.dont_fragment,
                    more_fragments: false,
                    offset: 0,
                    ttl,
                    protocol: head.protocol,
                    src,
                    dst,
                };
                header.prepend(&ip.emit(len));
            }
            (src, dst) => header.prepend(&ipv6_header(head, src, dst, ttl).emit(len)),
        }
    }

    fn output_fragments(
        &mut self,
        now: Instant,
        path: &Path,
        head: &Head,
        whole: &[u8],
    ) -> Result<Sent, Error> {
        let v4 = head.dst.is_ipv4();
        let overhead = if v4 { ipv4::HEADER } else { ipv6::HEADER + 8 };
        if whole.len() > usize::from(u16::MAX) - overhead {
            return Err(Error::MessageTooLong);
        }
        let piece = (path.mtu.saturating_sub(overhead)) & !7;
        if piece == 0 {
            return Err(Error::MessageTooLong);
        }
        let ttl = self.ttl(head);
        let id = if v4 {
            u32::from(self.packet_id(head))
        } else {
            self.random.next() as u32
        };
        for (n, bytes) in whole.chunks(piece).enumerate() {
            let offset = n * piece;
            let more = offset + bytes.len() < whole.len();
            let mut header;
            match (head.src, head.dst) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => {
                    header = Header::new(&[]);
                    let ip = ipv4::Ipv4 {
                        header_len: ipv4::HEADER,
                        tos: head.tos,
                        id: id as u16,
                        dont_fragment: false,
                        more_fragments: more,
                        offset,
                        ttl,
                        protocol: head.protocol,
                        src,
                        dst,
                    };
                    header.prepend(&ip.emit(bytes.len()));
                }
                (src, dst) => {
                    let mut extension = [head.protocol, 0, 0, 0, 0, 0, 0, 0];
                    let field = offset as u16 | u16::from(more);
                    extension[2..4].copy_from_slice(&field.to_be_bytes());
                    extension[4..].copy_from_slice(&id.to_be_bytes());
                    header = Header::new(&extension);
                    let mut ip = ipv6_header(head, src, dst, ttl);
                    ip.next = protocol::FRAGMENT;
                    header.prepend(&ip.emit(8 + bytes.len()));
                }
            }
            self.counters.ip_frag_creates += 1;
            self.output_link(now, path, head.dst, header, &[bytes], Offload::default(), None)?;
        }
        self.counters.ip_frag_oks += 1;
        Ok(Sent::Done)
    }

    /// Sends an IP packet whose header the caller built (raw sockets with IP_HDRINCL).
    pub(crate) fn output_raw(
        &mut self,
        now: Instant,
        path: &Path,
        dst: IpAddr,
        packet: &[u8],
    ) -> Result<Sent, Error> {
        self.counters.ip_out_requests += 1;
        if packet.len() > path.mtu {
            return Err(Error::MessageTooLong);
        }
        self.output_link(
            now,
            path,
            dst,
            Header::new(&[]),
            &[packet],
            Offload::default(),
            None,
        )
    }

    /// Queues an event for the owner; `size` is what it holds. False when there are too many.
    pub(crate) fn push_event(&mut self, size: usize, event: Event) -> bool {
        if self.events.len() >= MAX_EVENTS || self.event_bytes + size > MAX_EVENT_BYTES {
            return false;
        }
        self.event_bytes += size;
        self.events.push_back(event);
        true
    }

    /// Whether something waits to be sent or looped back.
    pub(crate) fn has_output(&self) -> bool {
        !self.queue.is_empty() || !self.looped.is_empty()
    }
}

/// What the transport wants of the device.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Upper {
    /// Offset of the checksum field in the transport header, when it has one to fill in.
    pub checksum_at: Option<u16>,
    pub gso: Option<crate::Gso>,
}

fn ipv6_header(head: &Head, src: IpAddr, dst: IpAddr, hop_limit: u8) -> ipv6::Ipv6 {
    let v6 = |ip: IpAddr| match ip {
        IpAddr::V6(a) => a,
        IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
    };
    ipv6::Ipv6 {
        traffic_class: head.tos,
        flow: head.flow,
        next: head.protocol,
        hop_limit,
        src: v6(src),
        dst: v6(dst),
    }
}
