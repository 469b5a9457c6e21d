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
}
