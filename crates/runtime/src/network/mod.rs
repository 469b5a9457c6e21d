//! The sandbox's connection to the world: an engine's interfaces change hands.
//!
//! Docker, CNI and Podman configure a network namespace. What they put there is read, its addresses are taken away from
//! the host (which would answer too), and packet sockets carry the frames to the sandbox's own stack. Nothing is put
//! back: the namespace dies with the container.

mod relayed;
mod rtnetlink;

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use abi::Errno;
use sandbox::network::{AddressConfig, InterfaceConfig, NeighbourConfig, NetworkConfig, RouteConfig};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, While};
pub use relayed::Relayed;
use rtnetlink::{Entry, Rtnetlink};

/// Interfaces that a sandbox takes over at most.
pub const MOST_INTERFACES: usize = 16;

/// Where Docker's name server is, as containers see it; in networks without IPv4 perhaps at the second address.
const RESOLVERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
const DNS: u16 = 53;

/// Bytes of struct ifinfomsg, ifaddrmsg, rtmsg, ndmsg.
const IFINFO: usize = 16;
const IFADDR: usize = 8;
const RTMSG: usize = 12;
const NDMSG: usize = 12;

const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const ARPHRD_ETHER: u16 = 1;
const NUD_PERMANENT: u16 = 0x80;
const RT_TABLE_MAIN: u32 = 254;
const RTN_UNICAST: u8 = 1;

/// Which network containers have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The interfaces of their network namespace, taken over by the sandbox's own stack.
    #[default]
    Sandbox,
    /// A loopback interface.
    None,
    /// Sockets of their network namespace.
    Host,
}

/// Takes over all Ethernet interfaces that are up in `namespace`: their configuration, and for each its packet socket.
pub fn take_over(namespace: BorrowedFd<'_>) -> Result<(NetworkConfig, Vec<OwnedFd>), Failure> {
    inside(namespace, || {
        let mut host = Rtnetlink::open().while_doing("rtnetlink")?;
        let count = read(&mut host)
            .while_doing("reading the network's configuration")?
            .interfaces
            .len();
        if count > MOST_INTERFACES {
            return Err(Failure::own(format!(
                "more than {MOST_INTERFACES} network interfaces"
            )));
        }
        // No more than are used: the host takes more than ten milliseconds to close one.
        let mut used = open_sockets(count)?;
        let mut config = take_over_here(&used)?;
        // Docker's name server for its networks: it is reached from this namespace only, on a port of its own.
        if let Some(server) = resolver() {
            let socket = host::inet::connect(host::inet::Kind::Datagram, server);
            used.push(socket.while_doing("name server's socket")?);
            config.resolver = Some(SocketAddr::new(server.ip(), DNS));
        }
        Ok((config, used))
    })
}

/// Takes over the interfaces of the network namespace that a process lives in. Nothing of the caller's own one: what lives
/// there (a container without a network namespace) gets no interface.
pub fn take_over_of(pid: i32) -> Result<(NetworkConfig, Vec<OwnedFd>), Failure> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).while_doing(&path)?;
    let own = File::open("/proc/thread-self/ns/net").while_doing("own network namespace")?;
    let name = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    if name(&namespace).while_doing(&path)? == name(&own).while_doing("own network namespace")? {
        return Ok(Default::default());
    }
    take_over(namespace.as_fd())
}

/// What there is to see in the calling thread's network namespace, which stays as it is.
pub fn seen_here() -> Result<NetworkConfig, Failure> {
    let mut host = Rtnetlink::open().while_doing("rtnetlink")?;
    read(&mut host).while_doing("reading the network's configuration")
}

/// The same of the namespace that a process lives in.
pub fn seen_by(pid: i32) -> Result<NetworkConfig, Failure> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).while_doing(&path)?;
    inside(namespace.as_fd(), seen_here)
}

/// Packet sockets of the calling thread's network namespace, for interfaces that may still come. A copy of one that a process
/// has already works as soon as [`take_over_here`] has attached it.
pub fn open_sockets(count: usize) -> Result<Vec<OwnedFd>, Failure> {
    (0..count)
        .map(|_| host::packet::open().while_doing("packet socket"))
        .collect()
}

