//! The place of packet filters and of an egress policy in the packet path.
//!
//! Every packet passes [`Filter::check`] once on its way in (after reassembly, before its protocol sees it) and once on
//! its way out (before the link). Today everything is accepted; rules become fields of [`Filter`] (plain data).

use std::net::IpAddr;

/// Where in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// To us.
    Input,
    /// From us.
    Output,
}

/// What a rule can look at.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Interface, by which it came or will go.
    pub interface: u32,
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// Upper protocol.
    pub protocol: u8,
    /// Source and destination port, of TCP and UDP.
    pub ports: Option<(u16, u16)>,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Accept,
    /// It is dropped; the sender of an outgoing one gets EPERM as from netfilter.
    Drop,
}

/// The rules of a stack.
#[derive(Clone, Debug, Default)]
pub struct Filter {}

impl Filter {
    /// The verdict on a packet.
    pub fn check(&self, _hook: Hook, _flow: &Flow) -> Verdict {
        Verdict::Accept
    }
}
