//! rtnetlink(7): dumps and look-ups of links, addresses and routes. There is lo with 127.0.0.1/8 and ::1/128.

use abi::{AbiField, AbiStruct, Errno, abi_struct};

use crate::socket::interface::{ARPHRD_LOOPBACK, LO_FLAGS, LO_INDEX, LO_MTU, addresses};
use crate::socket::{AF_INET, AF_INET6};

abi_struct! {
    struct NlMsgHdr { len: u32, kind: u16, flags: u16, seq: u32, port: u32 }
}
abi_struct! {
    struct IfInfo { family: u8, pad: u8, kind: u16, index: i32, flags: u32, change: u32 }
}
abi_struct! {
    struct IfAddr { family: u8, prefix: u8, flags: u8, scope: u8, index: u32 }
}
abi_struct! {
    struct RtMsg {
        family: u8, dst_len: u8, src_len: u8, tos: u8, table: u8, protocol: u8, scope: u8, kind: u8, flags: u32,
    }
}

const HEADER: usize = NlMsgHdr::SIZE;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_MULTI: u16 = 2;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_GETNEIGH: u16 = 30;
const RTM_GETRULE: u16 = 34;
/// One past the last message type.
const RTM_END: u16 = 124;

/// Messages that one request may hold: bounds the replies.
const MOST_REQUESTS: usize = 16;
/// Bytes of replies put into one datagram.
const DATAGRAM: usize = 4096;

/// The reply datagrams to a request datagram from `port`.
pub(super) fn answer(request: &[u8], port: u32) -> Vec<Vec<u8>> {
    let mut replies = Vec::new();
    let mut rest = request;
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
        answer_one(&header, &rest[..len], port, &mut replies);
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    replies
}

