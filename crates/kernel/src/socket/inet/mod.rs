//! The internet families, as far as they stay inside the sandbox: TCP and UDP over loopback, as queues between sockets.
//!
//! The seam to a network: [`route`] decides what can be reached, [`Ports`] finds who is there, and the sockets
//! exchange bytes through channels and inboxes. A TCP/IP stack adds a second way behind `route`; what is local stays here.

mod knobs;
mod ports;
mod tcp;
mod tcp_connect;
mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use abi::Errno;

pub use ports::Ports;
pub use tcp::TcpSocket;
pub use udp::UdpSocket;

use super::address::{decode_inet, family};
use super::{AF_INET, AF_INET6, Kind, SocketOps};
use crate::Kernel;

const IPPROTO_ICMP: i32 = 1;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_UDP: i32 = 17;
const IPPROTO_ICMPV6: i32 = 58;
const AF_UNSPEC: u16 = 0;

/// socket(2) of AF_INET and AF_INET6.
pub(super) fn create(
    kernel: &Arc<Kernel>,
    family: u16,
    kind: Kind,
    protocol: i32,
) -> Result<Arc<dyn SocketOps>, Errno> {
    match (kind, protocol) {
        (Kind::Stream, 0 | IPPROTO_TCP) => Ok(TcpSocket::new(kernel, family)),
        (Kind::Datagram, 0 | IPPROTO_UDP) => Ok(UdpSocket::new(kernel, family)),
        // net.ipv4.ping_group_range is empty.
        (Kind::Datagram, IPPROTO_ICMP | IPPROTO_ICMPV6) => Err(Errno::EACCES),
        (Kind::Raw, _) => Err(Errno::EPERM),
        (Kind::SeqPacket, _) => Err(Errno::ESOCKTNOSUPPORT),
        _ => Err(Errno::EPROTONOSUPPORT),
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

/// Decodes bind(2)'s address: a local one. `EADDRNOTAVAIL` for others.
fn decode_local(socket_family: u16, raw: &[u8], v6only: bool) -> Result<SocketAddr, Errno> {
    // Old programs bind IPv4's any address with AF_UNSPEC.
    if socket_family == AF_INET && raw.len() >= 16 && family(raw)? == AF_UNSPEC && raw[4..8] == [0; 4] {
        let port = u16::from_be_bytes([raw[2], raw[3]]);
        return Ok(SocketAddr::new(unspecified(AF_INET), port));
    }
    let addr = decode(socket_family, raw)?.ok_or(Errno::EAFNOSUPPORT)?;
    let mapped = socket_family == AF_INET6 && addr.is_ipv4();
    let ip = addr.ip();
    if mapped && v6only {
        return Err(Errno::EINVAL);
    }
    if ip.is_loopback() || ip.is_unspecified() {
        Ok(addr)
    } else {
        Err(Errno::EADDRNOTAVAIL)
    }
}

/// Where a destination is: the address it is reached by and the address it is reached from. `ENETUNREACH` for all that
/// is not in the sandbox.
fn route(to: IpAddr) -> Result<(IpAddr, IpAddr), Errno> {
    match to {
        IpAddr::V4(ip) if ip.is_unspecified() => Ok((Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into())),
        IpAddr::V6(ip) if ip.is_unspecified() => Ok((Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into())),
        IpAddr::V4(ip) if ip.is_loopback() => Ok((to, Ipv4Addr::LOCALHOST.into())),
        IpAddr::V6(ip) if ip.is_loopback() => Ok((to, to)),
        _ => Err(Errno::ENETUNREACH),
    }
}
