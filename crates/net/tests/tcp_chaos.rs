//! Random links, options, buffers and habits of reader and writer: every byte arrives, every connection ends.

mod link;

use std::time::Duration;

use link::*;
use net::*;

fn faults(r: &mut Random) -> Faults {
    let some = |r: &mut Random, most: u64| if r.chance(500) { r.below(most) } else { 0 };
    Faults {
        loss: some(r, 120),
        duplicate: some(r, 200),
        reorder: some(r, 400),
        mutate: some(r, 60),
        delay: Duration::from_micros(some(r, 30_000)),
        rate: if r.chance(300) { 500 + r.below(20_000) } else { 0 },
        device: if r.chance(300) { 1 + r.below(4) as usize } else { 0 },
    }
}

fn options(r: &mut Random) -> TcpOptions {
    let buffer = |r: &mut Random| r.chance(300).then(|| 2500 + r.below(60_000) as usize);
    TcpOptions {
        nodelay: r.chance(500),
        cork: r.chance(100),
        quickack: r.chance(100),
        send_buffer: buffer(r),
        receive_buffer: buffer(r),
        max_segment: r.chance(200).then(|| 100 + r.below(2000) as u16),
        congestion: Some(if r.chance(500) {
            Congestion::Reno
        } else {
            Congestion::Cubic
        }),
        window_clamp: r.chance(100).then(|| 3000 + r.below(9000) as u32),
        notsent_lowat: r.chance(100).then(|| 1000 + r.below(20_000) as u32),
        ..TcpOptions::default()
    }
}

fn stacks_of(p: &Pair, ends: [TcpId; 2]) -> [Option<TcpInfo>; 2] {
    [
        p.stacks[0].tcp_info(p.now, ends[0]),
        p.stacks[1].tcp_info(p.now, ends[1]),
    ]
}

fn run(seed: u64) {
    let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let faults = faults(&mut r);
    // Damage of a super-segment or with trusted checksums would not be found, as on Linux.
    let offloads = if faults.mutate == 0 && r.chance(500) {
        gso()
    } else {
        Offloads::default()
    };
    let mtu = [1500, 1500, 9000, 1280, 600][r.below(5) as usize];
    let v6 = mtu >= 1280 && r.chance(300);
    let mut p = if mtu >= 1280 {
        Pair::with_mtu(seed, faults, offloads, mtu)
    } else {
        let mut p = Pair::new(seed, faults, offloads);
        for stack in &mut p.stacks {
            stack.configure(2, |i| i.mtu = mtu).unwrap();
        }
        p
    };
    know_each_other(&mut p.stacks);
    for stack in &mut p.stacks {
        let settings = stack.settings_mut();
        settings.tcp_sack = r.chance(800);
        settings.tcp_timestamps = r.chance(800);
        settings.tcp_window_scaling = r.chance(800);
        settings.tcp_syn_retries = 20;
        settings.tcp_synack_retries = 20;
    }
    let (client, server) = p.connect_to(if v6 { B6 } else { B }, options(&mut r));
    let now = p.now;
    let opts = options(&mut r);
    p.stacks[1].tcp_set_options(now, server, opts);
    let ends = [client, server];
    let lengths = [r.below(150_000) as usize, r.below(150_000) as usize];
    let bytes = [pattern(lengths[0]), pattern(lengths[1])];
    let (mut sent, mut got) = ([0; 2], [0; 2]);
    let (mut shut, mut ended) = ([false; 2], [false; 2]);
    let lazy = [r.below(900), r.below(900)];
    let limit = p.now + Duration::from_secs(40_000);
    while ended != [true; 2] {
        assert!(
            p.now < limit,
            "seed {seed}: {got:?} of {lengths:?}, {:?}",
            stacks_of(&p, ends)
        );
        for side in 0..2 {
            let other = 1 - side;
            if sent[side] < lengths[side] && !r.chance(lazy[side]) {
                let n = (1 + r.below(20_000) as usize).min(lengths[side] - sent[side]);
                match p.send(side, ends[side], &bytes[side][sent[side]..sent[side] + n]) {
                    Ok(n) => sent[side] += n,
                    Err(Error::WouldBlock) => {}
                    Err(e) => panic!("seed {seed} side {side} send: {e}"),
                }
            } else if sent[side] == lengths[side] && !shut[side] {
                shut[side] = true;
                let now = p.now;
                p.stacks[side]
                    .tcp_shutdown(now, ends[side], Shutdown::Write)
                    .unwrap();
            }
            if ended[side] || r.chance(lazy[side]) {
                continue;
            }
            match p.read(side, ends[side]) {
                Ok(data) if data.is_empty() => ended[side] = true,
                Ok(data) => {
                    let at = got[other];
                    assert!(
                        data == bytes[other][at..at + data.len()],
                        "seed {seed} side {side} after {at}"
                    );
                    got[other] += data.len();
                }
                Err(Error::WouldBlock) => {}
                Err(e) => panic!("seed {seed} side {side} read: {e}"),
            }
        }
        // A reader or writer that waits for a while comes back by itself.
        let until = p.now + Duration::from_millis(50);
        p.step(until);
    }
    assert_eq!(got, lengths, "seed {seed}");
    let now = p.now;
    for (stack, end) in p.stacks.iter_mut().zip(ends) {
        stack.tcp_close(now, end);
    }
    p.run(Duration::from_secs(4000));
    for stack in &p.stacks {
        assert_eq!(stack.tcp_entries(p.now), [], "seed {seed}");
        assert_eq!(stack.tcp_memory(), 0, "seed {seed}");
    }
}

#[test]
fn chaos() {
    let rounds: u64 = std::env::var("ROUNDS")
        .ok()
        .and_then(|r| r.parse().ok())
        .unwrap_or(60);
    let first: u64 = std::env::var("SEED")
        .ok()
        .and_then(|r| r.parse().ok())
        .unwrap_or(0);
    for seed in first..first + rounds {
        run(seed);
    }
}
