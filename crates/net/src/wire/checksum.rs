//! The internet checksum (RFC 1071).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A sum of 16-bit words that is not folded yet. Pieces may have odd lengths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    total: u64,
    odd: bool,
}

impl Sum {
    /// Adds `bytes`.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let sum = fold(raw(bytes));
        // A piece at an odd offset has its bytes swapped.
        let sum = if self.odd { sum.swap_bytes() } else { sum };
        self.total += u64::from(sum);
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// Adds a number in host order.
    pub(crate) fn add_u16(&mut self, word: u16) {
        self.add(&word.to_be_bytes());
    }

    /// Adds the pseudo header of TCP, UDP or ICMPv6.
    pub(crate) fn add_pseudo(&mut self, src: IpAddr, dst: IpAddr, protocol: u8, len: usize) {
        for address in [src, dst] {
            match address {
                IpAddr::V4(a) => self.add(&a.octets()),
                IpAddr::V6(a) => self.add(&a.octets()),
            }
        }
        self.add(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        self.add_u16(u16::from(protocol));
    }

    /// The sum without the final complement: what a device that completes a checksum starts from.
    pub(crate) fn partial(self) -> u16 {
        u16::from_be(fold(self.total))
    }

    /// The checksum.
    pub(crate) fn finish(self) -> u16 {
        !self.partial()
    }
}

/// The sum in the byte order of the machine (RFC 1071, section 2: the order does not matter).
fn raw(bytes: &[u8]) -> u64 {
    let mut lanes = [0u64; 8];
    let mut blocks = bytes.chunks_exact(32);
    for block in &mut blocks {
        for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(4)) {
            *lane += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        }
    }
    let mut total: u64 = lanes.iter().map(|l| (l & 0xffff_ffff) + (l >> 32)).sum();
    let mut words = blocks.remainder().chunks_exact(2);
    for word in &mut words {
        total += u64::from(u16::from_ne_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        total += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    total
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The checksum of one piece.
pub(crate) fn of(bytes: &[u8]) -> u16 {
    let mut sum = Sum::default();
    sum.add(bytes);
    sum.finish()
}

/// Whether `bytes`, with the checksum in it, sum up as they should under a pseudo header.
pub(crate) fn verify(src: IpAddr, dst: IpAddr, protocol: u8, bytes: &[u8]) -> bool {
    let mut sum = Sum::default();
    sum.add_pseudo(src, dst, protocol, bytes.len());
    sum.add(bytes);
    sum.finish() == 0
}

/// The solicited-node group of `address` (RFC 4291, section 2.7.1).
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let o = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, o[13], o[14], o[15]])
}

/// The ethernet address of a multicast group (RFC 1112, RFC 2464).
pub(crate) fn multicast_mac(group: IpAddr) -> [u8; 6] {
    match group {
        IpAddr::V4(a) if a == Ipv4Addr::BROADCAST => [0xff; 6],
        IpAddr::V4(a) => {
            let o = a.octets();
            [1, 0, 0x5e, o[1] & 0x7f, o[2], o[3]]
        }
        IpAddr::V6(a) => {
            let o = a.octets();
            [0x33, 0x33, o[12], o[13], o[14], o[15]]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_odd_length() {
        let bytes: Vec<u8> = (0..1999u32).map(|i| (i * 7 + i / 13) as u8).collect();
        let whole = of(&bytes);
        for cut in [0, 1, 2, 33, 64, 1001, 1999] {
            let mut sum = Sum::default();
            sum.add(&bytes[..cut]);
            sum.add(&bytes[cut..]);
            assert_eq!(sum.finish(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn known_header() {
        let header = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7,
        ];
        assert_eq!(of(&header), 0xb861);
    }
}
