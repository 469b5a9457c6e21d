//! The interfaces of the sandbox with their addresses and routes: what netlink, ioctls and /proc/net show, and where a
//! destination is looked up. The stack is told of every change.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::Errno;

use super::config::{AddressConfig, RouteConfig};
use super::device::Shown;

/// Index of the loopback interface.
pub const LO_INDEX: u32 = 1;
/// MTU of the loopback interface.
const LO_MTU: u32 = 65_536;

/// IFF_*.
pub mod flags {
    #![allow(missing_docs, reason = "the names are those of netdevice(7)")]
    pub const UP: u32 = 0x1;
    pub const BROADCAST: u32 = 0x2;
    pub const LOOPBACK: u32 = 0x8;
    pub const RUNNING: u32 = 0x40;
    pub const NOARP: u32 = 0x80;
    pub const PROMISC: u32 = 0x100;
    pub const ALLMULTI: u32 = 0x200;
    pub const MULTICAST: u32 = 0x1000;
    pub const LOWER_UP: u32 = 0x1_0000;
}

/// RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_HOST.
pub const SCOPE_UNIVERSE: u8 = 0;
/// Neighbours only.
pub const SCOPE_LINK: u8 = 253;
/// This sandbox only.
pub const SCOPE_HOST: u8 = 254;

/// An interface.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address; zeros for the loopback interface.
    pub mac: [u8; 6],
    /// Bytes of its largest packet.
    pub mtu: u32,
    /// IFF_*.
    pub flags: u32,
    /// Its addresses, oldest first.
    pub addresses: Vec<AddressConfig>,
    /// The length of its queue, which is only shown.
    pub queue_len: u32,
    /// What it is, unless it is a device of the host or the loopback interface.
    pub device: Option<Shown>,
}

impl Link {
    /// Whether it is the loopback interface.
    pub fn is_loopback(&self) -> bool {
        self.index == LO_INDEX
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.flags & flags::UP != 0
    }

    /// ARPHRD_*.
    pub fn hardware(&self) -> u16 {
        if self.is_loopback() { 772 } else { 1 }
    }

    /// The first IPv4 address, which ioctls speak of.
    pub fn ipv4(&self) -> Option<&AddressConfig> {
        self.addresses.iter().find(|address| address.ip.is_ipv4())
    }
}

/// Where a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In the sandbox: reached at `to`, and from `source` when the sender has not chosen.
    Local {
        /// The destination.
        to: IpAddr,
        /// The source that goes with it.
        source: IpAddr,
    },
    /// Behind an interface.
    Outside {
        /// The interface's index.
        interface: u32,
        /// The router, unless the destination is a neighbour.
        gateway: Option<IpAddr>,
        /// The source that goes with it.
        source: IpAddr,
    },
}

impl Way {
    /// The source address that goes with it.
    pub fn source(&self) -> IpAddr {
        match self {
            Way::Local { source, .. } | Way::Outside { source, .. } => *source,
        }
    }
}

/// Interfaces and routes.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The interfaces by index; the loopback one first.
    pub links: Vec<Link>,
    /// The main table.
    pub routes: Vec<RouteConfig>,
}

impl Inventory {
    /// The loopback interface only; one that is down has no addresses yet.
    pub fn with_loopback(up: bool) -> Inventory {
        let own = |ip: IpAddr, prefix| AddressConfig {
            ip,
            prefix,
            broadcast: None,
            scope: SCOPE_HOST,
        };
        let addresses = [
            own(Ipv4Addr::LOCALHOST.into(), 8),
            own(Ipv6Addr::LOCALHOST.into(), 128),
        ];
        let lo = Link {
            index: LO_INDEX,
            name: "lo".into(),
            mac: [0; 6],
            mtu: LO_MTU,
            flags: flags::LOOPBACK | if up { flags::UP | flags::RUNNING } else { 0 },
            addresses: if up { addresses.to_vec() } else { Vec::new() },
            queue_len: 1000,
            device: None,
        };
        Inventory {
            links: vec![lo],
            routes: Vec::new(),
        }
    }
}

