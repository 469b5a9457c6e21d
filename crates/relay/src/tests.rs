//! The relay with a sandbox's stack before it and a server of the host behind it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use net::{TcpId, TcpOptions};

use crate::testing::Pair;
use crate::{GUEST, server_address};

const PATIENCE: Duration = Duration::from_secs(20);

struct Served {
    pair: Pair,
    listener: TcpListener,
}

fn served() -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Served {
        pair: Pair::new(listener.local_addr().unwrap()),
        listener,
    }
}

impl Served {
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Pair) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds(&mut self.pair) {
            assert!(Instant::now() < end, "{what} did not come");
            self.pair.turn(&mut |_| {});
        }
    }

    fn connect(&mut self, port: u16) -> (TcpId, TcpStream) {
        let now = self.pair.now();
        let (from, to) = ends(port);
        let id = self
            .pair
            .stack
            .tcp_connect(now, from, to, TcpOptions::default(), 1);
        let id = id.unwrap();
        self.listener.set_nonblocking(true).unwrap();
        let mut came = None;
        let listener = self.listener.try_clone().unwrap();
        self.until("the connection", |pair| {
            came = came.take().or_else(|| listener.accept().ok());
            came.is_some() && pair.is_open(id)
        });
        let stream = came.unwrap().0;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        (id, stream)
    }
}

trait TryRead {
    /// What there is to read without waiting.
    fn try_read(&mut self) -> Option<std::io::Result<usize>>;
}

impl TryRead for TcpStream {
    fn try_read(&mut self) -> Option<std::io::Result<usize>> {
        self.set_nonblocking(true).unwrap();
        match self.read(&mut [0]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            other => Some(other),
        }
    }
}

fn ends(port: u16) -> (SocketAddr, SocketAddr) {
    (
        SocketAddr::new(GUEST.into(), port),
        SocketAddr::new(server_address(0).into(), 53),
    )
}

#[test]
fn bytes_go_both_ways_and_ends_are_passed_on() {
    let mut served = served();
    let (id, mut stream) = served.connect(4000);
    let now = served.pair.now();
    let hello = |room: &mut [u8]| {
        room[..5].copy_from_slice(b"hello");
        5
    };
    let sent = served.pair.stack.tcp_send(now, id, 5, false, &mut { hello });
    assert_eq!(sent, Ok(5));
    stream.write_all(b"there").unwrap();
    served.until("an answer", |pair| pair.stack.tcp_readable(id) == Ok(5));
    let mut got = [0; 5];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(
        (&got, served.pair.stack.tcp_data(id, 0, 9).0),
        (b"hello", &b"there"[..])
    );
    drop(stream);
    let now = served.pair.now();
    served.pair.stack.tcp_consume(now, id, 5);
    served.until("the end", |pair| pair.stack.tcp_readable(id) == Ok(0));
    served.pair.stack.tcp_close(now, id);
    served.until("the end of the flow", |pair| pair.connections() == 0);
}

#[test]
fn a_syn_with_a_load_is_not_kept() {
    let mut served = served();
    let now = served.pair.now();
    let (from, to) = ends(4001);
    let options = TcpOptions::default();
    served.pair.stack.tcp_connect(now, from, to, options, 1).unwrap();
    let (mut opened, mut seen) = (0, 0);
    for _ in 0..200 {
        served.pair.turn(&mut |frame| {
            if net::opening(frame).is_some() {
                opened += 1;
                // The packet's length says so, too; its checksum is for whoever looks at it.
                frame.resize(60_000, 0);
                let len = (frame.len() as u16 - 14).to_be_bytes();
                frame[16..18].copy_from_slice(&len);
                frame[24..26].fill(0);
                let sum: u32 = frame[14..34]
                    .chunks(2)
                    .map(|p| u32::from(u16::from_be_bytes([p[0], p[1]])))
                    .sum();
                let sum = (sum & 0xffff) + (sum >> 16);
                frame[24..26].copy_from_slice(&(!(sum as u16)).to_be_bytes());
                assert!(net::opening(frame).is_some());
            }
        });
        seen = seen.max(served.pair.connections());
    }
    assert!(opened > 0);
    assert_eq!(seen, 0);
}

#[test]
fn who_never_ends_its_side_makes_room_after_a_while() {
    let mut served = served();
    let (half, mut quiet) = served.connect(4002);
    let (whole, mut open) = served.connect(4003);
    let now = served.pair.now();
    served.pair.stack.tcp_close(now, half);
    served.until("the end at the server", |_| {
        matches!(quiet.try_read(), Some(Ok(0)))
    });
    open.write_all(b"x").unwrap();
    served.until("a byte", |pair| pair.stack.tcp_readable(whole) == Ok(1));
    let Pair { relay, .. } = &mut served.pair;
    assert!(!relay.tcp.make_room(&mut relay.base), "it was busy just now");
    relay.tcp.age(Duration::from_secs(61));
    assert!(relay.tcp.make_room(&mut relay.base));
    assert_eq!(relay.tcp.len(), 1);
    assert!(!relay.tcp.make_room(&mut relay.base), "the other is whole");
    // The peer sees a reset; the other connection goes on.
    quiet.set_nonblocking(false).unwrap();
    assert!(
        quiet
            .write_all(b"late")
            .and_then(|()| quiet.write_all(b"later"))
            .is_err()
    );
    open.write_all(b"y").unwrap();
    served.until("another byte", |pair| pair.stack.tcp_readable(whole) == Ok(2));
}
