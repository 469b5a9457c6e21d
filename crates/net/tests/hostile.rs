//! Frames that nobody honest would send: no panic, memory within bounds.

mod link;

use std::time::Duration;

use link::*;
use net::*;

/// Frames of a real conversation, then damaged ones, at every state of the receiver.
#[test]
fn mutated_frames() {
    let rounds: u64 = std::env::var("ROUNDS")
        .ok()
        .and_then(|r| r.parse().ok())
        .unwrap_or(300);
    for seed in 0..rounds {
        let offloads = if seed % 2 == 0 { gso() } else { Offloads::default() };
        let mut p = Pair::new(seed, Faults::default(), offloads);
        p.seen = Some(Vec::new());
        let (client, server) = p.connect_to(if seed % 3 == 0 { B6 } else { B }, TcpOptions::default());
        p.send(0, client, &pattern(5000)).unwrap();
        p.send(1, server, &pattern(3000)).unwrap();
        let now = p.now;
        let to = if seed % 3 == 0 { B6 } else { B };
        let any = if to.is_ipv4() { "0.0.0.0:9" } else { "[::]:9" };
        p.stacks[0]
            .udp_send(
                now,
                any.parse().unwrap(),
                (to, 9).into(),
                &pattern(4000),
                &SendOptions::default(),
            )
            .unwrap();
        p.stacks[0].join(now, 2, "224.1.2.3".parse().unwrap()).unwrap();
        p.stacks[0].join(now, 2, "ff02::99".parse().unwrap()).unwrap();
        let echo = SendOptions {
            checksum_at: Some(2),
            ..SendOptions::default()
        };
        let kind = if to.is_ipv4() {
            (1, [8, 0, 0, 0, 1, 2, 0, 1])
        } else {
            (58, [128, 0, 0, 0, 1, 2, 0, 1])
        };
        p.stacks[0]
            .raw_send(now, None, to, kind.0, &kind.1, &echo)
            .unwrap();
        p.run(Duration::from_millis(50));
        p.stacks[0].tcp_shutdown(p.now, client, Shutdown::Write).unwrap();
        p.run(Duration::from_millis(50));
        let seen = p.seen.take().unwrap();
        let mut random = Random(seed.wrapping_mul(77) | 1);
        for _ in 0..300 {
            let (side, frame) = &seen[random.below(seen.len() as u64) as usize];
            let mut frame = frame.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(frame.len() as u64) as usize;
                frame[at] = match random.below(4) {
                    0 => 0,
                    1 => 0xff,
                    _ => random.next() as u8,
                };
            }
            if random.chance(200) {
                frame.truncate(random.below(frame.len() as u64 + 1) as usize);
            }
            // Checksums said to be fine, so that damage gets past them.
            let checksum = if random.chance(700) {
                Checksum::Verified
            } else {
                Checksum::Complete
            };
            let gso = random.chance(200).then(|| Gso {
                kind: GsoKind::Tcp4,
                size: random.next() as u16,
                header_len: 54,
            });
            let offload = Offload { checksum, gso };
            p.stacks[1 - side].receive(p.now, 2, &offload, &repaired(frame));
            if random.chance(100) {
                p.run(Duration::from_micros(random.below(100_000)));
            }
            if random.chance(50) {
                let _ = p.read(0, client);
                let _ = p.read(1, server);
                let _ = p.send(0, client, &pattern(2000));
                let _ = p.send(1, server, &pattern(2000));
            }
        }
        p.run(Duration::from_secs(30));
        let now = p.now;
        p.stacks[0].tcp_close(now, client);
        p.stacks[1].tcp_close(now, server);
        p.run(Duration::from_secs(3000));
        for stack in &p.stacks {
            assert_eq!(
                stack.tcp_entries(p.now).iter().filter(|e| e.id.is_some()).count(),
                0,
                "seed {seed}"
            );
        }
    }
}

