//! Ethernet II frames.

use super::{array, be16};

/// Length of the header.
pub(crate) const HEADER: usize = 14;
/// EtherType of IPv4.
pub(crate) const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub(crate) const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub(crate) const IPV6: u16 = 0x86dd;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ethernet {
    pub dst: [u8; 6],
    pub src: [u8; 6],
    pub kind: u16,
}

impl Ethernet {
    pub(crate) fn parse(frame: &[u8]) -> Option<(Ethernet, &[u8])> {
        let header = Ethernet {
            dst: array(frame, 0)?,
            src: array(frame, 6)?,
            kind: be16(frame, 12)?,
        };
        Some((header, &frame[HEADER..]))
    }

    pub(crate) fn emit(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..6].copy_from_slice(&self.dst);
        out[6..12].copy_from_slice(&self.src);
        out[12..].copy_from_slice(&self.kind.to_be_bytes());
        out
    }
}

/// Whether the address is of a group (broadcast included).
pub(crate) fn is_group(mac: [u8; 6]) -> bool {
    mac[0] & 1 == 1
}
