//! TCP (RFC 9293): the table of sockets. Its calls are in `calls`, the protocol in the files named after its parts.

pub(crate) mod ack;
pub(crate) mod calls;
pub(crate) mod congestion;
pub(crate) mod connection;
pub(crate) mod error;
pub(crate) mod info;
pub(crate) mod input;
pub(crate) mod listen;
pub(crate) mod options;
pub(crate) mod output;
pub(crate) mod receive;
pub(crate) mod reply;
pub(crate) mod rtt;
pub(crate) mod sack;
pub(crate) mod status;
pub(crate) mod time_wait;
pub(crate) mod timer;

use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use crate::event::{Event, Ready};
use crate::siphash::Key;
use crate::timer::Timers;
use crate::{Error, Instant};

use connection::Connection;
use listen::{Listener, Request};
use time_wait::TimeWait;

/// Sockets of one stack, listeners included; handshakes and TIME_WAIT have bounds of their own.
pub const MAX_SOCKETS: usize = 1 << 18;

/// A TCP socket. A number that was closed is not used again soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TcpId {
    index: u32,
    generation: u32,
}

/// Both ends of a connection. Addresses are canonical: IPv4-mapped ones are IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tuple {
    pub local: IpAddr,
    pub local_port: u16,
    pub remote: IpAddr,
    pub remote_port: u16,
}

impl Hash for Tuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ports = u64::from(self.local_port) << 16 | u64::from(self.remote_port);
        match (self.local, self.remote) {
            (IpAddr::V4(l), IpAddr::V4(r)) => {
                state.write_u64(u64::from(u32::from(l)) << 32 | u64::from(u32::from(r)));
            }
            _ => self.words()[..4].iter().for_each(|&w| state.write_u64(w)),
        }
        state.write_u64(ports);
    }
}

impl Tuple {
    pub(crate) fn local_address(&self) -> SocketAddr {
        SocketAddr::new(self.local, self.local_port)
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        SocketAddr::new(self.remote, self.remote_port)
    }

    /// Words for keyed hashes.
    pub(crate) fn words(&self) -> [u64; 5] {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(a) => u128::from(u32::from(a)) | 0xffff << 32,
            IpAddr::V6(a) => u128::from(a),
        };
        let (l, r) = (bits(self.local), bits(self.remote));
        let ports = u64::from(self.local_port) << 16 | u64::from(self.remote_port);
        [l as u64, (l >> 64) as u64, r as u64, (r >> 64) as u64, ports]
    }
}

/// Who has a pair of ends.
#[derive(Debug)]
pub(crate) enum Entry {
    Connection(TcpId),
    Request(Box<Request>),
    TimeWait(Box<TimeWait>),
}

/// A socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Listener(Box<Listener>),
    Connection(Box<Connection>),
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    socket: Option<Socket>,
    token: u64,
    /// What became ready since the last event.
    news: Ready,
    queued: bool,
    /// Whether it is in the list of those with output.
    output: bool,
    armed: Option<Instant>,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Socket(TcpId),
    Entry(Tuple),
}

/// All sockets.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    free: VecDeque<u32>,
    pub entries: HashMap<Tuple, Entry, Key>,
    pub listeners: HashMap<u16, Vec<TcpId>, Key>,
    news: VecDeque<TcpId>,
    output: VecDeque<TcpId>,
    pub timers: Timers<Due>,
    requests: usize,
    memory: usize,
    /// Whose queue waits for the frame that is being taken in.
    pub kept_by: Option<TcpId>,
    /// Entries in TIME_WAIT.
    pub time_waits: usize,
    /// Challenge ACKs of this second.
    pub challenges: (u64, u32),
}

impl Table {
    pub(crate) fn new(key: Key) -> Table {
        Table {
            slots: Vec::new(),
            free: VecDeque::new(),
            entries: HashMap::with_hasher(key),
            listeners: HashMap::with_hasher(key),
            news: VecDeque::new(),
            output: VecDeque::new(),
            timers: Timers::default(),
            requests: 0,
            memory: 0,
            kept_by: None,
            time_waits: 0,
            challenges: (0, 0),
        }
    }

    pub(crate) fn insert(&mut self, socket: Socket, token: u64) -> Result<TcpId, Error> {
        // Numbers rest for a while, so that a stale one is not mistaken for a new socket.
        let reuse = self.free.len() > 64 || self.slots.len() >= MAX_SOCKETS;
        let fresh = |generation| Slot {
            generation,
            socket: None,
            token,
            news: Ready::empty(),
            queued: false,
            output: false,
            armed: None,
        };
        let index = match if reuse { self.free.pop_front() } else { None } {
            Some(index) => index,
            None => {
                if self.slots.len() >= MAX_SOCKETS {
                    return Err(Error::NoBuffers);
                }
                self.slots.push(fresh(0));
                (self.slots.len() - 1) as u32
            }
        };
        let slot = &mut self.slots[index as usize];
        *slot = fresh(slot.generation.wrapping_add(1));
        slot.socket = Some(socket);
        Ok(TcpId {
            index,
            generation: slot.generation,
        })
    }

