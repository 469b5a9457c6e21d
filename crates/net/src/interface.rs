//! Interfaces and their addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Error, Offloads, Prefix};

/// Index of `lo` in every stack.
pub const LOOPBACK: u32 = 1;
/// MTU of `lo`, as on Linux.
pub const LOOPBACK_MTU: usize = 65_536;
/// Interfaces of one stack.
pub const MAX_INTERFACES: usize = 256;
/// Addresses of one interface.
pub const MAX_ADDRESSES: usize = 256;
/// Smallest MTU that IPv4 works with (RFC 791).
pub const MIN_MTU: usize = 68;
/// Smallest MTU that IPv6 works with (RFC 8200).
pub const MIN_MTU_V6: usize = 1280;

/// Kinds of interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What is sent comes back.
    Loopback,
    /// Ethernet II frames.
    Ethernet,
}

/// How far an address is valid: rtnetlink(7)'s `ifa_scope`, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scope {
    /// Everywhere.
    Global = 0,
    /// On this link.
    Link = 253,
    /// On this host.
    Host = 254,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Address and prefix length.
    pub ip: IpAddr,
    /// Length of the prefix.
    pub prefix: u8,
    /// Broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// Scope.
    pub scope: Scope,
    /// `ip addr`'s label; empty for the name of the interface.
    pub label: String,
    /// IFA_F_* flags; kept for dumps, `IFA_F_DEPRECATED` (0x20) is heeded.
    pub flags: u32,
}

impl Address {
    /// An address with the scope and the broadcast address that `ip addr add` gives it.
    pub fn new(ip: IpAddr, prefix: u8) -> Address {
        let scope = match ip {
            IpAddr::V4(a) if a.is_loopback() => Scope::Host,
            IpAddr::V4(a) if a.is_link_local() => Scope::Link,
            IpAddr::V6(a) if a.is_loopback() => Scope::Host,
            IpAddr::V6(a) if a.is_unicast_link_local() => Scope::Link,
            _ => Scope::Global,
        };
        Address {
            ip,
            prefix,
            broadcast: None,
            scope,
            label: String::new(),
            flags: 0x80,
        }
    }

    /// The prefix that is on the link.
    pub fn network(&self) -> Prefix {
        Prefix::new(self.ip, self.prefix)
    }
}

/// Counters of an interface, as in /proc/net/dev.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames received; a super-segment counts once.
    pub rx_packets: u64,
    /// Frames dropped on their way in.
    pub rx_dropped: u64,
    /// Malformed frames.
    pub rx_errors: u64,
    /// Frames to groups.
    pub multicast: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Frames dropped on their way out.
    pub tx_dropped: u64,
}

/// An interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Index; unique in the stack.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: Kind,
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Largest IP packet.
    pub mtu: usize,
    /// Whether it is up (IFF_UP).
    pub up: bool,
    /// Whether the link is there (IFF_RUNNING, IFF_LOWER_UP).
    pub carrier: bool,
    /// IFF_PROMISC, for dumps only: taps are shown every frame that comes.
    pub promiscuous: bool,
    /// Whether packets for any address of a host are taken, as from a route of Linux with `local 0.0.0.0/0`: for relays.
    pub any_address: bool,
    /// Whether neighbours are not asked for their link addresses (IFF_NOARP): frames go to the device's own.
    pub no_arp: bool,
    /// What the device does for us.
    pub offloads: Offloads,
    /// Length of the transmit queue, for dumps only.
    pub tx_queue_len: u32,
    /// Counters.
    pub counters: InterfaceCounters,
    pub(crate) addresses: Vec<Address>,
}

impl Interface {
    /// An ethernet interface that is down.
    pub fn ethernet(index: u32, name: &str, mac: [u8; 6], mtu: usize, offloads: Offloads) -> Interface {
        Interface {
            index,
            name: name.to_string(),
            kind: Kind::Ethernet,
            mac,
            mtu,
            up: false,
            carrier: true,
            promiscuous: false,
            any_address: false,
            no_arp: false,
            offloads,
            tx_queue_len: 1000,
            counters: InterfaceCounters::default(),
            addresses: Vec::new(),
        }
    }

    pub(crate) fn loopback() -> Interface {
        let offloads = Offloads {
            tx_checksum: true,
            gso_max_v4: crate::GSO_MAX,
            gso_max_v6: crate::GSO_MAX,
        };
        let mut lo = Interface::ethernet(LOOPBACK, "lo", [0; 6], LOOPBACK_MTU, offloads);
        lo.kind = Kind::Loopback;
        lo
    }

    /// Its addresses, in the order in which they were added.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Whether packets can pass.
    pub fn is_running(&self) -> bool {
        self.up && self.carrier
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.mtu < MIN_MTU || self.mtu > LOOPBACK_MTU || self.index == 0 || self.name.is_empty() {
            return Err(Error::Invalid);
        }
        Ok(())
    }

    /// Whether `ip` is the broadcast address of one of our subnets.
    pub(crate) fn is_broadcast(&self, ip: Ipv4Addr) -> bool {
        ip.is_broadcast()
            || self.addresses.iter().any(|a| match a.ip {
                IpAddr::V4(_) if a.prefix >= 31 => a.broadcast == Some(ip),
                IpAddr::V4(own) => {
                    let host = u32::MAX.checked_shr(u32::from(a.prefix)).unwrap_or(0);
                    a.broadcast == Some(ip) || u32::from(own) | host == u32::from(ip)
                }
                IpAddr::V6(_) => false,
            })
    }

    /// The source address for a packet to `dst` (RFC 6724 in short: scope first, then the longest common prefix).
    pub(crate) fn source_for(&self, dst: IpAddr) -> Option<IpAddr> {
        match dst {
            IpAddr::V4(dst) => self.source_v4(dst).map(IpAddr::V4),
            IpAddr::V6(dst) => self.source_v6(dst).map(IpAddr::V6),
        }
    }

    fn source_v4(&self, dst: Ipv4Addr) -> Option<Ipv4Addr> {
        let on_link = self
            .addresses
            .iter()
            .find(|a| a.network().contains(IpAddr::V4(dst)));
        let scope = if dst.is_loopback() {
            Scope::Host
        } else {
            Scope::Link
        };
        let any = || self.addresses.iter().find(|a| a.ip.is_ipv4() && a.scope <= scope);
        match on_link.or_else(any)?.ip {
            IpAddr::V4(a) => Some(a),
            IpAddr::V6(_) => None,
        }
    }

    fn source_v6(&self, dst: Ipv6Addr) -> Option<Ipv6Addr> {
        let wanted = scope_v6(dst);
        let candidates = self.addresses.iter().filter_map(|a| match a.ip {
            IpAddr::V6(ip) => Some((ip, a.flags & 0x20 != 0)),
            IpAddr::V4(_) => None,
        });
        candidates
            .max_by_key(|&(ip, deprecated)| {
                let fits = scope_v6(ip) >= wanted;
                let common = (u128::from(ip) ^ u128::from(dst)).leading_zeros();
                (ip == dst, fits, !deprecated, scope_v6(ip) == wanted, common)
            })
            .map(|(ip, _)| ip)
    }
}

/// How far an IPv6 address reaches (RFC 4291): 1 host, 2 link, 14 everywhere.
fn scope_v6(ip: Ipv6Addr) -> u8 {
    if ip.is_multicast() {
        ip.octets()[1] & 0xf
    } else if ip.is_loopback() {
        1
    } else if ip.is_unicast_link_local() {
        2
    } else {
        14
    }
}
