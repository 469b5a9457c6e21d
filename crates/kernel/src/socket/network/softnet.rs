//! Frames between interfaces of the sandbox. The sender queues them at the receiver's namespace, because it holds the lock
//! of its own stack; when it has let go, it delivers what waits, as Linux does in its software interrupt.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

use net::Offload;
use sync::{Mutex, rank};

use super::Network;
use crate::Kernel;
use crate::socket::NetNs;
use crate::time::queue::Expire;

/// Frames that wait at one namespace (net.core.netdev_max_backlog, for super-segments of 64 KiB).
const MOST_FRAMES: usize = 1000;
/// Bytes of frames that wait in the whole sandbox.
const MOST_BYTES: usize = 64 << 20;
/// Frames of one namespace that are delivered before the next one has its turn.
const SHARE: usize = 64;
/// Frames that one sender delivers; the timer thread goes on with the rest.
const BUDGET: usize = 512;

/// A frame that arrives.
pub(super) struct Arrival {
    /// The interface that it comes in by.
    pub interface: u32,
    /// It does not come in but is sent, by the bridge with this index.
    pub sent: bool,
    pub offload: Offload,
    pub frame: Vec<u8>,
}

/// The frames that wait at a namespace.
pub(super) struct Backlog(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Arrival>,
    /// The namespace is in the list of those with frames, or being served.
    listed: bool,
}

impl Default for Backlog {
    fn default() -> Backlog {
        Backlog(Mutex::new(rank::LEAF, Waiting::default()))
    }
}

/// The namespaces at which frames wait.
pub struct Softnet {
    kernel: Weak<Kernel>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Weak<NetNs>>,
    bytes: usize,
    /// Ends of veth pairs whose other end's namespace is gone.
    orphans: Vec<(Weak<NetNs>, u32)>,
}

thread_local! {
    /// This thread delivers: what its deliveries send waits for its turn.
    static DELIVERING: Cell<bool> = const { Cell::new(false) };
}

impl Softnet {
    /// Nothing waits.
    pub fn new(kernel: Weak<Kernel>) -> Arc<Softnet> {
        Arc::new(Softnet {
            kernel,
            state: Mutex::new(rank::LEAF, State::default()),
        })
    }

    /// Whether there is room for so many bytes, which are taken.
    fn reserve(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let fits = state.bytes + bytes <= MOST_BYTES;
        if fits {
            state.bytes += bytes;
        }
        fits
    }

    fn release(&self, bytes: usize) {
        self.state.lock().bytes -= bytes;
    }

    fn list(&self, net: Weak<NetNs>) {
        self.state.lock().ready.push_back(net);
    }

    /// Delivers what waits. To be called without the lock of any stack.
    pub(super) fn run(self: &Arc<Self>) {
        if DELIVERING.replace(true) {
            return;
        }
        let mut budget = BUDGET;
        while budget > 0 {
            let Some(next) = self.state.lock().ready.pop_front() else {
                break;
            };
            if let Some(net) = next.upgrade() {
                let (done, more) = net.network.deliver(&net, SHARE.min(budget));
                budget -= done;
                if more {
                    self.list(next);
                }
            }
        }
        DELIVERING.set(false);
        if budget == 0 {
            self.later();
        }
    }

    /// Has the timer thread go on.
    fn later(self: &Arc<Self>) {
        if let Some(kernel) = self.kernel.upgrade() {
            let me: Arc<dyn Expire> = self.clone();
            kernel.time.queue.arm(Instant::now(), Arc::downgrade(&me));
        }
    }

    /// The namespace of these ends' other ends is gone, so they go too; not now, because its last holder may hold any lock.
    pub(super) fn orphaned(self: &Arc<Self>, ends: Vec<(Weak<NetNs>, u32)>) {
        if !ends.is_empty() {
            self.state.lock().orphans.extend(ends);
            self.later();
        }
    }
}

impl Expire for Softnet {
    fn expire(self: Arc<Self>) {
        let orphans = std::mem::take(&mut self.state.lock().orphans);
        for (net, index) in orphans {
            if let Some(net) = net.upgrade() {
                net.network.lose_peer(index);
            }
        }
        self.run();
    }
}

impl Network {
    /// A frame comes to this namespace; lost when too many wait.
    pub(super) fn arrives(&self, arrival: Arrival) {
        let Some(kernel) = self.kernel.upgrade() else {
            return;
        };
        let bytes = arrival.frame.len();
        if !kernel.softnet.reserve(bytes) {
            return;
        }
        let list = {
            let mut waiting = self.backlog.0.lock();
            if waiting.frames.len() >= MOST_FRAMES {
                drop(waiting);
                kernel.softnet.release(bytes);
                return;
            }
            waiting.frames.push_back(arrival);
            !std::mem::replace(&mut waiting.listed, true)
        };
        if list {
            kernel.softnet.list(self.net.clone());
        }
    }

    /// Delivers up to `most` frames; how many, and whether more wait.
    fn deliver(&self, net: &Arc<NetNs>, most: usize) -> (usize, bool) {
        let mut done = 0;
        let attached = self.stack();
        while done < most {
            let Some(arrival) = self.backlog.0.lock().frames.pop_front() else {
                break;
            };
            done += 1;
            if let Some(kernel) = self.kernel.upgrade() {
                kernel.softnet.release(arrival.frame.len());
            }
            let Arrival {
                interface,
                sent,
                offload,
                frame,
            } = arrival;
            if sent {
                self.bridged(net, attached, interface, None, (offload, frame));
            } else if let Some(bridge) = self.devices.master(interface) {
                let passes = attached
                    .call(|stack, now| stack.pass(now, interface, net::Direction::In, &offload, &frame));
                if passes {
                    self.bridged(net, attached, bridge, Some(interface), (offload, frame));
                }
            } else {
                attached.take(interface, &offload, &frame);
            }
        }
        attached.settle();
        let mut waiting = self.backlog.0.lock();
        waiting.listed = !waiting.frames.is_empty();
        (done, waiting.listed)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let Some(kernel) = self.kernel.upgrade() else {
            return;
        };
        let waiting = std::mem::take(&mut *self.backlog.0.lock());
        kernel
            .softnet
            .release(waiting.frames.iter().map(|own| own.frame.len()).sum());
        let peers = self.devices.shown();
        kernel
            .softnet
            .orphaned(peers.into_values().filter_map(|own| own.peer).collect());
    }
}
