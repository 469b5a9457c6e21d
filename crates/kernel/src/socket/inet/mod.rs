//! The internet families. What stays inside the sandbox goes as queues between sockets: [`Ports`] finds who is there, and
//! the sockets exchange bytes through channels and inboxes. What leaves it goes through the stack in
//! [`super::network`], whose inventory decides which of the two it is.

mod error_queue;
mod forwarded;
mod groups;
mod knobs;
mod ports;
pub(super) mod raw;
mod tcp;
mod tcp_connect;
mod tcp_info;
pub(super) mod tcp_outside;
mod udp;
pub(super) mod udp_arrival;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use abi::Errno;

pub use forwarded::Forwarded;
pub use ports::Ports;
pub use raw::RawSocket;
pub use tcp::TcpSocket;
pub use udp::UdpSocket;

use self::knobs::Knobs;
use super::address::{decode_inet, family};
use super::{AF_INET, AF_INET6, Kind, NetNs, SocketOps};
use crate::Kernel;
use crate::cred::Caps;
use crate::task::CurrentTask;

const IPPROTO_ICMP: i32 = 1;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_UDP: i32 = 17;
const IPPROTO_ICMPV6: i32 = 58;
const AF_UNSPEC: u16 = 0;

/// socket(2) of AF_INET and AF_INET6.
pub(super) fn create(
    kernel: &Arc<Kernel>,
    net: &Arc<NetNs>,
    family: u16,
    kind: Kind,
    protocol: i32,
) -> Result<Arc<dyn SocketOps>, Errno> {
    if let Some(host) = net.network.shared() {
        return match (kind, protocol) {
            (Kind::Stream, 0 | IPPROTO_TCP) | (Kind::Datagram, 0 | IPPROTO_UDP) => {
                host.socket(kernel, net, family, kind)
            }
            (Kind::Raw, _) => Err(Errno::EPERM),
            _ => Err(Errno::EPROTONOSUPPORT),
        };
    }
    match (kind, protocol) {
        (Kind::Stream, 0 | IPPROTO_TCP) => Ok(TcpSocket::new(kernel, net, family)),
        (Kind::Datagram, 0 | IPPROTO_UDP) => Ok(UdpSocket::new(kernel, net, family)),
        (Kind::Datagram, IPPROTO_ICMP) if family == AF_INET => ping(kernel, net, family, protocol),
        (Kind::Datagram, IPPROTO_ICMPV6) if family == AF_INET6 => ping(kernel, net, family, protocol),
        (Kind::Raw, _) if !has_net_raw(net) => Err(Errno::EPERM),
        (Kind::Raw, 1..=255) => Ok(RawSocket::new(kernel, net, family, kind, protocol)),
        (Kind::Raw, _) => Err(Errno::EPROTONOSUPPORT),
        (Kind::SeqPacket, _) => Err(Errno::ESOCKTNOSUPPORT),
        _ => Err(Errno::EPROTONOSUPPORT),
    }
}

/// Whether the caller has CAP_NET_RAW over a network namespace.
pub(super) fn has_net_raw(net: &NetNs) -> bool {
    crate::task::current().is_some_and(|task| net.permits(&task.cred(), Caps::NET_RAW))
}

/// A ping socket, for the groups of net.ipv4.ping_group_range.
fn ping(
    kernel: &Arc<Kernel>,
    net: &Arc<NetNs>,
    family: u16,
    protocol: i32,
) -> Result<Arc<dyn SocketOps>, Errno> {
    let range = net.sysctls.get("net/ipv4/ping_group_range");
    let mut bounds = range
        .iter()
        .flat_map(|text| text.split_whitespace())
        .map(str::parse::<u32>);
    let (Some(Ok(low)), Some(Ok(high))) = (bounds.next(), bounds.next()) else {
        return Err(Errno::EACCES);
    };
    let cred = crate::task::current()
        .map(|task| task.cred())
        .ok_or(Errno::EACCES)?;
    let mut groups = cred.groups.iter().chain([&cred.egid]);
    if !groups.any(|group| (low..=high).contains(group)) {
        return Err(Errno::EACCES);
    }
    Ok(RawSocket::new(kernel, net, family, Kind::Datagram, protocol))
}

