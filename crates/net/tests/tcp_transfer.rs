//! Bytes arrive intact and in order, whatever the link does.

mod link;

use std::time::Duration;

use link::*;
use net::*;

fn transfer(seed: u64, faults: Faults, offloads: Offloads, len: usize) -> Pair {
    let mut pair = Pair::new(seed, faults, offloads);
    let (client, server) = pair.connect(TcpOptions::default());
    let bytes = pattern(len);
    pair.transfer(0, client, server, &bytes, Duration::from_secs(3000));
    pair.transfer(1, server, client, &bytes[..len / 2], Duration::from_secs(3000));
    pair
}

#[test]
fn clean_link() {
    transfer(1, Faults::default(), Offloads::default(), 3_000_000);
}

#[test]
fn super_segments() {
    let pair = transfer(1, Faults::default(), gso(), 20_000_000);
    assert!(pair.frames < 8000, "{} frames", pair.frames);
    assert!(pair.kept > 300, "{} frames were not copied", pair.kept);
}

/// Every fault alone, and all together, with and without super-segments.
#[test]
fn faulty_links() {
    let ms = Duration::from_millis;
    let all = [
        Faults {
            loss: 10,
            delay: ms(5),
            ..Faults::default()
        },
        Faults {
            loss: 100,
            delay: ms(5),
            ..Faults::default()
        },
        Faults {
            reorder: 200,
            delay: ms(1),
            ..Faults::default()
        },
        Faults {
            duplicate: 200,
            delay: ms(1),
            ..Faults::default()
        },
        Faults {
            device: 1,
            ..Faults::default()
        },
        Faults {
            rate: 12_500,
            delay: ms(10),
            ..Faults::default()
        },
        Faults {
            loss: 30,
            reorder: 100,
            duplicate: 50,
            delay: ms(3),
            device: 3,
            ..Faults::default()
        },
    ];
    for (n, faults) in all.into_iter().enumerate() {
        for seed in 0..4 {
            for offloads in [Offloads::default(), gso()] {
                let start = std::time::Instant::now();
                let pair = transfer(seed, faults, offloads, 300_000);
                if std::env::var_os("SHOW").is_some() {
                    eprintln!(
                        "case {n} seed {seed} gso {}: {:.3} s of link time, {} frames, {:?}",
                        offloads.gso_max_v4 > 0,
                        pair.now.as_nanos() as f64 / 1e9 - 1.0,
                        pair.frames,
                        start.elapsed()
                    );
                }
            }
        }
    }
}

/// Damaged frames: the checksum finds them (or the header is refused), the bytes stay right.
#[test]
fn damaging_link() {
    for seed in 0..6 {
        let faults = Faults {
            mutate: 100,
            delay: Duration::from_millis(1),
            ..Faults::default()
        };
        transfer(seed, faults, Offloads::default(), 200_000);
    }
}

/// Without SACK and timestamps, as some peers are.
#[test]
fn plain_peer() {
    for (sack, timestamps, scaling) in [(false, false, false), (true, false, true), (false, true, true)] {
        let faults = Faults {
            loss: 20,
            delay: Duration::from_millis(2),
            ..Faults::default()
        };
        let mut pair = Pair::new(9, faults, Offloads::default());
        let settings = pair.stacks[1].settings_mut();
        settings.tcp_sack = sack;
        settings.tcp_timestamps = timestamps;
        settings.tcp_window_scaling = scaling;
        let (client, server) = pair.connect(TcpOptions::default());
        let bytes = pattern(400_000);
        pair.transfer(0, client, server, &bytes, Duration::from_secs(600));
        pair.transfer(1, server, client, &bytes, Duration::from_secs(600));
    }
}

#[test]
fn ipv6() {
    let mut pair = Pair::new(
        3,
        Faults {
            loss: 10,
            ..Faults::default()
        },
        gso(),
    );
    let (client, server) = pair.connect_to(B6, TcpOptions::default());
    pair.transfer(0, client, server, &pattern(2_000_000), Duration::from_secs(600));
}

/// Both at once, both full.
#[test]
fn both_directions() {
    let faults = Faults {
        loss: 10,
        delay: Duration::from_millis(2),
        ..Faults::default()
    };
    let mut pair = Pair::new(4, faults, Offloads::default());
    let (client, server) = pair.connect(TcpOptions::default());
    let bytes = pattern(500_000);
    pair.trace = std::env::var_os("TRACE").is_some();
    let ends = [client, server];
    let (mut sent, mut got) = ([0; 2], [0; 2]);
    pair.run_until(Duration::from_secs(600), |p| {
        for side in 0..2 {
            if sent[side] < bytes.len()
                && let Ok(n) = p.send(side, ends[side], &bytes[sent[side]..])
            {
                sent[side] += n;
            }
            if let Ok(data) = p.read(side, ends[side]) {
                assert_eq!(data, bytes[got[side]..got[side] + data.len()]);
                got[side] += data.len();
            }
        }
        got == [bytes.len(); 2]
    });
}

/// A small path in the middle: packet too big, then smaller segments.
#[test]
fn path_mtu() {
    let mut pair = Pair::new(4, Faults::default(), Offloads::default());
    let (client, server) = pair.connect(TcpOptions::default());
    pair.send(0, client, &pattern(30_000)).unwrap();
    // The router's answer to the first full segment.
    pair.seen = Some(Vec::new());
    pair.drain();
    let frames = pair.seen.take().unwrap();
    let long = frames.iter().map(|f| &f.1).find(|f| f.len() > 1400).unwrap();
    let packet = &long[14..];
    let mut error = vec![
        3,
        4,
        0,
        0,
        0,
        0,
        1200u16.to_be_bytes()[0],
        1200u16.to_be_bytes()[1],
    ];
    error.extend(&packet[..28]);
    let sum = !error.chunks(2).fold(0u32, |s, c| {
        let s = s + u32::from(u16::from_be_bytes([c[0], c[1]]));
        (s & 0xffff) + (s >> 16)
    }) as u16;
    error[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut ip = packet[..20].to_vec();
    let total = (20 + error.len()) as u16;
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip[9] = 1;
    ip[12..16].copy_from_slice(&[10, 0, 0, 2]);
    ip[16..20].copy_from_slice(&[10, 0, 0, 1]);
    ip[10..12].fill(0);
    let sum = !ip.chunks(2).fold(0u32, |s, c| {
        let s = s + u32::from(u16::from_be_bytes([c[0], c[1]]));
        (s & 0xffff) + (s >> 16)
    }) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let frame = [&long[6..12], &[2, 0, 0, 0, 0, 2], &[8, 0], &ip[..], &error[..]].concat();
    let frame = [&[2, 0, 0, 0, 0, 1], &frame[6..]].concat();
    let now = pair.now;
    pair.stacks[0].receive(now, 2, &Offload::default(), &frame);
    assert_eq!(pair.stacks[0].route(B, None, None).unwrap().mtu, 1200);
    pair.seen = Some(Vec::new());
    pair.send(0, client, &pattern(10_000)).unwrap();
    pair.run(Duration::from_secs(5));
    let frames = pair.seen.take().unwrap();
    assert!(
        frames.iter().filter(|f| f.0 == 0).all(|f| f.1.len() <= 1214),
        "a frame is too long"
    );
    assert_eq!(pair.read(1, server).unwrap().len(), 40_000);
}
