//! What the stack tells its owner: readiness of TCP sockets, datagrams, errors, frames for taps.

use std::net::{IpAddr, SocketAddr};

use crate::{Error, Instant, Offload, TcpId};

bitflags::bitflags! {
    /// Readiness of a TCP socket, in poll(2)'s sense and with its numbers.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Ready: u32 {
        /// Bytes, an end of stream or an error to read; for a listener a connection to accept.
        const IN = 1;
        /// An urgent byte.
        const PRI = 2;
        /// Room to write, or the connection came to be.
        const OUT = 4;
        /// An error waits ([`TcpStatus::error`](crate::TcpStatus)).
        const ERR = 8;
        /// Both directions are closed.
        const HUP = 16;
        /// The peer will send no more.
        const RDHUP = 0x2000;
    }
}

/// Direction of a frame that a tap sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To us.
    In,
    /// From us.
    Out,
}

/// A UDP datagram that came in: reassembled, checksum verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Interface it came in by.
    pub interface: u32,
    /// Sender.
    pub source: SocketAddr,
    /// Where it was sent to: an address of ours, a group or a broadcast address.
    pub destination: SocketAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// When it came.
    pub time: Instant,
    /// Payload of each datagram but the last, when this is a GRO'd train of them (UDP_GRO); else `None`.
    pub segment: Option<u16>,
    /// Whether it was sent to a group or a broadcast address: such a datagram earns no ICMP error.
    pub group: bool,
    /// The payload.
    pub data: Vec<u8>,
}

/// A whole IP packet for raw sockets, reassembled; IPv6 packets without extension headers, as Linux gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPacket {
    /// Interface it came in by.
    pub interface: u32,
    /// Sender.
    pub source: IpAddr,
    /// Where it was sent to.
    pub destination: IpAddr,
    /// Upper protocol.
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// When it came.
    pub time: Instant,
    /// Length of the IPv4 header at the start of `data`; 0 for IPv6, whose raw sockets get the payload only.
    pub header_len: usize,
    /// The packet.
    pub data: Vec<u8>,
}

/// An ICMP error about a packet of ours. (TCP has acted on its own ones already.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Interface it came in by.
    pub interface: u32,
    /// Upper protocol of the packet in question.
    pub protocol: u8,
    /// Our address and port (ICMP echo: the identifier) in that packet.
    pub local: SocketAddr,
    /// Its destination.
    pub remote: SocketAddr,
    /// Type of the ICMP message.
    pub kind: u8,
    /// Code of the ICMP message.
    pub code: u8,
    /// What a socket reports.
    pub error: Error,
    /// Whether a connected socket fails with it even if it did not ask for errors (Linux's `fatal`).
    pub fatal: bool,
    /// Next hop's MTU, for fragmentation needed and packet too big; else 0.
    pub mtu: u32,
    /// Who sent the message.
    pub offender: IpAddr,
    /// What the message quotes of the upper protocol's payload.
    pub quoted: Vec<u8>,
}

/// A frame that passed by, for packet sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The interface.
    pub interface: u32,
    /// To us or from us.
    pub direction: Direction,
    /// What travelled beside it.
    pub offload: Offload,
    /// When it passed.
    pub time: Instant,
    /// The frame, ethernet header first (also on loopback).
    pub data: Vec<u8>,
}

/// Something the owner has to pass on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The readiness of a TCP socket grew: `ready` is what came since the last event of this socket.
    /// (What is ready altogether: [`Stack::tcp_status`](crate::Stack::tcp_status).)
    Tcp {
        /// The socket.
        id: TcpId,
        /// The number that its owner gave it.
        token: u64,
        /// What came.
        ready: Ready,
    },
    /// A UDP datagram.
    Datagram(Datagram),
    /// An ICMP or ICMPv6 message other than errors and neighbour discovery, or a packet of a protocol asked for.
    Raw(RawPacket),
    /// An ICMP error.
    Icmp(IcmpError),
    /// A frame for taps.
    Frame(Frame),
    /// A neighbour entry changed (for netlink's listeners).
    Neighbor {
        /// The interface.
        interface: u32,
        /// The neighbour.
        address: IpAddr,
    },
}
