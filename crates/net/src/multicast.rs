//! Groups: membership, and its reports by IGMPv2 (RFC 2236) and MLDv1 (RFC 2710).
//!
//! Source filters (IGMPv3, MLDv2) are not here: members hear every source.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ingress::Meta;
use crate::interface::Kind;
use crate::ip::{Head, Header, Ip, Upper};
use crate::route::RouteKind;
use crate::wire::checksum::{self, Sum};
use crate::wire::icmp::Icmp;
use crate::wire::{array, protocol};
use crate::{Error, Instant, Path, Stack};

/// Groups of one stack.
pub const MAX_GROUPS: usize = 1024;

const IGMP_QUERY: u8 = 0x11;
const IGMP_REPORT: u8 = 0x16;
const IGMP_LEAVE: u8 = 0x17;
pub(crate) const MLD_QUERY: u8 = 130;
const MLD_REPORT: u8 = 131;
const MLD_DONE: u8 = 132;

impl Stack {
    /// Joins a group on an interface. Joins are counted.
    ///
    /// # Errors
    /// `Invalid` for what is no group, `NoDevice`, `NoBuffers`.
    pub fn join(&mut self, now: Instant, index: u32, group: IpAddr) -> Result<(), Error> {
        if !group.is_multicast() {
            return Err(Error::Invalid);
        }
        self.ip.interface(index).ok_or(Error::NoDevice)?;
        if self.ip.groups.len() >= MAX_GROUPS {
            return Err(Error::NoBuffers);
        }
        let members = self.ip.groups.entry((index, group)).or_insert(0);
        *members += 1;
        if *members == 1 {
            self.ip.report(now, index, group, true);
        }
        Ok(())
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// `AddressNotAvailable` when it was not joined.
    pub fn leave(&mut self, now: Instant, index: u32, group: IpAddr) -> Result<(), Error> {
        let members = self
            .ip
            .groups
            .get_mut(&(index, group))
            .ok_or(Error::AddressNotAvailable)?;
        *members -= 1;
        if *members == 0 {
            self.ip.groups.remove(&(index, group));
            self.ip.report(now, index, group, false);
        }
        Ok(())
    }

    /// Groups joined: interface, group, how often.
    pub fn groups(&self) -> impl Iterator<Item = (u32, IpAddr, u32)> {
        self.ip
            .groups
            .iter()
            .map(|(&(index, group), &members)| (index, group, members))
    }

    pub(crate) fn receive_igmp(&mut self, now: Instant, payload: &[u8]) {
        if payload.first() != Some(&IGMP_QUERY) || payload.len() < 8 || checksum::of(payload) != 0 {
            return;
        }
        let Some(asked) = array::<4>(payload, 4).map(Ipv4Addr::from) else {
            return;
        };
        self.answer_query(now, IpAddr::V4(asked));
    }

    pub(crate) fn receive_mld_query(&mut self, now: Instant, meta: &Meta, body: &[u8]) {
        let link_local = matches!(meta.src, IpAddr::V6(a) if a.is_unicast_link_local());
        let Some(asked) = array::<16>(body, 0).map(Ipv6Addr::from).filter(|_| link_local) else {
            return;
        };
        self.answer_query(now, IpAddr::V6(asked));
    }

    /// Reports the group asked for, or all of the family. (At once: the spread of answers is for links with many hosts.)
    fn answer_query(&mut self, now: Instant, asked: IpAddr) {
        let mut names: Vec<(u32, IpAddr)> = self.ip.groups.keys().copied().collect();
        names.retain(|(_, g)| g.is_ipv4() == asked.is_ipv4() && (asked.is_unspecified() || *g == asked));
        for (index, group) in names {
            self.ip.report(now, index, group, true);
        }
    }
}

impl Ip {
    /// Whether packets to `group` that come in by `index` are for us.
    pub(crate) fn is_member(&self, index: u32, group: IpAddr) -> bool {
        match group {
            // All hosts.
            IpAddr::V4(g) if g == Ipv4Addr::new(224, 0, 0, 1) => true,
            IpAddr::V6(g) if g == Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1) => true,
            IpAddr::V6(g) if g == Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1) => true,
            _ => self.groups.contains_key(&(index, group)) || self.is_own_solicited_node(index, group),
        }
    }

    fn is_own_solicited_node(&self, index: u32, group: IpAddr) -> bool {
        let IpAddr::V6(group) = group else { return false };
        self.interface(index).is_some_and(|i| {
            i.addresses
                .iter()
                .any(|a| matches!(a.ip, IpAddr::V6(ip) if checksum::solicited_node(ip) == group))
        })
    }

    fn report(&mut self, now: Instant, index: u32, group: IpAddr, join: bool) {
        let Some(interface) = self.interface(index) else {
            return;
        };
        if interface.kind == Kind::Loopback || !interface.is_running() {
            return;
        }
        let source = interface.source_for(group);
        match group {
            IpAddr::V4(group) => {
                let Some(IpAddr::V4(source)) = source else { return };
                self.report_igmp(now, index, source, group, join);
            }
            IpAddr::V6(group) => {
                let Some(IpAddr::V6(source)) = source else { return };
                self.report_mld(now, index, source, group, join);
            }
        }
    }

    fn report_igmp(&mut self, now: Instant, index: u32, source: Ipv4Addr, group: Ipv4Addr, join: bool) {
        if group == Ipv4Addr::new(224, 0, 0, 1) {
            return;
        }
        let (kind, dst) = if join {
            (IGMP_REPORT, group)
        } else {
            (IGMP_LEAVE, Ipv4Addr::new(224, 0, 0, 2))
        };
        let mut message = [kind, 0, 0, 0, 0, 0, 0, 0];
        message[4..].copy_from_slice(&group.octets());
        let sum = checksum::of(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        // A header with the router alert option (RFC 2113), TTL 1.
        let mut packet = vec![0x46, 0xc0, 0, 32, 0, 0, 0x40, 0, 1, protocol::IGMP, 0, 0];
        packet.extend(source.octets());
        packet.extend(dst.octets());
        packet.extend([0x94, 4, 0, 0]);
        let sum = checksum::of(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(message);
        let path = group_path(index, IpAddr::V4(source));
        let _ = self.output_raw(now, &path, IpAddr::V4(dst), &packet);
    }

    fn report_mld(&mut self, now: Instant, index: u32, source: Ipv6Addr, group: Ipv6Addr, join: bool) {
        let (kind, dst) = if join {
            (MLD_REPORT, group)
        } else {
            (MLD_DONE, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2))
        };
        let mut message = Icmp {
            kind,
            code: 0,
            checksum: 0,
            rest: [0; 4],
        }
        .emit()
        .to_vec();
        message.extend(group.octets());
        let mut sum = Sum::default();
        sum.add_pseudo(
            IpAddr::V6(source),
            IpAddr::V6(dst),
            protocol::ICMPV6,
            message.len(),
        );
        sum.add(&message);
        message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
        // Hop-by-hop header with the router alert option (RFC 2711).
        let alert = [protocol::ICMPV6, 0, 5, 2, 0, 0, 1, 0];
        let head = Head {
            src: IpAddr::V6(source),
            dst: IpAddr::V6(dst),
            protocol: protocol::HOP_BY_HOP,
            ttl: Some(1),
            tos: 0,
            flow: 0,
            dont_fragment: true,
        };
        let path = group_path(index, IpAddr::V6(source));
        let _ = self.output(
            now,
            &path,
            &head,
            Header::new(&alert),
            &[&message],
            Upper::default(),
            None,
        );
    }
}

fn group_path(interface: u32, source: IpAddr) -> Path {
    Path {
        interface,
        gateway: None,
        source,
        mtu: 1280,
        kind: RouteKind::Multicast,
    }
}
