//! The neighbour table: link addresses of hosts on our links, as ARP (RFC 826) and NDP (RFC 4861) find them.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::siphash::Key;
use crate::timer::Timers;
use crate::{Instant, Offload};

/// Entries of one stack (Linux's gc_thresh3).
pub const MAX_NEIGHBORS: usize = 1024;
/// Frames that wait for one neighbour's answer (Linux's unres_qlen is 101; the oldest is dropped).
pub const MAX_WAITING: usize = 101;
/// Solicitations before we give up, to the group and to the known address each (Linux: 3).
const PROBES: u8 = 3;
/// Time between solicitations (Linux's retrans_time).
const RETRANSMIT: Duration = Duration::from_secs(1);
/// How long an answer counts (Linux's base_reachable_time).
const REACHABLE: Duration = Duration::from_secs(30);
/// How long a use of a stale entry waits for a hint of the upper layer before it probes (Linux's delay_first_probe_time).
const DELAY: Duration = Duration::from_secs(5);

/// State of an entry: the numbers of rtnetlink's `NUD_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NeighborState {
    /// Solicited, no answer yet.
    Incomplete = 0x01,
    /// An answer came lately.
    Reachable = 0x02,
    /// It was reachable once.
    Stale = 0x04,
    /// A stale one in use.
    Delay = 0x08,
    /// Solicited again.
    Probe = 0x10,
    /// No answer.
    Failed = 0x20,
    /// Set by hand.
    Permanent = 0x80,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Interface.
    pub interface: u32,
    /// Address.
    pub address: IpAddr,
    /// Link address, when known.
    pub mac: Option<[u8; 6]>,
    /// State.
    pub state: NeighborState,
    /// Last change.
    pub updated: Instant,
    /// Whether it is a router (NDP's R flag).
    pub router: bool,
}

/// A frame that waits for the link address of its receiver.
pub(crate) type Waiting = (Offload, Vec<u8>);

/// How an entry is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learnt {
    /// An answer to our solicitation.
    Answer,
    /// An answer that must not replace another address (NDP without the override flag).
    Weak,
    /// The other's own request or announcement.
    Hint,
}

/// What to do for an entry whose timer ran out.
#[derive(Debug)]
pub(crate) enum Due {
    /// Solicit; to this link address, or to the group.
    Solicit(Option<[u8; 6]>),
    /// Nobody answered: these frames cannot be sent.
    Failed(Vec<Waiting>),
    /// Nothing but a change of state.
    Changed,
}

/// What is known of the next hop.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// Send to this address.
    Known([u8; 6]),
    /// Wait; solicit first when told so.
    Wait { solicit: bool },
}

#[derive(Debug)]
struct Entry {
    public: Neighbor,
    probes: u8,
    deadline: Option<Instant>,
    armed: Option<Instant>,
    waiting: VecDeque<Waiting>,
}

type Name = (u32, IpAddr);

#[derive(Debug)]
pub(crate) struct Table {
    entries: HashMap<Name, Entry, Key>,
    timers: Timers<Name>,
}

