//! ICMPv6 (RFC 4443), neighbour discovery (RFC 4861).

use std::net::{IpAddr, Ipv6Addr};

use crate::icmp::{Quoted, Verdict};
use crate::ingress::Meta;
use crate::ip::{Head, Header, Ip, Upper};
use crate::neighbor::Learnt;
use crate::route::RouteKind;
use crate::wire::checksum::{self, solicited_node};
use crate::wire::icmp::{self, Icmp};
use crate::wire::{array, be32, ipv6, ndisc, protocol};
use crate::{Error, Instant, Path, Stack};

impl Stack {
    pub(crate) fn receive_icmpv6(&mut self, now: Instant, meta: &Meta, header: &[u8], payload: &[u8]) {
        self.ip.counters.icmp_in_msgs += 1;
        if !meta.verified && !checksum::verify(meta.src, meta.dst, protocol::ICMPV6, payload) {
            self.ip.counters.icmp_in_csum_errors += 1;
            return;
        }
        let Some((message, body)) = Icmp::parse(payload) else {
            self.ip.counters.icmp_in_errors += 1;
            return;
        };
        match message.kind {
            icmp::V6_ECHO_REQUEST => {
                self.ip.counters.icmp_in_echos += 1;
                if !self.ip.settings.icmp_echo_ignore_all {
                    self.ip.counters.icmp_out_echo_reps += 1;
                    self.echo(
                        now,
                        meta,
                        &Icmp {
                            kind: icmp::V6_ECHO_REPLY,
                            ..message
                        },
                        body,
                    );
                }
            }
            ndisc::SOLICIT => return self.neighbor_solicit(now, meta, body),
            ndisc::ADVERT => return self.neighbor_advert(now, meta, &message, body),
            // Addresses and routes come from the container engine: routers are not heard.
            ndisc::ROUTER_ADVERT | ndisc::ROUTER_SOLICIT | ndisc::REDIRECT => return,
            crate::multicast::MLD_QUERY => return self.receive_mld_query(now, meta, body),
            kind if kind < 128 => self.icmpv6_error(now, meta, &message, body),
            _ => {}
        }
        if message.kind != icmp::V6_ECHO_REQUEST || self.ip.raw[1].contains(&protocol::ICMPV6) {
            self.push_raw(now, meta, header, payload);
        }
    }

    fn icmpv6_error(&mut self, now: Instant, meta: &Meta, message: &Icmp, body: &[u8]) {
        let Some(quoted) = quoted_v6(body) else {
            self.ip.counters.icmp_in_errors += 1;
            return;
        };
        let (error, fatal) = match (message.kind, message.code) {
            (icmp::V6_UNREACHABLE, 0) => (Error::NetworkUnreachable, false),
            (icmp::V6_UNREACHABLE, 1 | 5 | 6) => (Error::AccessDenied, true),
            (icmp::V6_UNREACHABLE, 4) => (Error::ConnectionRefused, true),
            (icmp::V6_PACKET_TOO_BIG, _) => (Error::MessageTooLong, false),
            (icmp::V6_PARAMETER_PROBLEM, _) => (Error::Protocol, true),
            _ => (Error::HostUnreachable, false),
        };
        let mtu = if message.kind == icmp::V6_PACKET_TOO_BIG {
            be32(&message.rest, 0).unwrap_or(0)
        } else {
            0
        };
        let verdict = Verdict {
            kind: message.kind,
            code: message.code,
            error,
            fatal,
            mtu,
        };
        self.deliver_error(now, meta.interface, meta.src, &quoted, verdict);
    }

    fn neighbor_solicit(&mut self, now: Instant, meta: &Meta, body: &[u8]) {
        // A hop limit below 255 has passed a router: forged (RFC 4861, section 7.1.1).
        let Some(request) = ndisc::Body::parse(false, body).filter(|_| meta.ttl == 255) else {
            return;
        };
        if self.ip.local.get(&IpAddr::V6(request.target)) != Some(&meta.interface) {
            return;
        }
        let probing = meta.src.is_unspecified();
        if let (false, Some(mac)) = (probing, request.link) {
            self.learn(now, meta.interface, meta.src, mac, Learnt::Hint, true);
        }
        let Some(mac) = self.ip.interface(meta.interface).map(|i| i.mac) else {
            return;
        };
        let (dst, solicited) = match meta.src {
            // Somebody checks for duplicates: all hear the answer.
            _ if probing => (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0),
            IpAddr::V6(src) => (src, ndisc::SOLICITED),
            IpAddr::V4(_) => return,
        };
        let message = Icmp {
            kind: ndisc::ADVERT,
            code: 0,
            checksum: 0,
            rest: [solicited | ndisc::OVERRIDE, 0, 0, 0],
        };
        let body = ndisc::Body {
            target: request.target,
            link: Some(mac),
        }
        .emit(true);
        self.ip
            .output_ndisc(now, meta.interface, request.target, dst, &message, &body);
    }