    fn slot(&self, id: TcpId) -> Option<&Slot> {
        self.slots
            .get(id.index as usize)
            .filter(|s| s.generation == id.generation)
    }

    fn slot_mut(&mut self, id: TcpId) -> Option<&mut Slot> {
        self.slots
            .get_mut(id.index as usize)
            .filter(|s| s.generation == id.generation)
    }

    pub(crate) fn get(&self, id: TcpId) -> Option<&Socket> {
        self.slot(id)?.socket.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: TcpId) -> Option<&mut Socket> {
        self.slot_mut(id)?.socket.as_mut()
    }

    pub(crate) fn connection(&self, id: TcpId) -> Option<&Connection> {
        match self.get(id)? {
            Socket::Connection(c) => Some(c),
            Socket::Listener(_) => None,
        }
    }

    pub(crate) fn connection_mut(&mut self, id: TcpId) -> Option<&mut Connection> {
        match self.get_mut(id)? {
            Socket::Connection(c) => Some(c),
            Socket::Listener(_) => None,
        }
    }

    pub(crate) fn listener_mut(&mut self, id: TcpId) -> Option<&mut Listener> {
        match self.get_mut(id)? {
            Socket::Listener(l) => Some(l),
            Socket::Connection(_) => None,
        }
    }

    pub(crate) fn request_count(&self) -> usize {
        self.requests
    }

    pub(crate) fn count_requests(&mut self, change: isize) {
        self.requests = self.requests.saturating_add_signed(change);
    }

    pub(crate) fn token(&self, id: TcpId) -> u64 {
        self.slot(id).map_or(0, |s| s.token)
    }

    pub(crate) fn set_token(&mut self, id: TcpId, token: u64) {
        if let Some(slot) = self.slot_mut(id) {
            slot.token = token;
        }
    }

    /// Frees a socket. Its entry in the table of ends is the caller's business.
    pub(crate) fn remove(&mut self, id: TcpId) -> Option<Socket> {
        let slot = self
            .slots
            .get_mut(id.index as usize)
            .filter(|s| s.generation == id.generation)?;
        let socket = slot.socket.take()?;
        if let Socket::Connection(c) = &socket {
            self.memory -= c.accounted;
        }
        self.timers.disarm(Due::Socket(id), &mut slot.armed);
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push_back(id.index);
        Some(socket)
    }

    /// All sockets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TcpId, &Socket)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let id = TcpId {
                index: index as u32,
                generation: slot.generation,
            };
            Some((id, slot.socket.as_ref()?))
        })
    }

    /// Tells the owner that something became ready.
    pub(crate) fn notify(&mut self, id: TcpId, ready: Ready) {
        let Some(slot) = self.slot_mut(id) else { return };
        slot.news |= ready;
        if !slot.queued && !ready.is_empty() {
            slot.queued = true;
            self.news.push_back(id);
        }
    }

    pub(crate) fn next_event(&mut self) -> Option<Event> {
        while let Some(id) = self.news.pop_front() {
            let Some(slot) = self.slot_mut(id) else { continue };
            slot.queued = false;
            let ready = std::mem::take(&mut slot.news);
            return Some(Event::Tcp {
                id,
                token: slot.token,
                ready,
            });
        }
        None
    }

    /// Puts a socket into the list of those with something to send.
    pub(crate) fn want_output(&mut self, id: TcpId) {
        if let Some(slot) = self.slot_mut(id)
            && !slot.output
        {
            slot.output = true;
            self.output.push_back(id);
        }
    }

    pub(crate) fn next_output(&mut self) -> Option<TcpId> {
        while let Some(id) = self.output.pop_front() {
            if let Some(slot) = self.slot_mut(id) {
                slot.output = false;
                return Some(id);
            }
        }
        None
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Arms the timer of a socket for its earliest deadline.
    pub(crate) fn arm(&mut self, id: TcpId, wanted: Option<Instant>) {
        if let Some(slot) = self
            .slots
            .get_mut(id.index as usize)
            .filter(|s| s.generation == id.generation)
        {
            self.timers.arm(Due::Socket(id), &mut slot.armed, wanted);
        }
    }

    /// Counts the memory of a socket's queues anew, and tells it how all of them stand.
    pub(crate) fn account(&mut self, id: TcpId, limits: [usize; 2]) {
        let memory = self.memory;
        let Some(c) = self.connection_mut(id) else { return };
        let now = c.rcv.allocated() + c.snd.queue.allocated();
        let memory = memory - c.accounted + now;
        c.accounted = now;
        (c.pressure, c.exhausted) = (memory > limits[0], memory > limits[1]);
        self.memory = memory;
    }

    /// Bytes that the queues of all sockets hold.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// The timer of a socket ran out.
    pub(crate) fn disarmed(&mut self, id: TcpId) {
        if let Some(slot) = self.slot_mut(id) {
            slot.armed = None;
        }
    }

    pub(crate) fn established(&self) -> usize {
        let counts = |s: &Slot| match &s.socket {
            Some(Socket::Connection(c)) => c.state.counts_as_established(),
            _ => false,
        };
        self.slots.iter().filter(|s| counts(s)).count()
    }
}

/// Whether sequence number `a` comes before `b`.
pub(crate) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
