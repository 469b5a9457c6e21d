//! sock_diag(7): lists of TCP and UDP sockets for ss(8). For other families `EOPNOTSUPP`: it then reads /proc/net.

use std::sync::Arc;

use abi::{Errno, abi_struct};

use super::message::{self, Answer, Request, octets};
use crate::socket::NetNs;
use crate::socket::inet::{Summary, tcp_rows, udp_rows};
use crate::socket::{AF_INET, AF_INET6};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

abi_struct! {
    /// The start of `struct inet_diag_req_v2`; a socket's ends follow.
    struct DiagRequest { family: u8, protocol: u8, extensions: u8, pad: u8, states: u32 }
}

/// The reply datagrams to a request datagram from `port`.
pub(super) fn answer(net: &Arc<NetNs>, datagram: &[u8], port: u32) -> Vec<Vec<u8>> {
    message::answer(datagram, port, |request| serve(net, request))
}

fn serve(net: &Arc<NetNs>, request: &Request<'_>) -> Result<Answer, Errno> {
    if request.header.kind != SOCK_DIAG_BY_FAMILY {
        return Err(Errno::EINVAL);
    }
    let wanted: DiagRequest = request.fixed()?;
    let family = u16::from(wanted.family);
    if ![AF_INET, AF_INET6].contains(&family) || !request.is_dump() {
        return Err(Errno::EOPNOTSUPP);
    }
    let rows = match wanted.protocol {
        IPPROTO_TCP => tcp_rows(net),
        IPPROTO_UDP => udp_rows(net),
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let state = |row: &&Summary| wanted.states & 1u32.checked_shl(row.state.into()).unwrap_or(0) != 0;
    let rows = rows
        .iter()
        .filter(|row| row.ipv6 == (family == AF_INET6))
        .filter(state);
    Ok(Answer::of(SOCK_DIAG_BY_FAMILY, rows.map(describe).collect()))
}

/// `struct inet_diag_msg`.
fn describe(row: &Summary) -> Vec<u8> {
    let mut bytes = vec![if row.ipv6 { 10 } else { 2 }, row.state, 0, 0];
    bytes.extend(row.local.port().to_be_bytes());
    bytes.extend(row.remote.port().to_be_bytes());
    for end in [row.local, row.remote] {
        let ip = match end.ip() {
            std::net::IpAddr::V4(ip) if row.ipv6 && !ip.is_unspecified() => ip.to_ipv6_mapped().into(),
            ip => ip,
        };
        let mut octets = octets(ip);
        octets.resize(16, 0);
        bytes.extend(octets);
    }
    let word = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend([0; 4]); // the interface it is bound to
    bytes.extend(row.ino.to_le_bytes()); // the cookie
    bytes.extend([0; 4]); // time until its timer
    bytes.extend(word(row.to_read));
    bytes.extend(word(row.to_send));
    bytes.extend(row.uid.to_le_bytes());
    bytes.extend((row.ino as u32).to_le_bytes());
    bytes
}
