//! ICMP (RFC 792) and ICMPv6 (RFC 4443): numbers and the eight bytes that all messages begin with.

use super::{array, be16};

/// Length of the header with the four bytes that depend on the type.
pub(crate) const HEADER: usize = 8;

pub(crate) const ECHO_REPLY: u8 = 0;
pub(crate) const UNREACHABLE: u8 = 3;
pub(crate) const ECHO_REQUEST: u8 = 8;
pub(crate) const TIME_EXCEEDED: u8 = 11;
pub(crate) const PARAMETER_PROBLEM: u8 = 12;
pub(crate) const TIMESTAMP: u8 = 13;
pub(crate) const TIMESTAMP_REPLY: u8 = 14;

pub(crate) const V6_UNREACHABLE: u8 = 1;
pub(crate) const V6_PACKET_TOO_BIG: u8 = 2;
pub(crate) const V6_TIME_EXCEEDED: u8 = 3;
pub(crate) const V6_PARAMETER_PROBLEM: u8 = 4;
pub(crate) const V6_ECHO_REQUEST: u8 = 128;
pub(crate) const V6_ECHO_REPLY: u8 = 129;

/// A message: type, code, the four bytes that follow the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Icmp {
    pub kind: u8,
    pub code: u8,
    pub checksum: u16,
    pub rest: [u8; 4],
}

impl Icmp {
    pub(crate) fn parse(packet: &[u8]) -> Option<(Icmp, &[u8])> {
        let header = Icmp {
            kind: *packet.first()?,
            code: *packet.get(1)?,
            checksum: be16(packet, 2)?,
            rest: array(packet, 4)?,
        };
        Some((header, packet.get(HEADER..)?))
    }

    pub(crate) fn emit(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0] = self.kind;
        out[1] = self.code;
        out[2..4].copy_from_slice(&self.checksum.to_be_bytes());
        out[4..].copy_from_slice(&self.rest);
        out
    }
}
