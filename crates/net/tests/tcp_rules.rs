//! One rule of TCP each, against a peer made by hand.

mod link;

use std::time::Duration;

use link::*;
use net::*;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
const URG: u8 = 32;

/// A segment as the peer (10.0.0.2) builds it or gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Segment {
    src: u16,
    dst: u16,
    seq: u32,
    ack: u32,
    flags: u8,
    window: u16,
    urgent: u16,
    options: Vec<u8>,
    data: Vec<u8>,
}

impl Segment {
    fn frame(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        while options.len() % 4 != 0 {
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
        frame.extend([((20 + options.len()) / 4 << 4) as u8, self.flags]);
        frame.extend(self.window.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(self.urgent.to_be_bytes());
        frame.extend(options);
        frame.extend(&self.data);
        frame
    }

    fn parse(frame: &[u8]) -> Option<Segment> {
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
struct Host {
    stack: Stack,
    now: Instant,
    out: Vec<Segment>,
    id: TcpId,
    /// The peer's next number, and ours as it has seen it.
    seq: u32,
    ack: u32,
    port: u16,
}

impl Host {
    /// A stack with a listener on port 80.
    fn listening(backlog: usize, settings: impl FnOnce(&mut Settings)) -> Host {
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
    fn connected(options: &[u8]) -> Host {
        let mut h = Host::listening(5, |_| {});
        let listener = h.id;
        h.handshake(5555, options);
        h.id = h.stack.tcp_accept(listener, 2).unwrap().0;
        h
    }

    fn handshake(&mut self, port: u16, options: &[u8]) {
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
    fn inject(&mut self, mut s: Segment) {
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

    fn data(&mut self, at: u32, bytes: &[u8]) {
        self.inject(Segment {
            seq: at,
            flags: ACK | PSH,
            data: bytes.to_vec(),
            ..Segment::default()
        });
    }

    fn acknowledge(&mut self, ack: u32) {
        self.inject(Segment {
            ack,
            flags: ACK,
            ..Segment::default()
        });
    }

    fn poll(&mut self) {
        let out = &mut self.out;
        self.stack.poll(self.now, &mut |_, _, parts| {
            out.extend(Segment::parse(&parts.concat()));
            true
        });
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.stack.deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.poll();
        }
        self.now = end;
        self.poll();
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.send_more(bytes, false)
    }

    fn send_more(&mut self, bytes: &[u8], more: bool) -> Result<usize, Error> {
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

    fn options(&mut self, options: TcpOptions) {
        self.stack.tcp_set_options(self.now, self.id, options);
        self.poll();
    }

    fn take(&mut self) -> Vec<Segment> {
        std::mem::take(&mut self.out)
    }

    fn one(&mut self) -> Segment {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// Lengths of the data segments sent.
    fn lengths(&mut self) -> Vec<usize> {
        self.take().iter().map(|s| s.data.len()).collect()
    }

    fn state(&self) -> TcpState {
        self.stack.tcp_status(self.id).unwrap().state
    }
}

const MSS_1000: &[u8] = &[2, 4, 3, 0xe8];
const MSS_1000_SACK: &[u8] = &[2, 4, 3, 0xe8, 4, 2];

#[test]
fn syn_ack_mirrors_the_options() {
    let mut h = Host::listening(5, |_| {});
    let options = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];
    h.inject(Segment {
        flags: SYN,
        options: options.to_vec(),
        ..Segment::default()
    });
    let reply = h.one();
    assert_eq!(reply.options.len(), 20);
    assert_eq!(reply.options[..6], [2, 4, 5, 0xb4, 4, 2]);
    assert_eq!(reply.options[12..16], [0, 0, 0, 9]);
    h.port = 7777;
    h.inject(Segment {
        flags: SYN,
        options: MSS_1000.to_vec(),
        ..Segment::default()
    });
    assert_eq!(h.one().options, [2, 4, 5, 0xb4]);
}

#[test]
fn syn_ack_is_sent_again_and_given_up() {
    let mut h = Host::listening(5, |_| {});
    h.inject(Segment {
        flags: SYN,
        ..Segment::default()
    });
    h.take();
    // After 1, 2, 4, 8, 16 seconds.
    h.pass(Duration::from_millis(31_500));
    assert_eq!(h.take().len(), 5);
    h.pass(Duration::from_secs(60));
    assert_eq!((h.take().len(), h.stack.tcp_entries(h.now).len()), (0, 1));
}

#[test]
fn full_accept_queue_ignores_the_last_ack_and_drops_syns() {
    let mut h = Host::listening(1, |_| {});
    for port in 1..=2 {
        h.handshake(port, &[]);
    }
    assert_eq!(h.stack.tcp_status(h.id).unwrap().readable, 2);
    h.port = 3;
    h.inject(Segment {
        seq: 1000,
        flags: SYN,
        ..Segment::default()
    });
    assert_eq!(h.take(), []);
    let listener = h.id;
    h.stack.tcp_accept(listener, 0).unwrap();
    h.handshake(4, &[]);
    assert_eq!(h.stack.tcp_status(h.id).unwrap().readable, 2);
    assert!(h.stack.counters().tcp_listen_overflows > 0);
}

#[test]
fn last_ack_ignored_by_a_full_queue_is_made_good_by_data() {
    let mut h = Host::listening(0, |_| {});
    h.inject(Segment {
        flags: SYN,
        ..Segment::default()
    });
    let first = h.one();
    h.handshake(6, &[]);
    h.port = 5555;
    h.ack = first.seq.wrapping_add(1);
    h.inject(Segment {
        flags: ACK,
        ..Segment::default()
    });
    assert_eq!(h.stack.tcp_status(h.id).unwrap().readable, 1);
    let listener = h.id;
    h.stack.tcp_accept(listener, 0).unwrap();
    h.data(1001, b"hello");
    let (id, ..) = h.stack.tcp_accept(listener, 0).unwrap();
    assert_eq!(h.stack.tcp_readable(id), Ok(5));
}

#[test]
fn reset_for_a_closed_port() {
    let mut h = Host::listening(5, |_| {});
    let frame = Segment {
        src: 1,
        dst: 81,
        seq: 7,
        flags: SYN,
        ..Segment::default()
    }
    .frame();
    let verified = Offload {
        checksum: Checksum::Verified,
        gso: None,
    };
    h.stack.receive(h.now, 2, &verified, &frame);
    h.poll();
    let reply = h.one();
    assert_eq!((reply.flags, reply.seq, reply.ack), (RST | ACK, 0, 8));
    let frame = Segment {
        src: 1,
        dst: 81,
        seq: 7,
        ack: 99,
        flags: ACK,
        ..Segment::default()
    }
    .frame();
    h.stack.receive(h.now, 2, &verified, &frame);
    h.poll();
    let reply = h.one();
    assert_eq!((reply.flags, reply.seq), (RST, 99));
}

/// RFC 5961: a reset counts only at the exact number; a SYN never does.
#[test]
fn blind_attacks_are_challenged() {
    let mut h = Host::connected(MSS_1000);
    h.take();
    let seq = h.seq;
    h.inject(Segment {
        seq: seq + 100,
        flags: RST,
        ..Segment::default()
    });
    let reply = h.one();
    assert_eq!(
        (reply.flags, reply.ack, h.state()),
        (ACK, seq, TcpState::Established)
    );
    h.inject(Segment {
        seq: seq + 70_000,
        flags: RST,
        ..Segment::default()
    });
    assert_eq!(h.take(), []);
    h.inject(Segment {
        seq: seq + 5,
        flags: SYN,
        ..Segment::default()
    });
    assert_eq!(h.one().flags, ACK);
    let ack = h.ack;
    h.inject(Segment {
        ack: ack + 5000,
        flags: ACK,
        data: vec![1],
        ..Segment::default()
    });
    assert_eq!(
        (h.one().flags, h.stack.tcp_readable(h.id)),
        (ACK, Err(Error::WouldBlock))
    );
    h.inject(Segment {
        seq,
        flags: RST,
        ..Segment::default()
    });
    assert_eq!((h.take(), h.state()), (vec![], TcpState::Closed));
}

#[test]
fn old_timestamps_are_refused() {
    let stamps = |v: u32| [&[1, 1, 8, 10][..], &v.to_be_bytes(), &[0; 4]].concat();
    let mut h = Host::listening(5, |_| {});
    let listener = h.id;
    h.inject(Segment {
        flags: SYN,
        options: stamps(1000),
        ..Segment::default()
    });
    h.ack = h.one().seq.wrapping_add(1);
    h.seq = 1001;
    h.inject(Segment {
        flags: ACK,
        options: stamps(1001),
        ..Segment::default()
    });
    h.id = h.stack.tcp_accept(listener, 0).unwrap().0;
    h.inject(Segment {
        flags: ACK,
        options: stamps(1100),
        data: vec![1],
        ..Segment::default()
    });
    h.take();
    h.inject(Segment {
        seq: 1002,
        flags: ACK,
        options: stamps(1050),
        data: vec![2],
        ..Segment::default()
    });
    assert_eq!(h.one().ack, 1002);
    assert_eq!(h.stack.counters().tcp_paws_drops, 1);
    assert_eq!(h.stack.tcp_readable(h.id), Ok(1));
}

#[test]
fn nagle_holds_a_small_segment_while_one_is_out() {
    let mut h = Host::connected(MSS_1000);
    h.take();
    h.send(b"a").unwrap();
    assert_eq!(h.lengths(), [1]);
    h.send(b"b").unwrap();
    h.send(b"c").unwrap();
    assert_eq!(h.lengths(), []);
    let ack = h.ack + 1;
    h.acknowledge(ack);
    assert_eq!(h.lengths(), [2]);
    // A full segment goes at once, what is left of it waits.
    h.send(&[0; 1500]).unwrap();
    assert_eq!(h.lengths(), [1000]);
    h.options(TcpOptions {
        nodelay: true,
        ..TcpOptions::default()
    });
    assert_eq!(h.lengths(), [500]);
}

#[test]
fn cork_and_more_hold_back_for_200_ms() {
    for more in [false, true] {
        let mut h = Host::connected(MSS_1000);
        h.take();
        if !more {
            h.options(TcpOptions {
                cork: true,
                nodelay: true,
                ..TcpOptions::default()
            });
        }
        h.send_more(&[0; 1300], more).unwrap();
        assert_eq!(h.lengths(), [1000]);
        let ack = h.ack + 1000;
        h.acknowledge(ack);
        h.pass(Duration::from_millis(150));
        assert_eq!(h.lengths(), []);
        h.pass(Duration::from_millis(100));
        assert_eq!(h.lengths(), [300]);
    }
}

#[test]
fn acknowledgements_are_delayed_but_not_every_second_one() {
    let mut h = Host::connected(MSS_1000);
    h.take();
    // The first sixteen are quick (slow start needs them).
    let mut at = 1001;
    for _ in 0..16 {
        h.data(at, &[0; 10]);
        at += 10;
    }
    assert_eq!(h.take().len(), 16);
    h.data(at, &[0; 10]);
    assert_eq!(h.take().len(), 0);
    h.pass(Duration::from_millis(50));
    assert_eq!(h.one().ack, at + 10);
    h.data(at + 10, &[0; 1000]);
    assert_eq!(h.take().len(), 0);
    h.data(at + 1010, &[0; 1000]);
    assert_eq!(h.one().ack, at + 2010);
}

#[test]
fn sack_blocks_tell_of_gaps_the_latest_first() {
    let mut h = Host::connected(MSS_1000_SACK);
    h.take();
    h.data(1101, &[0; 100]);
    h.data(1301, &[0; 100]);
    h.data(1501, &[0; 100]);
    let last = h.take().pop().unwrap();
    assert_eq!(last.ack, 1001);
    let blocks: Vec<u32> = last.options[4..]
        .chunks(4)
        .map(|c| u32::from_be_bytes(c.try_into().unwrap()))
        .collect();
    assert_eq!(blocks, [1501, 1601, 1301, 1401, 1101, 1201]);
    // A duplicate is reported (RFC 2883).
    h.data(1301, &[0; 100]);
    let last = h.take().pop().unwrap();
    assert_eq!(last.ack, 1001);
    h.data(1001, &[0; 100]);
    h.data(1201, &[0; 100]);
    h.data(1401, &[0; 100]);
    let last = h.take().pop().unwrap();
    assert_eq!((last.ack, last.options.len()), (1601, 0));
    h.data(1001, &[0; 100]);
    let last = h.take().pop().unwrap();
    assert_eq!(last.options[4..], [[0, 0, 3, 0xe9], [0, 0, 4, 0x4d]].concat());
}

#[test]
fn fast_retransmit_by_sack_and_by_three_duplicates() {
    for sack in [true, false] {
        let mut h = Host::connected(if sack { MSS_1000_SACK } else { MSS_1000 });
        h.take();
        h.send(&[0; 8000]).unwrap();
        let sent = h.take();
        assert_eq!(sent.len(), 8);
        h.now = h.now + Duration::from_millis(10);
        let lost = sent[0].seq;
        for n in 1..=3u32 {
            let mut options = vec![];
            if sack {
                options = [
                    &[1, 1, 5, 10][..],
                    &(lost + 1000).to_be_bytes(),
                    &(lost + 1000 + n * 1000).to_be_bytes(),
                ]
                .concat();
            }
            h.inject(Segment {
                ack: lost,
                flags: ACK,
                options,
                ..Segment::default()
            });
        }
        let again = h.take();
        assert_eq!(again.len(), 1, "sack {sack}: {again:?}");
        assert_eq!((again[0].seq, again[0].data.len()), (lost, 1000));
        assert_eq!(h.stack.tcp_info(h.now, h.id).unwrap().ca_state, 3);
        h.acknowledge(lost + 8000);
        let info = h.stack.tcp_info(h.now, h.id).unwrap();
        assert_eq!((info.ca_state, info.snd_cwnd), (0, 7));
    }
}

#[test]
fn retransmission_backs_off() {
    let mut h = Host::connected(MSS_1000);
    h.take();
    h.now = h.now + Duration::from_millis(10);
    h.send(&[7; 100]).unwrap();
    h.take();
    let mut at = Vec::new();
    let start = h.now;
    for _ in 0..300 {
        h.pass(Duration::from_millis(20));
        for _ in h.take() {
            at.push(h.now.since(start).as_millis());
        }
    }
    // 200 ms and the handshake's round trip, then doubled each time.
    assert_eq!(at.len(), 4, "{at:?}");
    assert!(
        at.windows(3)
            .all(|w| ((w[2] - w[1]) as f64 / (w[1] - w[0]) as f64 - 2.0).abs() < 0.2),
        "{at:?}"
    );
}

#[test]
fn tail_loss_is_probed_before_the_timeout() {
    let mut h = Host::connected(MSS_1000_SACK);
    h.take();
    h.now = h.now + Duration::from_millis(10);
    h.send(&[7; 1000]).unwrap();
    h.now = h.now + Duration::from_millis(10);
    let ack = h.ack + 1000;
    h.acknowledge(ack);
    h.send(&[7; 3000]).unwrap();
    h.take();
    h.pass(Duration::from_millis(60));
    let probe = h.one();
    assert_eq!(probe.seq, ack + 2000);
}

#[test]
fn closed_window_is_probed_and_small_ones_are_not_used() {
    let mut h = Host::connected(MSS_1000);
    h.take();
    let ack = h.ack;
    h.inject(Segment {
        ack,
        flags: ACK,
        window: 1,
        seq: h.seq,
        ..Segment::default()
    });
    h.send(&[7; 5000]).unwrap();
    assert_eq!(h.lengths(), []);
    // The byte that fits goes as a probe.
    h.pass(Duration::from_millis(250));
    assert_eq!(h.lengths(), [1]);
    h.acknowledge(ack + 1);
    assert_eq!(h.lengths().iter().sum::<usize>(), 4999);
}

#[test]
fn window_never_shrinks_and_moves_by_full_segments() {
    let mut h = Host::connected(MSS_1000);
    h.take();
    let first = 65_535u32.min(65_536);
    let mut at = 1001u32;
    let mut edge = 0;
    loop {
        h.data(at, &[0; 1000]);
        at += 1000;
        for s in h.take() {
            let new = s.ack + u32::from(s.window);
            assert!(new >= edge, "the window shrank");
            edge = new;
        }
        if at + 1000 > edge {
            break;
        }
    }
    assert!(edge <= 1001 + first);
    // A little is read: no update. Much is read: one.
    let id = h.id;
    h.stack.tcp_consume(h.now, id, 500);
    h.poll();
    assert_eq!(h.take(), []);
    h.stack.tcp_consume(h.now, id, 30_000);
    h.poll();
    assert!(h.one().window > 20_000);
}

#[test]
fn data_beyond_the_window_is_cut_off() {
    let mut h = Host::connected(MSS_1000);
    h.take();
    let id = h.id;
    let mut at = 1001;
    for _ in 0..80 {
        h.data(at, &[0; 1000]);
        at += 1000;
    }
    let n = h.stack.tcp_readable(id).unwrap();
    assert!((64_000..=65_536).contains(&n), "{n}");
    h.data(at + 10_000_000, &[0; 1000]);
    h.data(at + 60_000, &[0; 1000]);
    assert_eq!(h.stack.tcp_readable(id).unwrap(), n);
}

#[test]
fn urgent_byte_is_out_of_band() {
    let mut h = Host::connected(MSS_1000);
    h.take();
    let id = h.id;
    h.inject(Segment {
        flags: ACK | URG,
        urgent: 3,
        data: b"abXcd".to_vec(),
        ..Segment::default()
    });
    assert!(h.stack.tcp_status(id).unwrap().ready.contains(Ready::PRI));
    assert_eq!(h.stack.tcp_readable(id), Ok(2));
    assert_eq!(h.stack.tcp_urgent(id, false), Ok(b'X'));
    assert_eq!(h.stack.tcp_urgent(id, false), Err(Error::Invalid));
    assert!(!h.stack.tcp_at_mark(id));
    h.stack.tcp_consume(h.now, id, 2);
    assert!(h.stack.tcp_at_mark(id));
    assert_eq!(h.stack.tcp_readable(id), Ok(2));
    assert_eq!(h.stack.tcp_data(id, 0, 9).0, b"cd");
    h.stack.tcp_consume(h.now, id, 2);
    assert_eq!(h.stack.tcp_readable(id), Err(Error::WouldBlock));
    h.stack.tcp_send_urgent(h.now, id, b'!').unwrap();
    h.poll();
    let sent = h.take().pop().unwrap();
    assert_eq!(
        (sent.flags & URG, sent.urgent, &sent.data[..]),
        (URG, 1, &b"!"[..])
    );
}

#[test]
fn time_wait_answers_and_gives_way_to_a_new_connection() {
    let mut h = Host::connected(MSS_1000);
    let (id, now) = (h.id, h.now);
    h.stack.tcp_close(now, id);
    h.poll();
    let fin = h.take().pop().unwrap();
    assert_eq!(fin.flags, FIN | ACK);
    h.inject(Segment {
        ack: fin.seq + 1,
        flags: FIN | ACK,
        ..Segment::default()
    });
    assert_eq!(h.one().ack, 1002);
    // The last acknowledgement was lost: the FIN comes again.
    h.inject(Segment {
        ack: fin.seq + 1,
        flags: FIN | ACK,
        ..Segment::default()
    });
    assert_eq!(h.one().ack, 1002);
    // A new SYN with a later number.
    h.inject(Segment {
        seq: 2000,
        flags: SYN,
        ..Segment::default()
    });
    let reply = h.one();
    assert_eq!((reply.flags, reply.ack), (SYN | ACK, 2001));
    assert!(reply.seq.wrapping_sub(fin.seq) > 65_535 && reply.seq.wrapping_sub(fin.seq) < 1 << 20);
}

#[test]
fn ends_in_use_are_refused_to_a_second_connection() {
    let mut h = Host::listening(5, |_| {});
    let (now, local, remote) = (h.now, (A, 9000).into(), (B, 1).into());
    h.stack
        .tcp_connect(now, local, remote, TcpOptions::default(), 0)
        .unwrap();
    assert_eq!(
        h.stack.tcp_connect(now, local, remote, TcpOptions::default(), 0),
        Err(Error::AddressInUse)
    );
    let listen =
        |h: &mut Host, at: &str, options: TcpOptions| h.stack.tcp_listen(at.parse().unwrap(), 1, options, 0);
    assert_eq!(
        listen(&mut h, "0.0.0.0:80", TcpOptions::default()),
        Err(Error::AddressInUse)
    );
    assert_eq!(
        listen(&mut h, "[::]:80", TcpOptions::default()),
        Err(Error::AddressInUse)
    );
    assert!(
        listen(
            &mut h,
            "[::]:80",
            TcpOptions {
                v6only: true,
                ..TcpOptions::default()
            }
        )
        .is_ok()
    );
    let shared = TcpOptions {
        reuse_port: true,
        ..TcpOptions::default()
    };
    assert!(listen(&mut h, "0.0.0.0:81", shared.clone()).is_ok());
    assert!(listen(&mut h, "0.0.0.0:81", shared).is_ok());
}

#[test]
fn connections_spread_over_shared_listeners() {
    let mut h = Host::listening(5, |_| {});
    let shared = TcpOptions {
        reuse_port: true,
        ..TcpOptions::default()
    };
    let now = h.now;
    let first = h.id;
    h.stack.tcp_close(now, first);
    let ids: Vec<TcpId> = (0..4)
        .map(|_| {
            h.stack
                .tcp_listen("0.0.0.0:80".parse().unwrap(), 500, shared.clone(), 0)
                .unwrap()
        })
        .collect();
    for port in 1..=400 {
        h.handshake(port, &[]);
    }
    let counts: Vec<usize> = ids
        .iter()
        .map(|&i| h.stack.tcp_status(i).unwrap().readable)
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), 400);
    assert!(counts.iter().all(|c| (60..150).contains(c)), "{counts:?}");
}

#[test]
fn device_bound_listener_wins_and_sees_only_its_own() {
    let mut h = Host::listening(5, |_| {});
    let bound = TcpOptions {
        interface: Some(2),
        ..TcpOptions::default()
    };
    let on = h
        .stack
        .tcp_listen("0.0.0.0:80".parse().unwrap(), 5, bound, 0)
        .unwrap();
    h.handshake(1, &[]);
    assert_eq!(h.stack.tcp_status(on).unwrap().readable, 1);
    assert_eq!(h.stack.tcp_status(h.id).unwrap().readable, 0);
}

#[test]
fn timeout_that_was_none_is_undone() {
    let stamp = |v: u32, e: u32| [&[1, 1, 8, 10][..], &v.to_be_bytes(), &e.to_be_bytes()].concat();
    let mut h = Host::listening(5, |_| {});
    let listener = h.id;
    let syn = [MSS_1000, &stamp(1, 0)].concat();
    h.inject(Segment {
        flags: SYN,
        options: syn,
        ..Segment::default()
    });
    h.ack = h.one().seq.wrapping_add(1);
    h.seq = 1001;
    h.inject(Segment {
        flags: ACK,
        options: stamp(2, 0),
        ..Segment::default()
    });
    h.id = h.stack.tcp_accept(listener, 0).unwrap().0;
    h.send(&[1; 5000]).unwrap();
    let sent = h.take();
    let echo = u32::from_be_bytes(sent[0].options[4..8].try_into().unwrap());
    h.pass(Duration::from_millis(1100));
    assert_eq!(h.stack.tcp_info(h.now, h.id).unwrap().ca_state, 4);
    // The acknowledgement of the first copy was only late.
    h.inject(Segment {
        ack: sent[0].seq + 988,
        flags: ACK,
        options: stamp(3, echo),
        ..Segment::default()
    });
    let info = h.stack.tcp_info(h.now, h.id).unwrap();
    assert_eq!(info.ca_state, 0);
    assert!(info.snd_cwnd >= 10, "{info:?}");
}

#[test]
fn idle_connections_hold_no_memory_for_queues_and_no_timer() {
    let mut h = Host::connected(MSS_1000);
    h.data(1001, &[0; 30_000]);
    let id = h.id;
    h.stack.tcp_consume(h.now, id, 30_000);
    h.pass(Duration::from_secs(30));
    assert_eq!(h.stack.deadline(), None);
}
