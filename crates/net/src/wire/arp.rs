//! ARP for IPv4 over ethernet (RFC 826).

use std::net::Ipv4Addr;

use super::{array, be16};

/// Length of a packet.
pub(crate) const LEN: usize = 28;
/// Operation: request.
pub(crate) const REQUEST: u16 = 1;
/// Operation: reply.
pub(crate) const REPLY: u16 = 2;

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arp {
    pub operation: u16,
    pub sender_mac: [u8; 6],
    pub sender: Ipv4Addr,
    pub target_mac: [u8; 6],
    pub target: Ipv4Addr,
}

impl Arp {
    pub(crate) fn parse(packet: &[u8]) -> Option<Arp> {
        // Ethernet, IPv4, lengths 6 and 4.
        if packet.get(..6)? != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        Some(Arp {
            operation: be16(packet, 6)?,
            sender_mac: array(packet, 8)?,
            sender: Ipv4Addr::from(array::<4>(packet, 14)?),
            target_mac: array(packet, 18)?,
            target: Ipv4Addr::from(array::<4>(packet, 24)?),
        })
    }

    pub(crate) fn emit(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
        out[6..8].copy_from_slice(&self.operation.to_be_bytes());
        out[8..14].copy_from_slice(&self.sender_mac);
        out[14..18].copy_from_slice(&self.sender.octets());
        out[18..24].copy_from_slice(&self.target_mac);
        out[24..].copy_from_slice(&self.target.octets());
        out
    }
}