/// The IPv4 header's checksum is put right, so that damage of the header gets further.
fn repaired(mut frame: Vec<u8>) -> Vec<u8> {
    if frame.get(12..14) != Some(&[8, 0]) || frame.len() < 34 {
        return frame;
    }
    let len = usize::from(frame[14] & 0xf) * 4;
    if frame.len() < 14 + len || len < 20 {
        return frame;
    }
    frame[24..26].fill(0);
    let sum = !frame[14..14 + len].chunks(2).fold(0u32, |s, c| {
        let s = s + u32::from(u16::from_be_bytes([c[0], c[1]]));
        (s & 0xffff) + (s >> 16)
    }) as u16;
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn random_bytes() {
    let mut stack = stack(0, 1500, Offloads::default());
    let mut random = Random(5);
    for n in 0..20_000u64 {
        let mut frame: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
        if frame.len() > 24 && n % 2 == 0 {
            frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
            let kind = [[8, 0], [8, 6], [0x86, 0xdd]][random.below(3) as usize];
            frame[12..14].copy_from_slice(&kind);
            frame[14] = if kind[0] == 8 { 0x45 } else { 0x60 };
        }
        stack.receive(
            Instant::from_nanos(n * 1000),
            2,
            &Offload::default(),
            &repaired(frame),
        );
        stack.poll(Instant::from_nanos(n * 1000), &mut |_, _, _| true);
        while stack.next_event().is_some() {}
    }
}

fn syn(source: [u8; 4], port: u16, to: u16, flags: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(source);
    frame.extend([10, 0, 0, 1]);
    frame.extend(port.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    repaired(frame)
}

/// A flood of SYNs fills the backlog and no more; it drains by itself.
#[test]
fn syn_flood_is_bounded() {
    let mut stack = stack(0, 1500, Offloads::default());
    stack
        .tcp_listen("0.0.0.0:80".parse().unwrap(), 128, TcpOptions::default(), 1)
        .unwrap();
    let verified = Offload {
        checksum: Checksum::Verified,
        gso: None,
    };
    let mut now = Instant::ZERO;
    for n in 0..50_000u32 {
        let [_, a, b, c] = n.to_be_bytes();
        stack.receive(now, 2, &verified, &syn([10, a, b, c.max(2)], 1000, 80, 2));
        now = now + Duration::from_micros(10);
        stack.poll(now, &mut |_, _, _| true);
    }
    assert!(
        stack.tcp_entries(now).len() <= 1025,
        "{}",
        stack.tcp_entries(now).len()
    );
    for _ in 0..200 {
        now = now + Duration::from_secs(1);
        stack.poll(now, &mut |_, _, _| true);
    }
    assert_eq!(stack.tcp_entries(now).len(), 1);
}

/// A device that never has room: what waits for it is bounded.
#[test]
fn queue_of_a_stuck_device_is_bounded() {
    let mut stack = stack(0, 1500, Offloads::default());
    let now = Instant::ZERO;
    let neighbor = Neighbor {
        interface: 2,
        address: B,
        mac: Some([2, 0, 0, 0, 0, 2]),
        state: NeighborState::Permanent,
        updated: now,
        router: false,
    };
    stack.set_neighbor(now, neighbor).unwrap();
    for _ in 0..MAX_QUEUED_FRAMES * 2 {
        let _ = stack.udp_send(
            now,
            "0.0.0.0:1".parse().unwrap(),
            (B, 1).into(),
            &[0; 1000],
            &SendOptions::default(),
        );
    }
    let mut frames = 0;
    stack.poll(now, &mut |_, _, _| {
        frames += 1;
        true
    });
    assert_eq!(frames, MAX_QUEUED_FRAMES);
}

/// Many connections whose readers do not read and whose peers do not acknowledge: memory has an end.
#[test]
fn memory_of_all_queues_is_bounded() {
    const LIMIT: usize = 3 << 20;
    let mut p = Pair::new(3, Faults::default(), gso());
    for stack in &mut p.stacks {
        stack.settings_mut().tcp_mem = [LIMIT * 3 / 4, LIMIT];
    }
    let listener = p.stacks[1]
        .tcp_listen("0.0.0.0:80".parse().unwrap(), 1000, TcpOptions::default(), 1)
        .unwrap();
    let now = p.now;
    let clients: Vec<TcpId> = (1..=100)
        .map(|port| {
            p.stacks[0]
                .tcp_connect(now, (A, port).into(), (B, 80).into(), TcpOptions::default(), 2)
                .unwrap()
        })
        .collect();
    // Only so many SYNs wait for the neighbour's address; the others come a second later.
    p.run(Duration::from_secs(2));
    let servers: Vec<TcpId> = std::iter::from_fn(|| p.stacks[1].tcp_accept(listener, 3))
        .map(|(id, ..)| id)
        .collect();
    assert_eq!(servers.len(), 100);
    let bytes = pattern(100_000);
    let mut sent = 0;
    for _ in 0..10 {
        for &id in &clients {
            sent += p.send(0, id, &bytes).unwrap_or(0);
        }
        p.run(Duration::from_millis(20));
    }
    // What a socket without anything may always take comes on top.
    for stack in &p.stacks {
        assert!(
            stack.tcp_memory() < LIMIT + 100 * 66_000,
            "{}",
            stack.tcp_memory()
        );
    }
    let held: Vec<usize> = p.stacks.iter().map(Stack::tcp_memory).collect();
    assert!(held[1] > LIMIT / 2);
    // And all goes on once somebody reads.
    let mut got = 0;
    p.run_until(Duration::from_secs(100), |p| {
        for &id in &servers {
            got += p.read(1, id).map_or(0, |d| d.len());
        }
        got == sent
    });
    let now = p.now;
    for id in clients {
        p.stacks[0].tcp_abort(now, id);
    }
    for id in servers {
        p.stacks[1].tcp_abort(now, id);
    }
    assert_eq!((p.stacks[0].tcp_memory(), p.stacks[1].tcp_memory()), (0, 0));
}
