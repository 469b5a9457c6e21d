//! UDP headers (RFC 768).

use super::be16;

/// Length of the header.
pub(crate) const HEADER: usize = 8;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Udp {
    pub src: u16,
    pub dst: u16,
    pub checksum: u16,
}

impl Udp {
    /// The header and the payload. A length of zero is not a jumbogram here.
    pub(crate) fn parse(packet: &[u8]) -> Option<(Udp, &[u8])> {
        let len = usize::from(be16(packet, 4)?);
        let header = Udp {
            src: be16(packet, 0)?,
            dst: be16(packet, 2)?,
            checksum: be16(packet, 6)?,
        };
        Some((header, packet.get(HEADER..len)?))
    }

    pub(crate) fn emit(&self, payload: usize) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..2].copy_from_slice(&self.src.to_be_bytes());
        out[2..4].copy_from_slice(&self.dst.to_be_bytes());
        out[4..6].copy_from_slice(&u16::try_from(HEADER + payload).unwrap_or(0).to_be_bytes());
        out[6..].copy_from_slice(&self.checksum.to_be_bytes());
        out
    }
}
