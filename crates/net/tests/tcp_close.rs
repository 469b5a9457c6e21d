//! All ways in which a connection ends.

mod link;

use std::time::Duration;

use link::*;
use net::*;

const SHORT: Duration = Duration::from_millis(100);

fn pair() -> (Pair, TcpId, TcpId) {
    let faults = Faults {
        delay: Duration::from_millis(1),
        ..Faults::default()
    };
    let mut pair = Pair::new(1, faults, Offloads::default());
    let (client, server) = pair.connect(TcpOptions::default());
    (pair, client, server)
}

fn states(pair: &Pair, side: usize) -> Vec<TcpState> {
    pair.stacks[side]
        .tcp_entries(pair.now)
        .iter()
        .map(|e| e.state)
        .collect()
}

#[test]
fn active_close_ends_in_time_wait() {
    let (mut p, client, server) = pair();
    let now = p.now;
    p.stacks[0].tcp_close(now, client);
    assert_eq!(states(&p, 0), [TcpState::FinWait1]);
    p.run(SHORT);
    assert_eq!(states(&p, 0), [TcpState::FinWait2]);
    assert_eq!(p.state(1, server), TcpState::CloseWait);
    assert_eq!(p.read(1, server), Ok(vec![]));
    let now = p.now;
    p.stacks[1].tcp_close(now, server);
    p.run(SHORT);
    assert_eq!(states(&p, 0), [TcpState::TimeWait]);
    assert_eq!(states(&p, 1), []);
    p.run(Duration::from_secs(61));
    assert_eq!(states(&p, 0), []);
    assert_eq!(
        p.stacks[0].deadline().map(|d| d > p.now),
        p.stacks[0].deadline().map(|_| true)
    );
}

#[test]
fn half_close_still_receives() {
    let (mut p, client, server) = pair();
    let now = p.now;
    p.send(0, client, b"question").unwrap();
    p.stacks[0].tcp_shutdown(now, client, Shutdown::Write).unwrap();
    assert_eq!(p.send(0, client, b"x"), Err(Error::BrokenPipe));
    p.run(SHORT);
    assert_eq!(p.read(1, server).unwrap(), b"question");
    assert_eq!(p.read(1, server), Ok(vec![]));
    p.transfer(1, server, client, &pattern(200_000), Duration::from_secs(10));
    let now = p.now;
    p.stacks[1].tcp_close(now, server);
    p.run(SHORT);
    assert_eq!(p.read(0, client), Ok(vec![]));
    let ready = p.stacks[0].tcp_status(client).unwrap().ready;
    assert!(ready.contains(Ready::HUP | Ready::RDHUP | Ready::IN), "{ready:?}");
    assert_eq!(p.state(0, client), TcpState::Closed);
}

#[test]
fn simultaneous_close() {
    let (mut p, client, server) = pair();
    let now = p.now;
    p.stacks[0].tcp_close(now, client);
    p.stacks[1].tcp_close(now, server);
    p.step(now + Duration::from_micros(1500));
    p.run(SHORT);
    assert_eq!(states(&p, 0), [TcpState::TimeWait]);
    assert_eq!(states(&p, 1), [TcpState::TimeWait]);
}

#[test]
fn simultaneous_open() {
    let faults = Faults {
        delay: Duration::from_millis(1),
        ..Faults::default()
    };
    let mut p = Pair::new(1, faults, Offloads::default());
    let (a, b) = ((A, 5000).into(), (B, 6000).into());
    let now = p.now;
    let one = p.stacks[0]
        .tcp_connect(now, a, b, TcpOptions::default(), 0)
        .unwrap();
    let two = p.stacks[1]
        .tcp_connect(now, b, a, TcpOptions::default(), 0)
        .unwrap();
    p.run(SHORT);
    assert_eq!(p.state(0, one), TcpState::Established);
    assert_eq!(p.state(1, two), TcpState::Established);
    p.transfer(0, one, two, &pattern(100_000), Duration::from_secs(5));
    p.transfer(1, two, one, &pattern(100_000), Duration::from_secs(5));
}

