//! One rule of TCP each, against a peer made by hand.

mod hand;
mod link;

use std::time::Duration;

use hand::*;
use net::*;

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
    assert!(edge <= 1001 + 65_535);
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

/// A write that fills the buffer exactly leaves no room: the event about it must come though nobody was refused.
#[test]
fn room_is_told_after_an_exact_fill() {
    let mut h = Host::connected(MSS_1000);
    let id = h.id;
    let room = h.stack.tcp_status(id).unwrap().writable;
    assert_eq!(h.send(&vec![0; room]), Ok(room));
    assert!(!h.stack.tcp_status(id).unwrap().ready.contains(Ready::OUT));
    while h.stack.next_event().is_some() {}
    let mut acked = h.ack;
    let mut told = false;
    for _ in 0..100 {
        for s in h.take() {
            acked = s.seq.wrapping_add(s.data.len() as u32);
        }
        h.acknowledge(acked);
        while let Some(event) = h.stack.next_event() {
            told |= matches!(event, Event::Tcp { ready, .. } if ready.contains(Ready::OUT));
        }
    }
    assert!(told);
}

/// TCP_NOTSENT_LOWAT: writable depends on what is not sent, not on what is not acknowledged.
#[test]
fn unsent_bytes_bound_a_writer() {
    let mut h = Host::connected(MSS_1000);
    h.options(TcpOptions {
        notsent_lowat: Some(2000),
        ..TcpOptions::default()
    });
    let id = h.id;
    h.send(&[0; 30_000]).unwrap();
    assert_eq!(h.lengths().iter().sum::<usize>(), 10_000);
    assert!(!h.stack.tcp_status(id).unwrap().ready.contains(Ready::OUT));
    while h.stack.next_event().is_some() {}
    let ack = h.ack + 10_000;
    h.acknowledge(ack);
    let rest = h.lengths().iter().sum::<usize>();
    h.acknowledge(ack + rest as u32);
    let told = std::iter::from_fn(|| h.stack.next_event())
        .any(|e| matches!(e, Event::Tcp { ready, .. } if ready.contains(Ready::OUT)));
    assert!(told);
}

#[test]
fn window_narrower_than_a_segment_opens_again() {
    let mut h = Host::connected(MSS_1000);
    let id = h.id;
    h.options(TcpOptions {
        receive_buffer: Some(2400),
        ..TcpOptions::default()
    });
    // What was offered before the buffer shrank must come first.
    let mut at = 1001;
    while at < 1001 + 65_535 {
        h.data(at, &[0; 1000]);
        at += 1000;
    }
    h.take();
    let full = h.stack.tcp_readable(id).unwrap();
    h.stack.tcp_consume(h.now, id, full);
    h.poll();
    assert!((600..=1200).contains(&h.one().window));
}

#[test]
fn window_smaller_than_a_segment_is_used_after_a_while() {
    let mut h = Host::connected(MSS_1000);
    h.take();
    let (seq, ack) = (h.seq, h.ack);
    h.inject(Segment {
        seq,
        ack,
        flags: ACK,
        window: 300,
        ..Segment::default()
    });
    h.send(&[0; 5000]).unwrap();
    assert_eq!(h.lengths(), []);
    // An acknowledgement that changes nothing must not stop the timer.
    h.inject(Segment {
        seq,
        ack,
        flags: ACK,
        window: 300,
        ..Segment::default()
    });
    h.pass(Duration::from_millis(250));
    assert_eq!(h.lengths(), [300]);
}
