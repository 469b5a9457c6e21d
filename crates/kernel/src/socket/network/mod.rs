//! The connection to the world: interfaces and routes, and the TCP/IP stack behind them.
//!
//! What stays in the sandbox never comes here: sockets that meet on a local address exchange their bytes directly.

pub mod config;
mod inventory;

use std::net::IpAddr;

use abi::Errno;
use sync::{RwLock, RwLockReadGuard, rank};

pub use config::{AddressConfig, InterfaceConfig, NeighbourConfig, NetworkConfig, RouteConfig};
pub use inventory::{
    Inventory, LO_INDEX, Link, SCOPE_HOST, SCOPE_LINK, SCOPE_UNIVERSE, Way, flags, same_network,
};

/// Addresses of one interface, routes, and fixed neighbours, at most: a guest adds them.
const MOST_ADDRESSES: usize = 256;
const MOST_ROUTES: usize = 4096;
const MOST_NEIGHBOURS: usize = 1024;
/// What an interface's MTU may be (IPv6 needs 1280, but 68 is what IPv4 allows).
const MTU: std::ops::RangeInclusive<u32> = 68..=65_535;

/// What went over an interface.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Frames that came.
    pub received_packets: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames that came and were of no use.
    pub receive_dropped: u64,
    /// Frames sent.
    pub sent_packets: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames that the device did not take.
    pub send_dropped: u64,
}

/// A neighbour as netlink shows it.
#[derive(Clone, Debug)]
pub struct NeighbourState {
    /// Of which interface.
    pub interface: u32,
    /// Its address.
    pub ip: IpAddr,
    /// Its hardware address, when it is known.
    pub mac: Option<[u8; 6]>,
    /// NUD_*.
    pub state: u16,
}

/// The network of a sandbox.
pub struct Network {
    inventory: RwLock<Inventory>,
}

impl Default for Network {
    fn default() -> Self {
        Network {
            inventory: RwLock::new(rank::LEAF, Inventory::default()),
        }
    }
}

