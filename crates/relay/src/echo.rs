//! ICMP: echo requests go through ping sockets of the host (icmp(7)), and the relay's own errors.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use abi::Errno;
use host::inet;
use net::{RawPacket, SendOptions, protocol};

use crate::policy::{GATEWAY, GATEWAY_V6};
use crate::{Base, Kind};

/// Flows at a time.
pub(crate) const MOST: usize = 64;
/// How long a quiet flow is kept.
const QUIET: Duration = Duration::from_secs(30);
/// Replies that are taken from one socket at a time; each answers a request of the sandbox.
const BATCH: usize = 1024;
/// Bytes of the largest reply.
const LONGEST: usize = 65_535;

/// Types of the messages, and where their identifier is.
const REQUEST: u8 = 8;
const REPLY: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;
const IDENTIFIER: std::ops::Range<usize> = 4..6;
const HEADER: usize = 8;
/// Offset of the checksum in every message.
const CHECKSUM: usize = 2;

/// Sandbox's address, destination, identifier.
type Name = (IpAddr, IpAddr, [u8; 2]);

struct Flow {
    name: Name,
    socket: OwnedFd,
    last: Instant,
}

/// All flows.
#[derive(Default)]
pub(crate) struct Flows {
    flows: HashMap<u64, Flow>,
    by_name: HashMap<Name, u64>,
}

/// An ICMP message from `from` to the sandbox. Lost when it is not reached.
fn send(base: &mut Base, from: IpAddr, to: IpAddr, message: &[u8]) {
    let kind = if to.is_ipv4() {
        protocol::ICMP
    } else {
        protocol::ICMPV6
    };
    let options = SendOptions {
        checksum_at: Some(CHECKSUM),
        ..SendOptions::default()
    };
    let now = base.now();
    let _ = base.stack.raw_send(now, Some(from), to, kind, message, &options);
}

impl Flows {
    /// The sandbox sent an ICMP message.
    pub(crate) fn packet(&mut self, base: &mut Base, packet: &RawPacket) {
        let Some(message) = packet.data.get(packet.header_len..) else {
            return;
        };
        let (request, reply) = if packet.destination.is_ipv4() {
            (REQUEST, REPLY)
        } else {
            (REQUEST_V6, REPLY_V6)
        };
        let is_echo = packet.protocol == protocol::ICMP || packet.protocol == protocol::ICMPV6;
        if !is_echo || message.len() < HEADER || message[..2] != [request, 0] {
            return;
        }
        let (from, to) = (packet.source, packet.destination);
        if base.stack.is_local(to) {
            let mut answer = message.to_vec();
            answer[0] = reply;
            return send(base, to, from, &answer);
        }
        let name = (from, to, [message[4], message[5]]);
        let token = match self.by_name.get(&name) {
            Some(token) => Some(*token),
            None => match self.open(base, name) {
                Ok(token) => Some(token),
                Err(error) => {
                    // Of IPv6 the header is not at hand to be quoted.
                    if packet.header_len > 0 {
                        unreachable(base, error, &packet.data, (from, to));
                    }
                    None
                }
            },
        };
        if let Some(flow) = token.and_then(|token| self.flows.get_mut(&token)) {
            flow.last = Instant::now();
            // An error of an earlier one is taken by the call.
            if inet::send(flow.socket.as_fd(), message).is_err() {
                let _ = inet::send(flow.socket.as_fd(), message);
            }
        }
    }

    fn open(&mut self, base: &mut Base, name: Name) -> Result<u64, Errno> {
        let to = base.policy.way(SocketAddr::new(name.1, 0)).ok_or(Errno::EACCES)?;
        if self.flows.len() >= MOST {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.last);
            if let Some(token) = oldest.map(|(token, _)| *token) {
                self.remove(token);
            }
        }
        let socket = inet::connect(inet::Kind::Echo, to)?;
        let token = base.tokens.next(Kind::Echo);
        base.epoll.add_edges(socket.as_fd(), token)?;
        let last = Instant::now();
        self.flows.insert(token, Flow { name, socket, last });
        self.by_name.insert(name, token);
        Ok(token)
    }

    fn remove(&mut self, token: u64) {
        if let Some(flow) = self.flows.remove(&token) {
            self.by_name.remove(&flow.name);
        }
    }

    /// A reply came.
    pub(crate) fn ready(&mut self, base: &mut Base, token: u64) {
        let Some(flow) = self.flows.get(&token) else {
            return;
        };
        let mut buf = vec![0; LONGEST];
        let (to, from, identifier) = flow.name;
        for _ in 0..BATCH {
            match inet::receive(flow.socket.as_fd(), &mut buf) {
                Ok(len) => {
                    if let Some(reply) = buf.get_mut(..len).filter(|reply| reply.len() >= HEADER) {
                        // The host's socket has an identifier of its own.
                        reply[IDENTIFIER].copy_from_slice(&identifier);
                        send(base, from, to, reply);
                    }
                }
                Err(Errno::EAGAIN) => return,
                Err(_) => {}
            }
        }
    }

    /// Closes what was quiet for long.
    pub(crate) fn sweep(&mut self) {
        let quiet = self.flows.iter().filter(|(_, flow)| flow.last.elapsed() > QUIET);
        let quiet: Vec<u64> = quiet.map(|(token, _)| *token).collect();
        for token in quiet {
            self.remove(token);
        }
    }
}

/// Tells the sandbox that the host does not reach a destination: the message quotes the packet that was for it.
pub(crate) fn unreachable(base: &mut Base, error: Errno, quoted: &[u8], (guest, to): (IpAddr, IpAddr)) {
    let v4 = to.is_ipv4();
    let (kind, header) = if v4 { (3, 20) } else { (1, 40) };
    let code = match (error, v4) {
        (Errno::ENETUNREACH, _) => 0,
        (Errno::EACCES | Errno::EPERM, true) => 13,
        (Errno::EACCES | Errno::EPERM, false) => 1,
        (_, true) => 1,
        (_, false) => 3,
    };
    // The longest IPv4 header, or the first bytes of TCP's: both quote its ports and its number.
    let len = if v4 {
        usize::from(quoted.first().copied().unwrap_or(0) & 0xf) * 4
    } else {
        header
    };
    let quoted = quoted.get(..len + 8).unwrap_or(quoted);
    let message = [&[kind, code, 0, 0, 0, 0, 0, 0], quoted].concat();
    let gateway = if v4 { GATEWAY.into() } else { GATEWAY_V6.into() };
    send(base, gateway, guest, &message);
}
