//! What the sandbox's network is made from: plain data, as it was read from the namespace that an engine configured.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Interfaces with their addresses, routes, and neighbours that are fixed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// All interfaces but the loopback one.
    pub interfaces: Vec<InterfaceConfig>,
    /// Routes of the main table.
    pub routes: Vec<RouteConfig>,
    /// Neighbours that need no asking.
    pub neighbours: Vec<NeighbourConfig>,
    /// A name server that the engine runs on a loopback address of the namespace, as it is named inside. Its socket comes after
    /// those of the interfaces.
    pub resolver: Option<SocketAddr>,
}

/// An Ethernet interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceConfig {
    /// Its index, which routes and neighbours name it by; not 1, which is the loopback interface's.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Bytes of its largest packet.
    pub mtu: u32,
    /// Its addresses.
    pub addresses: Vec<AddressConfig>,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressConfig {
    /// The address.
    pub ip: IpAddr,
    /// Bits that it shares with its neighbours.
    pub prefix: u8,
    /// The broadcast address of an IPv4 network.
    pub broadcast: Option<IpAddr>,
    /// RT_SCOPE_*.
    pub scope: u8,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteConfig {
    /// Where it leads; the default route has a prefix of 0.
    pub destination: IpAddr,
    /// Bits of the destination that count.
    pub prefix: u8,
    /// Over which router; `None`: the destination is a neighbour.
    pub gateway: Option<IpAddr>,
    /// Over which interface.
    pub interface: u32,
    /// The source address that goes with it.
    pub source: Option<IpAddr>,
    /// Lower ones are preferred.
    pub metric: u32,
    /// RT_SCOPE_*.
    pub scope: u8,
    /// RTPROT_*: who made it.
    pub protocol: u8,
}

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourConfig {
    /// Of which interface.
    pub interface: u32,
    /// Its address.
    pub ip: IpAddr,
    /// Its hardware address.
    pub mac: [u8; 6],
}
