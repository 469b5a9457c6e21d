//! The relay of a sandbox's network: `tegmen do --network=sandbox`.
//!
//! A process of its own, jailed, in the host's network. It holds the other end of the sandbox's interface: frames come
//! through a pair of packet sockets, a TCP/IP stack that takes packets for any address ends the sandbox's connections,
//! and ordinary sockets of the host carry their bytes on. It ends when the sandbox's end of the pair is closed, and
//! leaves nothing behind: docs/decisions/0024.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod echo;
mod policy;
mod tcp;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod udp;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use abi::Errno;
use host::packet;
use host::poll::Epoll;
use net::vnet::{self, OFFLOAD_HEADER};
use net::{Address, Event, GSO_MAX, Interface, Offloads, Prefix, Route, Settings, Stack, protocol};

pub use policy::{
    GATEWAY, GATEWAY_MAC, GATEWAY_V6, GUEST, GUEST_MAC, GUEST_V6, MOST_SERVERS, MTU, PREFIX, PREFIX_V6,
    Policy, server_address,
};

/// Descriptors that a relay may have: flows of each kind, and some to spare.
pub const DESCRIPTORS: u64 = (tcp::MOST + udp::MOST + echo::MOST + 64) as u64;

/// Index of the interface in the relay's stack.
const WIRE: u32 = 2;
/// Bytes of the largest frame: a super-segment with its headers, and some to spare.
const FRAME: usize = OFFLOAD_HEADER + 65_536 + 256;
/// Frames that are taken before sockets have their turn.
const BATCH: usize = 64;
/// How often flows that nobody uses any more are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// Token of the pair of packet sockets; flows have others.
const WIRE_TOKEN: u64 = 0;

/// Numbers for flows: never used twice, with the kind in the low bits.
#[derive(Debug, Default)]
struct Tokens(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tcp = 1,
    Udp = 2,
    Echo = 3,
}

impl Tokens {
    fn next(&mut self, kind: Kind) -> u64 {
        self.0 += 1;
        self.0 << 2 | kind as u64
    }

    fn kind(token: u64) -> Option<Kind> {
        [Kind::Tcp, Kind::Udp, Kind::Echo]
            .into_iter()
            .find(|kind| *kind as u64 == token & 3)
    }
}

/// What all kinds of flows work with.
struct Base {
    stack: Stack,
    epoll: Epoll,
    tokens: Tokens,
    policy: Policy,
    start: Instant,
}

impl Base {
    fn now(&self) -> net::Instant {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        net::Instant::from_nanos(nanos)
    }
}

/// The relay at work.
pub struct Relay {
    base: Base,
    wire: OwnedFd,
    /// The pair may have a frame.
    readable: bool,
    tcp: tcp::Flows,
    udp: udp::Flows,
    echo: echo::Flows,
}

/// What is kept between turns.
struct Work {
    buf: Vec<u8>,
    events: Vec<(u64, u32)>,
    swept: Instant,
}

impl Default for Work {
    fn default() -> Work {
        Work {
            buf: vec![0; FRAME],
            events: Vec::new(),
            swept: Instant::now(),
        }
    }
}

/// A stack that answers for the gateway and the name servers, and takes packets for everybody else.
fn stack(secret: [u8; 32], policy: &Policy) -> Result<Stack, net::Error> {
    let settings = Settings {
        // Who is asked answers, not the relay: requests come as packets.
        icmp_echo_ignore_all: true,
        ..Settings::default()
    };
    let mut stack = Stack::new(secret, settings);
    let now = net::Instant::from_nanos(0);
    let offloads = Offloads {
        tx_checksum: true,
        gso_max_v4: GSO_MAX,
        gso_max_v6: GSO_MAX,
    };
    let mut interface = Interface::ethernet(WIRE, "guest", GATEWAY_MAC, MTU as usize, offloads);
    interface.any_address = true;
    stack.add_interface(interface)?;
    stack.set_up(now, WIRE, true)?;
    let own = policy.servers().map(|(inside, _)| inside);
    for ip in [GATEWAY.into(), GATEWAY_V6.into()].into_iter().chain(own) {
        let prefix = if ip.is_ipv4() { PREFIX } else { PREFIX_V6 };
        stack.add_address(now, WIRE, Address::new(ip, prefix))?;
    }
    // Whatever address the sandbox gives itself, it is behind this interface.
    for any in ["0.0.0.0", "::"] {
        if let Ok(any) = any.parse() {
            stack.add_route(Route::new(Prefix::new(any, 0), None, WIRE), false)?;
        }
    }
    stack.want_raw(false, protocol::ICMP, true);
    stack.want_raw(true, protocol::ICMPV6, true);
    Ok(stack)
}

