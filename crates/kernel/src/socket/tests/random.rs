//! Random calls with random arguments: no panic, no broken lock order, no wait that does not end.

use std::sync::atomic::Ordering;

use super::*;

/// Calls per run.
const CALLS: u32 = 60_000;

const NAMES: &[&str] = &[
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "pipe2",
    "eventfd2",
    "signalfd4",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "socket",
    "socketpair",
    "bind",
    "listen",
    "connect",
    "connect",
    "accept4",
    "sendto",
    "sendmsg",
    "sendmsg",
    "sendmmsg",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "shutdown",
    "getsockname",
    "getpeername",
    "setsockopt",
    "getsockopt",
    "ioctl",
    "read",
    "write",
    "dup",
    "close",
    "splice",
    "tee",
    "fcntl",
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }
}

/// Memory that looks like what the calls read: addresses, messages, control messages, descriptors, events.
fn scribble(net: &Net, random: &mut Random, at: UserAddr) {
    let fd = (random.below(24) as u32).to_le_bytes();
    let word = |value: u64| value.to_le_bytes();
    let near = at.0 + random.below(64) as u64 * 8;
    let raw: Vec<u8> = match random.below(8) {
        0 => [&[1, 0, 0, b'a' + random.below(4) as u8][..], &[0; 20]].concat(),
        1 => [&[2, 0, 0x1f, random.below(4) as u8, 127, 0, 0, 1][..], &[0; 20]].concat(),
        2 => [&[10, 0, 0x1f, random.below(4) as u8][..], &[0; 24]].concat(),
        // A msghdr around the place itself.
        3 => [
            word(near),
            word(random.below(40) as u64),
            word(near),
            word(random.below(4) as u64),
            word(near),
            word(random.below(64) as u64),
            word(0),
        ]
        .concat(),
        4 => [&word(20)[..], &[1, 0, 0, 0, 1, 0, 0, 0], &fd, &[0; 4]].concat(),
        5 => [&word(28)[..], &[1, 0, 0, 0, 2, 0, 0, 0], &[0; 12]].concat(),
        6 => [&fd[..], &word(random.next())].concat(),
        _ => (0..8)
            .flat_map(|_| word(random.next() >> random.below(64)))
            .collect(),
    };
    let at = UserAddr(at.0 + random.below(64) as u64 * 8);
    net.0.task.copy_out(at, &raw).unwrap();
}

fn argument(net: &Net, random: &mut Random, memory: UserAddr) -> u64 {
    match random.below(10) {
        0..=3 => random.below(24) as u64,
        4..=6 => memory.0 + random.below(64) as u64 * 8,
        7 => [0, u64::MAX, net.0.bad().0, 0x4040, 0x80000, 0o4000][random.below(6)],
        8 => random.next() >> random.below(64),
        _ => 1 << random.below(34),
    }
}

fn run(seed: u64) {
    let net = Net::new();
    let memory = net.0.room(4096);
    let mut random = Random(seed);
    for step in 0..CALLS {
        scribble(&net, &mut random, memory);
        let name = NAMES[random.below(NAMES.len())];
        let args: Vec<u64> = (0..6).map(|_| argument(&net, &mut random, memory)).collect();
        // As if a signal were pending: whatever would sleep ends at once.
        net.0.task.attention.store(true, Ordering::SeqCst);
        let _ = net.0.call(name, &args);
        if step % 64 == 0 {
            let fd = random.below(24) as u64;
            let _ = net.0.call("close", &[fd]);
        }
    }
}

#[test]
fn random_calls_do_no_harm() {
    for seed in [0x9e37_79b9_7f4a_7c15, 0x1234_5678_9abc_def1, 42] {
        run(seed);
    }
}
