//! Pushes bytes between two stacks in memory: what the stack itself costs, without a host and without threads.
//! Times are processor time of both ends together, on one core.
//!
//! `cargo run -p net --release --example throughput [GIGABYTES]`

use std::net::SocketAddr;

use net::{
    Address, GSO_MAX, Instant, Interface, LOOPBACK, Neighbor, NeighborState, Offload, Offloads, Settings,
    Stack, TcpId, TcpOptions,
};

fn stack(side: u8, mtu: usize, offloads: Offloads) -> Stack {
    let now = Instant::ZERO;
    let mut stack = Stack::new([side; 32], Settings::default());
    let mac = [2, 0, 0, 0, 0, side];
    stack.set_up(now, LOOPBACK, true).expect("lo");
    stack
        .add_interface(Interface::ethernet(2, "eth0", mac, mtu, offloads))
        .expect("eth0");
    stack
        .add_address(now, 2, Address::new([10, 0, 0, side].into(), 24))
        .expect("address");
    stack.set_up(now, 2, true).expect("up");
    let other = 3 - side;
    let neighbor = Neighbor {
        interface: 2,
        address: [10, 0, 0, other].into(),
        mac: Some([2, 0, 0, 0, 0, other]),
        state: NeighborState::Permanent,
        updated: now,
        router: false,
    };
    stack.set_neighbor(now, neighbor).expect("neighbour");
    stack
}

