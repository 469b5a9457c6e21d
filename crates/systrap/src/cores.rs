//! What all pairs of guest and sentry threads know of the cores: who is pinned where, who has something to do, and
//! which cores are to spare for polling.

use std::arch::x86_64::_rdtsc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use host::process::{self, CpuSet};

use crate::engine::Tuning;

/// How long nobody polls in a place, in microseconds, where there was no core to spare; doubled each time. Programs
/// that run for a moment would else all find out anew, and each for the price of a hundred calls.
pub const PENALTY_US: u64 = 10_000;
/// Most doublings of it.
pub const MAX_DOUBLINGS: u32 = 6;
/// So many pairs more than on another core make a crowd of those that meet on one.
const CROWD: u32 = 3;
/// A polling pair that has not used its place for so long, in microseconds, has lost it.
const PLACE_US: u64 = 200;

/// Something that is not to be used for a while.
#[derive(Debug, Default)]
struct Closure {
    /// Until when, in ticks.
    until: AtomicU64,
    /// How often in a row it was closed.
    penalties: AtomicU32,
}

impl Closure {
    /// Closes it, and for longer each time as long as that happens again soon.
    fn close(&self, now: u64, us: u64) {
        let closed = self.until.load(Ordering::Relaxed);
        let penalties = self.penalties.load(Ordering::Relaxed);
        let last = (PENALTY_US * us) << penalties;
        let penalties = if now.saturating_sub(closed) > last {
            0
        } else {
            (penalties + 1).min(MAX_DOUBLINGS)
        };
        self.penalties.store(penalties, Ordering::Relaxed);
        let until = now + ((PENALTY_US * us) << penalties);
        self.until.store(until, Ordering::Relaxed);
    }

    fn is_closed(&self, now: u64) -> bool {
        now < self.until.load(Ordering::Relaxed)
    }
}

/// A place for a polling pair.
#[derive(Debug, Default)]
struct Place {
    owner: AtomicU64,
    /// When the owner last used it, in ticks.
    used: AtomicU64,
    /// Its last owner found no core to spare.
    closed: Closure,
}

impl Place {
    /// Whether `pair` has it, from now on or still.
    fn take(&self, pair: u64, now: u64, us: u64) -> bool {
        if self.closed.is_closed(now) {
            return false;
        }
        let owner = self.owner.load(Ordering::Relaxed);
        let stale = now.saturating_sub(self.used.load(Ordering::Relaxed)) > PLACE_US * us;
        let swap = || {
            self.owner
                .compare_exchange(owner, pair, Ordering::Relaxed, Ordering::Relaxed)
        };
        let mine = owner == pair || stale && swap().is_ok();
        if mine {
            self.used.store(now, Ordering::Relaxed);
        }
        mine
    }
}

/// What all pairs of a platform share.
#[derive(Debug)]
pub struct Cores {
    /// The cores that the sentry may use.
    pub all: CpuSet,
    /// The same as a mask, if their numbers are below 64.
    pub mask: Option<u64>,
    /// Their numbers.
    numbers: Vec<usize>,
    /// Pairs per core that are pinned there and have something to do.
    pinned: Vec<AtomicU32>,
    /// Pairs at home per core.
    homes: Vec<AtomicU32>,
    places: Vec<Place>,
    /// Cores on which somebody else computes.
    shared: Vec<Closure>,
    /// Two threads on one core may yield to each other.
    turns: bool,
    /// Pairs that run guest code or serve a call that does not wait.
    active: AtomicU32,
    next_id: AtomicU64,
    epoch: (Instant, u64),
}

/// The time stamp counter.
pub fn ticks() -> u64 {
    // SAFETY: reading the time stamp counter has no effects.
    unsafe { _rdtsc() }
}

fn count(counts: &[AtomicU32], cpu: usize) -> u32 {
    counts.get(cpu).map_or(0, |n| n.load(Ordering::Relaxed))
}

