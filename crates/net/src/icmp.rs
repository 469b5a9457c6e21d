//! ICMP (RFC 792, 1122, 1191) and the errors of both families.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::event::{Event, IcmpError};
use crate::ingress::Meta;
use crate::ip::{Head, Header, Upper};
use crate::wire::icmp::{self, Icmp};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{be16, checksum, ipv6, protocol};
use crate::{Error, Instant, Stack};

/// Length of an ICMPv4 error (RFC 1812: up to 576 bytes with the IP header).
const MAX_ERROR_V4: usize = 576 - ipv4::HEADER - icmp::HEADER;
/// Length of an ICMPv6 error: all fits the least MTU.
const MAX_ERROR_V6: usize = 1280 - ipv6::HEADER - icmp::HEADER;

/// The part of a packet of ours that an ICMP error quotes.
#[derive(Debug)]
pub(crate) struct Quoted<'a> {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub rest: &'a [u8],
}

/// What an error says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub kind: u8,
    pub code: u8,
    pub error: Error,
    pub fatal: bool,
    pub mtu: u32,
}

impl Stack {
    pub(crate) fn receive_icmp(&mut self, now: Instant, meta: &Meta, header: &[u8], payload: &[u8]) {
        self.ip.counters.icmp_in_msgs += 1;
        if !meta.verified && checksum::of(payload) != 0 {
            self.ip.counters.icmp_in_csum_errors += 1;
            return;
        }
        let Some((message, body)) = Icmp::parse(payload) else {
            self.ip.counters.icmp_in_errors += 1;
            return;
        };
        match message.kind {
            icmp::ECHO_REQUEST => {
                self.ip.counters.icmp_in_echos += 1;
                let settings = &self.ip.settings;
                let ignored =
                    settings.icmp_echo_ignore_all || (meta.group && settings.icmp_echo_ignore_broadcasts);
                if !ignored {
                    self.ip.counters.icmp_out_echo_reps += 1;
                    let reply = Icmp {
                        kind: icmp::ECHO_REPLY,
                        ..message
                    };
                    self.echo(now, meta, &reply, body);
                }
            }
            icmp::TIMESTAMP if !meta.group && body.len() >= 12 => {
                // Milliseconds since midnight: our clock knows no midnight, so the high bit is set (RFC 792).
                let time = (now.as_millis() as u32 | 1 << 31).to_be_bytes();
                let body = [&body[..4], &time, &time].concat();
                self.echo(
                    now,
                    meta,
                    &Icmp {
                        kind: icmp::TIMESTAMP_REPLY,
                        ..message
                    },
                    &body,
                );
            }
            icmp::UNREACHABLE | icmp::TIME_EXCEEDED | icmp::PARAMETER_PROBLEM => {
                if message.kind == icmp::UNREACHABLE {
                    self.ip.counters.icmp_in_dest_unreachs += 1;
                }
                self.icmp_error(now, meta, &message, body);
            }
            icmp::ECHO_REPLY => self.ip.counters.icmp_in_echo_reps += 1,
            _ => {}
        }
        if message.kind != icmp::ECHO_REQUEST {
            // Ping sockets and raw sockets both want these; raw ones see requests too, but not those we answer.
            self.push_raw(now, meta, header, payload);
        } else if self.ip.raw[0].contains(&protocol::ICMP) {
            self.push_raw(now, meta, header, payload);
        }
    }

    /// Sends `message` back to where a request came from.
    pub(crate) fn echo(&mut self, now: Instant, meta: &Meta, message: &Icmp, body: &[u8]) {
        self.ip.counters.icmp_out_msgs += 1;
        let source = (!meta.group).then_some(meta.dst);
        let Ok(path) = self.ip.route(meta.src, source, self.reply_interface(meta)) else {
            return;
        };
        let head = Head {
            src: path.source,
            dst: meta.src,
            protocol: if meta.src.is_ipv4() {
                protocol::ICMP
            } else {
                protocol::ICMPV6
            },
            ttl: None,
            tos: meta.tos,
            flow: 0,
            dont_fragment: false,
        };
        let _ = self.send_icmp(now, &path, &head, message, body);
    }

    /// Link-local peers are answered by the interface they came from.
    pub(crate) fn reply_interface(&self, meta: &Meta) -> Option<u32> {
        match meta.src {
            IpAddr::V6(a) if a.is_unicast_link_local() => Some(meta.interface),
            _ => None,
        }
    }