#[test]
fn close_with_unread_bytes_resets() {
    let (mut p, client, server) = pair();
    p.send(0, client, b"nobody reads this").unwrap();
    p.run(SHORT);
    let now = p.now;
    p.stacks[1].tcp_close(now, server);
    p.run(SHORT);
    assert_eq!(p.read(0, client), Err(Error::ConnectionReset));
    assert_eq!(p.read(0, client), Ok(vec![]));
    assert_eq!(p.send(0, client, b"x"), Err(Error::BrokenPipe));
}

#[test]
fn data_for_a_closed_reader_resets() {
    let (mut p, client, server) = pair();
    let now = p.now;
    p.stacks[1].tcp_close(now, server);
    p.run(SHORT);
    p.send(0, client, b"too late").unwrap();
    p.run(SHORT);
    assert_eq!(states(&p, 1), []);
    // The peer had closed before: as on Linux that reads as a broken pipe.
    assert_eq!(p.stacks[0].tcp_take_error(client), Some(Error::BrokenPipe));
}

#[test]
fn abort() {
    let (mut p, client, server) = pair();
    let now = p.now;
    p.stacks[0].tcp_abort(now, client);
    p.run(SHORT);
    assert_eq!(states(&p, 0), []);
    let ready = p.stacks[1].tcp_status(server).unwrap().ready;
    assert!(ready.contains(Ready::ERR | Ready::HUP | Ready::IN | Ready::OUT));
    assert_eq!(p.read(1, server), Err(Error::ConnectionReset));
}

#[test]
fn refused() {
    let (mut p, ..) = pair();
    let now = p.now;
    let id = p.stacks[0]
        .tcp_connect(now, (A, 1).into(), (B, 9).into(), TcpOptions::default(), 77)
        .unwrap();
    p.run(SHORT);
    assert_eq!(
        p.stacks[0].tcp_status(id).unwrap().error,
        Some(Error::ConnectionRefused)
    );
    let told = p.events[0]
        .iter()
        .any(|e| matches!(e, Event::Tcp { token: 77, ready, .. } if ready.contains(Ready::ERR | Ready::OUT)));
    assert!(told, "{:?}", p.events[0]);
}

#[test]
fn nobody_there() {
    let (mut p, ..) = pair();
    p.cut = true;
    let now = p.now;
    let options = TcpOptions {
        syn_retries: Some(2),
        ..TcpOptions::default()
    };
    // The neighbour is known, so SYNs go out and are lost: 1 + 2 + 4 seconds.
    let id = p.stacks[0]
        .tcp_connect(now, (A, 1).into(), (B, 9).into(), options, 0)
        .unwrap();
    p.run(Duration::from_millis(6900));
    assert_eq!(p.state(0, id), TcpState::SynSent);
    p.run(Duration::from_millis(200));
    assert_eq!(p.stacks[0].tcp_take_error(id), Some(Error::TimedOut));
    // Nobody answers ARP: three seconds, then no route to host.
    let now = p.now;
    let to = ([10, 0, 0, 99], 9).into();
    let id = p.stacks[0]
        .tcp_connect(now, (A, 1).into(), to, TcpOptions::default(), 0)
        .unwrap();
    p.run(Duration::from_millis(3100));
    assert_eq!(p.stacks[0].tcp_take_error(id), Some(Error::HostUnreachable));
}

#[test]
fn vanished_peer_times_out() {
    let (mut p, client, _) = pair();
    know_each_other(&mut p.stacks);
    p.send(0, client, b"hello?").unwrap();
    p.cut = true;
    p.run(Duration::from_secs(600));
    assert_eq!(p.state(0, client), TcpState::Established);
    p.run(Duration::from_secs(1000));
    assert_eq!(p.stacks[0].tcp_take_error(client), Some(Error::TimedOut));
    // When ARP has failed as well, that is the reason given.
    let (mut p, client, _) = pair();
    p.send(0, client, b"hello?").unwrap();
    p.cut = true;
    p.run(Duration::from_secs(2000));
    assert_eq!(p.stacks[0].tcp_take_error(client), Some(Error::HostUnreachable));
    let (mut p, client, _) = pair();
    know_each_other(&mut p.stacks);
    let now = p.now;
    let options = TcpOptions {
        user_timeout: Some(Duration::from_secs(5)),
        ..TcpOptions::default()
    };
    p.stacks[0].tcp_set_options(now, client, options);
    p.send(0, client, b"hello?").unwrap();
    p.cut = true;
    p.run(Duration::from_millis(4900));
    assert_eq!(p.state(0, client), TcpState::Established);
    p.run(Duration::from_millis(300));
    assert_eq!(p.stacks[0].tcp_take_error(client), Some(Error::TimedOut));
}

