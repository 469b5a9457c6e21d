//! The form of netlink messages: header, fixed part, attributes; replies, acknowledgements, the end of dumps.

use std::net::IpAddr;

use abi::{AbiField, AbiStruct, Errno, abi_struct};

abi_struct! {
    /// `struct nlmsghdr`.
    pub(super) struct NlMsgHdr { pub len: u32, pub kind: u16, pub flags: u16, pub seq: u32, pub port: u32 }
}

/// Bytes of a header.
pub(super) const HEADER: usize = NlMsgHdr::SIZE;
pub(super) const NLMSG_NOOP: u16 = 1;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NLM_F_REQUEST: u16 = 1;
pub(super) const NLM_F_MULTI: u16 = 2;
pub(super) const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_REPLACE: u16 = 0x100;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;

/// Messages that one request may hold: bounds the replies.
const MOST_REQUESTS: usize = 16;
/// Bytes of replies put into one datagram.
const DATAGRAM: usize = 4096;

/// What a request is answered with: the bodies of messages, all of one type.
pub(super) struct Answer {
    /// Their type.
    pub kind: u16,
    /// Fixed part and attributes of each.
    pub bodies: Vec<Vec<u8>>,
}

impl Answer {
    /// Nothing but an acknowledgement.
    pub fn done() -> Answer {
        Answer {
            kind: NLMSG_NOOP,
            bodies: Vec::new(),
        }
    }

    /// Messages of a type.
    pub fn of(kind: u16, bodies: Vec<Vec<u8>>) -> Answer {
        Answer { kind, bodies }
    }
}

/// A request.
pub(super) struct Request<'a> {
    /// Its header.
    pub header: NlMsgHdr,
    /// What follows the header.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// Whether everything of a kind is asked for.
    pub fn is_dump(&self) -> bool {
        self.header.flags & NLM_F_DUMP == NLM_F_DUMP
    }

    /// Its first byte: a family.
    pub fn family(&self) -> u8 {
        self.body.first().copied().unwrap_or(0)
    }

    /// The fixed part as a structure. `EINVAL` when it is cut.
    pub fn fixed<T: AbiStruct>(&self) -> Result<T, Errno> {
        if self.body.len() < T::SIZE {
            return Err(Errno::EINVAL);
        }
        Ok(T::get(self.body))
    }

    /// The attributes after a fixed part of `size` bytes.
    pub fn attributes(&self, size: usize) -> Attributes<'_> {
        Attributes::read(self.body.get(size..).unwrap_or_default())
    }
}

