//! The name server that an engine runs on a loopback address of the container's namespace (Docker's 127.0.0.11): queries go
//! to it over one host socket, so their ids are made unique, and answers find their asker by them. Connections to it are served
//! in `resolver_streams`.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use sync::{Mutex, rank};

use super::{Network, edns};
use crate::io::SliceSource;
use crate::socket::inet::{self, TcpSocket};
use crate::socket::{Control, Outgoing, SocketOps};

/// Queries that wait for their answers; the oldest is forgotten.
const MOST_QUERIES: usize = 1024;
/// Bytes of a query's header.
const HEADER: usize = 12;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// A socket of datagrams, by its address.
    Datagram(SocketAddr),
    /// A connection; its query may have been `widened` (see [`edns`]).
    Stream {
        /// Its number.
        number: u64,
        widened: bool,
    },
}

#[derive(Default)]
struct State {
    /// Where it is, as seen inside.
    address: Option<SocketAddr>,
    next: u16,
    /// Asker and the asker's id, by the id sent.
    waiting: BTreeMap<u16, (Asker, u16)>,
    order: VecDeque<u16>,
    streams: BTreeMap<u64, Weak<TcpSocket>>,
}

/// The engine's name server.
pub(super) struct Resolver(Mutex<State>);

impl Default for Resolver {
    fn default() -> Self {
        Resolver(Mutex::new(rank::LEAF, State::default()))
    }
}

impl Resolver {
    pub(super) fn set(&self, address: Option<SocketAddr>) {
        self.0.lock().address = address;
    }

    /// Where it is, as seen inside.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.0.lock().address
    }

    /// A connection may ask from now on.
    pub(super) fn open(&self, number: u64, socket: &Arc<TcpSocket>) {
        self.0.lock().streams.insert(number, Arc::downgrade(socket));
    }

    /// A connection has ended; its answers are lost.
    pub(super) fn close(&self, number: u64) {
        self.0.lock().streams.remove(&number);
    }

    /// Whether a connection waits for an answer.
    pub(super) fn owes(&self, number: u64) -> bool {
        let is_its = |asker: &Asker| matches!(asker, Asker::Stream { number: own, .. } if *own == number);
        self.0.lock().waiting.values().any(|(asker, _)| is_its(asker))
    }

    /// A query's bytes with an id of its own; `None` when it is none.
    fn enter(&self, asker: Asker, query: &[u8]) -> Option<Vec<u8>> {
        let mut state = self.0.lock();
        if query.len() < HEADER {
            return None;
        }
        let theirs = u16::from_be_bytes([query[0], query[1]]);
        if state.order.len() >= MOST_QUERIES
            && let Some(oldest) = state.order.pop_front()
        {
            state.waiting.remove(&oldest);
        }
        let mut own = state.next;
        while state.waiting.contains_key(&own) {
            own = own.wrapping_add(1);
        }
        state.next = own.wrapping_add(1);
        state.waiting.insert(own, (asker, theirs));
        state.order.push_back(own);
        let mut query = query.to_vec();
        query[..2].copy_from_slice(&own.to_be_bytes());
        Some(query)
    }

    /// Who asked, the name server's address, and the answer with the asker's id.
    fn leave(&self, answer: &[u8]) -> Option<(SocketAddr, Asker, Vec<u8>)> {
        let mut state = self.0.lock();
        let own = u16::from_be_bytes(answer.first_chunk().copied().filter(|_| answer.len() >= HEADER)?);
        let (asker, theirs) = state.waiting.remove(&own)?;
        state.order.retain(|id| *id != own);
        let mut answer = answer.to_vec();
        answer[..2].copy_from_slice(&theirs.to_be_bytes());
        Some((state.address?, asker, answer))
    }

    /// Gives a connection its answer; one that does not read it loses it.
    fn tell(&self, number: u64, mut answer: Vec<u8>, widened: bool) {
        let socket = self.0.lock().streams.get(&number).and_then(Weak::upgrade);
        let Some(socket) = socket else { return };
        if widened {
            edns::strip(&mut answer);
        }
        let Ok(len) = u16::try_from(answer.len()) else {
            return;
        };
        let bytes = [&len.to_be_bytes()[..], &answer].concat();
        let mut message = Outgoing {
            src: &mut SliceSource(&bytes),
            to: None,
            task: None,
            control: Control::default(),
            flags: 0,
        };
        if socket.send(&mut message) != Ok(bytes.len()) {
            // Half an answer helps nobody.
            socket.close();
        }
    }
}

impl Network {
    /// Sends a datagram on if it is a query for the engine's name server.
    pub(in crate::socket) fn asks_resolver(&self, from: SocketAddr, to: SocketAddr, data: &[u8]) -> bool {
        self.resolver.address() == Some(to) && self.asks(Asker::Datagram(from), data)
    }

    /// Sends a query on. False: it is none.
    pub(super) fn asks(&self, asker: Asker, query: &[u8]) -> bool {
        let Some(query) = self.resolver.enter(asker, query) else {
            return false;
        };
        if let Some(attached) = self.attached() {
            attached.wire().query(&query);
        }
        true
    }

    /// Who takes connections to an address, if that is the name server's.
    pub(in crate::socket) fn resolver_at(&self, to: SocketAddr) -> Option<Arc<TcpSocket>> {
        let listener = self.resolver_listener.get()?;
        let listener = listener.upgrade()?;
        (self.resolver.address() == Some(to)).then_some(listener)
    }

    /// The engine's name server answered.
    pub fn resolver_answered(&self, answer: &[u8]) {
        match (self.resolver.leave(answer), self.net.upgrade()) {
            (Some((server, Asker::Datagram(asker), answer)), Some(net)) => {
                inet::udp_arrival::resolved(&net, server, asker, answer);
            }
            (Some((_, Asker::Stream { number, widened }, answer)), _) => {
                self.resolver.tell(number, answer, widened);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_find_their_askers_by_id() {
        let resolver = Resolver::default();
        let server: SocketAddr = "127.0.0.11:53".parse().unwrap();
        resolver.set(Some(server));
        let askers: [SocketAddr; 2] = [
            "127.0.0.1:4000".parse().unwrap(),
            "127.0.0.1:4001".parse().unwrap(),
        ];
        let query = [7; 20];
        let sent = askers.map(|asker| resolver.enter(Asker::Datagram(asker), &query).unwrap());
        assert_ne!(sent[0][..2], sent[1][..2]);
        for (asker, sent) in askers.iter().zip(&sent).rev() {
            let (from, to, answer) = resolver.leave(sent).unwrap();
            assert_eq!(
                (from, to, answer),
                (server, Asker::Datagram(*asker), query.to_vec())
            );
        }
        assert!(resolver.leave(&sent[0]).is_none());
        let stream = Asker::Stream {
            number: 5,
            widened: true,
        };
        let sent = resolver.enter(stream, &query).unwrap();
        assert!(resolver.owes(5) && !resolver.owes(6));
        assert_eq!(resolver.leave(&sent).map(|(_, asker, _)| asker), Some(stream));
        assert!(!resolver.owes(5));
        assert!(resolver.leave(&[1]).is_none());
    }
}