/// Whether the caller may take a port: low ones are for those with CAP_NET_BIND_SERVICE. `EACCES`.
fn check_port(net: &NetNs, task: &CurrentTask, port: u16) -> Result<(), Errno> {
    let start = net.sysctls.number("net/ipv4/ip_unprivileged_port_start", 1024);
    if port == 0 || i64::from(port) >= start || net.permits(&task.cred(), Caps::NET_BIND_SERVICE) {
        Ok(())
    } else {
        Err(Errno::EACCES)
    }
}

/// What /proc/net shows of a socket.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Whether it is an AF_INET6 socket.
    pub ipv6: bool,
    /// Own address.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// TCP_ESTABLISHED (1) and so on.
    pub state: u8,
    /// Inode number.
    pub ino: u64,
    /// Who made it.
    pub uid: u32,
    /// Bytes sent and not read by the peer.
    pub to_send: usize,
    /// Bytes that can be read (connections of a listener: not counted).
    pub to_read: usize,
}

/// All TCP sockets, and what the stack keeps of connections without a socket (TIME_WAIT and the like).
pub fn tcp_rows(net: &NetNs) -> Vec<Summary> {
    let sockets = net.ports.tcp.sockets();
    let mut rows: Vec<Summary> = sockets.iter().map(|socket| socket.summary()).collect();
    if let Some(attached) = net.network.attached() {
        let entries = attached.call(|stack, now| stack.tcp_entries(now));
        let known = |token: u64| token != 0 && sockets.iter().any(|socket| socket.base().ino == token);
        rows.extend(
            entries
                .iter()
                .filter(|entry| !known(entry.token))
                .map(|entry| Summary {
                    ipv6: entry.local.is_ipv6(),
                    local: entry.local,
                    remote: entry.remote,
                    state: entry.state as u8,
                    ino: 0,
                    uid: 0,
                    to_send: entry.send_queue,
                    to_read: entry.readable,
                }),
        );
    }
    rows
}

/// All UDP sockets that have a port.
pub fn udp_rows(net: &NetNs) -> Vec<Summary> {
    let sockets = net.ports.udp.sockets();
    let bound = sockets.iter().filter(|socket| socket.is_bound());
    bound.map(|socket| socket.summary()).collect()
}

/// Any address of a family.
fn unspecified(family: u16) -> IpAddr {
    if family == AF_INET6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }
}

/// Decodes an address for a socket of `socket_family`; mapped addresses become IPv4. `None`: AF_UNSPEC.
fn decode(socket_family: u16, raw: &[u8]) -> Result<Option<SocketAddr>, Errno> {
    let given = family(raw)?;
    if given == AF_UNSPEC {
        return Ok(None);
    }
    let least = if socket_family == AF_INET6 { 24 } else { 16 };
    if raw.len() < least {
        return Err(Errno::EINVAL);
    }
    if given != socket_family {
        return Err(Errno::EAFNOSUPPORT);
    }
    let addr = decode_inet(raw)?;
    Ok(Some(SocketAddr::new(addr.ip().to_canonical(), addr.port())))
}

/// Decodes bind(2)'s address: a local one, or (`groups`) one that is sent to many, with IP_FREEBIND any. `EADDRNOTAVAIL` for others.
fn decode_local(
    net: &NetNs,
    socket_family: u16,
    raw: &[u8],
    knobs: &Knobs,
    groups: bool,
) -> Result<SocketAddr, Errno> {
    // Old programs bind IPv4's any address with AF_UNSPEC.
    if socket_family == AF_INET && raw.len() >= 16 && family(raw)? == AF_UNSPEC && raw[4..8] == [0; 4] {
        let port = u16::from_be_bytes([raw[2], raw[3]]);
        return Ok(SocketAddr::new(unspecified(AF_INET), port));
    }
    let addr = decode(socket_family, raw)?.ok_or(Errno::EAFNOSUPPORT)?;
    let mapped = socket_family == AF_INET6 && addr.is_ipv4();
    let ip = addr.ip();
    if mapped && knobs.v6only() {
        return Err(Errno::EINVAL);
    }
    let inventory = net.network.inventory();
    let many = groups && (ip.is_multicast() || inventory.is_broadcast(ip));
    if ip.is_unspecified() || many || inventory.may_bind(ip) || knobs.free_bind() {
        Ok(addr)
    } else {
        Err(Errno::EADDRNOTAVAIL)
    }
}