/// A copy of what a stack has.
pub(super) fn read(stack: &net::Stack, devices: &BTreeMap<u32, Shown>) -> Inventory {
    let links = stack.interfaces().iter().map(|own| {
        let ethernet = own.kind == net::Kind::Ethernet;
        let mut flags = if ethernet {
            flags::BROADCAST | flags::MULTICAST
        } else {
            flags::LOOPBACK
        };
        if own.up {
            flags |= flags::UP;
        }
        if own.is_running() {
            flags |= flags::RUNNING;
        }
        if own.promiscuous {
            flags |= flags::PROMISC;
        }
        if own.no_arp {
            flags = (flags | flags::NOARP) & !flags::MULTICAST;
        }
        let addresses = own.addresses().iter().map(|address| AddressConfig {
            ip: address.ip,
            prefix: address.prefix,
            broadcast: address.broadcast.map(IpAddr::V4),
            scope: address.scope as u8,
        });
        Link {
            index: own.index,
            name: own.name.clone(),
            mac: own.mac,
            mtu: u32::try_from(own.mtu).unwrap_or(u32::MAX),
            flags,
            addresses: addresses.collect(),
            queue_len: own.tx_queue_len,
            device: devices.get(&own.index).cloned(),
        }
    });
    let main = |route: &&net::Route| route.table == net::TABLE_MAIN && route.kind == net::RouteKind::Unicast;
    let routes = stack.routes().filter(main).map(|route| RouteConfig {
        destination: route.destination.ip,
        prefix: route.destination.len,
        gateway: route.gateway,
        interface: route.interface,
        source: route.source,
        metric: route.metric,
        scope: route.scope,
        protocol: route.protocol,
    });
    let mut routes: Vec<RouteConfig> = routes.collect();
    // As dumps show them: by destination.
    routes.sort_by_key(|route| (route.destination, route.prefix, route.metric));
    Inventory {
        links: links.collect(),
        routes,
    }
}

/// Whether the first `prefix` bits of two addresses are the same.
pub fn same_network(one: IpAddr, two: IpAddr, prefix: u8) -> bool {
    let prefix = u32::from(prefix);
    match (one, two) {
        (IpAddr::V4(one), IpAddr::V4(two)) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix)).unwrap_or(0);
            (one.to_bits() ^ two.to_bits()) & mask == 0
        }
        (IpAddr::V6(one), IpAddr::V6(two)) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix)).unwrap_or(0);
            (one.to_bits() ^ two.to_bits()) & mask == 0
        }
        _ => false,
    }
}

fn link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

impl Inventory {
    /// The interface with this index.
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The interface with this name.
    pub fn named(&self, name: &[u8]) -> Option<&Link> {
        self.links.iter().find(|link| link.name.as_bytes() == name)
    }

    /// Whether the loopback interface is up: only then does anything arrive that stays here.
    pub fn loops(&self) -> bool {
        self.link(LO_INDEX).is_some_and(Link::is_up)
    }

    /// The interface that has this address.
    pub fn owner(&self, ip: IpAddr) -> Option<&Link> {
        self.links
            .iter()
            .find(|link| link.addresses.iter().any(|address| address.ip == ip))
    }

    /// Whether something sent to `ip` stays here.
    pub fn is_local(&self, ip: IpAddr) -> bool {
        // All of 127.0.0.0/8, as the loopback interface's address says.
        let loopback = self.link(LO_INDEX).filter(|_| ip.is_ipv4());
        let mut networks = loopback.into_iter().flat_map(|lo| &lo.addresses);
        networks.any(|own| same_network(own.ip, ip, own.prefix)) || self.owner(ip).is_some()
    }

    /// Whether bind(2) takes an address. Linux looks into a table that a namespace without any IPv4 address has not made yet.
    pub fn may_bind(&self, ip: IpAddr) -> bool {
        let none = || self.links.iter().all(|link| link.ipv4().is_none());
        self.is_local(ip) || (ip.is_ipv4() && none())
    }

    /// Whether `ip` is the broadcast address of an interface's network, or of all.
    pub fn is_broadcast(&self, ip: IpAddr) -> bool {
        ip == IpAddr::V4(Ipv4Addr::BROADCAST)
            || self
                .links
                .iter()
                .any(|link| link.addresses.iter().any(|address| address.broadcast == Some(ip)))
    }

    /// The best route to a destination; over one interface only when `device` names it.
    pub fn route(&self, to: IpAddr, device: Option<u32>) -> Option<&RouteConfig> {
        let up = |route: &&RouteConfig| self.link(route.interface).is_some_and(Link::is_up);
        self.routes
            .iter()
            .filter(|route| same_network(route.destination, to, route.prefix))
            .filter(|route| device.is_none_or(|device| route.interface == device))
            .filter(up)
            .min_by_key(|route| (u8::MAX - route.prefix, route.metric))
    }