fn answer_one(header: &NlMsgHdr, raw: &[u8], port: u32, replies: &mut Vec<Vec<u8>>) {
    if header.flags & NLM_F_REQUEST == 0 || header.kind <= NLMSG_NOOP || header.kind == NLMSG_DONE {
        return;
    }
    let body = &raw[HEADER..];
    let family = body.first().copied().unwrap_or(0);
    let dump = header.flags & NLM_F_DUMP == NLM_F_DUMP;
    let found: Result<Vec<Vec<u8>>, Errno> = match header.kind {
        RTM_GETLINK if dump => Ok(vec![link()]),
        RTM_GETLINK => asked_link(body).map(|()| vec![link()]),
        RTM_GETADDR if dump => Ok(addrs(family)),
        RTM_GETROUTE if dump => Ok(routes(family)),
        RTM_GETROUTE => route_to(family, body).map(|route| vec![route]),
        RTM_GETNEIGH | RTM_GETRULE if dump => Ok(Vec::new()),
        kind if !(RTM_NEWLINK..RTM_END).contains(&kind) => Err(Errno::EOPNOTSUPP),
        // Gets are every third after new and delete; what is left would change something.
        kind if kind % 4 == 2 => Err(Errno::EOPNOTSUPP),
        _ => Err(Errno::EPERM),
    };
    let kind = match header.kind {
        RTM_GETLINK => RTM_NEWLINK,
        RTM_GETADDR => RTM_NEWADDR,
        _ => RTM_NEWROUTE,
    };
    match found {
        Err(error) => replies.push(error_reply(header, raw, port, -error.raw())),
        Ok(bodies) => {
            let flags = if dump { NLM_F_MULTI } else { 0 };
            let mut datagram = Vec::new();
            for body in &bodies {
                let reply = message(header, port, kind, flags, body);
                if datagram.len() + reply.len() > DATAGRAM {
                    replies.push(std::mem::take(&mut datagram));
                }
                datagram.extend(reply);
            }
            if !datagram.is_empty() {
                replies.push(datagram);
            }
            if dump {
                replies.push(message(
                    header,
                    port,
                    NLMSG_DONE,
                    NLM_F_MULTI,
                    &0i32.to_le_bytes(),
                ));
            } else if header.flags & NLM_F_ACK != 0 {
                replies.push(error_reply(header, raw, port, 0));
            }
        }
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

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    bytes.extend(len.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The attributes of a request after its fixed part: kind and value.
fn attributes(mut rest: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while rest.len() >= 4 {
        let len = usize::from(u16::get(rest));
        if !(4..=rest.len()).contains(&len) {
            break;
        }
        found.push((u16::get(&rest[2..]), &rest[4..len]));
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// Whether a request for one link means lo, by index or name.
fn asked_link(body: &[u8]) -> Result<(), Errno> {
    const IFLA_IFNAME: u16 = 3;
    if body.len() < IfInfo::SIZE {
        return Err(Errno::EINVAL);
    }
    let index = IfInfo::get(body).index;
    let named = attributes(&body[IfInfo::SIZE..])
        .into_iter()
        .find(|(kind, _)| *kind == IFLA_IFNAME);
    match (index, named) {
        (LO_INDEX, _) => Ok(()),
        (0, Some((_, name))) if name.split(|byte| *byte == 0).next() == Some(b"lo") => Ok(()),
        (0, None) => Err(Errno::EINVAL),
        _ => Err(Errno::ENODEV),
    }
}

fn link() -> Vec<u8> {
    const IFF_LOWER_UP: u32 = 0x1_0000;
    let info = IfInfo {
        family: 0,
        pad: 0,
        kind: ARPHRD_LOOPBACK,
        index: LO_INDEX,
        flags: LO_FLAGS | IFF_LOWER_UP,
        change: 0,
    };
    let mut bytes = info.to_bytes();
    attribute(&mut bytes, 3, b"lo\0"); // IFLA_IFNAME
    attribute(&mut bytes, 13, &1000u32.to_le_bytes()); // IFLA_TXQLEN
    attribute(&mut bytes, 16, &[0]); // IFLA_OPERSTATE: unknown
    attribute(&mut bytes, 17, &[0]); // IFLA_LINKMODE
    attribute(&mut bytes, 4, &LO_MTU.to_le_bytes()); // IFLA_MTU
    attribute(&mut bytes, 27, &0u32.to_le_bytes()); // IFLA_GROUP
    attribute(&mut bytes, 30, &0u32.to_le_bytes()); // IFLA_PROMISCUITY
    attribute(&mut bytes, 31, &1u32.to_le_bytes()); // IFLA_NUM_TX_QUEUES
    attribute(&mut bytes, 32, &1u32.to_le_bytes()); // IFLA_NUM_RX_QUEUES
    attribute(&mut bytes, 6, b"noqueue\0"); // IFLA_QDISC
    attribute(&mut bytes, 1, &[0; 6]); // IFLA_ADDRESS
    attribute(&mut bytes, 2, &[0; 6]); // IFLA_BROADCAST
    attribute(&mut bytes, 7, &[0; 96]); // IFLA_STATS
    attribute(&mut bytes, 23, &[0; 192]); // IFLA_STATS64
    bytes
}

fn addrs(wanted: u8) -> Vec<Vec<u8>> {
    const IFA_F_PERMANENT: u8 = 0x80;
    const RT_SCOPE_HOST: u8 = 254;
    let lo = u32::try_from(LO_INDEX).unwrap_or(1);
    let mut found = Vec::new();
    for (family, prefix, ip) in addresses() {
        let family = u8::try_from(family).unwrap_or(0);
        if wanted != 0 && wanted != family {
            continue;
        }
        let addr = IfAddr {
            family,
            prefix,
            flags: IFA_F_PERMANENT,
            scope: RT_SCOPE_HOST,
            index: lo,
        };
        let mut bytes = addr.to_bytes();
        attribute(&mut bytes, 1, &ip); // IFA_ADDRESS
        if u16::from(family) == AF_INET {
            attribute(&mut bytes, 2, &ip); // IFA_LOCAL
            attribute(&mut bytes, 3, b"lo\0"); // IFA_LABEL
        }
        attribute(&mut bytes, 8, &u32::from(IFA_F_PERMANENT).to_le_bytes()); // IFA_FLAGS
        let forever = [[0xff; 8], [0; 8]].concat();
        attribute(&mut bytes, 6, &forever); // IFA_CACHEINFO
        found.push(bytes);
    }
    found
}

fn route(family: u16, dst: &[u8], prefix: u8, source: &[u8]) -> Vec<u8> {
    const RT_TABLE_LOCAL: u8 = 255;
    const RTPROT_KERNEL: u8 = 2;
    const RT_SCOPE_HOST: u8 = 254;
    const RTN_LOCAL: u8 = 2;
    let message = RtMsg {
        family: u8::try_from(family).unwrap_or(0),
        dst_len: prefix,
        src_len: 0,
        tos: 0,
        table: RT_TABLE_LOCAL,
        protocol: RTPROT_KERNEL,
        scope: if family == AF_INET { RT_SCOPE_HOST } else { 0 },
        kind: RTN_LOCAL,
        flags: 0,
    };
    let mut bytes = message.to_bytes();
    attribute(&mut bytes, 15, &u32::from(RT_TABLE_LOCAL).to_le_bytes()); // RTA_TABLE
    attribute(&mut bytes, 1, dst); // RTA_DST
    attribute(&mut bytes, 7, source); // RTA_PREFSRC
    attribute(&mut bytes, 4, &LO_INDEX.to_le_bytes()); // RTA_OIF
    bytes
}

fn routes(wanted: u8) -> Vec<Vec<u8>> {
    addresses()
        .into_iter()
        .filter(|(family, ..)| wanted == 0 || u16::from(wanted) == *family)
        .map(|(family, prefix, ip)| {
            let network = if family == AF_INET {
                vec![127, 0, 0, 0]
            } else {
                ip.clone()
            };
            route(family, &network, prefix, &ip)
        })
        .collect()
}

/// The route to one destination: `ip route get`.
fn route_to(family: u8, body: &[u8]) -> Result<Vec<u8>, Errno> {
    const RTA_DST: u16 = 1;
    let attributes = attributes(body.get(RtMsg::SIZE..).ok_or(Errno::EINVAL)?);
    let dst = attributes.into_iter().find(|(kind, _)| *kind == RTA_DST);
    let dst = dst.map(|(_, value)| value).unwrap_or_default();
    match (u16::from(family), dst) {
        (AF_INET, [127, _, _, _]) => Ok(route(AF_INET, dst, 32, &[127, 0, 0, 1])),
        (AF_INET6, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]) => Ok(route(AF_INET6, dst, 128, dst)),
        _ => Err(Errno::ENETUNREACH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_of_links_names_lo_and_ends() {
        let mut request = NlMsgHdr {
            len: 32,
            kind: RTM_GETLINK,
            flags: NLM_F_REQUEST | NLM_F_DUMP,
            seq: 7,
            port: 0,
        }
        .to_bytes();
        request.extend([0; 16]);
        let replies = answer(&request, 55);
        assert_eq!(replies.len(), 2);
        let first = NlMsgHdr::get(&replies[0]);
        assert_eq!((first.kind, first.seq, first.port), (RTM_NEWLINK, 7, 55));
        assert!(replies[0].windows(3).any(|bytes| bytes == b"lo\0"));
        assert_eq!(NlMsgHdr::get(&replies[1]).kind, NLMSG_DONE);
    }

    #[test]
    fn odd_requests_do_no_harm() {
        for len in 0..40 {
            for byte in [0, 0xff, 18, 26] {
                let _ = answer(&vec![byte; len], 1);
            }
        }
    }
}