/// Takes over the interfaces of the namespace that the calling thread is in, with sockets that were opened in it: the first
/// interface gets the first socket, and so on.
pub fn take_over_here(sockets: &[OwnedFd]) -> Result<NetworkConfig, Failure> {
    let mut host = Rtnetlink::open().while_doing("rtnetlink")?;
    let config = read(&mut host).while_doing("reading the network's configuration")?;
    if config.interfaces.len() > sockets.len() {
        return Err(Failure::own(format!(
            "more than {} network interfaces",
            sockets.len()
        )));
    }
    // The sockets first: what arrives from now on is not lost but waits.
    for (interface, socket) in config.interfaces.iter().zip(sockets) {
        host::packet::attach(socket.as_fd(), interface.index)
            .while_doing(&format!("packet socket of '{}'", interface.name))?;
    }
    for interface in &config.interfaces {
        strip(&mut host, interface).while_doing(&format!("taking '{}' from the host", interface.name))?;
    }
    Ok(config)
}

/// Runs `body` in another network namespace: on a thread of its own, because root of a user namespace may not come back.
fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    body: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    let enter = move || {
        host::ns::enter(namespace, host::ns::NETWORK).while_doing("entering the network namespace")?;
        body()
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(enter);
        thread
            .join()
            .unwrap_or_else(|_| Err(Failure::own("a thread ended")))
    })
}

/// Everything that the host knows of its Ethernet interfaces.
fn read(host: &mut Rtnetlink) -> Result<NetworkConfig, Errno> {
    Ok(configuration([
        host.dump(rtnetlink::RTM_GETLINK, IFINFO)?,
        host.dump(rtnetlink::RTM_GETADDR, IFADDR)?,
        host.dump(rtnetlink::RTM_GETROUTE, RTMSG)?,
        host.dump(rtnetlink::RTM_GETNEIGH, NDMSG)?,
    ]))
}

/// What dumps of links, addresses, routes and neighbours say.
fn configuration([links, addresses, routes, neighbours]: [Vec<Entry>; 4]) -> NetworkConfig {
    let mut interfaces: Vec<InterfaceConfig> = links.iter().filter_map(interface).collect();
    for entry in addresses {
        let owner = interfaces.iter_mut().find(|own| own.index == entry.word(4));
        if let (Some(owner), Some(address)) = (owner, address(&entry)) {
            owner.addresses.push(address);
        }
    }
    let known: BTreeSet<u32> = interfaces.iter().map(|own| own.index).collect();
    let routes = routes.iter().filter_map(route);
    let routes = routes.filter(|route| known.contains(&route.interface)).collect();
    let neighbours = neighbours.iter().filter_map(neighbour);
    let neighbours = neighbours.filter(|own| known.contains(&own.interface)).collect();
    NetworkConfig {
        interfaces,
        routes,
        neighbours,
        resolver: None,
    }
}

/// The network that four replies of the host describe, for the fuzz target.
#[cfg(any(test, feature = "testing"))]
pub fn described(replies: [&[u8]; 4]) -> Result<NetworkConfig, Errno> {
    let mut dumps = [const { Vec::new() }; 4];
    let fixed = [IFINFO, IFADDR, RTMSG, NDMSG];
    for ((entries, fixed), reply) in dumps.iter_mut().zip(fixed).zip(replies) {
        rtnetlink::messages(reply, &mut |_, body| entries.push(Entry::of(body, fixed)))?;
    }
    Ok(configuration(dumps))
}

/// Where in the calling thread's namespace the name server takes datagrams.
fn resolver() -> Option<SocketAddr> {
    let table =
        |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let found = RESOLVERS.iter().find_map(|ip| match ip {
        IpAddr::V4(own) => port_of(&table("udp"), &own.octets()).map(|port| (*ip, port)),
        IpAddr::V6(own) => port_of(&table("udp6"), &own.octets()).map(|port| (*ip, port)),
    });
    found.map(SocketAddr::from)
}

/// The port of the first socket on an address in a table of /proc/net.
fn port_of(table: &str, octets: &[u8]) -> Option<u16> {
    let word = |word: &[u8]| {
        word.iter()
            .rev()
            .map(|byte| format!("{byte:02X}"))
            .collect::<String>()
    };
    let address: String = octets.chunks(4).map(word).chain([":".to_string()]).collect();
    let of_line = |line: &str| {
        let local = line.split_whitespace().nth(1)?;
        u16::from_str_radix(local.strip_prefix(&address)?, 16).ok()
    };
    table.lines().skip(1).find_map(of_line)
}