    /// Completes the checksum of a message and sends it.
    pub(crate) fn send_icmp(
        &mut self,
        now: Instant,
        path: &crate::Path,
        head: &Head,
        message: &Icmp,
        body: &[u8],
    ) -> Result<(), Error> {
        let bytes = Icmp {
            checksum: 0,
            ..*message
        }
        .emit();
        let mut header = Header::new(&bytes);
        let mut upper = Upper::default();
        if head.dst.is_ipv4() {
            let mut sum = checksum::Sum::default();
            sum.add(&bytes);
            sum.add(body);
            header.set_checksum(2, sum.finish());
        } else {
            let mut sum = checksum::Sum::default();
            sum.add_pseudo(head.src, head.dst, protocol::ICMPV6, bytes.len() + body.len());
            sum.add(&bytes);
            sum.add(body);
            header.set_checksum(2, sum.finish());
        }
        upper.checksum_at = None;
        self.ip
            .output(now, path, head, header, &[body], upper, None)
            .map(|_| ())
    }

    /// Sends an ICMP error about the packet `header` + `payload`, unless a rule forbids it (RFC 1122, section 3.2.2).
    #[expect(clippy::too_many_arguments, reason = "an error is a packet about a packet")]
    pub(crate) fn send_error(
        &mut self,
        now: Instant,
        meta: &Meta,
        kind: u8,
        code: u8,
        extra: u32,
        header: &[u8],
        payload: &[u8],
    ) {
        let v4 = meta.dst.is_ipv4();
        let about_error = match meta.protocol {
            protocol::ICMP if v4 => !payload.first().is_some_and(|&k| matches!(k, 0 | 8 | 13 | 14)),
            protocol::ICMPV6 if !v4 => payload.first().is_none_or(|&k| k < 128),
            _ => false,
        };
        if meta.group || about_error || meta.src.is_unspecified() || !self.take_icmp_token(now) {
            return;
        }
        self.ip.counters.icmp_out_msgs += 1;
        if kind
            == if v4 {
                icmp::UNREACHABLE
            } else {
                icmp::V6_UNREACHABLE
            }
        {
            self.ip.counters.icmp_out_dest_unreachs += 1;
        }
        let limit = if v4 { MAX_ERROR_V4 } else { MAX_ERROR_V6 };
        let quoted = [
            header,
            &payload[..payload.len().min(limit.saturating_sub(header.len()))],
        ]
        .concat();
        let message = Icmp {
            kind,
            code,
            checksum: 0,
            rest: extra.to_be_bytes(),
        };
        let Ok(path) = self
            .ip
            .route(meta.src, Some(meta.dst), self.reply_interface(meta))
        else {
            return;
        };
        let head = Head {
            src: path.source,
            dst: meta.src,
            protocol: if v4 { protocol::ICMP } else { protocol::ICMPV6 },
            ttl: None,
            // Errors travel as internetwork control (Linux).
            tos: if v4 { 0xc0 } else { 0 },
            flow: 0,
            dont_fragment: false,
        };
        let _ = self.send_icmp(now, &path, &head, &message, &quoted);
    }

    /// Whether the rate of errors allows one more.
    fn take_icmp_token(&mut self, now: Instant) -> bool {
        let second = now.as_millis() / 1000;
        let limit = self.ip.settings.icmp_msgs_per_sec;
        let (at, used) = &mut self.ip.icmp_tokens;
        if *at != second {
            (*at, *used) = (second, 0);
        }
        *used += 1;
        *used <= limit
    }

    /// An ICMPv4 error about a packet of ours.
    fn icmp_error(&mut self, now: Instant, meta: &Meta, message: &Icmp, body: &[u8]) {
        let Some(quoted) = quoted_v4(body) else {
            self.ip.counters.icmp_in_errors += 1;
            return;
        };
        let mut verdict = Verdict {
            kind: message.kind,
            code: message.code,
            error: Error::HostUnreachable,
            fatal: false,
            mtu: 0,
        };
        match message.kind {
            icmp::UNREACHABLE => {
                (verdict.error, verdict.fatal) = unreachable_v4(message.code);
                if message.code == 4 {
                    let mtu = u32::from(be16(&message.rest, 2).unwrap_or(0));
                    // Routers before RFC 1191 do not tell: half is a guess.
                    verdict.mtu = if mtu == 0 { 576 } else { mtu };
                }
            }
            icmp::PARAMETER_PROBLEM => (verdict.error, verdict.fatal) = (Error::Protocol, true),
            _ => {}
        }
        self.deliver_error(now, meta.interface, meta.src, &quoted, verdict);
    }

