//! struct virtio_net_hdr: what a packet socket says beside each frame about checksums and segmentation.

use crate::{Checksum, Gso, GsoKind, Offload};

/// Bytes of the header.
pub const OFFLOAD_HEADER: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
/// A bit of the kind: congestion was told in a segment.
const GSO_ECN: u8 = 0x80;

/// The header of a frame to send.
pub fn encode(offload: &Offload) -> [u8; OFFLOAD_HEADER] {
    let mut header = [0; OFFLOAD_HEADER];
    match offload.checksum {
        Checksum::Complete => {}
        Checksum::Verified => header[0] = DATA_VALID,
        Checksum::Partial { start, offset } => {
            header[0] = NEEDS_CHECKSUM;
            header[6..8].copy_from_slice(&start.to_le_bytes());
            header[8..10].copy_from_slice(&offset.to_le_bytes());
        }
    }
    if let Some(gso) = offload.gso {
        header[1] = match gso.kind {
            GsoKind::Tcp4 => GSO_TCP4,
            GsoKind::Tcp6 => GSO_TCP6,
            GsoKind::Udp => GSO_UDP,
        };
        header[2..4].copy_from_slice(&gso.header_len.to_le_bytes());
        header[4..6].copy_from_slice(&gso.size.to_le_bytes());
    }
    header
}

/// What the header of a received frame says.
pub fn decode(header: &[u8; OFFLOAD_HEADER]) -> Offload {
    let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let checksum = if header[0] & NEEDS_CHECKSUM != 0 {
        Checksum::Partial {
            start: half(6),
            offset: half(8),
        }
    } else if header[0] & DATA_VALID != 0 {
        Checksum::Verified
    } else {
        Checksum::Complete
    };
    let kind = match header[1] & !GSO_ECN {
        GSO_TCP4 => Some(GsoKind::Tcp4),
        GSO_TCP6 => Some(GsoKind::Tcp6),
        GSO_UDP => Some(GsoKind::Udp),
        _ => None,
    };
    let gso = kind.filter(|_| half(4) > 0).map(|kind| Gso {
        kind,
        size: half(4),
        header_len: half(2),
    });
    Offload { checksum, gso }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_round_trip() {
        let partial = Checksum::Partial {
            start: 34,
            offset: 16,
        };
        for checksum in [Checksum::Complete, Checksum::Verified, partial] {
            for kind in [None, Some(GsoKind::Tcp4), Some(GsoKind::Tcp6), Some(GsoKind::Udp)] {
                let gso = kind.map(|kind| Gso {
                    kind,
                    size: 1448,
                    header_len: 66,
                });
                let offload = Offload { checksum, gso };
                assert_eq!(decode(&encode(&offload)), offload);
            }
        }
    }
}
