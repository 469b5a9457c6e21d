//! The stack at work: calls into it, the frames that they cause, its events and its timers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use net::vnet::{self, OFFLOAD_HEADER};
use net::{Event, Offload, Stack};
use sync::{Mutex, rank};

use super::outbox::{Flushed, Outbox};
use crate::Kernel;
use crate::socket::{NetNs, inet, netlink, packet};
use crate::time::queue::Expire;

/// Carries frames to network devices.
pub trait Wire: Send + Sync {
    /// Sends a frame, given in parts, after its header. False: the device has no room now.
    fn send(&self, interface: u32, header: &[u8; OFFLOAD_HEADER], parts: &[&[u8]]) -> bool;

    /// Sends a query to the engine's name server; lost when that is not possible.
    fn query(&self, query: &[u8]) {
        let _ = query;
    }
}

/// No timer is armed.
const NEVER: u64 = u64::MAX;
/// When a device had no room: how long until it is tried again.
const PAUSE: Duration = Duration::from_millis(2);

/// The stack's deadlines are served together, in steps of this length, as Linux does with its jiffies: those of busy connections
/// lie close by and have mostly moved on when they come.
const JIFFY: u64 = 4_000_000;

/// A stack with its wire.
pub struct Attached {
    kernel: Weak<Kernel>,
    net: Weak<NetNs>,
    me: Weak<Attached>,
    stack: Mutex<Stack>,
    wire: Box<dyn Wire>,
    /// Some interfaces are not the wire's.
    has_devices: AtomicBool,
    outbox: Outbox,
    start: Instant,
    /// When the timer thread will call next, in nanoseconds after `start`: for the stack's next deadline or one before.
    armed: AtomicU64,
}

impl Attached {
    pub(super) fn new(
        kernel: Weak<Kernel>,
        net: Weak<NetNs>,
        stack: Stack,
        wire: Box<dyn Wire>,
    ) -> Arc<Attached> {
        Arc::new_cyclic(|me| Attached {
            kernel,
            net,
            me: me.clone(),
            stack: Mutex::new(rank::NETWORK, stack),
            wire,
            has_devices: AtomicBool::new(false),
            outbox: Outbox::new(),
            start: Instant::now(),
            armed: AtomicU64::new(NEVER),
        })
    }

    /// The wire.
    pub fn wire(&self) -> &dyn Wire {
        &*self.wire
    }

    fn now(&self) -> net::Instant {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(NEVER);
        net::Instant::from_nanos(nanos)
    }

    /// Looks into the stack without a change.
    pub fn look<R>(&self, f: impl FnOnce(&Stack) -> R) -> R {
        f(&self.stack.lock())
    }

    /// Calls the stack, sends the frames that come of it, and passes on its events.
    pub fn call<R>(&self, f: impl FnOnce(&mut Stack, net::Instant) -> R) -> R {
        self.run(false, f)
    }

    /// A frame came, the first `len` bytes of `buffer`, with its offload header. It may be kept, and then `buffer` is another one.
    /// What comes of it waits for [`Attached::settle`].
    pub fn receive(&self, interface: u32, buffer: &mut Vec<u8>, len: usize) {
        let Some(header) = buffer.first_chunk() else {
            return;
        };
        let offload = vnet::decode(header);
        let now = self.now();
        let frame = OFFLOAD_HEADER..len;
        self.stack
            .lock()
            .receive_kept(now, interface, &offload, buffer, frame);
    }

    pub(super) fn take(&self, interface: u32, offload: &Offload, frame: &[u8]) {
        let now = self.now();
        self.stack.lock().receive(now, interface, offload, frame);
    }

    /// After frames have come, or a device has room again.
    pub fn settle(&self) {
        self.run(true, |_, _| ());
    }

    fn run<R>(&self, poll: bool, f: impl FnOnce(&mut Stack, net::Instant) -> R) -> R {
        let mut full = false;
        let (result, mut deadline) = self.step(poll, &mut full, f);
        loop {
            match self.outbox.flush(&*self.wire) {
                Flushed::Done => break,
                Flushed::Full => {
                    full = true;
                    break;
                }
                Flushed::More => deadline = self.step(true, &mut full, |_, _| ()).1,
            }
        }
        let soon = full.then(|| (self.now() + PAUSE).as_nanos());
        let deadline = deadline.map(|at| at.as_nanos().next_multiple_of(JIFFY));
        if let Some(at) = deadline.into_iter().chain(soon).min() {
            self.arm(at);
        }
        result
    }

    /// One call into the stack, with its events; frames are left to the outbox. Returns the stack's next deadline.
    fn step<R>(
        &self,
        poll: bool,
        full: &mut bool,
        f: impl FnOnce(&mut Stack, net::Instant) -> R,
    ) -> (R, Option<net::Instant>) {
        let mut events = Vec::new();
        let mut queued = false;
        let (result, deadline) = {
            let mut stack = self.stack.lock();
            let now = self.now();
            let result = f(&mut stack, now);
            if poll || stack.has_output() {
                let net = self
                    .has_devices
                    .load(Ordering::Relaxed)
                    .then(|| self.net.upgrade());
                stack.poll(now, &mut |interface, offload, parts| {
                    if let Some(Some(net)) = &net {
                        let frame = || (*offload, parts.concat());
                        if let Some(on_its_way) = net.network.send_over(net, interface, frame) {
                            queued |= on_its_way;
                            return true;
                        }
                    }
                    let header = vnet::encode(offload);
                    let taken = self.outbox.push(&*self.wire, interface, &header, parts);
                    *full |= !taken;
                    taken
                });
            }
            while let Some(event) = stack.next_event() {
                events.push(event);
            }
            (result, stack.deadline())
        };
        if !events.is_empty()
            && let Some(net) = self.net.upgrade()
        {
            self.dispatch(&net, events);
        }
        if queued && let Some(kernel) = self.kernel.upgrade() {
            kernel.softnet.run();
        }
        (result, deadline)
    }

    /// From now on there are interfaces that are not devices of the host.
    pub(super) fn add_devices(&self) {
        self.has_devices.store(true, Ordering::Relaxed);
    }

    fn dispatch(&self, net: &NetNs, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Tcp { token, ready, .. } => inet::tcp_outside::ready(net, token, ready),
                Event::Datagram(mut datagram) => {
                    if !inet::udp_arrival::arrived(net, &mut datagram) {
                        self.call(|stack, now| stack.udp_unreachable(now, &datagram));
                    }
                }
                Event::Raw(packet) => inet::raw::arrived(net, &packet),
                Event::Icmp(error) => {
                    inet::udp_arrival::failed(net, &error);
                    inet::raw::failed(net, &error);
                }
                Event::Frame(frame) => packet::passed(net, &frame),
                Event::Neighbor { interface, address } => {
                    netlink::events::neighbour(net, interface, address);
                }
            }
        }
    }

    /// Has the timer thread call at this time, unless it calls earlier anyway.
    fn arm(&self, at: u64) {
        if self.armed.fetch_min(at, Ordering::SeqCst) <= at {
            return;
        }
        if let Some(kernel) = self.kernel.upgrade() {
            let me: Weak<dyn Expire> = self.me.clone();
            kernel.time.queue.arm(self.start + Duration::from_nanos(at), me);
        }
    }
}

impl Expire for Attached {
    fn expire(self: Arc<Self>) {
        self.armed.store(NEVER, Ordering::SeqCst);
        self.settle();
    }
}