impl Cores {
    /// Takes the cores that the calling thread may use; at most half of them for polling.
    pub fn new(tuning: Tuning) -> Cores {
        let all = process::affinity(0).unwrap_or_default();
        let numbers: Vec<usize> = (0..CpuSet::MAX).filter(|cpu| all.contains(*cpu)).collect();
        let places = if tuning.polling { numbers.len() / 2 } else { 0 };
        Cores {
            pinned: (0..CpuSet::MAX).map(|_| AtomicU32::new(0)).collect(),
            homes: (0..CpuSet::MAX).map(|_| AtomicU32::new(0)).collect(),
            places: (0..places).map(|_| Place::default()).collect(),
            shared: (0..CpuSet::MAX).map(|_| Closure::default()).collect(),
            turns: tuning.turns,
            active: AtomicU32::new(0),
            next_id: AtomicU64::new(1),
            all,
            mask: all.mask(),
            numbers,
            epoch: (Instant::now(), ticks()),
        }
    }

    /// A number that no other pair has.
    pub fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Ticks of the time stamp counter in so many microseconds, as measured since the start.
    pub fn ticks_in(&self, us: u64) -> u64 {
        let elapsed = self.epoch.0.elapsed().as_micros().max(1) as u64;
        let per_us = (ticks().saturating_sub(self.epoch.1) / elapsed).clamp(500, 10_000);
        us * per_us
    }

    /// The core of `among` with the fewest pinned pairs, preferably the current one.
    pub fn best(&self, among: &CpuSet) -> usize {
        let now = process::current_cpu();
        let numbers = self.numbers.iter().copied();
        numbers
            .filter(|cpu| among.contains(*cpu))
            .min_by_key(|cpu| (count(&self.pinned, *cpu), *cpu != now))
            .unwrap_or(now)
    }

    /// Whether another core of `among` has so much less to do that a pair should leave this one.
    pub fn is_uneven(&self, cpu: usize, among: &CpuSet) -> bool {
        let least = count(&self.pinned, self.best(among));
        count(&self.pinned, cpu) > least.saturating_add(1)
    }

    /// Whether a core has so many pairs that have something to do, and another of `among` so few, that pairs that meet
    /// there do better apart. One more than wake each other in turns: those are two for a moment.
    pub fn is_crowded(&self, cpu: usize, among: &CpuSet) -> bool {
        let least = count(&self.pinned, self.best(among));
        count(&self.pinned, cpu) >= least.saturating_add(CROWD)
    }

    /// Where pairs whose calls wait meet: the core of `among` with most of them.
    pub fn home(&self, among: &CpuSet) -> usize {
        let now = process::current_cpu();
        let numbers = self.numbers.iter().copied();
        numbers
            .filter(|cpu| among.contains(*cpu))
            .max_by_key(|cpu| (count(&self.homes, *cpu), *cpu == now))
            .unwrap_or(now)
    }

    /// A pair is at home there from now on, or no longer.
    pub fn note_home(&self, cpu: usize, there: bool) {
        step(self.homes.get(cpu), there);
    }

    /// A pair that is pinned there has something to do from now on, or no longer.
    pub fn note_pinned(&self, cpu: usize, there: bool) {
        step(self.pinned.get(cpu), there);
    }

    /// A pair found that a thread that computes runs there too.
    pub fn note_shared(&self, cpu: usize, now: u64, us: u64) {
        if let Some(core) = self.shared.get(cpu).filter(|core| !core.is_closed(now)) {
            core.close(now, us);
        }
    }

    /// Whether a yield there leads to nobody but the other thread of a pair, or to one that waits for it in turn.
    pub fn allows_turns(&self, cpu: usize, now: u64) -> bool {
        self.turns && self.shared.get(cpu).is_some_and(|core| !core.is_closed(now))
    }

    /// A pair has something to do from now on, or no longer.
    pub fn note_active(&self, active: bool) {
        step(Some(&self.active), active);
    }

