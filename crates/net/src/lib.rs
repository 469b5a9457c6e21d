//! The TCP/IP stack: frames in, frames out, time as an argument.
//!
//! A [`Stack`] is one network namespace. It makes no call to anybody: the owner hands it frames ([`Stack::receive`]),
//! tells it the time, takes frames ([`Stack::poll`]) and events ([`Stack::next_event`]). It is not thread-safe and not
//! asynchronous; one lock around it is the owner's business. Plain data throughout.
//!
//! Layers, from the bottom: `wire` (formats), `interface`, `neighbor` (ARP, NDP), `route`, `ip` (way out), `ingress` (way
//! in), `fragment`, `icmp`, `icmpv6`, `multicast`, then `udp`, `raw`, `tcp`. UDP's ports and inboxes are the owner's;
//! TCP's sockets are here.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod counters;
mod error;
mod event;
mod filter;
mod fragment;
mod icmp;
mod icmpv6;
mod ingress;
mod interface;
mod ip;
mod link;
mod multicast;
mod neighbor;
mod offload;
mod opening;
mod queue;
mod raw;
mod ring;
mod route;
mod settings;
mod siphash;
mod stack;
mod tcp;
mod time;
mod timer;
mod udp;
pub mod vnet;
mod wire;

pub use counters::Counters;
pub use error::Error;
pub use event::{Datagram, Direction, Event, Frame, IcmpError, RawPacket, Ready};
pub use filter::{Filter, Flow, Hook, Verdict};
pub use fragment::{MAX_PIECES, MAX_REASSEMBLIES};
pub use interface::{
    Address, Interface, InterfaceCounters, Kind, LOOPBACK, LOOPBACK_MTU, MAX_ADDRESSES, MAX_INTERFACES,
    MIN_MTU, MIN_MTU_V6, Scope,
};
pub use ip::{Device, MAX_EVENT_BYTES, MAX_EVENTS, MAX_PATH_MTUS, MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES, Path};
pub use multicast::MAX_GROUPS;
pub use neighbor::{MAX_NEIGHBORS, MAX_WAITING, Neighbor, NeighborState};
pub use offload::{Checksum, GSO_MAX, Gso, GsoKind, Offload, Offloads};
pub use opening::opening;
pub use route::{MAX_ROUTES, Prefix, Route, RouteKind, TABLE_LOCAL, TABLE_MAIN};
pub use settings::Settings;
pub use stack::Stack;
pub use tcp::calls::{MAX_BACKLOG, Shutdown};
pub use tcp::info::{TcpEntry, TcpInfo, TcpState, TcpStatus};
pub use tcp::listen::MAX_REQUESTS;
pub use tcp::options::{Congestion, Keepalive, TcpOptions};
pub use tcp::receive::MAX_GAPS;
pub use tcp::sack::MAX_RECORDS;
pub use tcp::{MAX_SOCKETS, TcpId};
pub use time::Instant;
pub use udp::{MAX_UDP_SEGMENTS, SendOptions};
pub use wire::protocol;
