//! RTM_GETROUTE and its kin: the main and the local table, `ip route get`, and the rules that name them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use std::sync::Arc;

use abi::{AbiField, AbiStruct, Errno, abi_struct};

use super::message::{Answer, NLM_F_EXCL, NLM_F_REPLACE, Request, attribute, family_of, octets};
use crate::socket::NetNs;
use crate::socket::network::{Inventory, LO_INDEX, Link, RouteConfig, SCOPE_HOST, SCOPE_LINK, Way};

abi_struct! {
    /// `struct rtmsg`; `struct fib_rule_hdr` has the same size.
    struct RtMsg {
        family: u8, dst_len: u8, src_len: u8, tos: u8, table: u8, protocol: u8, scope: u8, kind: u8, flags: u32,
    }
}

/// RTM_NEWROUTE.
pub(super) const NEW: u16 = 24;
/// RTM_NEWRULE.
const NEW_RULE: u16 = 32;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
const TABLE_DEFAULT: u8 = 253;
const TABLE_MAIN: u8 = 254;
const TABLE_LOCAL: u8 = 255;
const RTPROT_KERNEL: u8 = 2;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_BROADCAST: u8 = 3;

/// A line of a table.
struct Row<'a> {
    family: u8,
    table: u8,
    protocol: u8,
    scope: u8,
    kind: u8,
    destination: Option<(IpAddr, u8)>,
    gateway: Option<IpAddr>,
    interface: u32,
    source: Option<IpAddr>,
    metric: u32,
    /// `ip route get`: for whom.
    from: Option<&'a [u8]>,
}

impl Row<'_> {
    fn bytes(&self) -> Vec<u8> {
        const RTM_F_CLONED: u32 = 0x200;
        let message = RtMsg {
            family: self.family,
            dst_len: self.destination.map_or(0, |(_, prefix)| prefix),
            src_len: 0,
            tos: 0,
            table: self.table,
            protocol: self.protocol,
            scope: self.scope,
            kind: self.kind,
            flags: if self.from.is_some() { RTM_F_CLONED } else { 0 },
        };
        let mut bytes = message.to_bytes();
        attribute(&mut bytes, RTA_TABLE, &u32::from(self.table).to_le_bytes());
        if let Some((ip, _)) = self.destination {
            attribute(&mut bytes, RTA_DST, &octets(ip));
        }
        if self.metric != 0 {
            attribute(&mut bytes, RTA_PRIORITY, &self.metric.to_le_bytes());
        }
        if let Some(source) = self.source {
            attribute(&mut bytes, RTA_PREFSRC, &octets(source));
        }
        if let Some(gateway) = self.gateway {
            attribute(&mut bytes, RTA_GATEWAY, &octets(gateway));
        }
        attribute(&mut bytes, RTA_OIF, &self.interface.to_le_bytes());
        bytes
    }
}

/// RTM_GETROUTE.
pub(super) fn get(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    let inventory = net.network.inventory();
    let bodies = if request.is_dump() {
        dump(&inventory, request.family())
    } else {
        vec![find(&inventory, request)?]
    };
    Ok(Answer::of(NEW, bodies))
}

pub(super) fn dump(inventory: &Inventory, wanted: u8) -> Vec<Vec<u8>> {
    let fits = |ip: IpAddr| wanted == 0 || wanted == family_of(ip);
    let mut rows: Vec<Vec<u8>> = inventory
        .routes
        .iter()
        .filter(|route| fits(route.destination))
        .map(|route| main_row(route).bytes())
        .collect();
    for link in &inventory.links {
        for address in link.addresses.iter().filter(|address| fits(address.ip)) {
            rows.extend(local_rows(link, address.ip, address.prefix, address.broadcast));
        }
    }
    rows
}

fn main_row(route: &RouteConfig) -> Row<'_> {
    Row {
        family: family_of(route.destination),
        table: TABLE_MAIN,
        protocol: route.protocol,
        scope: route.scope,
        kind: RTN_UNICAST,
        destination: (route.prefix > 0).then_some((route.destination, route.prefix)),
        gateway: route.gateway,
        interface: route.interface,
        source: route.source,
        metric: route.metric,
        from: None,
    }
}

/// What an address adds to the local table.
fn local_rows(link: &Link, ip: IpAddr, prefix: u8, broadcast: Option<IpAddr>) -> Vec<Vec<u8>> {
    let row = |kind, scope, destination: (IpAddr, u8), source| {
        let row = Row {
            family: family_of(ip),
            table: TABLE_LOCAL,
            protocol: RTPROT_KERNEL,
            scope,
            kind,
            destination: Some(destination),
            gateway: None,
            interface: link.index,
            source,
            metric: 0,
            from: None,
        };
        row.bytes()
    };
    match ip {
        IpAddr::V4(own) => {
            let mut rows = Vec::new();
            if link.is_loopback() && prefix < 32 {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                let network = Ipv4Addr::from_bits(own.to_bits() & mask);
                rows.push(row(RTN_LOCAL, SCOPE_HOST, (network.into(), prefix), Some(ip)));
            }
            rows.push(row(RTN_LOCAL, SCOPE_HOST, (ip, 32), Some(ip)));
            if let Some(broadcast) = broadcast {
                rows.push(row(RTN_BROADCAST, SCOPE_LINK, (broadcast, 32), Some(ip)));
            }
            rows
        }
        IpAddr::V6(_) => vec![row(RTN_LOCAL, 0, (ip, 128), None)],
    }
}