    /// Keeps or gets a place for polling: a core to spare, beside one for each pair that has something to do.
    pub fn take_place(&self, pair: u64, now: u64, us: u64) -> bool {
        let active = self.active.load(Ordering::Relaxed) as usize;
        active < self.numbers.len() && self.places.iter().any(|place| place.take(pair, now, us))
    }

    /// The pair found that there is no core to spare after all.
    pub fn close_place(&self, pair: u64, now: u64, us: u64) {
        let own = |place: &&Place| place.owner.load(Ordering::Relaxed) == pair;
        if let Some(place) = self.places.iter().find(own) {
            place.closed.close(now, us);
        }
    }
}

fn step(counter: Option<&AtomicU32>, up: bool) {
    let Some(counter) = counter else { return };
    if up {
        counter.fetch_add(1, Ordering::Relaxed);
    } else {
        counter.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    fn cores(numbers: &[usize]) -> Cores {
        let mut cores = Cores::new(Tuning::default());
        cores.numbers = numbers.to_vec();
        cores.places = (0..numbers.len() / 2).map(|_| Place::default()).collect();
        cores
    }

    #[test]
    fn a_place_that_was_no_use_is_closed_for_longer_each_time() {
        let cores = cores(&[0, 1]);
        let start = 1 << 50;
        assert!(cores.take_place(1, start, US));
        assert!(!cores.take_place(2, start, US), "it has an owner");
        cores.close_place(1, start, US);
        let mut at = start;
        for doublings in [0, 1, 2] {
            let until = at + ((PENALTY_US * US) << doublings);
            assert!(!cores.take_place(3, until - 1, US));
            assert!(cores.take_place(3, until, US));
            cores.close_place(3, until, US);
            at = until;
        }
        let long_after = at + ((PENALTY_US * US) << 9);
        assert!(cores.take_place(4, long_after, US));
        cores.close_place(4, long_after, US);
        assert!(cores.take_place(4, long_after + PENALTY_US * US, US), "forgiven");
    }

    #[test]
    fn nobody_yields_for_a_while_on_a_core_where_somebody_computes() {
        let cores = cores(&[0, 1]);
        let at = 1 << 50;
        assert!(cores.allows_turns(0, at) && cores.allows_turns(1, at));
        cores.note_shared(0, at, US);
        assert!(!cores.allows_turns(0, at + PENALTY_US * US - 1) && cores.allows_turns(1, at));
        cores.note_shared(0, at + 1, US);
        assert!(
            cores.allows_turns(0, at + PENALTY_US * US),
            "closed once, though two noticed"
        );
        assert!(!cores.allows_turns(CpuSet::MAX, at));
    }

    #[test]
    fn nobody_polls_when_each_core_has_something_to_do() {
        let cores = cores(&[0, 1]);
        cores.note_active(true);
        assert!(cores.take_place(1, 1 << 40, US));
        cores.note_active(true);
        assert!(!cores.take_place(1, 1 << 40, US));
        cores.note_active(false);
        assert!(cores.take_place(1, 1 << 40, US));
    }

    #[test]
    fn a_core_with_two_pairs_more_than_another_is_left() {
        let cores = cores(&[3, 5]);
        let all = CpuSet::default().with(3).with(5);
        cores.note_pinned(3, true);
        assert!(!cores.is_uneven(3, &all), "moving would only swap them");
        cores.note_pinned(3, true);
        assert!(cores.is_uneven(3, &all) && !cores.is_uneven(5, &all));
        assert_eq!(cores.best(&all), 5);
        assert_eq!(cores.best(&CpuSet::one(3)), 3, "nowhere else");
        assert!(!cores.is_crowded(3, &all), "they may be waking each other");
        cores.note_pinned(3, true);
        assert!(cores.is_crowded(3, &all) && !cores.is_crowded(5, &all));
        cores.note_pinned(3, false);
        cores.note_pinned(5, true);
        assert!(!cores.is_uneven(3, &all));
    }
}
