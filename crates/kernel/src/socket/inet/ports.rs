//! Who has which port: bind(2)'s conflicts, free ports, and the receiver of what arrives.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Mutex, rank};

use super::{RawSocket, TcpSocket, UdpSocket};

/// Ports given to sockets that ask for none in particular (net.ipv4.ip_local_port_range).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// The ports of both protocols, and all sockets for /proc/net.
pub struct Ports {
    /// TCP.
    pub tcp: PortTable<TcpSocket>,
    /// UDP.
    pub udp: PortTable<UdpSocket>,
    /// Raw and ping sockets; the latter's identifiers are their ports.
    pub raw: PortTable<RawSocket>,
}

impl Default for Ports {
    fn default() -> Self {
        Ports {
            tcp: PortTable::new(false),
            udp: PortTable::new(true),
            raw: PortTable::new(false),
        }
    }
}

/// How a socket wants its port.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Which addresses it is for.
    pub ip: IpAddr,
    /// An IPv6 wildcard that takes IPv4 as well.
    pub dual: bool,
    /// SO_REUSEADDR.
    pub reuse_address: bool,
    /// SO_REUSEPORT.
    pub reuse_port: bool,
    /// Who: ports are shared by SO_REUSEPORT among sockets of one user.
    pub uid: u32,
}

impl Claim {
    /// Whether something for `ip` is meant by this claim, and how exactly (higher is better).
    fn matches(&self, ip: IpAddr) -> Option<u32> {
        if self.ip == ip {
            Some(2)
        } else if self.ip.is_unspecified() && (self.ip.is_ipv4() == ip.is_ipv4() || self.dual) {
            Some(u32::from(self.ip.is_ipv4() == ip.is_ipv4()))
        } else {
            None
        }
    }

    fn overlaps(&self, other: &Claim) -> bool {
        self.matches(other.ip).is_some() || other.matches(self.ip).is_some()
    }
}

struct Holder<S> {
    id: u64,
    socket: Weak<S>,
    claim: Claim,
    listening: bool,
}

struct Table<S> {
    ports: BTreeMap<u16, Vec<Holder<S>>>,
    all: BTreeMap<u64, Weak<S>>,
}

/// The ports of one protocol.
pub struct PortTable<S> {
    table: Mutex<Table<S>>,
    next: AtomicU32,
    /// SO_REUSEADDR on both suffices even for receivers (UDP).
    lenient: bool,
}

impl<S> PortTable<S> {
    fn new(lenient: bool) -> Self {
        let table = Table {
            ports: BTreeMap::new(),
            all: BTreeMap::new(),
        };
        PortTable {
            table: Mutex::new(rank::LEAF, table),
            next: AtomicU32::new(0),
            lenient,
        }
    }

    /// Enters a new socket into the list of all.
    pub(super) fn add(&self, id: u64, socket: &Arc<S>) {
        self.table.lock().all.insert(id, Arc::downgrade(socket));
    }

    /// Takes a closed socket out, with its port.
    pub(super) fn remove(&self, id: u64, port: Option<u16>) {
        let mut table = self.table.lock();
        table.all.remove(&id);
        table.release(id, port);
    }

    /// Gives a port up.
    pub(super) fn release(&self, id: u64, port: u16) {
        self.table.lock().release(id, Some(port));
    }

    /// All sockets.
    pub fn sockets(&self) -> Vec<Arc<S>> {
        self.table.lock().all.values().filter_map(Weak::upgrade).collect()
    }

    fn free(&self, holders: &[Holder<S>], claim: &Claim, listening: bool) -> bool {
        holders.iter().all(|holder| {
            let (one, two) = (&holder.claim, claim);
            let shared = one.reuse_port && two.reuse_port && one.uid == two.uid;
            let reused =
                one.reuse_address && two.reuse_address && (self.lenient || (!holder.listening && !listening));
            shared || reused || holder.socket.strong_count() == 0 || !one.overlaps(two)
        })
    }

