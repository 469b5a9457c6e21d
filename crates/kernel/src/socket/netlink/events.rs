//! What members of rtnetlink(7)'s groups hear: changes of links, addresses, routes and neighbours.

use std::collections::BTreeSet;
use std::net::IpAddr;

use abi::AbiStruct;

use super::message::{HEADER, NlMsgHdr};
use super::{NETLINK_ROUTE, addr, link, neigh, route};
use crate::socket::NetNs;
use crate::socket::SocketOps;
use crate::socket::network::Inventory;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;

/// RTMGRP_*.
const LINK: u32 = 1;
const NEIGH: u32 = 4;
const IPV4_IFADDR: u32 = 0x10;
const IPV4_ROUTE: u32 = 0x40;
const IPV6_IFADDR: u32 = 0x100;
const IPV6_ROUTE: u32 = 0x400;

const AF_INET6: u8 = 10;

/// Tells the members of a group.
fn tell(net: &NetNs, group: u32, kind: u16, body: &[u8]) {
    let sockets: Vec<_> = net
        .netlink
        .lock()
        .values()
        .filter_map(|own| own.upgrade())
        .collect();
    let members = sockets
        .iter()
        .filter(|own| own.base().protocol == NETLINK_ROUTE && own.bound.lock().1 & group != 0);
    for member in members {
        let header = NlMsgHdr {
            len: u32::try_from(HEADER + body.len()).unwrap_or(0),
            kind,
            flags: 0,
            seq: 0,
            port: 0,
        };
        if member.take([&header.to_bytes(), body].concat(), group).is_err() {
            // It has lost events, and learns that it has.
            member.base().fail(abi::Errno::ENOBUFS);
        }
    }
}

/// Tells what differs between two states of the network.
pub fn changed(net: &NetNs, before: &Inventory, after: &Inventory) {
    if net.netlink.lock().is_empty() {
        return;
    }
    for new in &after.links {
        let old = before.link(new.index);
        let same = |old: &crate::socket::network::Link| {
            (&old.name, old.mac, old.mtu, old.flags, &old.device)
                == (&new.name, new.mac, new.mtu, new.flags, &new.device)
        };
        if !old.is_some_and(same) {
            tell(net, LINK, RTM_NEWLINK, &link::describe(net, new));
        }
    }
    addresses(net, before, after, RTM_NEWADDR);
    routes(net, before, after, RTM_NEWROUTE);
    routes(net, after, before, RTM_DELROUTE);
    addresses(net, after, before, RTM_DELADDR);
    for old in before.links.iter().filter(|old| after.link(old.index).is_none()) {
        tell(net, LINK, RTM_DELLINK, &link::describe(net, old));
    }
}

/// Addresses that `with` has and `without` has not.
fn addresses(net: &NetNs, without: &Inventory, with: &Inventory, kind: u16) {
    for link in &with.links {
        for address in &link.addresses {
            let there = without
                .link(link.index)
                .is_some_and(|own| own.addresses.contains(address));
            if !there {
                let group = if address.ip.is_ipv4() {
                    IPV4_IFADDR
                } else {
                    IPV6_IFADDR
                };
                tell(net, group, kind, &addr::describe(link, address));
            }
        }
    }
}

/// Routes that `with` has and `without` has not.
fn routes(net: &NetNs, without: &Inventory, with: &Inventory, kind: u16) {
    let others: BTreeSet<Vec<u8>> = route::dump(without, 0).into_iter().collect();
    for body in route::dump(with, 0)
        .into_iter()
        .filter(|body| !others.contains(body))
    {
        let ipv6 = body.first() == Some(&AF_INET6);
        let group = if ipv6 { IPV6_ROUTE } else { IPV4_ROUTE };
        tell(net, group, kind, &body);
    }
}

/// Tells of a neighbour's new state.
pub fn neighbour(net: &NetNs, interface: u32, ip: IpAddr) {
    if net.netlink.lock().is_empty() {
        return;
    }
    let all = net.network.neighbours();
    let found = all.iter().find(|own| (own.interface, own.ip) == (interface, ip));
    if let Some(found) = found {
        tell(net, NEIGH, RTM_NEWNEIGH, &neigh::describe(found));
    }
}
