//! Wait queues: who is to be told when something becomes readable, writable, finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bitflags::bitflags;

use crate::{Mutex, rank};

bitflags! {
    /// What a file is ready for; the numbers of EPOLL* and POLL*.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Events: u32 {
        /// POLLIN.
        const IN = 0x1;
        /// POLLPRI.
        const PRI = 0x2;
        /// POLLOUT.
        const OUT = 0x4;
        /// POLLERR: always reported.
        const ERR = 0x8;
        /// POLLHUP: always reported.
        const HUP = 0x10;
        /// POLLNVAL.
        const NVAL = 0x20;
        /// POLLRDNORM.
        const RDNORM = 0x40;
        /// POLLRDBAND.
        const RDBAND = 0x80;
        /// POLLWRNORM.
        const WRNORM = 0x100;
        /// POLLWRBAND.
        const WRBAND = 0x200;
        /// POLLMSG.
        const MSG = 0x400;
        /// POLLRDHUP.
        const RDHUP = 0x2000;
    }
}

impl Events {
    /// Readable, in both spellings.
    pub const READABLE: Events = Events::IN.union(Events::RDNORM);
    /// Writable, in both spellings.
    pub const WRITABLE: Events = Events::OUT.union(Events::WRNORM);
    /// Reported whether asked for or not.
    pub const ALWAYS: Events = Events::ERR.union(Events::HUP);
}

/// Something that wants to hear of events: a waiting thread, an epoll instance, a timer.
pub trait Wake: Send + Sync {
    /// Told that `events` happened on what it registered under `key`. Called without the queue's lock;
    /// must not block, and may come once more after the registration was removed.
    fn wake(&self, key: u64, events: Events);

    /// Whether one woken target of this kind is enough (EPOLLEXCLUSIVE): see [`Wake::wake_sleeper`].
    fn is_exclusive(&self) -> bool {
        false
    }

    /// As [`Wake::wake`]; whether somebody was asleep and will deal with it.
    fn wake_sleeper(&self, key: u64, events: Events) -> bool {
        self.wake(key, events);
        true
    }
}

struct Entry {
    id: u64,
    target: Arc<dyn Wake>,
    key: u64,
    mask: Events,
}

struct Inner {
    len: AtomicUsize,
    next: AtomicU64,
    entries: Mutex<Vec<Entry>>,
}

/// A list of those to wake. Cloning gives another handle on the same list.
#[derive(Clone)]
pub struct WaitQueue(Arc<Inner>);

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for WaitQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WaitQueue({})", self.0.len.load(Ordering::Relaxed))
    }
}

impl WaitQueue {
    /// An empty queue.
    pub fn new() -> Self {
        WaitQueue(Arc::new(Inner {
            len: AtomicUsize::new(0),
            next: AtomicU64::new(1),
            entries: Mutex::new(rank::WAIT_QUEUE, Vec::new()),
        }))
    }

    /// Adds `target`, to be woken for any of `mask` (errors and hang-ups always); returns the id to remove it by.
    pub fn add(&self, target: Arc<dyn Wake>, key: u64, mask: Events) -> u64 {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let mut list = self.0.entries.lock();
        list.push(Entry {
            id,
            target,
            key,
            mask: mask | Events::ALWAYS,
        });
        self.0.len.store(list.len(), Ordering::SeqCst);
        id
    }

    /// Removes what `add` returned; nothing happens when it is gone.
    pub fn remove(&self, id: u64) {
        let mut list = self.0.entries.lock();
        list.retain(|entry| entry.id != id);
        self.0.len.store(list.len(), Ordering::SeqCst);
    }

    /// Wakes everyone who asked for any of `events`. The state that they will look at must be changed before.
    pub fn wake(&self, events: Events) {
        self.wake_some(events, usize::MAX);
    }

    /// Wakes at most `count` of those who asked for any of `events`, longest waiting first; returns how many.
    pub fn wake_some(&self, events: Events, count: usize) -> usize {
        // Pairs with the store in `add`: a waiter registers, then looks at the state; we change the state, then look here.
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.0.len.load(Ordering::SeqCst) == 0 {
            return 0;
        }
        let targets: Vec<(Arc<dyn Wake>, u64)> = {
            let list = self.0.entries.lock();
            let due = list
                .iter()
                .filter(|entry| entry.mask.intersects(events))
                .take(count);
            due.map(|entry| (entry.target.clone(), entry.key)).collect()
        };
        // Errors and hang-ups concern everyone.
        let mut dealt_with = false;
        let spare = !events.intersects(Events::ALWAYS);
        for (target, key) in &targets {
            if !target.is_exclusive() {
                target.wake(*key, events);
            } else if !(dealt_with && spare) {
                dealt_with |= target.wake_sleeper(*key, events);
            }
        }
        targets.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.0.len.load(Ordering::SeqCst) == 0
    }
}

/// What a file's `poll` registers its queues with (Linux's poll_table).
pub struct PollTable {
    target: Arc<dyn Wake>,
    key: u64,
    mask: Events,
    registrations: Registrations,
}

impl PollTable {
    /// A table that will have `target` woken with `key` for any of `mask`.
    pub fn new(target: Arc<dyn Wake>, key: u64, mask: Events) -> Self {
        PollTable {
            target,
            key,
            mask,
            registrations: Registrations::default(),
        }
    }

    /// Registers on `queue`; call it before looking at the state that the queue is about.
    pub fn register(&mut self, queue: &WaitQueue) {
        let id = queue.add(self.target.clone(), self.key, self.mask);
        self.registrations.0.push((queue.clone(), id));
    }

    /// Whether nothing was registered so far: the file is always ready.
    pub fn is_empty(&self) -> bool {
        self.registrations.0.is_empty()
    }

    /// The registrations, to be kept as long as wake-ups are wanted.
    pub fn into_registrations(self) -> Registrations {
        self.registrations
    }
}

/// Places on wait queues; dropping them takes the target off.
#[derive(Default, Debug)]
pub struct Registrations(Vec<(WaitQueue, u64)>);

impl Drop for Registrations {
    fn drop(&mut self) {
        for (queue, id) in self.0.drain(..) {
            queue.remove(id);
        }
    }
}
