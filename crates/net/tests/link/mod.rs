//! Two stacks and a link between them that loses, doubles, delays and reorders frames, as a seed says.
#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use net::*;

/// A small generator: the same seed gives the same run.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// What the link does, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub loss: u64,
    pub duplicate: u64,
    pub reorder: u64,
    pub mutate: u64,
    pub delay: Duration,
    /// Bytes per millisecond; 0 for no limit.
    pub rate: u64,
    /// Frames that the device takes in one poll; 0 for no limit.
    pub device: usize,
}

pub struct Pair {
    pub now: Instant,
    pub stacks: [Stack; 2],
    pub faults: Faults,
    pub random: Random,
    pub events: [VecDeque<Event>; 2],
    flying: BTreeMap<(Instant, u64), (usize, Offload, Vec<u8>)>,
    buffer: Vec<u8>,
    /// Frames that a queue has kept.
    pub kept: usize,
    sent: u64,
    free_at: [Instant; 2],
    pub frames: u64,
    /// Set to see every frame: side, frame.
    pub trace: bool,
    /// Frames in the order of sending, when wanted.
    pub seen: Option<Vec<(usize, Vec<u8>)>>,
    /// Nothing passes.
    pub cut: bool,
}

pub const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
pub const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
pub const A6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
pub const B6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));

pub fn gso() -> Offloads {
    Offloads {
        tx_checksum: true,
        gso_max_v4: GSO_MAX,
        gso_max_v6: GSO_MAX,
    }
}

pub fn stack(side: u8, mtu: usize, offloads: Offloads) -> Stack {
    let now = Instant::ZERO;
    let mut stack = Stack::new([side + 7; 32], Settings::default());
    stack.set_up(now, LOOPBACK, true).unwrap();
    stack
        .add_interface(Interface::ethernet(
            2,
            "eth0",
            [2, 0, 0, 0, 0, side + 1],
            mtu,
            offloads,
        ))
        .unwrap();
    stack
        .add_address(now, 2, Address::new(IpAddr::from([10, 0, 0, side + 1]), 24))
        .unwrap();
    stack
        .add_address(
            now,
            2,
            Address::new(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(side) + 1]), 64),
        )
        .unwrap();
    stack.set_up(now, 2, true).unwrap();
    stack
}

/// Neighbour entries that never fail.
pub fn know_each_other(stacks: &mut [Stack; 2]) {
    for (side, stack) in stacks.iter_mut().enumerate() {
        let other = 2 - side as u8;
        for address in [
            IpAddr::from([10, 0, 0, other]),
            IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(other)]),
        ] {
            let mac = Some([2, 0, 0, 0, 0, other]);
            let state = NeighborState::Permanent;
            let updated = Instant::ZERO;
            let neighbor = Neighbor {
                interface: 2,
                address,
                mac,
                state,
                updated,
                router: false,
            };
            stack.set_neighbor(updated, neighbor).unwrap();
        }
    }
}

impl Pair {
    pub fn new(seed: u64, faults: Faults, offloads: Offloads) -> Pair {
        Pair::with_mtu(seed, faults, offloads, 1500)
    }

    pub fn with_mtu(seed: u64, faults: Faults, offloads: Offloads, mtu: usize) -> Pair {
        let mut stacks = [stack(0, mtu, offloads), stack(1, mtu, offloads)];
        if faults.loss > 0 {
            know_each_other(&mut stacks);
        }
        Pair {
            now: Instant::from_nanos(1_000_000_000),
            stacks,
            faults,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            events: [VecDeque::new(), VecDeque::new()],
            flying: BTreeMap::new(),
            buffer: Vec::new(),
            kept: 0,
            sent: 0,
            free_at: [Instant::ZERO; 2],
            frames: 0,
            trace: false,
            seen: None,
            cut: false,
        }
    }

