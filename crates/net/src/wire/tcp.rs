//! TCP headers and options (RFC 9293, 7323, 2018).

use super::{be16, be32};

/// Length of the header without options.
pub(crate) const HEADER: usize = 20;
/// Longest header.
pub(crate) const MAX_HEADER: usize = 60;

bitflags::bitflags! {
    /// The control bits.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Flags: u8 {
        const FIN = 1;
        const SYN = 2;
        const RST = 4;
        const PSH = 8;
        const ACK = 16;
        const URG = 32;
        const ECE = 64;
        const CWR = 128;
    }
}

/// Blocks in a SACK option; more than four have no room.
pub(crate) const MAX_SACK: usize = 4;

/// Options of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub mss: Option<u16>,
    pub window_scale: Option<u8>,
    pub sack_permitted: bool,
    /// TSval, TSecr.
    pub timestamps: Option<(u32, u32)>,
    /// Left and right edges.
    pub sack: [(u32, u32); MAX_SACK],
    pub sack_len: usize,
}

/// A header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub src: u16,
    pub dst: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: Flags,
    pub window: u16,
    pub urgent: u16,
    pub options: Options,
}

impl Tcp {
    /// The header and the payload. Unknown and malformed options are passed over, as Linux does.
    pub(crate) fn parse(segment: &[u8]) -> Option<(Tcp, &[u8])> {
        let header_len = usize::from(*segment.get(12)? >> 4) * 4;
        if header_len < HEADER {
            return None;
        }
        let header = segment.get(..header_len)?;
        let mut parsed = Tcp {
            src: be16(header, 0)?,
            dst: be16(header, 2)?,
            seq: be32(header, 4)?,
            ack: be32(header, 8)?,
            flags: Flags::from_bits_retain(header[13]),
            window: be16(header, 14)?,
            urgent: be16(header, 18)?,
            options: Options::default(),
        };
        parsed
            .options
            .parse(&header[HEADER..], parsed.flags.contains(Flags::SYN));
        Some((parsed, &segment[header_len..]))
    }

    /// Writes the header with a checksum field of zero; the length of it.
    pub(crate) fn emit(&self, out: &mut [u8; MAX_HEADER]) -> usize {
        let len = HEADER + self.options.emit(&mut out[HEADER..]);
        out[..2].copy_from_slice(&self.src.to_be_bytes());
        out[2..4].copy_from_slice(&self.dst.to_be_bytes());
        out[4..8].copy_from_slice(&self.seq.to_be_bytes());
        out[8..12].copy_from_slice(&self.ack.to_be_bytes());
        out[12] = ((len / 4) as u8) << 4;
        out[13] = self.flags.bits();
        out[14..16].copy_from_slice(&self.window.to_be_bytes());
        out[16..18].fill(0);
        out[18..20].copy_from_slice(&self.urgent.to_be_bytes());
        len
    }
}

impl Options {
    fn parse(&mut self, mut rest: &[u8], syn: bool) {
        while let Some(&kind) = rest.first() {
            match kind {
                0 => return,
                1 => {
                    rest = &rest[1..];
                    continue;
                }
                _ => {}
            }
            let Some(&len) = rest.get(1) else { return };
            let len = usize::from(len);
            let Some(option) = rest.get(..len).filter(|_| len >= 2) else {
                return;
            };
            match (kind, len) {
                (2, 4) if syn => self.mss = be16(option, 2).filter(|&m| m != 0),
                // RFC 7323, section 2.3: more than 14 counts as 14.
                (3, 3) if syn => self.window_scale = option.get(2).map(|&s| s.min(14)),
                (4, 2) if syn => self.sack_permitted = true,
                (5, 10 | 18 | 26 | 34) if !syn => {
                    self.sack_len = 0;
                    for at in (2..len).step_by(8) {
                        if let (Some(left), Some(right)) = (be32(option, at), be32(option, at + 4)) {
                            self.sack[self.sack_len] = (left, right);
                            self.sack_len += 1;
                        }
                    }
                }
                (8, 10) => self.timestamps = be32(option, 2).zip(be32(option, 6)),
                _ => {}
            }
            rest = &rest[len..];
        }
    }

    /// The SACK blocks that fit, in Linux's order of options.
    fn emit(&self, out: &mut [u8]) -> usize {
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        if let Some(mss) = self.mss {
            let [a, b] = mss.to_be_bytes();
            put(&[2, 4, a, b]);
        }
        if let Some((value, echo)) = self.timestamps {
            put(if self.sack_permitted {
                &[4, 2, 8, 10]
            } else {
                &[1, 1, 8, 10]
            });
            put(&value.to_be_bytes());
            put(&echo.to_be_bytes());
        } else if self.sack_permitted {
            put(&[1, 1, 4, 2]);
        }
        if let Some(scale) = self.window_scale {
            put(&[1, 3, 3, scale]);
        }
        if self.sack_len > 0 {
            put(&[1, 1, 5, 2 + 8 * self.sack_len as u8]);
            for (left, right) in &self.sack[..self.sack_len] {
                put(&left.to_be_bytes());
                put(&right.to_be_bytes());
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emitted_parses_to_the_same() {
        let mut sack = [(0, 0); MAX_SACK];
        sack[0] = (1000, 2000);
        sack[1] = (3000, 4000);
        let cases = [
            Options {
                mss: Some(1460),
                window_scale: Some(7),
                sack_permitted: true,
                timestamps: Some((1, 2)),
                ..Options::default()
            },
            Options {
                mss: Some(1460),
                window_scale: Some(7),
                sack_permitted: true,
                ..Options::default()
            },
            Options {
                timestamps: Some((9, 8)),
                sack,
                sack_len: 2,
                ..Options::default()
            },
            Options {
                sack,
                sack_len: 2,
                ..Options::default()
            },
            Options::default(),
        ];
        for options in cases {
            let syn = options.mss.is_some();
            let flags = if syn { Flags::SYN } else { Flags::ACK | Flags::PSH };
            let header = Tcp {
                src: 1,
                dst: 2,
                seq: 3,
                ack: 4,
                flags,
                window: 5,
                urgent: 0,
                options,
            };
            let mut out = [0; MAX_HEADER];
            let len = header.emit(&mut out);
            assert_eq!(len % 4, 0);
            assert_eq!(Tcp::parse(&out[..len]), Some((header, &[][..])));
        }
    }
}