/// The route to one destination: `ip route get`.
fn find(inventory: &Inventory, request: &Request<'_>) -> Result<Vec<u8>, Errno> {
    request.fixed::<RtMsg>()?;
    let attributes = request.attributes(RtMsg::SIZE);
    let family = request.family();
    let to = match (attributes.address(RTA_DST), family) {
        (Some(to), family) if family_of(to) == family => to,
        (None, 2) => Ipv4Addr::UNSPECIFIED.into(),
        (None, 10) => Ipv6Addr::UNSPECIFIED.into(),
        _ => return Err(Errno::EINVAL),
    };
    let way = inventory.way(to, attributes.number(RTA_OIF))?;
    let bits = if to.is_ipv4() { 32 } else { 128 };
    let asked = attributes.address(RTA_SRC);
    let mut row = Row {
        family,
        table: TABLE_MAIN,
        protocol: 0,
        scope: 0,
        kind: RTN_UNICAST,
        destination: Some((to, bits)),
        gateway: None,
        interface: LO_INDEX,
        source: Some(asked.unwrap_or(way.source())),
        metric: 0,
        from: Some(&[]),
    };
    match way {
        Way::Local { to, .. } => {
            row.kind = RTN_LOCAL;
            row.table = TABLE_LOCAL;
            row.destination = Some((to, bits));
        }
        Way::Outside {
            interface, gateway, ..
        } => {
            row.interface = interface;
            row.gateway = gateway;
        }
    }
    Ok(row.bytes())
}

/// The route that a change is about.
fn named(net: &Arc<NetNs>, request: &Request<'_>) -> Result<RouteConfig, Errno> {
    let message: RtMsg = request.fixed()?;
    let attributes = request.attributes(RtMsg::SIZE);
    let table = attributes.number(RTA_TABLE).unwrap_or(u32::from(message.table));
    if table != u32::from(TABLE_MAIN) || !matches!(message.kind, 0 | RTN_UNICAST) {
        return Err(Errno::EOPNOTSUPP);
    }
    let any: IpAddr = match message.family {
        2 => Ipv4Addr::UNSPECIFIED.into(),
        10 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    let destination = attributes.address(RTA_DST).unwrap_or(any);
    let most = if any.is_ipv4() { 32 } else { 128 };
    if destination.is_ipv4() != any.is_ipv4() || message.dst_len > most {
        return Err(Errno::EINVAL);
    }
    let gateway = attributes.address(RTA_GATEWAY);
    let interface = match (attributes.number(RTA_OIF), gateway) {
        (Some(index), _) => index,
        (None, Some(gateway)) => match net.network.inventory().way(gateway, None)? {
            Way::Outside { interface, .. } => interface,
            Way::Local { .. } => return Err(Errno::EINVAL),
        },
        (None, None) => 0,
    };
    Ok(RouteConfig {
        destination,
        prefix: message.dst_len,
        gateway,
        interface,
        source: attributes.address(RTA_PREFSRC),
        metric: attributes.number(RTA_PRIORITY).unwrap_or(0),
        scope: message.scope,
        protocol: message.protocol,
    })
}

/// RTM_NEWROUTE.
pub(super) fn add(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    let route = named(net, request)?;
    let replace = request.header.flags & NLM_F_REPLACE != 0;
    match net.network.add_route(&route, replace) {
        Err(Errno::EEXIST) if request.header.flags & NLM_F_EXCL == 0 => Ok(Answer::done()),
        other => other.map(|()| Answer::done()),
    }
}

/// RTM_DELROUTE.
pub(super) fn remove(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    net.network.remove_route(&named(net, request)?)?;
    Ok(Answer::done())
}

/// RTM_GETRULE: the three rules that every Linux starts with.
pub(super) fn rules(request: &Request<'_>) -> Answer {
    const FRA_PRIORITY: u16 = 6;
    const FR_ACT_TO_TBL: u8 = 1;
    let family = if request.family() == 0 {
        2
    } else {
        request.family()
    };
    let rule = |priority: u32, table: u8| {
        let message = RtMsg {
            family,
            dst_len: 0,
            src_len: 0,
            tos: 0,
            table,
            protocol: 0,
            scope: 0,
            kind: FR_ACT_TO_TBL,
            flags: 0,
        };
        let mut bytes = message.to_bytes();
        attribute(&mut bytes, RTA_TABLE, &u32::from(table).to_le_bytes());
        attribute(&mut bytes, FRA_PRIORITY, &priority.to_le_bytes());
        bytes
    };
    let mut rules = vec![rule(0, TABLE_LOCAL), rule(32_766, TABLE_MAIN)];
    if family == 2 {
        rules.push(rule(32_767, TABLE_DEFAULT));
    }
    Answer::of(NEW_RULE, rules)
}