    /// Takes `port`, or a free one for 0. `EADDRINUSE` when it is not free (or none is).
    pub(super) fn claim(&self, id: u64, socket: &Weak<S>, port: u16, claim: Claim) -> Result<u16, Errno> {
        let mut table = self.table.lock();
        let holder = Holder {
            id,
            socket: socket.clone(),
            claim,
            listening: false,
        };
        if port != 0 {
            let holders = table.ports.entry(port).or_default();
            if !self.free(holders, &claim, false) {
                return Err(Errno::EADDRINUSE);
            }
            holders.push(holder);
            return Ok(port);
        }
        let count = u32::from(EPHEMERAL.end() - EPHEMERAL.start()) + 1;
        // An odd step visits them in an order that is not simply ascending.
        let start = self
            .next
            .fetch_add(7919, Ordering::Relaxed)
            .wrapping_add(id as u32);
        for step in 0..count {
            let offset = u16::try_from(start.wrapping_add(step) % count).unwrap_or(0);
            let port = EPHEMERAL.start() + offset;
            // Sharing is only for those who name the port.
            if table.ports.get(&port).is_none_or(Vec::is_empty) {
                table.ports.insert(port, vec![holder]);
                return Ok(port);
            }
        }
        Err(Errno::EADDRINUSE)
    }

    /// Marks a holder as listening. `EADDRINUSE` when another already listens there.
    pub(super) fn listen(&self, id: u64, port: u16, on: bool) -> Result<(), Errno> {
        let mut table = self.table.lock();
        let holders = table.ports.get_mut(&port).ok_or(Errno::EINVAL)?;
        let at = holders
            .iter()
            .position(|holder| holder.id == id)
            .ok_or(Errno::EINVAL)?;
        let claim = holders[at].claim;
        let busy = on
            && holders.iter().any(|other| {
                let shared = other.claim.reuse_port && claim.reuse_port && other.claim.uid == claim.uid;
                other.id != id
                    && other.listening
                    && !shared
                    && other.socket.strong_count() > 0
                    && other.claim.overlaps(&claim)
            });
        if busy {
            return Err(Errno::EADDRINUSE);
        }
        holders[at].listening = on;
        Ok(())
    }

    /// The socket with this number.
    pub(in crate::socket) fn find(&self, id: u64) -> Option<Arc<S>> {
        self.table.lock().all.get(&id).and_then(Weak::upgrade)
    }

    /// All receivers for something to `to`, however exactly they are meant.
    pub(super) fn matching(&self, to: SocketAddr) -> Vec<Arc<S>> {
        let table = self.table.lock();
        let holders = table.ports.get(&to.port()).into_iter().flatten();
        let fitting = holders.filter(|holder| holder.claim.matches(to.ip()).is_some());
        fitting.filter_map(|holder| holder.socket.upgrade()).collect()
    }

    /// The best receivers for something to `to`, longest holding first: more than one when they share the port.
    pub(super) fn receivers(&self, to: SocketAddr, listening: bool) -> Vec<Arc<S>> {
        let table = self.table.lock();
        let mut best = 0;
        let mut found = Vec::new();
        for holder in table.ports.get(&to.port()).into_iter().flatten() {
            let Some(score) = holder.claim.matches(to.ip()) else {
                continue;
            };
            if listening && !holder.listening {
                continue;
            }
            let Some(socket) = holder.socket.upgrade() else {
                continue;
            };
            if score > best {
                found.clear();
                best = score;
            }
            if score == best {
                found.push(socket);
            }
        }
        found
    }
}

impl<S> Table<S> {
    fn release(&mut self, id: u64, port: Option<u16>) {
        let Some(port) = port else { return };
        if let Some(holders) = self.ports.get_mut(&port) {
            holders.retain(|holder| holder.id != id);
            if holders.is_empty() {
                self.ports.remove(&port);
            }
        }
    }
}

/// Which of `count` sockets that share a port (SO_REUSEPORT) serves the peer that `of` stands for: always the same one, and
/// each of them as many peers as another.
pub(super) fn share(of: u64, count: usize) -> usize {
    // Fibonacci hashing, scaled as reciprocal_scale() of Linux does.
    let mixed = of.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let scaled = mixed.saturating_mul(count as u64) >> 32;
    usize::try_from(scaled).unwrap_or(0)
}