#[test]
fn keepalive_finds_a_dead_peer_and_spares_a_living_one() {
    let (mut p, client, _) = pair();
    let now = p.now;
    let times = Keepalive {
        idle: Some(Duration::from_secs(10)),
        interval: Some(Duration::from_secs(2)),
        count: Some(3),
    };
    let options = TcpOptions {
        keepalive: true,
        keepalive_times: times,
        ..TcpOptions::default()
    };
    p.stacks[0].tcp_set_options(now, client, options);
    p.run(Duration::from_secs(100));
    assert_eq!(p.state(0, client), TcpState::Established);
    p.cut = true;
    p.run(Duration::from_secs(20));
    assert_eq!(p.state(0, client), TcpState::Closed);
    assert_eq!(p.stacks[0].tcp_take_error(client), Some(Error::TimedOut));
}

#[test]
fn orphan_in_fin_wait_2_ends() {
    let (mut p, client, _server) = pair();
    let now = p.now;
    p.stacks[0].tcp_close(now, client);
    p.run(Duration::from_secs(59));
    assert_eq!(states(&p, 0), [TcpState::FinWait2]);
    p.run(Duration::from_secs(2));
    assert_eq!(states(&p, 0), []);
}

#[test]
fn stalled_reader_is_probed_and_wakes() {
    let (mut p, client, server) = pair();
    let bytes = pattern(400_000);
    let mut sent = 0;
    for _ in 0..200 {
        if let Ok(n) = p.send(0, client, &bytes[sent..]) {
            sent += n;
        }
        p.run(Duration::from_millis(5));
    }
    assert!(sent < bytes.len());
    p.seen = Some(Vec::new());
    p.run(Duration::from_secs(100));
    // Probes and their answers, at growing distances.
    let probes = p
        .seen
        .take()
        .unwrap()
        .iter()
        .filter(|f| f.0 == 0 && f.1.len() == 66)
        .count();
    assert!((5..12).contains(&probes), "{probes} probes");
    let mut got = Vec::new();
    p.run_until(Duration::from_secs(400), |p| {
        if sent < bytes.len()
            && let Ok(n) = p.send(0, client, &bytes[sent..])
        {
            sent += n;
        }
        if let Ok(data) = p.read(1, server) {
            got.extend(data);
        }
        got.len() == bytes.len()
    });
    assert!(got == bytes);
}

/// Every way to close, on a link that loses: it ends, and nothing is left over.
#[test]
fn closing_on_a_lossy_link() {
    for seed in 0..60 {
        let faults = Faults {
            loss: 200,
            duplicate: 100,
            reorder: 200,
            delay: Duration::from_millis(2),
            ..Faults::default()
        };
        let mut p = Pair::new(seed, faults, Offloads::default());
        let (client, server) = p.connect(TcpOptions::default());
        let ends = [client, server];
        let first = (seed % 2) as usize;
        p.send(0, client, &pattern(3000)).unwrap();
        p.send(1, server, &pattern(5000)).unwrap();
        let now = p.now;
        let _ = p.stacks[first].tcp_shutdown(now, ends[first], Shutdown::Write);
        if seed % 3 == 0 {
            let _ = p.stacks[1 - first].tcp_shutdown(now, ends[1 - first], Shutdown::Write);
        }
        let mut got = [0, 0];
        let mut closed = [false, false];
        p.run_until(Duration::from_secs(2000), |p| {
            for side in 0..2 {
                match p.read(side, ends[side]) {
                    Ok(data) if data.is_empty() && !closed[side] => {
                        closed[side] = true;
                        let now = p.now;
                        p.stacks[side].tcp_close(now, ends[side]);
                    }
                    Ok(data) => got[side] += data.len(),
                    Err(Error::WouldBlock | Error::NotConnected) => {}
                    Err(e) => panic!("seed {seed}: {e}"),
                }
            }
            closed == [true, true]
        });
        assert_eq!(got, [5000, 3000], "seed {seed}");
        p.run(Duration::from_secs(1000));
        assert_eq!((states(&p, 0), states(&p, 1)), (vec![], vec![]), "seed {seed}");
    }
}
