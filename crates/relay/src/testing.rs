//! A sandbox and its relay in one thread: the other end of the wire with a stack of its own, for tests and the fuzz target.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use host::packet;
use net::vnet::{self, OFFLOAD_HEADER};
use net::{Address, Event, Interface, Offloads, Prefix, Ready, Route, Settings, Stack, TcpId};

use crate::{FRAME, GATEWAY, GUEST, GUEST_MAC, MTU, PREFIX, Policy, Relay, WIRE, Work};

/// A sandbox's end, and the relay.
pub struct Pair {
    /// The sandbox's stack.
    pub stack: Stack,
    pub(crate) relay: Relay,
    wire: OwnedFd,
    work: Work,
    start: Instant,
    /// What the sandbox's stack heard.
    pub events: Vec<Event>,
}

impl Pair {
    /// A relay that reaches the server at `server` under the first name server's address, and nothing else.
    ///
    /// # Panics
    /// When the host gives no sockets.
    #[expect(clippy::expect_used, reason = "for tests")]
    pub fn new(server: SocketAddr) -> Pair {
        let (wire, theirs) = host::fd::frame_pair().expect("a pair");
        let relay = Relay::new(theirs, Policy::names_only(vec![server]), [1; 32]).expect("a relay");
        let mut stack = Stack::new([2; 32], Settings::default());
        let offloads = Offloads {
            tx_checksum: true,
            gso_max_v4: net::GSO_MAX,
            gso_max_v6: net::GSO_MAX,
        };
        let now = net::Instant::from_nanos(0);
        let interface = Interface::ethernet(WIRE, "eth0", GUEST_MAC, MTU as usize, offloads);
        let any = Prefix::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        stack
            .add_interface(interface)
            .and_then(|()| stack.set_up(now, WIRE, true))
            .and_then(|()| stack.add_address(now, WIRE, Address::new(GUEST.into(), PREFIX)))
            .and_then(|()| stack.add_route(Route::new(any, Some(GATEWAY.into()), WIRE), false))
            .expect("a stack");
        Pair {
            stack,
            relay,
            wire,
            work: Work::default(),
            start: Instant::now(),
            events: Vec::new(),
        }
    }

    /// The time of the sandbox's stack.
    pub fn now(&self) -> net::Instant {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        net::Instant::from_nanos(nanos)
    }

    /// Sends a frame as it is, after its header.
    pub fn raw(&self, header: &[u8; OFFLOAD_HEADER], frame: &[u8]) {
        // Lost when there is no room.
        let _ = packet::send(self.wire.as_fd(), &[header, frame]);
    }

    /// One turn of both; `spoil` may change each frame of the sandbox, or take its bytes away to lose it.
    pub fn turn(&mut self, spoil: &mut dyn FnMut(&mut Vec<u8>)) {
        let now = self.now();
        let mut frames = Vec::new();
        self.stack.poll(now, &mut |_, offload, parts| {
            frames.push((vnet::encode(offload), parts.concat()));
            true
        });
        for (header, mut frame) in frames {
            spoil(&mut frame);
            if !frame.is_empty() {
                self.raw(&header, &frame);
            }
        }
        // Only the end of the wire is the relay's.
        let _ = self.relay.turn(&mut self.work, Duration::ZERO);
        let mut buf = vec![0; FRAME];
        while let Ok(len @ 1..) = packet::receive(self.wire.as_fd(), &mut buf) {
            let frame = buf.get(..len).and_then(|bytes| bytes.split_first_chunk());
            if let Some((header, frame)) = frame {
                self.stack.receive(now, WIRE, &vnet::decode(header), frame);
            }
        }
        while let Some(event) = self.stack.next_event() {
            self.events.push(event);
        }
    }

    /// Whether the sandbox's stack has said that a connection can be written to.
    pub fn is_open(&self, of: TcpId) -> bool {
        let says = |event: &Event| matches!(event, Event::Tcp { id, ready, .. } if *id == of && ready.contains(Ready::OUT));
        self.events.iter().any(says)
    }

    /// Connections that the relay has.
    pub fn connections(&self) -> usize {
        self.relay.tcp.len()
    }
}