impl Network {
    /// Interfaces and routes. Hold it shortly, and nothing else meanwhile.
    pub fn inventory(&self) -> RwLockReadGuard<'_, Inventory> {
        self.inventory.read()
    }

    /// What went over an interface.
    pub fn counters(&self, _index: u32) -> Counters {
        Counters::default()
    }

    /// The neighbours, fixed and found.
    pub fn neighbours(&self) -> Vec<NeighbourState> {
        Vec::new()
    }

    /// Changes an interface's flags, as far as they can be: up or down, promiscuous. `ENODEV`.
    pub fn set_flags(&self, index: u32, flags: u32, change: u32) -> Result<(), Errno> {
        const CHANGEABLE: u32 = flags::UP | flags::PROMISC | flags::ALLMULTI;
        let change = change & CHANGEABLE;
        let mut inventory = self.inventory.write();
        let link = inventory.links.iter_mut().find(|link| link.index == index);
        let link = link.ok_or(Errno::ENODEV)?;
        link.flags = (link.flags & !change) | (flags & change);
        if link.is_up() {
            link.flags |= flags::RUNNING;
        } else {
            link.flags &= !flags::RUNNING;
        }
        Ok(())
    }

    /// Changes an interface's MTU. `ENODEV`, `EINVAL`.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> Result<(), Errno> {
        if !MTU.contains(&mtu) {
            return Err(Errno::EINVAL);
        }
        let mut inventory = self.inventory.write();
        let link = inventory.links.iter_mut().find(|link| link.index == index);
        link.ok_or(Errno::ENODEV)?.mtu = mtu;
        Ok(())
    }

    /// Gives an interface an address, and the route to its network. `EEXIST`, `ENODEV`.
    pub fn add_address(&self, index: u32, address: AddressConfig) -> Result<(), Errno> {
        let mut inventory = self.inventory.write();
        let link = inventory.links.iter_mut().find(|link| link.index == index);
        let link = link.ok_or(Errno::ENODEV)?;
        if link.addresses.iter().any(|own| own.ip == address.ip) {
            return Err(Errno::EEXIST);
        }
        if link.addresses.len() >= MOST_ADDRESSES {
            return Err(Errno::ENOBUFS);
        }
        link.addresses.push(address.clone());
        let most = if address.ip.is_ipv4() { 32 } else { 128 };
        if !link.is_loopback() && address.prefix < most {
            inventory.routes.push(network_route(index, &address));
        }
        Ok(())
    }

    /// Takes an address from an interface, with the routes that need it. `EADDRNOTAVAIL`, `ENODEV`.
    pub fn remove_address(&self, index: u32, ip: IpAddr) -> Result<(), Errno> {
        let mut inventory = self.inventory.write();
        let link = inventory.links.iter_mut().find(|link| link.index == index);
        let link = link.ok_or(Errno::ENODEV)?;
        let at = link.addresses.iter().position(|own| own.ip == ip);
        let address = link.addresses.remove(at.ok_or(Errno::EADDRNOTAVAIL)?);
        let own = network_route(index, &address);
        let same = |route: &RouteConfig| {
            route.interface == index && route.destination == own.destination && route.prefix == own.prefix
        };
        inventory
            .routes
            .retain(|route| !same(route) && route.source != Some(ip));
        Ok(())
    }

    /// Adds a route. `EEXIST`, `ENODEV`, `ENETUNREACH` for a router that is no neighbour.
    pub fn add_route(&self, route: RouteConfig) -> Result<(), Errno> {
        let mut inventory = self.inventory.write();
        if inventory.link(route.interface).is_none() {
            return Err(Errno::ENODEV);
        }
        let known = |own: &RouteConfig| {
            (own.destination, own.prefix, own.metric) == (route.destination, route.prefix, route.metric)
        };
        if inventory.routes.iter().any(known) {
            return Err(Errno::EEXIST);
        }
        if let Some(gateway) = route.gateway {
            let direct = inventory.route(gateway, Some(route.interface));
            if !direct.is_some_and(|direct| direct.gateway.is_none()) {
                return Err(Errno::ENETUNREACH);
            }
        }
        if inventory.routes.len() >= MOST_ROUTES {
            return Err(Errno::ENOBUFS);
        }
        inventory.routes.push(route);
        Ok(())
    }

    /// Removes the first route that fits: an interface of 0, no router or a metric of 0 fit all. `ESRCH`.
    pub fn remove_route(&self, like: &RouteConfig) -> Result<(), Errno> {
        let mut inventory = self.inventory.write();
        let fits = |own: &RouteConfig| {
            (own.destination, own.prefix) == (like.destination, like.prefix)
                && (like.interface == 0 || own.interface == like.interface)
                && (like.gateway.is_none() || own.gateway == like.gateway)
                && (like.metric == 0 || own.metric == like.metric)
        };
        let at = inventory.routes.iter().position(fits).ok_or(Errno::ESRCH)?;
        inventory.routes.remove(at);
        Ok(())
    }

    /// Adds a neighbour that needs no asking, or changes it. `ENODEV`.
    pub fn add_neighbour(&self, neighbour: NeighbourConfig) -> Result<(), Errno> {
        let mut inventory = self.inventory.write();
        let link = inventory
            .link(neighbour.interface)
            .filter(|link| !link.is_loopback());
        link.ok_or(Errno::ENODEV)?;
        inventory
            .neighbours
            .retain(|own| (own.interface, own.ip) != (neighbour.interface, neighbour.ip));
        if inventory.neighbours.len() >= MOST_NEIGHBOURS {
            return Err(Errno::ENOBUFS);
        }
        inventory.neighbours.push(neighbour);
        Ok(())
    }

    /// Forgets a neighbour. `ENOENT`.
    pub fn remove_neighbour(&self, interface: u32, ip: IpAddr) -> Result<(), Errno> {
        let mut inventory = self.inventory.write();
        let before = inventory.neighbours.len();
        inventory
            .neighbours
            .retain(|own| (own.interface, own.ip) != (interface, ip));
        if inventory.neighbours.len() == before {
            return Err(Errno::ENOENT);
        }
        Ok(())
    }
}

/// The route to an address's own network.
fn network_route(interface: u32, address: &AddressConfig) -> RouteConfig {
    const RTPROT_KERNEL: u8 = 2;
    let prefix = u32::from(address.prefix);
    let destination: IpAddr = match address.ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix)).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix)).unwrap_or(0);
            std::net::Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    };
    RouteConfig {
        destination,
        prefix: address.prefix,
        gateway: None,
        interface,
        source: address.ip.is_ipv4().then_some(address.ip),
        metric: if address.ip.is_ipv4() { 0 } else { 256 },
        scope: if address.ip.is_ipv4() {
            SCOPE_LINK
        } else {
            SCOPE_UNIVERSE
        },
        protocol: RTPROT_KERNEL,
    }
}
