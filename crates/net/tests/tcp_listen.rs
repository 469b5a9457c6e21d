//! Handshakes, listeners, resets, TIME_WAIT.

mod hand;
mod link;

use std::time::Duration;

use hand::*;
use link::*;
use net::*;

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
