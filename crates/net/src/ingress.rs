//! The way in: frames from a device, up to the transport.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use crate::event::{Direction, Event, RawPacket};
use crate::filter::{Flow, Hook, Verdict};
use crate::fragment;
use crate::interface::Kind;
use crate::neighbor::Learnt;
use crate::wire::arp::{self, Arp};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Extensions, Ipv6};
use crate::wire::{be16, icmp, protocol};
use crate::{Checksum, Instant, Offload, Stack};

/// What the transport must know of the packet that its bytes came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub interface: u32,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub ttl: u8,
    pub tos: u8,
    /// Sent to a group or a broadcast address, or by a broadcast frame.
    pub group: bool,
    /// The transport checksum needs no look.
    pub verified: bool,
    pub gso: Option<crate::Gso>,
}

impl Stack {
    /// Takes a frame that came in by interface `index`. Answers go out with the next [`Stack::poll`]; call it after a
    /// batch of frames, so that one acknowledgement serves many segments.
    pub fn receive(&mut self, now: Instant, index: u32, offload: &Offload, frame: &[u8]) {
        let Some(interface) = self.ip.interface_mut(index).filter(|i| i.is_running()) else {
            return;
        };
        let (mac, kind) = (interface.mac, interface.kind);
        self.ip.count(now, index, Direction::In, offload, frame);
        let Some((header, packet)) = Ethernet::parse(frame) else {
            return self.count_error(index);
        };
        let group = ethernet::is_group(header.dst);
        if kind == Kind::Ethernet && !group && header.dst != mac {
            return;
        }
        if group && let Some(interface) = self.ip.interface_mut(index) {
            interface.counters.multicast += 1;
        }
        match header.kind {
            ethernet::IPV4 => self.receive_v4(now, index, group, offload, packet),
            ethernet::IPV6 => self.receive_v6(now, index, group, offload, packet),
            ethernet::ARP if kind == Kind::Ethernet => self.receive_arp(now, index, packet),
            _ => {}
        }
    }

    /// A frame passes an interface without being for this stack: a bridge takes it over on its way in, or sends it out.
    /// False: it cannot pass.
    pub fn pass(
        &mut self,
        now: Instant,
        index: u32,
        direction: Direction,
        offload: &Offload,
        frame: &[u8],
    ) -> bool {
        let running = self.ip.interface(index).is_some_and(|own| own.is_running());
        if running {
            self.ip.count(now, index, direction, offload, frame);
        }
        running
    }

    /// As [`Stack::receive`], of a frame that lies in `buffer`, which may be kept, with its bytes, for whoever reads them: then
    /// `buffer` is another one, perhaps empty.
    pub fn receive_kept(
        &mut self,
        now: Instant,
        index: u32,
        offload: &Offload,
        buffer: &mut Vec<u8>,
        frame: Range<usize>,
    ) {
        let Some(bytes) = buffer.get(frame) else { return };
        self.ip.frames.lend(Some(buffer));
        self.receive(now, index, offload, bytes);
        let kept = std::mem::take(&mut self.ip.frames.kept);
        self.ip.frames.lend(None);
        if !kept {
            return;
        }
        let memory = std::mem::replace(buffer, self.ip.frames.buffer());
        let Some(id) = self.tcp.kept_by.take() else { return };
        // It may have ended by this very frame.
        if let Some(connection) = self.tcp.connection_mut(id) {
            connection.rcv.queue.keep(memory);
            let limits = self.ip.settings.tcp_mem;
            self.tcp.account(id, limits);
        }
    }

    fn count_error(&mut self, index: u32) {
        if let Some(interface) = self.ip.interface_mut(index) {
            interface.counters.rx_errors += 1;
        }
    }

    fn receive_arp(&mut self, now: Instant, index: u32, packet: &[u8]) {
        let Some(arp) = Arp::parse(packet) else {
            return self.count_error(index);
        };
        if ethernet::is_group(arp.sender_mac) || arp.sender.is_loopback() || arp.sender.is_multicast() {
            return;
        }
        let ours = self.ip.local.get(&IpAddr::V4(arp.target)) == Some(&index);
        let sender = IpAddr::V4(arp.sender);
        if !arp.sender.is_unspecified() && !self.ip.is_local(sender) {
            let how = if arp.operation == arp::REPLY {
                Learnt::Answer
            } else {
                Learnt::Hint
            };
            self.learn(now, index, sender, arp.sender_mac, how, ours);
        }
        if arp.operation == arp::REQUEST && ours {
            let Some(mac) = self.ip.interface(index).map(|i| i.mac) else {
                return;
            };
            let reply = Arp {
                operation: arp::REPLY,
                sender_mac: mac,
                sender: arp.target,
                target_mac: arp.sender_mac,
                target: arp.sender,
            };
            self.ip.output_arp(index, arp.sender_mac, &reply);
        }
    }