    /// Takes all frames and events out of both stacks.
    pub fn drain(&mut self) {
        for side in 0..2 {
            let mut frames = Vec::new();
            let limit = self.faults.device;
            if self.stacks[side].has_output() || self.stacks[side].deadline().is_some_and(|d| d <= self.now) {
                self.stacks[side].poll(self.now, &mut |_, offload, parts| {
                    if limit > 0 && frames.len() >= limit {
                        return false;
                    }
                    frames.push((*offload, parts.concat()));
                    true
                });
            }
            for (offload, frame) in frames {
                self.launch(side, offload, frame);
            }
            while let Some(event) = self.stacks[side].next_event() {
                self.events[side].push_back(event);
            }
        }
    }

    fn launch(&mut self, side: usize, offload: Offload, mut frame: Vec<u8>) {
        self.frames += 1;
        if self.trace {
            eprintln!("{:>12} {side} {}", self.now.as_nanos() / 1000, describe(&frame));
        }
        if let Some(seen) = &mut self.seen {
            seen.push((side, frame.clone()));
        }
        if self.cut || self.random.chance(self.faults.loss) {
            return;
        }
        let mut at = self.now + self.faults.delay;
        let bits = frame.len() as u64 * 1_000_000;
        if let Some(nanos) = bits.checked_div(self.faults.rate) {
            let start = self.free_at[side].max(self.now);
            let time = Duration::from_nanos(nanos);
            self.free_at[side] = start + time;
            at = start + time + self.faults.delay;
        }
        if self.random.chance(self.faults.reorder) {
            at = at + Duration::from_micros(self.random.below(3000));
        }
        if self.random.chance(self.faults.mutate) && !frame.is_empty() {
            let i = self.random.below(frame.len() as u64) as usize;
            frame[i] ^= 1 << self.random.below(8);
        }
        let copies = if self.random.chance(self.faults.duplicate) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            self.sent += 1;
            self.flying
                .insert((at, self.sent), (1 - side, offload, frame.clone()));
        }
    }

    /// One step: everything that is due now, else time goes on to the next thing. False when nothing will ever happen
    /// before `until`.
    pub fn step(&mut self, until: Instant) -> bool {
        self.drain();
        let waits = self.stacks.iter().any(Stack::has_output);
        let next = self.flying.keys().next().map(|k| k.0);
        let timers = self.stacks.iter().filter_map(Stack::deadline).min();
        let soon = waits.then(|| self.now + Duration::from_micros(10));
        let Some(at) = [next, timers, soon]
            .into_iter()
            .flatten()
            .min()
            .filter(|&at| at <= until)
        else {
            self.now = until;
            self.drain();
            return false;
        };
        self.now = self.now.max(at);
        while let Some((&(at, n), _)) = self.flying.iter().next() {
            if at > self.now {
                break;
            }
            let Some((to, offload, frame)) = self.flying.remove(&(at, n)) else {
                break;
            };
            self.deliver(to, &offload, &frame);
        }
        self.drain();
        true
    }

    /// As a device does that reads each frame into the same buffer, behind a header.
    fn deliver(&mut self, to: usize, offload: &Offload, frame: &[u8]) {
        const HEADER: usize = 10;
        let end = HEADER + frame.len();
        self.buffer.resize(self.buffer.len().max(66_000).max(end), 0);
        self.buffer[HEADER..end].copy_from_slice(frame);
        let (buffer, now) = (&mut self.buffer, self.now);
        let memory = buffer.as_ptr();
        self.stacks[to].receive_kept(now, 2, offload, buffer, HEADER..end);
        self.kept += usize::from(buffer.as_ptr() != memory);
    }

    /// Lets `time` go by.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Runs until `done`, or panics after `limit`.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Pair) -> bool) {
        let until = self.now + limit;
        while !done(self) {
            if !self.step(until) {
                for stack in &self.stacks {
                    for row in stack.tcp_entries(self.now) {
                        eprintln!("{row:?}");
                        if let Some(id) = row.id {
                            eprintln!("{:?}", stack.tcp_info(self.now, id));
                        }
                    }
                }
                panic!("nothing more happens at {:?}", self.now);
            }
        }
    }

    /// A connection from side 0 to side 1.
    pub fn connect(&mut self, options: TcpOptions) -> (TcpId, TcpId) {
        self.connect_to(B, options)
    }

    pub fn connect_to(&mut self, to: IpAddr, options: TcpOptions) -> (TcpId, TcpId) {
        let any = if to.is_ipv4() {
            IpAddr::from([0, 0, 0, 0])
        } else {
            IpAddr::from([0u16; 8])
        };
        let port = 2000 + self.random.below(60_000) as u16;
        let listener = self.stacks[1]
            .tcp_listen(SocketAddr::new(any, port), 16, options.clone(), 1)
            .unwrap();
        let client = self.stacks[0]
            .tcp_connect(
                self.now,
                SocketAddr::new(any, 40_000),
                SocketAddr::new(to, port),
                options,
                2,
            )
            .unwrap();
        let mut server = None;
        self.run_until(Duration::from_secs(600), |p| {
            server = server.or_else(|| p.stacks[1].tcp_accept(listener, 3));
            server.is_some() && p.state(0, client) == TcpState::Established
        });
        let now = self.now;
        self.stacks[1].tcp_close(now, listener);
        (client, server.unwrap().0)
    }

    pub fn state(&self, side: usize, id: TcpId) -> TcpState {
        self.stacks[side]
            .tcp_status(id)
            .map_or(TcpState::Closed, |s| s.state)
    }

    pub fn send(&mut self, side: usize, id: TcpId, bytes: &[u8]) -> Result<usize, Error> {
        let mut at = 0;
        self.stacks[side].tcp_send(self.now, id, bytes.len(), false, &mut |room| {
            room.copy_from_slice(&bytes[at..at + room.len()]);
            at += room.len();
            room.len()
        })
    }

    /// Reads all there is.
    pub fn read(&mut self, side: usize, id: TcpId) -> Result<Vec<u8>, Error> {
        let n = self.stacks[side].tcp_readable(id)?;
        let mut all = Vec::new();
        while all.len() < n {
            let (a, b) = self.stacks[side].tcp_data(id, all.len(), n - all.len());
            assert!(!a.is_empty());
            all.extend([a, b].concat());
        }
        self.stacks[side].tcp_consume(self.now, id, n);
        Ok(all)
    }

    /// Moves `bytes` from `side` to the other one; panics when they arrive wrong or not within `limit`.
    pub fn transfer(&mut self, side: usize, from: TcpId, to: TcpId, bytes: &[u8], limit: Duration) {
        let (mut sent, mut got) = (0, 0);
        self.run_until(limit, |p| {
            if sent < bytes.len()
                && let Ok(n) = p.send(side, from, &bytes[sent..bytes.len().min(sent + 100_000)])
            {
                sent += n;
            }
            match p.read(1 - side, to) {
                Ok(data) => {
                    assert_eq!(data, bytes[got..got + data.len()], "bytes after {got}");
                    got += data.len();
                }
                Err(Error::WouldBlock) => {}
                Err(e) => panic!("{e}"),
            }
            got == bytes.len()
        });
    }
}

pub fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i ^ (i >> 8) ^ (i >> 16).wrapping_mul(37)) as u8)
        .collect()
}

/// A line about a frame.
pub fn describe(frame: &[u8]) -> String {
    let ip = &frame[14.min(frame.len())..];
    if frame.get(12..14) != Some(&[8, 0]) || ip.len() < 40 || ip[9] != 6 {
        return format!("{} bytes, type {:02x?}", frame.len(), &frame.get(12..14));
    }
    let tcp = &ip[20..];
    let word = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
    let header = usize::from(tcp[12] >> 4) * 4;
    let flags: String = "FSRPAU"
        .chars()
        .enumerate()
        .filter(|(i, _)| tcp[13] >> i & 1 == 1)
        .map(|(_, c)| c)
        .collect();
    format!(
        "{flags} seq {} ack {} len {} win {} options {:02x?}",
        word(4),
        word(8),
        tcp.len() - header,
        u16::from_be_bytes([tcp[14], tcp[15]]),
        &tcp[20..header]
    )
}
