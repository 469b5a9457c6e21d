//! UDP: one socket of the host for each pair of a sandbox's port and a destination.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use abi::Errno;
use host::inet;
use net::{Datagram, SendOptions};

use crate::{Base, Kind};

/// Flows at a time; a new one takes the place of the one that was quiet longest.
pub(crate) const MOST: usize = 1024;
/// How long a quiet flow is kept.
const QUIET: Duration = Duration::from_secs(120);
/// The same of one to a name server, which has one question and one answer.
const QUIET_DNS: Duration = Duration::from_secs(20);
const DNS: u16 = 53;
/// Datagrams that are taken from one socket before others have their turn.
const BATCH: usize = 256;
/// Bytes of the largest datagram.
const LONGEST: usize = 65_535;

struct Flow {
    guest: SocketAddr,
    to: SocketAddr,
    socket: OwnedFd,
    last: Instant,
}

/// All flows.
#[derive(Default)]
pub(crate) struct Flows {
    flows: HashMap<u64, Flow>,
    by_ends: HashMap<(SocketAddr, SocketAddr), u64>,
    buf: Vec<u8>,
    /// Sockets that may have more.
    again: Vec<u64>,
}

impl Flows {
    /// The sandbox sent a datagram.
    pub(crate) fn datagram(&mut self, base: &mut Base, datagram: &Datagram) {
        if datagram.group {
            return;
        }
        let ends = (datagram.source, datagram.destination);
        let token = match self.by_ends.get(&ends) {
            Some(token) => *token,
            None => match self.open(base, ends) {
                Ok(token) => token,
                // As if a router said so; what else fails is lost.
                Err(Errno::EACCES | Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EINVAL) => {
                    let now = base.now();
                    return base.stack.udp_unreachable(now, datagram);
                }
                Err(_) => return,
            },
        };
        let Some(flow) = self.flows.get_mut(&token) else {
            return;
        };
        flow.last = Instant::now();
        let size = datagram.segment.map_or(usize::MAX, usize::from).max(1);
        let mut pieces: Vec<&[u8]> = datagram.data.chunks(size).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        for piece in pieces {
            // The refusal of an earlier one is taken by the call, and this one not sent.
            if inet::send(flow.socket.as_fd(), piece) == Err(Errno::ECONNREFUSED) {
                flow.refused(base);
                let _ = inet::send(flow.socket.as_fd(), piece);
            }
        }
    }

    fn open(&mut self, base: &mut Base, ends: (SocketAddr, SocketAddr)) -> Result<u64, Errno> {
        let to = base.policy.way(ends.1).ok_or(Errno::EACCES)?;
        if self.flows.len() >= MOST {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.last);
            if let Some(token) = oldest.map(|(token, _)| *token) {
                self.remove(token);
            }
        }
        let socket = inet::connect(inet::Kind::Datagram, to)?;
        let token = base.tokens.next(Kind::Udp);
        base.epoll.add_edges(socket.as_fd(), token)?;
        let flow = Flow {
            guest: ends.0,
            to: ends.1,
            socket,
            last: Instant::now(),
        };
        self.flows.insert(token, flow);
        self.by_ends.insert(ends, token);
        Ok(token)
    }

    fn remove(&mut self, token: u64) {
        if let Some(flow) = self.flows.remove(&token) {
            self.by_ends.remove(&(flow.guest, flow.to));
        }
    }

    /// Something came to a socket.
    pub(crate) fn ready(&mut self, base: &mut Base, token: u64) {
        self.buf.resize(LONGEST, 0);
        let Some(flow) = self.flows.get_mut(&token) else {
            return;
        };
        for _ in 0..BATCH {
            match inet::receive(flow.socket.as_fd(), &mut self.buf) {
                Ok(len) => {
                    flow.last = Instant::now();
                    let now = base.now();
                    let data = self.buf.get(..len).unwrap_or_default();
                    let options = SendOptions::default();
                    // Lost, as a datagram may be, when the sandbox is not reached.
                    let _ = base.stack.udp_send(now, flow.to, flow.guest, data, &options);
                }
                Err(Errno::ECONNREFUSED) => flow.refused(base),
                Err(Errno::EAGAIN) => return,
                Err(_) => {}
            }
        }
        self.again.push(token);
    }

    /// Whether a socket may have more.
    pub(crate) fn is_busy(&self) -> bool {
        !self.again.is_empty()
    }

    /// Takes more from sockets that had much.
    pub(crate) fn pump(&mut self, base: &mut Base) {
        for token in std::mem::take(&mut self.again) {
            self.ready(base, token);
        }
    }

    /// Closes what was quiet for long.
    pub(crate) fn sweep(&mut self) {
        let limit = |flow: &Flow| if flow.to.port() == DNS { QUIET_DNS } else { QUIET };
        let quiet = self
            .flows
            .iter()
            .filter(|(_, flow)| flow.last.elapsed() > limit(flow));
        let quiet: Vec<u64> = quiet.map(|(token, _)| *token).collect();
        for token in quiet {
            self.remove(token);
        }
    }
}

impl Flow {
    /// Nobody listens there: the sandbox is told as the host was.
    fn refused(&self, base: &mut Base) {
        let now = base.now();
        let datagram = Datagram {
            interface: crate::WIRE,
            source: self.guest,
            destination: self.to,
            ttl: 64,
            tos: 0,
            time: now,
            segment: None,
            group: false,
            data: Vec::new(),
        };
        base.stack.udp_unreachable(now, &datagram);
    }
}
