//! IPv6 headers and extension headers (RFC 8200).

use std::net::Ipv6Addr;

use super::{array, be16, be32, protocol};

/// Length of the fixed header.
pub(crate) const HEADER: usize = 40;
/// Extension headers in one packet; Linux's default bound is on options (8 of a kind), ours on headers.
const MAX_EXTENSIONS: usize = 8;

/// The fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ipv6 {
    pub traffic_class: u8,
    pub flow: u32,
    pub next: u8,
    pub hop_limit: u8,
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
}

/// A fragment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub id: u32,
    pub offset: usize,
    pub more: bool,
}

/// What the extension headers lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extensions<'a> {
    /// The upper protocol and its bytes.
    Upper(u8, &'a [u8]),
    /// A fragment: header, protocol of what follows, the piece.
    Fragment(Fragment, u8, &'a [u8]),
    /// A problem to report by ICMPv6: code, and offset from the start of the packet.
    Problem(u8, u32),
    /// To be dropped silently.
    Drop,
}

impl Ipv6 {
    pub(crate) fn parse(packet: &[u8]) -> Option<(Ipv6, &[u8])> {
        let first = be32(packet, 0)?;
        if first >> 28 != 6 {
            return None;
        }
        let len = usize::from(be16(packet, 4)?);
        let parsed = Ipv6 {
            traffic_class: (first >> 20) as u8,
            flow: first & 0xf_ffff,
            next: *packet.get(6)?,
            hop_limit: *packet.get(7)?,
            src: Ipv6Addr::from(array::<16>(packet, 8)?),
            dst: Ipv6Addr::from(array::<16>(packet, 24)?),
        };
        Some((parsed, packet.get(HEADER..HEADER + len)?))
    }

    pub(crate) fn emit(&self, payload: usize) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow & 0xf_ffff;
        out[..4].copy_from_slice(&first.to_be_bytes());
        out[4..6].copy_from_slice(&u16::try_from(payload).unwrap_or(0).to_be_bytes());
        out[6] = self.next;
        out[7] = self.hop_limit;
        out[8..24].copy_from_slice(&self.src.octets());
        out[24..].copy_from_slice(&self.dst.octets());
        out
    }
}

/// Walks the extension headers in `payload`, whose first has the number `next`.
pub(crate) fn walk(mut next: u8, payload: &[u8]) -> Extensions<'_> {
    let mut rest = payload;
    let mut named_at = 6u32;
    for _ in 0..MAX_EXTENSIONS {
        let at = (HEADER + payload.len() - rest.len()) as u32;
        match next {
            protocol::HOP_BY_HOP if at != HEADER as u32 => return Extensions::Problem(1, named_at),
            protocol::HOP_BY_HOP | protocol::DESTINATION | protocol::ROUTING => {
                let (Some(&following), Some(&units)) = (rest.first(), rest.get(1)) else {
                    return Extensions::Drop;
                };
                let len = (usize::from(units) + 1) * 8;
                let Some(header) = rest.get(..len) else {
                    return Extensions::Drop;
                };
                if next == protocol::ROUTING {
                    // Segments left: we are no router of source routes (RFC 5095).
                    if header.get(3).is_some_and(|&left| left != 0) {
                        return Extensions::Problem(0, at + 2);
                    }
                } else if let Some(problem) = options(&header[2..], at + 2) {
                    return problem;
                }
                next = following;
                named_at = at;
                rest = &rest[len..];
            }
            protocol::FRAGMENT => {
                let (Some(&following), Some(field), Some(id)) = (rest.first(), be16(rest, 2), be32(rest, 4))
                else {
                    return Extensions::Drop;
                };
                let fragment = Fragment {
                    id,
                    offset: usize::from(field & !7),
                    more: field & 1 != 0,
                };
                if fragment.offset == 0 && !fragment.more {
                    // An atomic fragment (RFC 6946) is a whole packet.
                    next = following;
                    named_at = at;
                    rest = &rest[8..];
                    continue;
                }
                return Extensions::Fragment(fragment, following, &rest[8..]);
            }
            protocol::NO_NEXT => return Extensions::Drop,
            upper => return Extensions::Upper(upper, rest),
        }
    }
    Extensions::Drop
}

/// Options of a hop-by-hop or destination header: unknown ones say themselves what to do (RFC 8200, section 4.2).
fn options(mut rest: &[u8], mut at: u32) -> Option<Extensions<'_>> {
    while let Some(&kind) = rest.first() {
        if kind == 0 {
            rest = &rest[1..];
            at += 1;
            continue;
        }
        let Some(&len) = rest.get(1) else {
            return Some(Extensions::Drop);
        };
        // Padding and the router alert are known.
        if kind != 1 && kind != 5 {
            match kind >> 6 {
                0 => {}
                1 => return Some(Extensions::Drop),
                _ => return Some(Extensions::Problem(2, at)),
            }
        }
        let Some(after) = rest.get(2 + usize::from(len)..) else {
            return Some(Extensions::Drop);
        };
        rest = after;
        at += 2 + u32::from(len);
    }
    None
}
