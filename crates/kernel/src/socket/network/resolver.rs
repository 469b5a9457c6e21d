//! The name server that an engine runs on a loopback address of the container's namespace (Docker's 127.0.0.11): queries go
//! to it over one host socket, so their ids are made unique, and answers find their asker by them.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use sync::{Mutex, rank};

use super::Network;
use crate::socket::inet;

/// Queries that wait for their answers; the oldest is forgotten.
const MOST_QUERIES: usize = 1024;
/// Bytes of a query's header.
const HEADER: usize = 12;

#[derive(Default)]
struct State {
    /// Where it is, as seen inside.
    address: Option<SocketAddr>,
    next: u16,
    /// Asker and the asker's id, by the id sent.
    waiting: BTreeMap<u16, (SocketAddr, u16)>,
    order: VecDeque<u16>,
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

    /// A query's bytes with an id of its own; `None` when it is not for the name server, or none.
    fn enter(&self, from: SocketAddr, to: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
        let mut state = self.0.lock();
        if state.address != Some(to) || query.len() < HEADER {
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
        state.waiting.insert(own, (from, theirs));
        state.order.push_back(own);
        let mut query = query.to_vec();
        query[..2].copy_from_slice(&own.to_be_bytes());
        Some(query)
    }

    /// Who asked, the name server's address, and the answer with the asker's id.
    fn leave(&self, answer: &[u8]) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
        let mut state = self.0.lock();
        let own = u16::from_be_bytes(answer.first_chunk().copied().filter(|_| answer.len() >= HEADER)?);
        let (asker, theirs) = state.waiting.remove(&own)?;
        state.order.retain(|id| *id != own);
        let mut answer = answer.to_vec();
        answer[..2].copy_from_slice(&theirs.to_be_bytes());
        Some((state.address?, asker, answer))
    }
}

impl Network {
    /// Sends a datagram on if it is a query for the engine's name server.
    pub(in crate::socket) fn asks_resolver(&self, from: SocketAddr, to: SocketAddr, data: &[u8]) -> bool {
        let Some(query) = self.resolver.enter(from, to, data) else {
            return false;
        };
        if let Some(attached) = self.attached() {
            attached.wire().query(&query);
        }
        true
    }

    /// The engine's name server answered.
    pub fn resolver_answered(&self, answer: &[u8]) {
        if let Some((server, asker, answer)) = self.resolver.leave(answer)
            && let Some(net) = self.net.upgrade()
        {
            inet::udp_arrival::resolved(&net, server, asker, answer);
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
        let sent = askers.map(|asker| resolver.enter(asker, server, &query).unwrap());
        assert_ne!(sent[0][..2], sent[1][..2]);
        for (asker, sent) in askers.iter().zip(&sent).rev() {
            let (from, to, answer) = resolver.leave(sent).unwrap();
            assert_eq!((from, to, answer), (server, *asker, query.to_vec()));
        }
        assert!(resolver.leave(&sent[0]).is_none());
        assert!(resolver.enter(askers[0], askers[1], &query).is_none());
        assert!(resolver.leave(&[1]).is_none());
    }
}
