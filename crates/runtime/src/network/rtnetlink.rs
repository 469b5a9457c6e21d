//! rtnetlink(7) towards the host: dumps of links, addresses, routes and neighbours, and the few changes that a take-over makes.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use abi::Errno;

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
/// NLM_F_EXCL and NLM_F_CREATE.
const NLM_F_NEW: u16 = 0x600;

pub const RTM_NEWLINK: u16 = 16;
pub const RTM_GETLINK: u16 = 18;
pub const RTM_NEWADDR: u16 = 20;
pub const RTM_DELADDR: u16 = 21;
pub const RTM_GETADDR: u16 = 22;
pub const RTM_GETROUTE: u16 = 26;
pub const RTM_GETNEIGH: u16 = 30;

/// Bytes of one reply: what libraries give the host room for.
const REPLY: usize = 64 << 10;
/// Replies to one dump that are read.
const MOST_REPLIES: usize = 4096;

/// A conversation with the host about one network namespace.
pub struct Rtnetlink {
    socket: OwnedFd,
    sequence: u32,
}

/// A message without its header, taken apart: the fixed part and the attributes.
pub struct Entry {
    fixed: Vec<u8>,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// Takes the messages of one reply apart. True: it was the last one.
pub fn messages(reply: &[u8], take: &mut impl FnMut(u16, &[u8])) -> Result<bool, Errno> {
    let mut rest = reply;
    while rest.len() >= HEADER {
        let len = number(rest) as usize;
        if !(HEADER..=rest.len()).contains(&len) {
            return Err(Errno::EBADMSG);
        }
        let kind = u16::from_le_bytes([rest[4], rest[5]]);
        let body = &rest[HEADER..len];
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                return match number(body).cast_signed() {
                    0 => Ok(true),
                    error => Err(Errno::from_raw(error.saturating_neg())),
                };
            }
            _ => take(kind, body),
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

impl Entry {
    /// A message with so many bytes before its attributes.
    pub fn of(body: &[u8], fixed: usize) -> Entry {
        let (head, mut rest) = body.split_at(fixed.min(body.len()));
        let mut attributes = Vec::new();
        while rest.len() >= 4 {
            let len = usize::from(u16::from_le_bytes([rest[0], rest[1]]));
            if !(4..=rest.len()).contains(&len) {
                break;
            }
            // The two high bits say how the value is encoded.
            let kind = u16::from_le_bytes([rest[2], rest[3]]) & 0x3fff;
            attributes.push((kind, rest[4..len].to_vec()));
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Entry {
            fixed: head.to_vec(),
            attributes,
        }
    }

    /// A number of the fixed part.
    pub fn byte(&self, at: usize) -> u8 {
        self.fixed.get(at).copied().unwrap_or(0)
    }

    /// Two bytes of the fixed part.
    pub fn half(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.byte(at), self.byte(at + 1)])
    }

    /// Four bytes of the fixed part.
    pub fn word(&self, at: usize) -> u32 {
        number(self.fixed.get(at..).unwrap_or_default())
    }

    /// An attribute's bytes.
    pub fn attribute(&self, kind: u16) -> Option<&[u8]> {
        let found = self.attributes.iter().find(|(own, _)| *own == kind);
        found.map(|(_, value)| &value[..])
    }

    /// An attribute that is a number.
    pub fn number(&self, kind: u16) -> Option<u32> {
        self.attribute(kind).map(number)
    }

    /// An attribute that is an address.
    pub fn address(&self, kind: u16) -> Option<IpAddr> {
        let bytes = self.attribute(kind)?;
        match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
            _ => None,
        }
    }

    /// An attribute that is text.
    pub fn text(&self, kind: u16) -> Option<String> {
        let bytes = self.attribute(kind)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// An attribute that is an Ethernet address.
    pub fn mac(&self, kind: u16) -> Option<[u8; 6]> {
        <[u8; 6]>::try_from(self.attribute(kind)?).ok()
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// Adds an attribute to a message.
pub fn put_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    message.extend(len.to_le_bytes());
    message.extend(kind.to_le_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// The bytes of an address.
pub fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// AF_INET or AF_INET6.
pub fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 2 } else { 10 }
}

impl Rtnetlink {
    /// About the network namespace that the calling thread is in.
    pub fn open() -> Result<Rtnetlink, Errno> {
        Ok(Rtnetlink {
            socket: host::packet::route_socket()?,
            sequence: 0,
        })
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<(), Errno> {
        self.sequence += 1;
        let len = u32::try_from(HEADER + body.len()).map_err(|_| Errno::EMSGSIZE)?;
        let mut message = len.to_le_bytes().to_vec();
        message.extend(kind.to_le_bytes());
        message.extend((NLM_F_REQUEST | flags).to_le_bytes());
        message.extend(self.sequence.to_le_bytes());
        message.extend([0; 4]);
        message.extend_from_slice(body);
        host::fd::send(self.socket.as_fd(), &message)
    }

    /// Reads replies until the end of the dump or an acknowledgement, and gives each entry to `take`.
    fn replies(&mut self, mut take: impl FnMut(u16, &[u8])) -> Result<(), Errno> {
        let mut buf = vec![0; REPLY];
        for _ in 0..MOST_REPLIES {
            let got = host::fd::receive(self.socket.as_fd(), &mut buf)?;
            if messages(buf.get(..got).unwrap_or_default(), &mut take)? {
                return Ok(());
            }
        }
        Err(Errno::E2BIG)
    }

    /// Everything of a kind; `fixed` bytes come before the attributes.
    pub fn dump(&mut self, kind: u16, fixed: usize) -> Result<Vec<Entry>, Errno> {
        self.send(kind, NLM_F_DUMP, &vec![0; fixed])?;
        let mut entries = Vec::new();
        self.replies(|_, body| entries.push(Entry::of(body, fixed)))?;
        Ok(entries)
    }

    /// Makes a change and waits for its outcome.
    pub fn change(&mut self, kind: u16, body: &[u8]) -> Result<(), Errno> {
        let new = matches!(kind, RTM_NEWADDR)
            || (kind == RTM_NEWLINK && number(body.get(4..).unwrap_or_default()) == 0);
        self.send(kind, NLM_F_ACK | if new { NLM_F_NEW } else { 0 }, body)?;
        self.replies(|_, _| {})
    }
}