impl Table {
    pub(crate) fn new(key: Key) -> Table {
        Table {
            entries: HashMap::with_hasher(key),
            timers: Timers::default(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Neighbor> {
        self.entries.values().map(|e| &e.public)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The link address of `address`, for a packet that is about to be sent.
    pub(crate) fn resolve(&mut self, now: Instant, interface: u32, address: IpAddr) -> Resolution {
        let name = (interface, address);
        if !self.entries.contains_key(&name) {
            self.insert(now, name, None, NeighborState::Failed);
        }
        let Some(entry) = self.entries.get_mut(&name) else {
            return Resolution::Wait { solicit: false };
        };
        match (entry.public.state, entry.public.mac) {
            (NeighborState::Failed | NeighborState::Incomplete, _) | (_, None) => {
                let solicit = entry.public.state != NeighborState::Incomplete;
                if solicit {
                    entry.public.state = NeighborState::Incomplete;
                    entry.public.updated = now;
                    entry.probes = 1;
                    entry.deadline = Some(now + RETRANSMIT);
                    self.timers.arm(name, &mut entry.armed, entry.deadline);
                }
                Resolution::Wait { solicit }
            }
            (NeighborState::Stale, Some(mac)) => {
                entry.public.state = NeighborState::Delay;
                entry.deadline = Some(now + DELAY);
                self.timers.arm(name, &mut entry.armed, entry.deadline);
                Resolution::Known(mac)
            }
            (_, Some(mac)) => Resolution::Known(mac),
        }
    }

    /// Keeps a frame until the neighbour answers. False when an older one was dropped for it.
    pub(crate) fn wait(&mut self, interface: u32, address: IpAddr, frame: Waiting) -> bool {
        let Some(entry) = self.entries.get_mut(&(interface, address)) else {
            return false;
        };
        let full = entry.waiting.len() >= MAX_WAITING;
        if full {
            entry.waiting.pop_front();
        }
        entry.waiting.push_back(frame);
        !full
    }

    /// The upper layer got an answer by way of this neighbour: it is reachable.
    pub(crate) fn confirm(&mut self, now: Instant, interface: u32, address: IpAddr) {
        let name = (interface, address);
        let Some(entry) = self.entries.get_mut(&name) else {
            return;
        };
        if matches!(
            entry.public.state,
            NeighborState::Reachable | NeighborState::Delay | NeighborState::Probe | NeighborState::Stale
        ) {
            entry.public.state = NeighborState::Reachable;
            entry.public.updated = now;
            entry.deadline = Some(now + REACHABLE);
            self.timers.arm(name, &mut entry.armed, entry.deadline);
        }
    }

    /// Takes a link address in; the frames that waited for it.
    ///
    /// `create`: make an entry if there is none (the packet was for us).
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        (interface, address): Name,
        mac: [u8; 6],
        how: Learnt,
        create: bool,
    ) -> Vec<Waiting> {
        let name = (interface, address);
        if !self.entries.contains_key(&name) {
            if !create || how != Learnt::Hint {
                return Vec::new();
            }
            self.insert(now, name, None, NeighborState::Failed);
        }
        let Some(entry) = self.entries.get_mut(&name) else {
            return Vec::new();
        };
        let (state, known) = (entry.public.state, entry.public.mac);
        if state == NeighborState::Permanent {
            return Vec::new();
        }
        if how == Learnt::Weak && known.is_some_and(|k| k != mac) {
            if state == NeighborState::Reachable {
                entry.public.state = NeighborState::Stale;
            }
            return Vec::new();
        }
        let same = known == Some(mac);
        if same && how == Learnt::Hint && state != NeighborState::Incomplete && state != NeighborState::Failed
        {
            return Vec::new();
        }
        entry.public.mac = Some(mac);
        entry.public.updated = now;
        if how == Learnt::Hint {
            entry.public.state = NeighborState::Stale;
            entry.deadline = None;
        } else {
            entry.public.state = NeighborState::Reachable;
            entry.deadline = Some(now + REACHABLE);
            self.timers.arm(name, &mut entry.armed, entry.deadline);
        }
        entry.waiting.drain(..).collect()
    }

    /// The neighbour says whether it is a router.
    pub(crate) fn set_router(&mut self, interface: u32, address: IpAddr, router: bool) {
        if let Some(entry) = self.entries.get_mut(&(interface, address)) {
            entry.public.router = router;
        }
    }

    /// Sets or replaces an entry by hand.
    pub(crate) fn set(&mut self, now: Instant, neighbor: Neighbor) -> Vec<Waiting> {
        let name = (neighbor.interface, neighbor.address);
        if !self.entries.contains_key(&name) {
            self.insert(now, name, None, NeighborState::Failed);
        }
        let Some(entry) = self.entries.get_mut(&name) else {
            return Vec::new();
        };
        entry.deadline = None;
        entry.public = neighbor;
        entry.waiting.drain(..).collect()
    }

    pub(crate) fn remove(&mut self, interface: u32, address: IpAddr) -> bool {
        let Some(mut entry) = self.entries.remove(&(interface, address)) else {
            return false;
        };
        self.timers.disarm((interface, address), &mut entry.armed);
        true
    }

    pub(crate) fn remove_interface(&mut self, interface: u32) {
        let names: Vec<Name> = self
            .entries
            .keys()
            .filter(|n| n.0 == interface)
            .copied()
            .collect();
        for (interface, address) in names {
            self.remove(interface, address);
        }
    }

    /// The next entry whose time has come.
    pub(crate) fn due(&mut self, now: Instant) -> Option<(Name, Due)> {
        loop {
            let name = self.timers.expired(now)?;
            let Some(entry) = self.entries.get_mut(&name) else {
                continue;
            };
            entry.armed = None;
            match entry.deadline {
                Some(at) if at <= now => {}
                later => {
                    self.timers.arm(name, &mut entry.armed, later);
                    continue;
                }
            }
            entry.deadline = None;
            let due = entry.expire(now);
            self.timers.arm(name, &mut entry.armed, entry.deadline);
            return Some((name, due));
        }
    }

    /// Makes an entry; an old one that is not in use goes when there are too many.
    fn insert(&mut self, now: Instant, name: Name, mac: Option<[u8; 6]>, state: NeighborState) {
        if self.entries.len() >= MAX_NEIGHBORS {
            let oldest = self
                .entries
                .iter()
                .filter(|(_, e)| e.public.state != NeighborState::Permanent)
                .min_by_key(|(_, e)| (e.public.state != NeighborState::Failed, e.public.updated))
                .map(|(&n, _)| n);
            match oldest {
                Some((interface, address)) => self.remove(interface, address),
                None => return,
            };
        }
        let public = Neighbor {
            interface: name.0,
            address: name.1,
            mac,
            state,
            updated: now,
            router: false,
        };
        let entry = Entry {
            public,
            probes: 0,
            deadline: None,
            armed: None,
            waiting: VecDeque::new(),
        };
        self.entries.insert(name, entry);
    }
}

impl Entry {
    fn expire(&mut self, now: Instant) -> Due {
        self.public.updated = now;
        match self.public.state {
            NeighborState::Reachable => {
                self.public.state = NeighborState::Stale;
                Due::Changed
            }
            NeighborState::Delay => {
                self.public.state = NeighborState::Probe;
                self.probes = 1;
                self.deadline = Some(now + RETRANSMIT);
                Due::Solicit(self.public.mac)
            }
            NeighborState::Probe | NeighborState::Incomplete if self.probes < PROBES => {
                self.probes += 1;
                self.deadline = Some(now + RETRANSMIT);
                let to = self
                    .public
                    .mac
                    .filter(|_| self.public.state == NeighborState::Probe);
                Due::Solicit(to)
            }
            NeighborState::Probe | NeighborState::Incomplete => {
                self.public.state = NeighborState::Failed;
                self.public.mac = None;
                Due::Failed(self.waiting.drain(..).collect())
            }
            _ => Due::Changed,
        }
    }
}