    /// A neighbour's link address was seen: frames that waited for it go out.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        index: u32,
        address: IpAddr,
        mac: [u8; 6],
        how: Learnt,
        create: bool,
    ) {
        let waiting = self.ip.neighbors.learn(now, (index, address), mac, how, create);
        self.ip.release(index, mac, waiting);
    }

    fn receive_v4(&mut self, now: Instant, index: u32, group_frame: bool, offload: &Offload, packet: &[u8]) {
        self.ip.counters.ip_in_receives += 1;
        let Some((header, payload)) = Ipv4::parse(packet) else {
            self.ip.counters.ip_in_hdr_errors += 1;
            return;
        };
        let Some(interface) = self.ip.interface(index) else {
            return;
        };
        let loopback = interface.kind == Kind::Loopback;
        let martian = header.src.is_multicast()
            || header.src.is_broadcast()
            || interface.is_broadcast(header.src)
            || (!loopback && (header.src.is_loopback() || header.dst.is_loopback()))
            || (!loopback && self.ip.is_local(IpAddr::V4(header.src)));
        let broadcast = interface.is_broadcast(header.dst);
        let dst = IpAddr::V4(header.dst);
        let group = broadcast || header.dst.is_multicast();
        let wanted = broadcast
            || self.ip.is_local(dst)
            || (interface.any_address && !group)
            || (header.dst.is_multicast() && self.ip.is_member(index, dst));
        // A unicast packet in a broadcast frame is dropped (RFC 1122, section 3.3.6).
        if martian || !wanted || (group_frame && !group) {
            self.ip.counters.ip_in_addr_errors += 1;
            return;
        }
        let meta = Meta {
            interface: index,
            src: IpAddr::V4(header.src),
            dst,
            protocol: header.protocol,
            ttl: header.ttl,
            tos: header.tos,
            group,
            verified: offload.checksum != Checksum::Complete,
            gso: offload.gso,
        };
        let full = &packet[..header.header_len];
        if header.offset == 0 && !header.more_fragments {
            return self.deliver(now, &meta, full, payload);
        }
        self.ip.counters.ip_reasm_reqds += 1;
        let name = fragment::Name {
            src: meta.src,
            dst,
            protocol: header.protocol,
            id: u32::from(header.id),
            interface: index,
        };
        let limits = (self.ip.settings.ipfrag_high_thresh, self.ip.settings.ipfrag_time);
        let range = (header.offset, header.more_fragments);
        match self.ip.reassembly.add(now, name, range, payload, limits) {
            fragment::Outcome::Wait => {}
            fragment::Outcome::Fail => self.ip.counters.ip_reasm_fails += 1,
            fragment::Outcome::Whole(whole) => {
                self.ip.counters.ip_reasm_oks += 1;
                let whole_header = Ipv4 {
                    offset: 0,
                    more_fragments: false,
                    ..header
                }
                .emit(whole.len());
                let meta = Meta {
                    verified: false,
                    gso: None,
                    ..meta
                };
                self.deliver(now, &meta, &whole_header, &whole);
            }
        }
    }

    fn receive_v6(&mut self, now: Instant, index: u32, group_frame: bool, offload: &Offload, packet: &[u8]) {
        self.ip.counters.ip_in_receives += 1;
        let Some((header, payload)) = Ipv6::parse(packet) else {
            self.ip.counters.ip_in_hdr_errors += 1;
            return;
        };
        let Some(interface) = self.ip.interface(index) else {
            return;
        };
        let loopback = interface.kind == Kind::Loopback;
        let dst = IpAddr::V6(header.dst);
        let group = header.dst.is_multicast();
        let martian = header.src.is_multicast()
            || (!loopback && (header.src.is_loopback() || header.dst.is_loopback()))
            || header.src.to_ipv4_mapped().is_some()
            || header.dst.to_ipv4_mapped().is_some();
        let wanted = if group {
            self.ip.is_member(index, dst)
        } else {
            interface.any_address || self.ip.is_local(dst)
        };
        if martian || !wanted || (group_frame && !group) {
            self.ip.counters.ip_in_addr_errors += 1;
            return;
        }
        let mut meta = Meta {
            interface: index,
            src: IpAddr::V6(header.src),
            dst,
            protocol: header.next,
            ttl: header.hop_limit,
            tos: header.traffic_class,
            group,
            verified: offload.checksum != Checksum::Complete,
            gso: offload.gso,
        };
        let fixed = &packet[..ipv6::HEADER];
        match ipv6::walk(header.next, payload) {
            Extensions::Upper(upper, rest) => {
                meta.protocol = upper;
                self.deliver(now, &meta, fixed, rest);
            }
            Extensions::Fragment(piece, upper, bytes) => {
                self.ip.counters.ip_reasm_reqds += 1;
                let name = fragment::Name {
                    src: meta.src,
                    dst,
                    protocol: protocol::FRAGMENT,
                    id: piece.id,
                    interface: index,
                };
                let limits = (self.ip.settings.ipfrag_high_thresh, self.ip.settings.ipfrag_time);
                let range = (piece.offset, piece.more);
                match self.ip.reassembly.add(now, name, range, bytes, limits) {
                    fragment::Outcome::Wait => {}
                    fragment::Outcome::Fail => self.ip.counters.ip_reasm_fails += 1,
                    fragment::Outcome::Whole(whole) => {
                        self.ip.counters.ip_reasm_oks += 1;
                        let meta = Meta {
                            verified: false,
                            gso: None,
                            ..meta
                        };
                        if let Extensions::Upper(upper, rest) = ipv6::walk(upper, &whole) {
                            self.deliver(
                                now,
                                &Meta {
                                    protocol: upper,
                                    ..meta
                                },
                                fixed,
                                rest,
                            );
                        }
                    }
                }
            }
            Extensions::Problem(code, pointer) => {
                self.ip.counters.ip_in_hdr_errors += 1;
                self.send_error(
                    now,
                    &meta,
                    icmp::V6_PARAMETER_PROBLEM,
                    code,
                    pointer,
                    fixed,
                    payload,
                );
            }
            Extensions::Drop => self.ip.counters.ip_in_hdr_errors += 1,
        }
    }

    /// A whole packet for us: filter, raw sockets, transport.
    fn deliver(&mut self, now: Instant, meta: &Meta, header: &[u8], payload: &[u8]) {
        let ported = matches!(meta.protocol, protocol::TCP | protocol::UDP);
        let flow = Flow {
            interface: meta.interface,
            source: meta.src,
            destination: meta.dst,
            protocol: meta.protocol,
            ports: be16(payload, 0).zip(be16(payload, 2)).filter(|_| ported),
        };
        if self.ip.filter.check(Hook::Input, &flow) == Verdict::Drop {
            self.ip.counters.ip_in_discards += 1;
            return;
        }
        self.ip.counters.ip_in_delivers += 1;
        let wanted = self.ip.raw[usize::from(meta.dst.is_ipv6())].contains(&meta.protocol);
        // ICMP decides itself what raw sockets see.
        let is_icmp = matches!(meta.protocol, protocol::ICMP | protocol::ICMPV6);
        if wanted && !is_icmp {
            self.push_raw(now, meta, header, payload);
        }
        match meta.protocol {
            protocol::TCP => self.receive_tcp(now, meta, payload),
            protocol::UDP => self.receive_udp(now, meta, payload),
            protocol::ICMP if meta.dst.is_ipv4() => self.receive_icmp(now, meta, header, payload),
            protocol::ICMPV6 if meta.dst.is_ipv6() => self.receive_icmpv6(now, meta, header, payload),
            protocol::IGMP if meta.dst.is_ipv4() => self.receive_igmp(now, payload),
            _ if wanted => {}
            _ => {
                self.ip.counters.ip_in_unknown_protos += 1;
                if meta.dst.is_ipv4() {
                    self.send_error(now, meta, icmp::UNREACHABLE, 2, 0, header, payload);
                } else {
                    self.send_error(now, meta, icmp::V6_PARAMETER_PROBLEM, 1, 6, header, payload);
                }
            }
        }
    }

    /// A copy for raw sockets.
    pub(crate) fn push_raw(&mut self, now: Instant, meta: &Meta, header: &[u8], payload: &[u8]) {
        let header = if meta.dst.is_ipv4() { header } else { &[] };
        let raw = RawPacket {
            interface: meta.interface,
            source: meta.src,
            destination: meta.dst,
            protocol: meta.protocol,
            ttl: meta.ttl,
            tos: meta.tos,
            time: now,
            header_len: header.len(),
            data: [header, payload].concat(),
        };
        self.ip.push_event(raw.data.len(), Event::Raw(raw));
    }
}

impl crate::ip::Ip {
    pub(crate) fn output_arp(&mut self, index: u32, to: [u8; 6], arp: &Arp) {
        let header = Ethernet {
            dst: to,
            src: arp.sender_mac,
            kind: ethernet::ARP,
        };
        let frame = [&header.emit()[..], &arp.emit()].concat();
        self.enqueue(index, Offload::default(), frame);
    }

    /// Asks for the link address of `hop`: by ARP or NDP, `to` a known address or to all.
    pub(crate) fn solicit(&mut self, now: Instant, index: u32, hop: IpAddr, to: Option<[u8; 6]>) {
        match hop {
            IpAddr::V4(target) => {
                let Some(interface) = self.interface(index) else {
                    return;
                };
                let source = interface.source_for(hop);
                let sender = match source {
                    Some(IpAddr::V4(a)) => a,
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                let request = Arp {
                    operation: arp::REQUEST,
                    sender_mac: interface.mac,
                    sender,
                    target_mac: [0; 6],
                    target,
                };
                self.output_arp(index, to.unwrap_or([0xff; 6]), &request);
            }
            IpAddr::V6(target) => self.solicit_v6(now, index, target, to),
        }
    }
}