/// Two stacks and the frames between them.
struct Link {
    stacks: [Stack; 2],
    frames: Vec<(Offload, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    count: u64,
    start: std::time::Instant,
}

impl Link {
    fn new(mtu: usize, offloads: Offloads) -> Link {
        Link {
            stacks: [stack(1, mtu, offloads), stack(2, mtu, offloads)],
            frames: Vec::new(),
            spare: Vec::new(),
            count: 0,
            start: std::time::Instant::now(),
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(1_000_000_000 + self.start.elapsed().as_nanos() as u64)
    }

    /// Frames of `side` go to the other one.
    fn pass(&mut self, side: usize) {
        let now = self.now();
        let Link {
            stacks,
            frames,
            spare,
            count,
            ..
        } = self;
        if stacks[side].has_output() || stacks[side].deadline().is_some_and(|d| d <= now) {
            stacks[side].poll(now, &mut |_, offload, parts| {
                let mut frame = spare.pop().unwrap_or_default();
                frame.clear();
                parts.iter().for_each(|p| frame.extend_from_slice(p));
                frames.push((*offload, frame));
                true
            });
        }
        for (offload, frame) in frames.drain(..) {
            *count += 1;
            stacks[1 - side].receive(now, 2, &offload, &frame);
            spare.push(frame);
        }
        while stacks[side].next_event().is_some() {}
    }

    fn connect(&mut self, port: u16, listener: TcpId) -> (TcpId, TcpId) {
        let now = self.now();
        let local = SocketAddr::from(([10, 0, 0, 1], port));
        let remote = SocketAddr::from(([10, 0, 0, 2], 80));
        let client = self.stacks[0]
            .tcp_connect(now, local, remote, TcpOptions::default(), 0)
            .expect("connect");
        for _ in 0..3 {
            self.pass(0);
            self.pass(1);
        }
        (client, self.stacks[1].tcp_accept(listener, 0).expect("accept").0)
    }
}

fn listen(link: &mut Link) -> TcpId {
    let any = SocketAddr::from(([0, 0, 0, 0], 80));
    link.stacks[1]
        .tcp_listen(any, 128, TcpOptions::default(), 0)
        .expect("listen")
}

/// Seconds of processor time that this process has used: other programs do not disturb it as they do the clock.
fn processor_time() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos: Option<f64> = text.split_whitespace().next().and_then(|n| n.parse().ok());
    nanos.unwrap_or(0.0) / 1e9
}

/// Moves `total` bytes; seconds of processor time.
fn stream(link: &mut Link, client: TcpId, server: TcpId, total: u64) -> f64 {
    let chunk = vec![0x5a; 64 << 10];
    let begin = processor_time();
    let (mut got, mut sum) = (0, 0u64);
    while got < total {
        let now = link.now();
        for _ in 0..4 {
            let sent = link.stacks[0].tcp_send(now, client, chunk.len(), false, &mut |room| {
                room.copy_from_slice(&chunk[..room.len()]);
                room.len()
            });
            if sent.is_err() {
                break;
            }
        }
        link.pass(0);
        let now = link.now();
        if let Ok(n) = link.stacks[1].tcp_readable(server) {
            let (a, b) = link.stacks[1].tcp_data(server, 0, n);
            sum += a
                .iter()
                .chain(b)
                .step_by(4096)
                .map(|&b| u64::from(b))
                .sum::<u64>();
            let n = a.len() + b.len();
            link.stacks[1].tcp_consume(now, server, n);
            got += n as u64;
        }
        link.pass(1);
    }
    assert!(sum > 0);
    processor_time() - begin
}

fn main() {
    let gigabytes: f64 = std::env::args()
        .nth(1)
        .and_then(|a| a.parse().ok())
        .unwrap_or(4.0);
    let gso = Offloads {
        tx_checksum: true,
        gso_max_v4: GSO_MAX,
        gso_max_v6: GSO_MAX,
    };
    let checksum = Offloads {
        tx_checksum: true,
        ..Offloads::default()
    };
    let cases = [
        ("super-segments, MTU 1500", 1500, gso),
        (
            "single segments, MTU 1500, checksums by the device",
            1500,
            checksum,
        ),
        (
            "single segments, MTU 1500, checksums by us",
            1500,
            Offloads::default(),
        ),
    ];
    for (name, mtu, offloads) in cases {
        let share = if offloads.gso_max_v4 > 0 { 1.0 } else { 0.25 };
        let total = (gigabytes * share * 1e9) as u64;
        let mut link = Link::new(mtu, offloads);
        let listener = listen(&mut link);
        let (client, server) = link.connect(1000, listener);
        let seconds = stream(&mut link, client, server, total);
        println!(
            "{name}: {:.1} Gbit/s, {:.3} ns per byte both ends together, {:.0} bytes per frame",
            total as f64 * 8.0 / seconds / 1e9,
            seconds * 1e9 / total as f64,
            total as f64 / link.count as f64,
        );
    }
    many(gso);
}

/// Ten thousand connections: how fast they come, what idle ones cost a busy one.
fn many(offloads: Offloads) {
    const CONNECTIONS: u16 = 10_000;
    let mut link = Link::new(1500, offloads);
    let listener = listen(&mut link);
    let begin = processor_time();
    let pairs: Vec<_> = (0..CONNECTIONS)
        .map(|n| link.connect(2000 + n, listener))
        .collect();
    let each = (processor_time() - begin) * 1e6 / f64::from(CONNECTIONS);
    println!("{CONNECTIONS} connections: {each:.2} us for each handshake, both ends");
    let (client, server) = pairs[4321];
    let total = 2_000_000_000;
    let seconds = stream(&mut link, client, server, total);
    println!(
        "one busy beside {}: {:.1} Gbit/s",
        CONNECTIONS - 1,
        total as f64 * 8.0 / seconds / 1e9
    );
    let begin = processor_time();
    let rounds = 20;
    for _ in 0..rounds {
        for &(client, server) in &pairs {
            ping(&mut link, 0, client, server);
            ping(&mut link, 1, server, client);
        }
    }
    let exchanges = f64::from(CONNECTIONS) * f64::from(rounds);
    let each = (processor_time() - begin) * 1e6 / exchanges;
    println!("a byte there and back on each of them: {each:.2} us, both ends");
}

fn ping(link: &mut Link, side: usize, from: TcpId, to: TcpId) {
    let now = link.now();
    let put = &mut |room: &mut [u8]| {
        room.fill(1);
        room.len()
    };
    assert_eq!(link.stacks[side].tcp_send(now, from, 1, false, put), Ok(1));
    link.pass(side);
    let now = link.now();
    assert_eq!(link.stacks[1 - side].tcp_readable(to), Ok(1));
    link.stacks[1 - side].tcp_consume(now, to, 1);
}
