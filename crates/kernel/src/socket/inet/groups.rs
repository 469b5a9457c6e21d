//! Multicast memberships of a socket: IP_ADD_MEMBERSHIP and its like (ip(7), ipv6(7)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::{AbiField, Errno};

use super::UdpSocket;
use super::knobs::{IPPROTO_IP, IPPROTO_IPV6};
use crate::socket::AF_INET6;
use crate::socket::options::int;

/// Memberships of one socket (net.ipv4.igmp_max_memberships).
const MOST_MEMBERSHIPS: usize = 20;

const IP_MULTICAST_IF: i32 = 32;
const IP_ADD_MEMBERSHIP: i32 = 35;
const IP_DROP_MEMBERSHIP: i32 = 36;
const IPV6_MULTICAST_IF: i32 = 17;
const IPV6_JOIN_GROUP: i32 = 20;
const IPV6_LEAVE_GROUP: i32 = 21;
const MCAST_JOIN_GROUP: i32 = 42;
const MCAST_LEAVE_GROUP: i32 = 45;

/// A membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Membership {
    pub group: IpAddr,
    pub interface: u32,
    /// Not a membership: where datagrams to groups go (IP_MULTICAST_IF).
    pub outgoing: bool,
}

fn v4(value: &[u8]) -> Result<Ipv4Addr, Errno> {
    let octets = value.get(..4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    octets.map(Ipv4Addr::from).ok_or(Errno::EINVAL)
}

impl UdpSocket {
    /// setsockopt(2) of an option about groups. `ENOPROTOOPT` for others.
    pub(super) fn set_group_option(&self, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if level == IPPROTO_IPV6 && self.base.family != AF_INET6 {
            return Err(Errno::ENOPROTOOPT);
        }
        match (level, name) {
            (IPPROTO_IP, IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP) => {
                let group = v4(value)?.into();
                let index = match value.len() {
                    12.. => u32::get(&value[8..]),
                    8.. => self.owner(v4(&value[4..])?)?,
                    _ => return Err(Errno::EINVAL),
                };
                self.change(group, index, name == IP_ADD_MEMBERSHIP)
            }
            (IPPROTO_IPV6, IPV6_JOIN_GROUP | IPV6_LEAVE_GROUP) => {
                let octets = value.get(..16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
                let group = Ipv6Addr::from(octets.ok_or(Errno::EINVAL)?);
                let index = value
                    .get(16..)
                    .filter(|rest| rest.len() >= 4)
                    .ok_or(Errno::EINVAL)?;
                self.change(group.into(), u32::get(index), name == IPV6_JOIN_GROUP)
            }
            (IPPROTO_IP | IPPROTO_IPV6, MCAST_JOIN_GROUP | MCAST_LEAVE_GROUP) => {
                // struct group_req: an index, and an address after it.
                let addr = value.get(8..).ok_or(Errno::EINVAL)?;
                let group = crate::socket::address::decode_inet(addr)?.ip();
                self.change(group, u32::get(value), name == MCAST_JOIN_GROUP)
            }
            (IPPROTO_IP, IP_MULTICAST_IF) => {
                let index = match value.len() {
                    12.. => u32::get(&value[8..]),
                    8.. => self.owner(v4(&value[4..])?)?,
                    _ => self.owner(v4(value)?)?,
                };
                self.send_groups_by(index, Ipv4Addr::UNSPECIFIED.into())
            }
            (IPPROTO_IPV6, IPV6_MULTICAST_IF) => {
                let index = u32::try_from(int(value)?).map_err(|_| Errno::EINVAL)?;
                self.send_groups_by(index, Ipv6Addr::UNSPECIFIED.into())
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    /// The interface with an address; 0 for no address.
    fn owner(&self, ip: Ipv4Addr) -> Result<u32, Errno> {
        if ip.is_unspecified() {
            return Ok(0);
        }
        let inventory = self.base.net.network.inventory();
        let owner = inventory.owner(ip.into()).map(|link| link.index);
        owner.ok_or(Errno::EADDRNOTAVAIL)
    }

    fn send_groups_by(&self, interface: u32, group: IpAddr) -> Result<(), Errno> {
        if interface != 0 && self.base.net.network.inventory().link(interface).is_none() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let mut state = self.state.lock();
        state.groups.retain(|own| !own.outgoing || own.group != group);
        if interface != 0 {
            state.groups.push(Membership {
                group,
                interface,
                outgoing: true,
            });
        }
        Ok(())
    }

    /// The interface for something to `to` if that is a group and the socket has chosen one.
    pub(super) fn group_interface(&self, to: IpAddr) -> Option<u32> {
        if !to.is_multicast() {
            return None;
        }
        let state = self.state.lock();
        let chosen = state
            .groups
            .iter()
            .find(|own| own.outgoing && own.group.is_ipv4() == to.is_ipv4());
        chosen.map(|own| own.interface)
    }

    /// IP_MULTICAST_IF and IPV6_MULTICAST_IF, read: an address of the interface, its index.
    pub(super) fn group_option(&self, level: i32, name: i32) -> Option<Vec<u8>> {
        match (level, name) {
            (IPPROTO_IP, IP_MULTICAST_IF) => {
                let any: IpAddr = Ipv4Addr::new(224, 0, 0, 1).into();
                let inventory = self.base.net.network.inventory();
                let link = self.group_interface(any).and_then(|index| inventory.link(index));
                let addresses = link.into_iter().flat_map(|link| &link.addresses);
                let mut own = addresses.filter_map(|address| match address.ip {
                    IpAddr::V4(ip) => Some(ip.octets().to_vec()),
                    IpAddr::V6(_) => None,
                });
                Some(own.next().unwrap_or_else(|| vec![0; 4]))
            }
            (IPPROTO_IPV6, IPV6_MULTICAST_IF) if self.base.family == AF_INET6 => {
                let any: IpAddr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into();
                let index = self.group_interface(any).unwrap_or(0);
                Some(index.to_le_bytes().to_vec())
            }
            _ => None,
        }
    }

    /// Whether the socket is a member of a group.
    pub(super) fn is_member(&self, group: IpAddr) -> bool {
        self.state.lock().groups.iter().any(|own| own.group == group)
    }

    fn change(&self, group: IpAddr, index: u32, join: bool) -> Result<(), Errno> {
        if !group.is_multicast() {
            return Err(Errno::EINVAL);
        }
        let network = &self.base.net.network;
        let index = if index == 0 {
            let inventory = network.inventory();
            let best = inventory.way(group, None).ok();
            match best {
                Some(crate::socket::network::Way::Outside { interface, .. }) => interface,
                _ => return Err(Errno::ENODEV),
            }
        } else {
            network
                .inventory()
                .link(index)
                .map(|link| link.index)
                .ok_or(Errno::ENODEV)?
        };
        let membership = Membership {
            group,
            interface: index,
            outgoing: false,
        };
        {
            let mut state = self.state.lock();
            let at = state.groups.iter().position(|own| *own == membership);
            match (join, at) {
                (true, Some(_)) => return Err(Errno::EADDRINUSE),
                (false, None) => return Err(Errno::EADDRNOTAVAIL),
                (true, None) if state.groups.len() >= MOST_MEMBERSHIPS => return Err(Errno::ENOBUFS),
                (true, None) => state.groups.push(membership),
                (false, Some(at)) => drop(state.groups.remove(at)),
            }
        }
        if join {
            network.join(index, group)
        } else {
            network.leave(index, group);
            Ok(())
        }
    }
}