impl Relay {
    /// A relay for the sandbox that has the other end of `wire`. Called before the filter is closed.
    ///
    /// # Errors
    /// Those of the host's calls.
    pub fn new(wire: OwnedFd, policy: Policy, secret: [u8; 32]) -> Result<Relay, Errno> {
        let epoll = Epoll::new()?;
        epoll.add_edges(wire.as_fd(), WIRE_TOKEN)?;
        let stack = stack(secret, &policy).map_err(|error| Errno::from_raw(error as i32))?;
        Ok(Relay {
            base: Base {
                stack,
                epoll,
                tokens: Tokens::default(),
                policy,
                start: Instant::now(),
            },
            wire,
            readable: true,
            tcp: tcp::Flows::default(),
            udp: udp::Flows::default(),
            echo: echo::Flows::default(),
        })
    }

    /// Serves the sandbox until it closes its end of the pair.
    ///
    /// # Errors
    /// That of the wait.
    pub fn serve(&mut self) -> Result<(), Errno> {
        let mut work = Work::default();
        while self.turn(&mut work, SWEEP)? {}
        Ok(())
    }

    /// Waits for something to do, at most for `limit`, and does it. False: the sandbox is gone.
    fn turn(&mut self, work: &mut Work, limit: Duration) -> Result<bool, Errno> {
        let Work { buf, events, swept } = work;
        let patience = self.patience().min(limit);
        self.base
            .epoll
            .wait_until(Some(patience), |token, what| events.push((token, what)))?;
        for (token, what) in events.drain(..) {
            self.ready(token, what);
        }
        if self.readable && !self.take_frames(buf) {
            return Ok(false);
        }
        self.dispatch();
        self.tcp.pump(&mut self.base);
        self.udp.pump(&mut self.base);
        self.send_frames();
        // What the stack's timers brought.
        self.dispatch();
        if swept.elapsed() > SWEEP {
            *swept = Instant::now();
            self.tcp.sweep(&mut self.base);
            self.udp.sweep();
            self.echo.sweep();
        }
        Ok(true)
    }

    /// How long nothing will be to do unless something comes.
    fn patience(&self) -> Duration {
        if self.readable || self.tcp.is_busy() || self.udp.is_busy() {
            return Duration::ZERO;
        }
        let now = self.base.now();
        match self.base.stack.deadline() {
            Some(at) => Duration::from_nanos(at.as_nanos().saturating_sub(now.as_nanos())).min(SWEEP),
            None => SWEEP,
        }
    }

    fn ready(&mut self, token: u64, what: u32) {
        match Tokens::kind(token) {
            // Room for frames needs no note: those that wait are offered again anyway.
            None => self.readable = true,
            Some(Kind::Tcp) => self.tcp.ready(&mut self.base, token, what),
            Some(Kind::Udp) => self.udp.ready(&mut self.base, token),
            Some(Kind::Echo) => self.echo.ready(&mut self.base, token),
        }
    }

    /// Takes some frames; false when the sandbox is gone.
    fn take_frames(&mut self, buf: &mut [u8]) -> bool {
        for _ in 0..BATCH {
            match packet::receive(self.wire.as_fd(), buf) {
                Ok(0) => return false,
                Ok(len) => {
                    let frame = buf.get(..len).and_then(|bytes| bytes.split_first_chunk());
                    if let Some((header, frame)) = frame {
                        self.take(header, frame);
                    }
                }
                Err(Errno::EAGAIN) => {
                    self.readable = false;
                    return true;
                }
                Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn take(&mut self, header: &[u8; OFFLOAD_HEADER], frame: &[u8]) {
        if let Some((from, to)) = net::opening(frame)
            && self.tcp.opening(&mut self.base, header, frame, (from, to))
        {
            return;
        }
        let now = self.base.now();
        self.base.stack.receive(now, WIRE, &vnet::decode(header), frame);
    }

    /// What the stack has found in the frames.
    fn dispatch(&mut self) {
        while let Some(event) = self.base.stack.next_event() {
            match event {
                Event::Tcp { id, token, .. } => self.tcp.event(&mut self.base, id, token),
                Event::Datagram(datagram) => self.udp.datagram(&mut self.base, &datagram),
                Event::Raw(packet) => self.echo.packet(&mut self.base, &packet),
                Event::Icmp(_) | Event::Frame(_) | Event::Neighbor { .. } => {}
            }
        }
    }

    /// Timers, and all output.
    fn send_frames(&mut self) {
        let now = self.base.now();
        let wire = &self.wire;
        self.base.stack.poll(now, &mut |_, offload, parts| {
            let header = vnet::encode(offload);
            let mut all = [&[][..]; packet::MOST_PARTS];
            all[0] = &header;
            let Some(places) = all.get_mut(1..=parts.len()) else {
                return true;
            };
            places.copy_from_slice(parts);
            // Anything else than no room: lost, as on a wire.
            packet::send(wire.as_fd(), &all[..=parts.len()]) != Err(Errno::EAGAIN)
        });
    }
}
