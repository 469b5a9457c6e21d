//! IPv4 headers (RFC 791).

use std::net::Ipv4Addr;

use super::{array, be16, checksum};

/// Length of a header without options.
pub(crate) const HEADER: usize = 20;

/// A header. Options are kept as they came, in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ipv4 {
    pub header_len: usize,
    pub tos: u8,
    pub id: u16,
    pub dont_fragment: bool,
    pub more_fragments: bool,
    /// Offset of the fragment in bytes.
    pub offset: usize,
    pub ttl: u8,
    pub protocol: u8,
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
}

impl Ipv4 {
    /// The header, and the payload without what the link padded. `None` for what Linux drops as malformed.
    ///
    /// `large` admits a total length of zero (a super-segment of more than 64 KiB is not; it is longer than the field).
    pub(crate) fn parse(packet: &[u8]) -> Option<(Ipv4, &[u8])> {
        let first = *packet.first()?;
        let header_len = usize::from(first & 0xf) * 4;
        let total = usize::from(be16(packet, 2)?);
        if first >> 4 != 4 || header_len < HEADER || total < header_len {
            return None;
        }
        let header = packet.get(..header_len)?;
        if checksum::of(header) != 0 {
            return None;
        }
        let payload = packet.get(header_len..total)?;
        let fragment = be16(packet, 6)?;
        let parsed = Ipv4 {
            header_len,
            tos: header[1],
            id: be16(packet, 4)?,
            dont_fragment: fragment & 0x4000 != 0,
            more_fragments: fragment & 0x2000 != 0,
            offset: usize::from(fragment & 0x1fff) * 8,
            ttl: header[8],
            protocol: header[9],
            src: Ipv4Addr::from(array::<4>(packet, 12)?),
            dst: Ipv4Addr::from(array::<4>(packet, 16)?),
        };
        Some((parsed, payload))
    }

    /// A header without options for `payload` bytes.
    pub(crate) fn emit(&self, payload: usize) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let total = u16::try_from(HEADER + payload).unwrap_or(u16::MAX);
        let mut fragment = u16::try_from(self.offset / 8).unwrap_or(0) & 0x1fff;
        if self.dont_fragment {
            fragment |= 0x4000;
        }
        if self.more_fragments {
            fragment |= 0x2000;
        }
        out[0] = 0x45;
        out[1] = self.tos;
        out[2..4].copy_from_slice(&total.to_be_bytes());
        out[4..6].copy_from_slice(&self.id.to_be_bytes());
        out[6..8].copy_from_slice(&fragment.to_be_bytes());
        out[8] = self.ttl;
        out[9] = self.protocol;
        out[12..16].copy_from_slice(&self.src.octets());
        out[16..20].copy_from_slice(&self.dst.octets());
        let sum = checksum::of(&out);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        out
    }
}
