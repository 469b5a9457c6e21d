//! What a relay must know of a frame before the stack takes it: that it opens a TCP connection.

use std::net::{IpAddr, SocketAddr};

use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Extensions, Ipv6};
use crate::wire::protocol;
use crate::wire::tcp::{Flags, Tcp};

/// From where to where a frame opens a TCP connection; `None` for every other frame. (A SYN in fragments opens none.)
pub fn opening(frame: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (header, packet) = Ethernet::parse(frame)?;
    let (from, to, segment): (IpAddr, IpAddr, &[u8]) = match header.kind {
        ethernet::IPV4 => {
            let (ip, payload) = Ipv4::parse(packet)?;
            if ip.protocol != protocol::TCP || ip.more_fragments || ip.offset != 0 {
                return None;
            }
            (ip.src.into(), ip.dst.into(), payload)
        }
        ethernet::IPV6 => {
            let (ip, payload) = Ipv6::parse(packet)?;
            match ipv6::walk(ip.next, payload) {
                Extensions::Upper(protocol::TCP, segment) => (ip.src.into(), ip.dst.into(), segment),
                _ => return None,
            }
        }
        _ => return None,
    };
    let (tcp, _) = Tcp::parse(segment)?;
    let opens = tcp.flags.contains(Flags::SYN) && !tcp.flags.intersects(Flags::ACK | Flags::RST);
    opens.then(|| (SocketAddr::new(from, tcp.src), SocketAddr::new(to, tcp.dst)))
}