    fn neighbor_advert(&mut self, now: Instant, meta: &Meta, message: &Icmp, body: &[u8]) {
        let Some(advert) = ndisc::Body::parse(true, body).filter(|_| meta.ttl == 255) else {
            return;
        };
        let flags = message.rest[0];
        let target = IpAddr::V6(advert.target);
        if advert.target.is_multicast() || self.ip.is_local(target) {
            return;
        }
        let Some(mac) = advert.link else {
            if flags & ndisc::SOLICITED != 0 {
                self.ip.neighbors.confirm(now, meta.interface, target);
            }
            return;
        };
        let how = match (flags & ndisc::SOLICITED != 0, flags & ndisc::OVERRIDE != 0) {
            (true, true) => Learnt::Answer,
            (_, false) => Learnt::Weak,
            (false, true) => Learnt::Hint,
        };
        self.learn(now, meta.interface, target, mac, how, false);
        self.ip
            .neighbors
            .set_router(meta.interface, target, flags & ndisc::ROUTER != 0);
    }
}

impl Ip {
    /// Solicits the link address of `target`.
    pub(crate) fn solicit_v6(&mut self, now: Instant, index: u32, target: Ipv6Addr, to: Option<[u8; 6]>) {
        let Some(interface) = self.interface(index) else {
            return;
        };
        let mac = interface.mac;
        let Some(IpAddr::V6(source)) = interface.source_for(IpAddr::V6(target)) else {
            return;
        };
        let message = Icmp {
            kind: ndisc::SOLICIT,
            code: 0,
            checksum: 0,
            rest: [0; 4],
        };
        let body = ndisc::Body {
            target,
            link: Some(mac),
        }
        .emit(false);
        let dst = if to.is_some() {
            target
        } else {
            solicited_node(target)
        };
        self.output_ndisc(now, index, source, dst, &message, &body);
    }

    /// Sends a message of neighbour discovery or MLD: hop limit 255 or 1, never fragments.
    pub(crate) fn output_ndisc(
        &mut self,
        now: Instant,
        index: u32,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        message: &Icmp,
        body: &[u8],
    ) {
        let head = Head {
            src: IpAddr::V6(src),
            dst: IpAddr::V6(dst),
            protocol: protocol::ICMPV6,
            ttl: Some(255),
            tos: 0,
            flow: 0,
            dont_fragment: true,
        };
        let kind = if dst.is_multicast() {
            RouteKind::Multicast
        } else {
            RouteKind::Unicast
        };
        let path = Path {
            interface: index,
            gateway: None,
            source: head.src,
            mtu: 1280,
            kind,
        };
        let header = Header::new(&message.emit());
        self.counters.icmp_out_msgs += 1;
        let upper = Upper {
            checksum_at: Some(2),
            gso: None,
        };
        let _ = self.output(now, &path, &head, header, &[body], upper, None);
    }
}

/// The packet that an ICMPv6 error quotes.
pub(crate) fn quoted_v6(body: &[u8]) -> Option<Quoted<'_>> {
    if body.first()? >> 4 != 6 {
        return None;
    }
    let address = |at: usize| array::<16>(body, at).map(|a| IpAddr::V6(Ipv6Addr::from(a)));
    let (src, dst) = (address(8)?, address(24)?);
    match ipv6::walk(*body.get(6)?, body.get(ipv6::HEADER..)?) {
        ipv6::Extensions::Upper(upper, rest) => Some(Quoted {
            src,
            dst,
            protocol: upper,
            rest,
        }),
        ipv6::Extensions::Fragment(f, upper, rest) if f.offset == 0 => Some(Quoted {
            src,
            dst,
            protocol: upper,
            rest,
        }),
        _ => None,
    }
}