    /// Hands an error to TCP or to the owner.
    pub(crate) fn deliver_error(
        &mut self,
        now: Instant,
        interface: u32,
        offender: IpAddr,
        quoted: &Quoted<'_>,
        verdict: Verdict,
    ) {
        let ports = match quoted.protocol {
            protocol::TCP | protocol::UDP => be16(quoted.rest, 0).zip(be16(quoted.rest, 2)),
            protocol::ICMP | protocol::ICMPV6 => be16(quoted.rest, 4).map(|id| (id, 0)),
            _ => None,
        };
        let (local_port, remote_port) = ports.unwrap_or((0, 0));
        if !self.ip.is_local(quoted.src) {
            return;
        }
        if quoted.protocol == protocol::TCP {
            // TCP believes a path MTU only when the quoted sequence number fits a connection.
            self.tcp_icmp_error(now, quoted, verdict);
            return;
        }
        if verdict.mtu != 0 {
            self.ip.learn_path_mtu(now, quoted.dst, verdict.mtu);
        }
        let skip = if quoted.protocol == protocol::UDP || ports.is_some() {
            8
        } else {
            0
        };
        let error = IcmpError {
            interface,
            protocol: quoted.protocol,
            local: SocketAddr::new(quoted.src, local_port),
            remote: SocketAddr::new(quoted.dst, remote_port),
            kind: verdict.kind,
            code: verdict.code,
            error: verdict.error,
            fatal: verdict.fatal,
            mtu: verdict.mtu,
            offender,
            quoted: quoted.rest.get(skip..).unwrap_or(&[]).to_vec(),
        };
        self.ip.push_event(error.quoted.len(), Event::Icmp(error));
    }

    /// A frame of ours could not be sent as nobody has the next hop's address: as if a router had said so.
    pub(crate) fn neighbor_failed(&mut self, now: Instant, interface: u32, frame: &[u8]) {
        let Some((header, packet)) = crate::wire::ethernet::Ethernet::parse(frame) else {
            return;
        };
        let v4 = header.kind == crate::wire::ethernet::IPV4;
        let quoted = if v4 {
            quoted_v4(packet)
        } else {
            crate::icmpv6::quoted_v6(packet)
        };
        let Some(quoted) = quoted else { return };
        let verdict = Verdict {
            kind: if v4 {
                icmp::UNREACHABLE
            } else {
                icmp::V6_UNREACHABLE
            },
            code: if v4 { 1 } else { 3 },
            error: Error::HostUnreachable,
            fatal: v4,
            mtu: 0,
        };
        let src = quoted.src;
        self.deliver_error(now, interface, src, &quoted, verdict);
    }
}

/// The packet that an ICMPv4 error quotes. It may be cut short; its checksum is not checked, as on Linux.
fn quoted_v4(body: &[u8]) -> Option<Quoted<'_>> {
    let first = *body.first()?;
    let header_len = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || header_len < ipv4::HEADER || body.len() < header_len {
        return None;
    }
    let address = |at: usize| crate::wire::array::<4>(body, at).map(|a| IpAddr::V4(Ipv4Addr::from(a)));
    Some(Quoted {
        src: address(12)?,
        dst: address(16)?,
        protocol: body[9],
        rest: &body[header_len..],
    })
}

/// Linux's icmp_err_convert: the errno of each code, and whether it is fatal.
fn unreachable_v4(code: u8) -> (Error, bool) {
    match code {
        0 | 5 => (Error::NetworkUnreachable, false),
        1 | 11 | 12 => (Error::HostUnreachable, false),
        2 => (Error::NoProtocolOption, true),
        3 => (Error::ConnectionRefused, true),
        4 => (Error::MessageTooLong, false),
        6 | 9 => (Error::NetworkUnreachable, true),
        7 => (Error::HostDown, true),
        8 | 10 | 13..=15 => (Error::HostUnreachable, true),
        _ => (Error::HostUnreachable, true),
    }
}

/// A header with the fields of a received packet, for quoting it in an error.
pub(crate) fn rebuilt_header(
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    ttl: u8,
    tos: u8,
    len: usize,
) -> Vec<u8> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => Ipv4 {
            header_len: ipv4::HEADER,
            tos,
            id: 0,
            dont_fragment: true,
            more_fragments: false,
            offset: 0,
            ttl,
            protocol,
            src,
            dst,
        }
        .emit(len)
        .to_vec(),
        (IpAddr::V6(src), IpAddr::V6(dst)) => ipv6::Ipv6 {
            traffic_class: tos,
            flow: 0,
            next: protocol,
            hop_limit: ttl,
            src,
            dst,
        }
        .emit(len)
        .to_vec(),
        _ => Vec::new(),
    }
}