/// The reply datagrams to a request datagram from `port`; `serve` answers each message of it.
pub(super) fn answer(
    datagram: &[u8],
    port: u32,
    mut serve: impl FnMut(&Request<'_>) -> Result<Answer, Errno>,
) -> Vec<Vec<u8>> {
    let mut replies = Vec::new();
    let mut rest = datagram;
    for _ in 0..MOST_REQUESTS {
        if rest.len() < HEADER {
            break;
        }
        let header = NlMsgHdr::get(rest);
        let Some(len) = usize::try_from(header.len)
            .ok()
            .filter(|len| (HEADER..=rest.len()).contains(len))
        else {
            break;
        };
        let raw = &rest[..len];
        if header.flags & NLM_F_REQUEST != 0 && header.kind > NLMSG_NOOP && header.kind != NLMSG_DONE {
            let request = Request {
                header,
                body: &raw[HEADER..],
            };
            let result = serve(&request);
            reply(&request, raw, port, result, &mut replies);
        }
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    replies
}

fn reply(
    request: &Request<'_>,
    raw: &[u8],
    port: u32,
    result: Result<Answer, Errno>,
    replies: &mut Vec<Vec<u8>>,
) {
    let header = &request.header;
    let found = match result {
        Err(error) => return replies.push(error_reply(header, raw, port, error.raw().saturating_neg())),
        Ok(found) => found,
    };
    let dump = request.is_dump() && found.kind != NLMSG_NOOP;
    let flags = if dump { NLM_F_MULTI } else { 0 };
    let mut datagram = Vec::new();
    for body in &found.bodies {
        let reply = message(header, port, found.kind, flags, body);
        if !datagram.is_empty() && datagram.len() + reply.len() > DATAGRAM {
            replies.push(std::mem::take(&mut datagram));
        }
        datagram.extend(reply);
    }
    if !datagram.is_empty() {
        replies.push(datagram);
    }
    if dump {
        let done = message(header, port, NLMSG_DONE, NLM_F_MULTI, &0i32.to_le_bytes());
        replies.push(done);
    } else if header.flags & NLM_F_ACK != 0 {
        replies.push(error_reply(header, raw, port, 0));
    }
}

fn message(request: &NlMsgHdr, port: u32, kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let header = NlMsgHdr {
        len: u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX),
        kind,
        flags,
        seq: request.seq,
        port,
    };
    let mut bytes = header.to_bytes();
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An error (0: an acknowledgement) with the request it is about.
fn error_reply(request: &NlMsgHdr, raw: &[u8], port: u32, error: i32) -> Vec<u8> {
    let mut body = error.to_le_bytes().to_vec();
    body.extend_from_slice(if error == 0 { &raw[..HEADER] } else { raw });
    message(request, port, NLMSG_ERROR, 0, &body)
}

/// Adds an attribute.
pub(super) fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    bytes.extend(len.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Adds an attribute that is text with its NUL.
pub(super) fn text(bytes: &mut Vec<u8>, kind: u16, value: &str) {
    attribute(bytes, kind, &[value.as_bytes(), b"\0"].concat());
}

/// The bytes of an address.
pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// AF_INET or AF_INET6.
pub(super) fn family_of(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 2 } else { 10 }
}

/// The attributes of a message.
pub(super) struct Attributes<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Attributes<'a> {
    /// Those in a range of bytes: of a message, or nested in another attribute.
    pub fn read(mut rest: &'a [u8]) -> Attributes<'a> {
        /// The two high bits say how a value is encoded.
        const KIND: u16 = 0x3fff;
        let mut found = Vec::new();
        while rest.len() >= 4 {
            let len = usize::from(u16::get(rest));
            if !(4..=rest.len()).contains(&len) {
                break;
            }
            found.push((u16::get(&rest[2..]) & KIND, &rest[4..len]));
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Attributes(found)
    }

    /// Whether there is any of these.
    pub fn any(&self, kinds: &[u16]) -> bool {
        self.0.iter().any(|(own, _)| kinds.contains(own))
    }

    /// An attribute's value.
    pub fn get(&self, kind: u16) -> Option<&'a [u8]> {
        let found = self.0.iter().find(|(own, _)| *own == kind);
        found.map(|(_, value)| *value)
    }

    /// An attribute that is text, without its NUL.
    pub fn text(&self, kind: u16) -> Option<&'a [u8]> {
        self.get(kind)
            .map(|value| value.split(|byte| *byte == 0).next().unwrap_or_default())
    }

    /// An attribute that is a number.
    pub fn number(&self, kind: u16) -> Option<u32> {
        self.get(kind).filter(|value| value.len() >= 4).map(u32::get)
    }

    /// An attribute that is an address.
    pub fn address(&self, kind: u16) -> Option<IpAddr> {
        let value = self.get(kind)?;
        match value.len() {
            4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
            _ => None,
        }
    }

    /// An attribute that is an Ethernet address.
    pub fn mac(&self, kind: u16) -> Option<[u8; 6]> {
        <[u8; 6]>::try_from(self.get(kind)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_ends_and_names_its_asker() {
        let mut request = NlMsgHdr {
            len: 32,
            kind: 18,
            flags: NLM_F_REQUEST | NLM_F_DUMP,
            seq: 7,
            port: 0,
        }
        .to_bytes();
        request.extend([0; 16]);
        let replies = answer(&request, 55, |_| Ok(Answer::of(16, vec![b"body".to_vec()])));
        assert_eq!(replies.len(), 2);
        let first = NlMsgHdr::get(&replies[0]);
        assert_eq!((first.kind, first.seq, first.port), (16, 7, 55));
        assert_eq!(NlMsgHdr::get(&replies[1]).kind, NLMSG_DONE);
    }

    #[test]
    fn odd_requests_do_no_harm() {
        for len in 0..40 {
            for byte in [0, 0xff, 18, 26] {
                let _ = answer(&vec![byte; len], 1, |request| {
                    let _ = request.attributes(12).number(1);
                    Err(Errno::EINVAL)
                });
            }
        }
    }
}