    /// The source address for something to `to` over an interface: of the destination's network, else of its reach.
    pub fn source(&self, interface: u32, to: IpAddr, next: IpAddr) -> Option<IpAddr> {
        let link = self.link(interface)?;
        let fits = |address: &&AddressConfig| address.ip.is_ipv4() == to.is_ipv4();
        let candidates = || link.addresses.iter().filter(fits);
        candidates()
            .find(|address| {
                same_network(address.ip, next, address.prefix) && link_local(address.ip) == link_local(to)
            })
            .or_else(|| candidates().find(|address| link_local(address.ip) == link_local(to)))
            .or_else(|| candidates().next())
            .map(|address| address.ip)
    }

    /// Where a destination is. `ENETUNREACH` when no route leads there.
    pub fn way(&self, to: IpAddr, device: Option<u32>) -> Result<Way, Errno> {
        let local = |to: IpAddr, source: IpAddr| Ok(Way::Local { to, source });
        let to = match to {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            to => to,
        };
        match to {
            to if !self.is_local(to) => {}
            IpAddr::V4(ip) if ip.is_loopback() => return local(to, Ipv4Addr::LOCALHOST.into()),
            to => return local(to, to),
        }
        if let Some(route) = self.route(to, device) {
            let next = route.gateway.unwrap_or(to);
            let source = route.source.or_else(|| self.source(route.interface, to, next));
            return Ok(Way::Outside {
                interface: route.interface,
                gateway: route.gateway,
                source: source.ok_or(Errno::ENETUNREACH)?,
            });
        }
        // A device that was named is believed to have the destination on its network, and so has any for what is on none.
        let named = device.and_then(|index| self.link(index));
        let any = || self.links.iter().find(|link| !link.is_loopback() && link.is_up());
        let device = match to {
            _ if named.is_some() => named,
            IpAddr::V4(ip) if ip.is_multicast() || ip.is_broadcast() => any(),
            IpAddr::V6(ip) if ip.is_multicast() || ip.is_unicast_link_local() => any(),
            _ => None,
        };
        let device = device
            .filter(|link| !link.is_loopback())
            .ok_or(Errno::ENETUNREACH)?;
        let source = self.source(device.index, to, to);
        Ok(Way::Outside {
            interface: device.index,
            gateway: None,
            source: source.ok_or(Errno::ENETUNREACH)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn one_interface() -> Inventory {
        let address = |text: &str, prefix| AddressConfig {
            ip: ip(text),
            prefix,
            broadcast: None,
            scope: 0,
        };
        let route = |destination: &str, prefix, gateway: Option<&str>| RouteConfig {
            destination: ip(destination),
            prefix,
            gateway: gateway.map(ip),
            interface: 5,
            source: None,
            metric: 0,
            scope: 0,
            protocol: 3,
        };
        let mut inventory = Inventory::with_loopback(true);
        inventory.links.push(Link {
            index: 5,
            name: "eth0".into(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            flags: flags::UP | flags::RUNNING,
            addresses: vec![
                address("172.17.0.2", 16),
                address("fe80::2", 64),
                address("2001:db8::2", 64),
            ],
            queue_len: 1000,
            device: None,
        });
        inventory.routes = vec![
            route("0.0.0.0", 0, Some("172.17.0.1")),
            route("172.17.0.0", 16, None),
            route("::", 0, Some("2001:db8::1")),
            route("fe80::", 64, None),
        ];
        inventory
    }

    #[test]
    fn own_addresses_stay_inside_and_others_go_out() {
        let inventory = one_interface();
        let local = |to: &str, source: &str| {
            assert_eq!(
                inventory.way(ip(to), None),
                Ok(Way::Local {
                    to: ip(to),
                    source: ip(source)
                })
            );
        };
        local("127.3.2.1", "127.0.0.1");
        local("172.17.0.2", "172.17.0.2");
        local("2001:db8::2", "2001:db8::2");
        let outside = |to: &str, gateway: Option<&str>, source: &str| {
            assert_eq!(
                inventory.way(ip(to), None),
                Ok(Way::Outside {
                    interface: 5,
                    gateway: gateway.map(ip),
                    source: ip(source)
                })
            );
        };
        outside("172.17.0.9", None, "172.17.0.2");
        outside("8.8.8.8", Some("172.17.0.1"), "172.17.0.2");
        outside("2001:4860::1", Some("2001:db8::1"), "2001:db8::2");
        outside("fe80::9", None, "fe80::2");
        outside("224.0.0.251", Some("172.17.0.1"), "172.17.0.2");
    }

    #[test]
    fn without_an_interface_nothing_is_reached() {
        let inventory = Inventory::with_loopback(true);
        for to in [
            "10.0.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "2001:db8::1",
            "fe80::1",
        ] {
            assert_eq!(inventory.way(ip(to), None), Err(Errno::ENETUNREACH), "{to}");
        }
    }
}
