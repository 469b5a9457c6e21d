//! The hand-off between a guest thread and its sentry thread: who polls, who sleeps, and on which core.
//!
//! One word per guest thread says who owns its area; a waiter that goes to sleep sets [`state::SLEEP`] in it first,
//! and the owner that gives it away wakes only then. An idle pair burns no CPU. Three ways to wait, see [`Way`]:
//! waking a sleeper on another, idle core is by far the dearest thing here, so it is what the choice avoids.

use std::arch::x86_64::_rdtsc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use host::futex;
use host::process::{self, CpuSet};

use crate::area::Area;
use crate::layout::{area, state};

/// How the two threads of a pair find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Not pinned; the sentry sleeps soon. For guests that compute, and the first calls of each.
    Apart,
    /// Not pinned; both sides poll, politely, before they sleep. Needs a core to spare: at most half of them.
    Poll,
    /// Both pinned to this core: the sentry sleeps at once, and the guest's wake-up switches to it.
    Together(usize),
}

/// Looks at the word, with a yield each, in [`Way::Apart`].
const GLANCES: u32 = 8;
/// Short calls in a row after which a pair leaves [`Way::Apart`].
const SHORT_CALLS: u32 = 4;
/// Polls between two yields in [`Way::Poll`].
const SPINS: u32 = 40;
/// Rounds of polls and a yield that the stub makes before it sleeps: some 20 us.
const STUB_ROUNDS: u32 = 16;
/// How long the sentry polls, in microseconds.
const POLL_US: u64 = 40;
/// A yield that took longer, in microseconds, let somebody else run: the core is not to spare.
const BUSY_US: u64 = 20;
/// How long after such a yield, in microseconds, the pair does not poll; doubled each time.
const PENALTY_US: u64 = 10_000;
/// Most doublings of it.
const MAX_DOUBLINGS: u32 = 6;
/// A polling pair that has not used its place for so long, in microseconds, has lost it.
const PLACE_US: u64 = 200;
/// After so long without an event, pinned threads are set free.
const PINNED_WAIT: Duration = Duration::from_millis(5);
/// How often a sentry thread whose guest computes looks whether an interrupt went unheard.
const LOOK_AROUND: Duration = Duration::from_millis(250);
/// After so long, in microseconds, a pinned pair runs once as the host likes, so that the host can move it.
const PINNED_US: u64 = 50_000;
/// A guest that computes longer, in microseconds, between two calls has no use for polling or pinning.
const LONG_US: u64 = 1_000;

/// A place for a polling pair.
#[derive(Debug, Default)]
struct Place {
    owner: AtomicU64,
    /// When the owner last used it, in ticks.
    used: AtomicU64,
}

/// What all pairs of a platform share.
#[derive(Debug)]
pub struct Cores {
    /// The cores that the sentry may use.
    pub all: CpuSet,
    /// Pinned pairs per core.
    pinned: Vec<AtomicU32>,
    places: Vec<Place>,
    next_id: AtomicU64,
    epoch: (Instant, u64),
}

/// Looks a few times, politely.
fn glance(word: &AtomicU32, order: u32) -> Option<u32> {
    (0..GLANCES).find_map(|_| {
        process::yield_now();
        let now = word.load(Ordering::SeqCst);
        (now & !state::SLEEP != order).then_some(now)
    })
}

fn ticks() -> u64 {
    // SAFETY: reading the time stamp counter has no effects.
    unsafe { _rdtsc() }
}

impl Cores {
    /// Takes the cores that the calling thread may use.
    pub fn new() -> Cores {
        let all = process::affinity(0).unwrap_or_default();
        let count = all.count().max(1);
        Cores {
            pinned: (0..CpuSet::MAX).map(|_| AtomicU32::new(0)).collect(),
            places: (0..count / 2).map(|_| Place::default()).collect(),
            next_id: AtomicU64::new(1),
            all,
            epoch: (Instant::now(), ticks()),
        }
    }

    /// Ticks of the time stamp counter in so many microseconds, as measured since the start.
    fn ticks_in(&self, us: u64) -> u64 {
        let elapsed = self.epoch.0.elapsed().as_micros().max(1) as u64;
        let per_us = (ticks().saturating_sub(self.epoch.1) / elapsed).clamp(500, 10_000);
        us * per_us
    }

    /// The allowed core with the fewest pinned pairs, preferably the current one.
    fn best(&self) -> usize {
        let now = process::current_cpu();
        let load = |cpu: usize| {
            self.pinned
                .get(cpu)
                .map_or(u32::MAX, |n| n.load(Ordering::Relaxed))
        };
        (0..CpuSet::MAX)
            .filter(|cpu| self.all.contains(*cpu))
            .min_by_key(|cpu| (load(*cpu), *cpu != now))
            .unwrap_or(now)
    }
}

/// The hand-off of one guest thread.
#[derive(Debug)]
pub struct Pair {
    way: Way,
    /// Ticks of [`PINNED_US`] and the others, computed once in a while.
    us: u64,
    pinned_since: u64,
    penalty_until: u64,
    penalties: u32,
    id: u64,
    short_calls: u32,
    event_at: u64,
}

impl Pair {
    /// A pair that has not met yet.
    pub fn new(cores: &Cores) -> Pair {
        Pair {
            way: Way::Apart,
            us: cores.ticks_in(1),
            pinned_since: 0,
            penalty_until: 0,
            penalties: 0,
            id: cores.next_id.fetch_add(1, Ordering::Relaxed),
            short_calls: 0,
            event_at: 0,
        }
    }