/// `None` for interfaces that stay with the host: loopback, tunnels, what is down.
fn interface(entry: &Entry) -> Option<InterfaceConfig> {
    const IFLA_ADDRESS: u16 = 1;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_MTU: u16 = 4;
    let flags = entry.word(8);
    if entry.half(2) != ARPHRD_ETHER || flags & IFF_LOOPBACK != 0 || flags & IFF_UP == 0 {
        return None;
    }
    Some(InterfaceConfig {
        index: entry.word(4),
        name: entry.text(IFLA_IFNAME)?,
        mac: entry.mac(IFLA_ADDRESS)?,
        mtu: entry.number(IFLA_MTU)?,
        addresses: Vec::new(),
    })
}

fn address(entry: &Entry) -> Option<AddressConfig> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    const IFA_BROADCAST: u16 = 4;
    Some(AddressConfig {
        ip: entry.address(IFA_LOCAL).or_else(|| entry.address(IFA_ADDRESS))?,
        prefix: entry.byte(1),
        broadcast: entry.address(IFA_BROADCAST),
        scope: entry.byte(3),
    })
}

fn route(entry: &Entry) -> Option<RouteConfig> {
    const RTA_DST: u16 = 1;
    const RTA_OIF: u16 = 4;
    const RTA_GATEWAY: u16 = 5;
    const RTA_PRIORITY: u16 = 6;
    const RTA_PREFSRC: u16 = 7;
    const RTA_TABLE: u16 = 15;
    let table = entry.number(RTA_TABLE).unwrap_or(u32::from(entry.byte(4)));
    if table != RT_TABLE_MAIN || entry.byte(7) != RTN_UNICAST {
        return None;
    }
    let any: IpAddr = if entry.byte(0) == 2 {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    Some(RouteConfig {
        destination: entry.address(RTA_DST).unwrap_or(any),
        prefix: entry.byte(1),
        gateway: entry.address(RTA_GATEWAY),
        interface: entry.number(RTA_OIF)?,
        source: entry.address(RTA_PREFSRC),
        metric: entry.number(RTA_PRIORITY).unwrap_or(0),
        scope: entry.byte(6),
        protocol: entry.byte(5),
    })
}

fn neighbour(entry: &Entry) -> Option<NeighbourConfig> {
    const NDA_DST: u16 = 1;
    const NDA_LLADDR: u16 = 2;
    if entry.half(8) & NUD_PERMANENT == 0 {
        return None;
    }
    Some(NeighbourConfig {
        interface: entry.word(4),
        ip: entry.address(NDA_DST)?,
        mac: entry.mac(NDA_LLADDR)?,
    })
}

/// Takes an interface's addresses from the host, so that only the sandbox answers for them. Their routes go with them.
fn strip(host: &mut Rtnetlink, interface: &InterfaceConfig) -> Result<(), Errno> {
    const IFA_LOCAL: u16 = 2;
    for address in &interface.addresses {
        let mut body = vec![rtnetlink::family(address.ip), address.prefix, 0, 0];
        body.extend(interface.index.to_le_bytes());
        rtnetlink::put_attribute(&mut body, IFA_LOCAL, &rtnetlink::octets(address.ip));
        match host.change(rtnetlink::RTM_DELADDR, &body) {
            // Went with the one before.
            Ok(()) | Err(Errno::EADDRNOTAVAIL) => {}
            Err(error) => return Err(error),
        }
    }
    // The host takes no further part: no address of its own making, no forwarding. Where /proc is read-only the
    // addresses are gone all the same.
    let name = &interface.name;
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    let _ = std::fs::write(format!("/proc/sys/net/ipv4/conf/{name}/forwarding"), "0");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_by_its_address() {
        let udp = "  sl  local_address rem_address\n   7: 0B00007F:A1B2 00000000:0000 07\n";
        assert_eq!(port_of(udp, &[127, 0, 0, 11]), Some(0xa1b2));
        assert_eq!(port_of(udp, &[127, 0, 0, 1]), None);
        let udp6 = "  sl  local_address\n  1: 00000000000000000000000001000000:0035 0\n";
        assert_eq!(port_of(udp6, &Ipv6Addr::LOCALHOST.octets()), Some(53));
    }
}
