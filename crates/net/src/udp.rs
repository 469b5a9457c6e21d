//! UDP (RFC 768). Ports and inboxes are the owner's: datagrams come as events.

use std::net::{IpAddr, SocketAddr};

use crate::event::{Datagram, Event};
use crate::icmp::rebuilt_header;
use crate::ingress::Meta;
use crate::ip::{Head, Header, Upper};
use crate::wire::udp::{self, Udp};
use crate::wire::{checksum, icmp, protocol};
use crate::{Error, GsoKind, Instant, Stack};

/// Fields of a datagram or raw packet that its sender may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// TTL or hop limit; the default one (1 to groups) for `None`.
    pub ttl: Option<u8>,
    /// TOS or traffic class.
    pub tos: u8,
    /// Neither cut into fragments here nor on the way: longer than the path's MTU is `MessageTooLong`.
    pub dont_fragment: bool,
    /// The interface to use (SO_BINDTODEVICE, IP_PKTINFO, IP_MULTICAST_IF, an IPv6 scope).
    pub interface: Option<u32>,
    /// IPv6 flow label.
    pub flow: u32,
    /// UDP_SEGMENT: cut the data into datagrams of this payload.
    pub segment: Option<u16>,
    /// Raw packets: offset of a checksum field in the data, which the stack fills in (2 for ICMP and ICMPv6).
    pub checksum_at: Option<usize>,
    /// Leave the checksum out (SO_NO_CHECK; IPv4 only).
    pub no_checksum: bool,
}

/// Datagrams that UDP_SEGMENT cuts one call into (Linux's UDP_MAX_SEGMENTS).
pub const MAX_UDP_SEGMENTS: usize = 128;

impl Stack {
    pub(crate) fn receive_udp(&mut self, now: Instant, meta: &Meta, payload: &[u8]) {
        let Some((udp, data)) = Udp::parse(payload) else {
            self.ip.counters.udp_in_errors += 1;
            return;
        };
        let none = udp.checksum == 0;
        if none && meta.dst.is_ipv6() {
            self.ip.counters.udp_in_errors += 1;
            return;
        }
        let covered = &payload[..udp::HEADER + data.len()];
        if !meta.verified && !none && !checksum::verify(meta.src, meta.dst, protocol::UDP, covered) {
            self.ip.counters.udp_in_csum_errors += 1;
            return;
        }
        let segment = meta.gso.filter(|g| g.kind == GsoKind::Udp && g.size > 0);
        let segment = segment.map(|g| g.size);
        if segment.is_some_and(|size| data.len().div_ceil(usize::from(size)) > MAX_UDP_SEGMENTS) {
            // No sender may make so many of one, and each costs whoever takes it a call.
            self.ip.counters.udp_in_errors += 1;
            return;
        }
        self.ip.counters.udp_in_datagrams += 1;
        let datagram = Datagram {
            interface: meta.interface,
            source: SocketAddr::new(meta.src, udp.src),
            destination: SocketAddr::new(meta.dst, udp.dst),
            ttl: meta.ttl,
            tos: meta.tos,
            time: now,
            segment,
            group: meta.group,
            data: data.to_vec(),
        };
        if !self.ip.push_event(data.len(), Event::Datagram(datagram)) {
            self.ip.counters.udp_rcvbuf_errors += 1;
        }
    }

    /// Sends a datagram. `src`'s address may be unspecified: the route chooses.
    ///
    /// # Errors
    /// `MessageTooLong`, `NetworkUnreachable`, `HostUnreachable`, `AddressNotAvailable`, `AccessDenied`, `Invalid`.
    pub fn udp_send(
        &mut self,
        now: Instant,
        src: SocketAddr,
        dst: SocketAddr,
        data: &[u8],
        options: &SendOptions,
    ) -> Result<(), Error> {
        let (local, remote) = (src.ip().to_canonical(), dst.ip().to_canonical());
        let bound = Some(local).filter(|a| !a.is_unspecified());
        let via = options.interface.or(scope(&dst));
        let path = self.ip.route(remote, bound, via)?;
        if path.source.is_ipv4() != remote.is_ipv4() {
            return Err(Error::Invalid);
        }
        let head = Head {
            src: path.source,
            dst: remote,
            protocol: protocol::UDP,
            ttl: options.ttl,
            tos: options.tos,
            flow: options.flow,
            dont_fragment: options.dont_fragment,
        };
        let size = options.segment.map_or(usize::MAX, |s| usize::from(s).max(1));
        if options.segment.is_some() && data.len().div_ceil(size) > MAX_UDP_SEGMENTS {
            return Err(Error::Invalid);
        }
        let longest = usize::from(u16::MAX) - udp::HEADER - if remote.is_ipv4() { 20 } else { 0 };
        if data.len().min(size) > longest {
            return Err(Error::MessageTooLong);
        }
        let none = options.no_checksum && remote.is_ipv4();
        let upper = Upper {
            checksum_at: (!none).then_some(6),
            gso: None,
        };
        let mut rest = data;
        loop {
            let (piece, after) = rest.split_at(rest.len().min(size));
            let header = Udp {
                src: src.port(),
                dst: dst.port(),
                checksum: 0,
            }
            .emit(piece.len());
            self.ip
                .output(now, &path, &head, Header::new(&header), &[piece], upper, None)?;
            self.ip.counters.udp_out_datagrams += 1;
            rest = after;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Nobody listens on the port of `datagram`: its sender is told (port unreachable).
    pub fn udp_unreachable(&mut self, now: Instant, datagram: &Datagram) {
        self.ip.counters.udp_no_ports += 1;
        self.ip.counters.udp_in_datagrams = self.ip.counters.udp_in_datagrams.saturating_sub(1);
        let (src, dst) = (datagram.source.ip(), datagram.destination.ip());
        let meta = Meta {
            interface: datagram.interface,
            src,
            dst,
            protocol: protocol::UDP,
            ttl: datagram.ttl,
            tos: datagram.tos,
            group: datagram.group,
            verified: true,
            gso: None,
        };
        let len = udp::HEADER + datagram.data.len();
        let header = rebuilt_header(src, dst, protocol::UDP, datagram.ttl, datagram.tos, len);
        let udp = Udp {
            src: datagram.source.port(),
            dst: datagram.destination.port(),
            checksum: 0,
        };
        let payload = [&udp.emit(datagram.data.len())[..], &datagram.data].concat();
        let (kind, code) = if dst.is_ipv4() {
            (icmp::UNREACHABLE, 3)
        } else {
            (icmp::V6_UNREACHABLE, 4)
        };
        self.send_error(now, &meta, kind, code, 0, &header, &payload);
    }
}

/// The interface that an IPv6 scope names.
pub(crate) fn scope(address: &SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V6(a) if a.scope_id() != 0 => Some(a.scope_id()),
        _ => None,
    }
}

/// The canonical form of an address: IPv4-mapped ones are IPv4.
pub(crate) fn canonical(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}