    /// Gives the area to the guest thread `tid` with an order (`RUN`, `EXIT`), waking it if it sleeps.
    pub fn give(&mut self, cores: &Cores, memory: &Area, tid: i32, order: u32) {
        if order == state::RUN {
            self.choose(cores, memory, tid);
        }
        let word = memory.word(area::STATE);
        if word.swap(order, Ordering::SeqCst) & state::SLEEP != 0 {
            futex::wake(word, 1);
        }
    }

    /// Chooses the way for the coming wait.
    fn choose(&mut self, cores: &Cores, memory: &Area, tid: i32) {
        let now = ticks();
        match self.way {
            Way::Together(_) => {
                let long_call = now.wrapping_sub(self.event_at) > LONG_US * self.us;
                if long_call || now.wrapping_sub(self.pinned_since) > PINNED_US * self.us {
                    self.part(cores, tid);
                }
            }
            Way::Poll => {
                if !self.take_place(cores, now) {
                    self.approach(cores, tid, now);
                }
            }
            Way::Apart if self.short_calls < SHORT_CALLS => self.short_calls += 1,
            Way::Apart => self.approach(cores, tid, now),
        }
        let (spins, rounds) = match self.way {
            Way::Poll => (SPINS, STUB_ROUNDS),
            Way::Apart => (0, GLANCES),
            Way::Together(_) => (0, 0),
        };
        memory.word(area::SPINS).store(spins, Ordering::Relaxed);
        memory.word(area::YIELDS).store(rounds, Ordering::Relaxed);
    }

    /// From [`Way::Apart`]: polling if there is a place, else together on one core.
    fn approach(&mut self, cores: &Cores, tid: i32, now: u64) {
        self.us = cores.ticks_in(1);
        if now >= self.penalty_until && self.take_place(cores, now) {
            self.way = Way::Poll;
            return;
        }
        let cpu = cores.best();
        let one = CpuSet::one(cpu);
        if process::set_affinity(tid, &one).is_err() || process::set_affinity(0, &one).is_err() {
            self.way = Way::Apart;
            return;
        }
        if let Some(count) = cores.pinned.get(cpu) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.way = Way::Together(cpu);
        self.pinned_since = now;
    }

    /// Keeps or gets a place for polling.
    fn take_place(&self, cores: &Cores, now: u64) -> bool {
        cores.places.iter().any(|place| {
            let owner = place.owner.load(Ordering::Relaxed);
            let stale = now.saturating_sub(place.used.load(Ordering::Relaxed)) > PLACE_US * self.us;
            let mine = owner == self.id
                || stale
                    && place
                        .owner
                        .compare_exchange(owner, self.id, Ordering::Relaxed, Ordering::Relaxed)
                        .is_ok();
            if mine {
                place.used.store(now, Ordering::Relaxed);
            }
            mine
        })
    }

    /// Lets the host place both threads again.
    pub fn part(&mut self, cores: &Cores, tid: i32) {
        if let Way::Together(cpu) = self.way {
            let _ = process::set_affinity(tid, &cores.all);
            let _ = process::set_affinity(0, &cores.all);
            if let Some(count) = cores.pinned.get(cpu) {
                count.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.way = Way::Apart;
        self.short_calls = 0;
    }

    /// Waits until the word is no longer `order`, asleep or not, and returns it; now and then ([`LOOK_AROUND`]) it
    /// returns though nothing has happened.
    pub fn take(&mut self, cores: &Cores, word: &AtomicU32, tid: i32, order: u32) -> u32 {
        let start = ticks();
        let seen = match self.way {
            Way::Poll => self.poll(word, start, order),
            Way::Apart => glance(word, order),
            Way::Together(_) => None,
        };
        let value = seen.unwrap_or_else(|| self.sleep(cores, word, tid, order));
        self.event_at = ticks();
        if self.event_at.wrapping_sub(start) > LONG_US * self.us {
            self.part(cores, tid);
        }
        value
    }

    fn poll(&mut self, word: &AtomicU32, start: u64, order: u32) -> Option<u32> {
        loop {
            for _ in 0..SPINS {
                let now = word.load(Ordering::SeqCst);
                if now & !state::SLEEP != order {
                    return Some(now);
                }
                std::hint::spin_loop();
            }
            let before = ticks();
            process::yield_now();
            let after = ticks();
            if after.wrapping_sub(before) > BUSY_US * self.us {
                self.penalties = (self.penalties + 1).min(MAX_DOUBLINGS);
                self.penalty_until = after + ((PENALTY_US * self.us) << self.penalties);
                self.way = Way::Apart;
                return None;
            }
            if after.wrapping_sub(start) > POLL_US * self.us {
                return None;
            }
        }
    }

    fn sleep(&mut self, cores: &Cores, word: &AtomicU32, tid: i32, order: u32) -> u32 {
        loop {
            let sleeping = order | state::SLEEP;
            match word.compare_exchange(order, sleeping, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => {}
                Err(now) if now == sleeping => {}
                Err(now) => return now,
            }
            let pinned = matches!(self.way, Way::Together(_));
            let limit = if pinned { PINNED_WAIT } else { LOOK_AROUND };
            if futex::wait(word, sleeping, Some(limit)) == Err(abi::Errno::ETIMEDOUT) {
                self.part(cores, tid);
                if !pinned {
                    return word.load(Ordering::SeqCst);
                }
            }
        }
    }
}
