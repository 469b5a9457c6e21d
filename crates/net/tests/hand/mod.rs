//! A peer made by hand: segments as a test wants them, and what the stack says to them.
#![allow(dead_code, reason = "each test program uses its part")]

use std::time::Duration;

use net::*;

use crate::link::{B, stack};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;
pub const URG: u8 = 32;

/// A segment as the peer (10.0.0.2) builds it or gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub src: u16,
    pub dst: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub urgent: u16,
    pub options: Vec<u8>,
    pub data: Vec<u8>,
}

impl Segment {
    pub fn frame(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        while !options.len().is_multiple_of(4) {
            options.push(1);
        }
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        let total = (40 + options.len() + self.data.len()) as u16;
        let mut ip = vec![
            0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1,
        ];
        ip[2..4].copy_from_slice(&total.to_be_bytes());
        let sum = !ip.chunks(2).fold(0u32, |s, c| {
            let s = s + u32::from(u16::from_be_bytes([c[0], c[1]]));
            (s & 0xffff) + (s >> 16)
        }) as u16;
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        frame.extend(ip);
        frame.extend(self.src.to_be_bytes());
        frame.extend(self.dst.to_be_bytes());
        frame.extend(self.seq.to_be_bytes());
        frame.extend(self.ack.to_be_bytes());
        frame.extend([(((20 + options.len()) / 4) << 4) as u8, self.flags]);
        frame.extend(self.window.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(self.urgent.to_be_bytes());
        frame.extend(options);
        frame.extend(&self.data);
        frame
    }

    pub fn parse(frame: &[u8]) -> Option<Segment> {
        if frame.get(12..14)? != [8, 0] || *frame.get(23)? != 6 {
            return None;
        }
        let t = &frame[34..];
        let half = |at: usize| u16::from_be_bytes([t[at], t[at + 1]]);
        let word = |at: usize| u32::from_be_bytes(t[at..at + 4].try_into().unwrap());
        let header = usize::from(t[12] >> 4) * 4;
        Some(Segment {
            src: half(0),
            dst: half(2),
            seq: word(4),
            ack: word(8),
            flags: t[13],
            window: half(14),
            urgent: half(18),
            options: t[20..header].to_vec(),
            data: t[header..].to_vec(),
        })
    }
}

/// Our stack, and the peer's view of one connection.
pub struct Host {
    pub stack: Stack,
    pub now: Instant,
    pub out: Vec<Segment>,
    pub id: TcpId,
    /// The peer's next number, and ours as it has seen it.
    pub seq: u32,
    pub ack: u32,
    pub port: u16,
}

impl Host {
    /// A stack with a listener on port 80.
    pub fn listening(backlog: usize, settings: impl FnOnce(&mut Settings)) -> Host {
        let mut stack = stack(0, 1500, Offloads::default());
        settings(stack.settings_mut());
        let neighbor = Neighbor {
            interface: 2,
            address: B,
            mac: Some([2, 0, 0, 0, 0, 2]),
            state: NeighborState::Permanent,
            updated: Instant::ZERO,
            router: false,
        };
        stack.set_neighbor(Instant::ZERO, neighbor).unwrap();
        let id = stack
            .tcp_listen("0.0.0.0:80".parse().unwrap(), backlog, TcpOptions::default(), 1)
            .unwrap();
        let now = Instant::from_nanos(5_000_000_000);
        Host {
            stack,
            now,
            out: Vec::new(),
            id,
            seq: 1000,
            ack: 0,
            port: 5555,
        }
    }

    /// With a connection from the peer; `options` are those of its SYN.
    pub fn connected(options: &[u8]) -> Host {
        let mut h = Host::listening(5, |_| {});
        let listener = h.id;
        h.handshake(5555, options);
        h.id = h.stack.tcp_accept(listener, 2).unwrap().0;
        h
    }

    pub fn handshake(&mut self, port: u16, options: &[u8]) {
        self.port = port;
        self.seq = 1000;
        self.inject(Segment {
            flags: SYN,
            options: options.to_vec(),
            ..Segment::default()
        });
        let reply = self.one();
        assert_eq!((reply.flags, reply.ack), (SYN | ACK, 1001));
        self.seq = 1001;
        self.ack = reply.seq.wrapping_add(1);
        self.inject(Segment {
            flags: ACK,
            ..Segment::default()
        });
    }

    /// Gives the stack a segment; number, acknowledgement and window are filled in when they are zero.
    pub fn inject(&mut self, mut s: Segment) {
        s.src = self.port;
        s.dst = 80;
        if s.seq == 0 {
            s.seq = self.seq;
        }
        if s.ack == 0 && s.flags & ACK != 0 {
            s.ack = self.ack;
        }
        if s.window == 0 {
            s.window = 60_000;
        }
        let verified = Offload {
            checksum: Checksum::Verified,
            gso: None,
        };
        self.stack.receive(self.now, 2, &verified, &s.frame());
        self.poll();
    }

    pub fn data(&mut self, at: u32, bytes: &[u8]) {
        self.inject(Segment {
            seq: at,
            flags: ACK | PSH,
            data: bytes.to_vec(),
            ..Segment::default()
        });
    }

    pub fn acknowledge(&mut self, ack: u32) {
        self.inject(Segment {
            ack,
            flags: ACK,
            ..Segment::default()
        });
    }

    pub fn poll(&mut self) {
        let out = &mut self.out;
        self.stack.poll(self.now, &mut |_, _, parts| {
            out.extend(Segment::parse(&parts.concat()));
            true
        });
    }

    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.stack.deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.poll();
        }
        self.now = end;
        self.poll();
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.send_more(bytes, false)
    }

    pub fn send_more(&mut self, bytes: &[u8], more: bool) -> Result<usize, Error> {
        let mut at = 0;
        let sent = self
            .stack
            .tcp_send(self.now, self.id, bytes.len(), more, &mut |room| {
                room.copy_from_slice(&bytes[at..at + room.len()]);
                at += room.len();
                room.len()
            });
        self.poll();
        sent
    }

    pub fn options(&mut self, options: TcpOptions) {
        self.stack.tcp_set_options(self.now, self.id, options);
        self.poll();
    }

    pub fn take(&mut self) -> Vec<Segment> {
        std::mem::take(&mut self.out)
    }

    pub fn one(&mut self) -> Segment {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// Lengths of the data segments sent.
    pub fn lengths(&mut self) -> Vec<usize> {
        self.take().iter().map(|s| s.data.len()).collect()
    }

    pub fn state(&self) -> TcpState {
        self.stack.tcp_status(self.id).unwrap().state
    }
}

pub const MSS_1000: &[u8] = &[2, 4, 3, 0xe8];
pub const MSS_1000_SACK: &[u8] = &[2, 4, 3, 0xe8, 4, 2];
