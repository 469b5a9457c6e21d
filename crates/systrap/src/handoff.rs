//! The hand-off between a guest thread and its sentry thread: who polls, who sleeps, and on which core.
//!
//! One word per guest thread says who owns its area; a waiter that goes to sleep sets [`state::SLEEP`] in it first,
//! and the owner that gives it away wakes only then. An idle pair burns no CPU. Three ways to wait, see [`Way`]:
//! waking a sleeper on another, idle core is by far the dearest thing here, so it is what the choice avoids.
//! On one core each yields to the other a few times before it sleeps, unless a thread that computes is there too: to
//! that one a yield would give a whole turn. Pairs whose calls wait are woken by other pairs: they meet on one core, as
//! long as that is not crowded.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use host::futex;
use host::process::{self, CpuSet};

use crate::area::Area;
use crate::cores::{Cores, MAX_DOUBLINGS, PENALTY_US, ticks};
use crate::layout::{area, state};

/// How the two threads of a pair find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Not pinned; the sentry sleeps soon. For guests that compute, and the first calls of each.
    Apart,
    /// Not pinned; both sides poll, politely, before they sleep. Needs a core to spare: at most half of them.
    Poll,
    /// Both pinned to this core: they take turns there.
    Together(usize),
    /// Likewise, with other pairs whose calls wait for something.
    Home(usize),
}

impl Way {
    /// The core to which both are pinned.
    fn core(self) -> Option<usize> {
        match self {
            Way::Together(cpu) | Way::Home(cpu) => Some(cpu),
            Way::Apart | Way::Poll => None,
        }
    }
}

/// Looks at the word, with a yield each, of a pair on two cores in [`Way::Apart`].
const GLANCES: u32 = 8;
/// Likewise, of both sides of a pair on one core: the first yield leads to the other, unless a third thread wants to run.
const TURNS: u32 = 3;
/// Short calls in a row after which a pair on two cores leaves [`Way::Apart`].
const SHORT_CALLS: u32 = 4;
/// Likewise for a pair that happens to be on one core: it does well, and moving a thread costs as much as some calls.
const SHORT_CALLS_TOGETHER: u32 = 24;
/// Polls between two yields in [`Way::Poll`].
const SPINS: u32 = 120;
/// Rounds of polls and a yield that the stub makes before it sleeps: some 20 us.
const STUB_ROUNDS: u32 = 6;
/// How long the sentry polls, in microseconds.
const POLL_US: u64 = 40;
/// A yield that took longer, in microseconds, let somebody else run: the core is not to spare.
const BUSY_US: u64 = 20;
/// After so long without an event, pinned threads are set free.
const PINNED_WAIT: Duration = Duration::from_millis(5);
/// How often a sentry thread whose guest computes looks whether an interrupt went unheard.
const LOOK_AROUND: Duration = Duration::from_millis(250);
/// After so long, in microseconds, a pinned pair runs once as the host likes, so that the host can move it.
const PINNED_US: u64 = 50_000;
/// A guest that computes longer, in microseconds, between two calls has no use for polling or pinning.
const LONG_US: u64 = 1_000;

/// A pair that meets on one core again so soon, in microseconds, after it was separated, stays there.
const REUNION_US: u64 = 5_000;
/// Of the last eight calls, so many waited: the pair has no use for polling.
const SLEEPY: u32 = 2;
/// An event that a pair at home sees so late, in microseconds, had to wait for other pairs.
const LATE_US: u64 = 50;
/// A thread of a pair that runs so late, in microseconds, was kept waiting by somebody who computes.
const STRANGER_US: u64 = 100;
/// So much time lost to that, in microseconds, and the core is taken for shared ...
const LOST_US: u64 = 2_000;
/// ... unless it is less than one part in so many of all time: threads of the host that run once in a while do not matter.
const LOST_PART: u64 = 8;
/// So many events that are late or meet a crowd, less the others, and a home is left.
const CROWD: u32 = 12;
/// For so long, in microseconds, a pair stays away from a crowded home.
const CROWDED_US: u64 = 200_000;

/// How often a thread of a pair looks before it sleeps, with a yield each. A yield costs a third less than a sleep and a
/// wake-up, but gives a thread that computes its whole turn.
fn looks(cores: &Cores, cpu: usize, same_core: bool, now: u64) -> u32 {
    match same_core {
        _ if !cores.allows_turns(cpu, now) => 0,
        true => TURNS,
        false => GLANCES,
    }
}

/// The hand-off of one guest thread.
#[derive(Debug)]
pub struct Pair {
    way: Way,
    /// Where the guest thread may run at all.
    allowed: CpuSet,
    /// As the kernel said it.
    mask: u64,
    /// The sentry's thread has not served this pair yet: it may be pinned as the thread that made it was.
    fresh: bool,
    /// The guest thread was made elsewhere and has not run yet: it is to come to the core of the sentry's.
    far: bool,
    /// It is kept there for its first calls, as if it had always been.
    held: bool,
    /// It is one of [`Cores::active`].
    active: bool,
    /// Where the guest thread is pinned.
    on: Option<usize>,
    /// The present call waits for something.
    waits: bool,
    /// Which of the last calls did, newest in bit 0.
    waited: u8,
    /// Events at home that were late or met a crowd, see [`CROWD`].
    late: u32,
    crowded_until: u64,
    /// Time lost, in ticks: see [`LOST_US`].
    lost: u64,
    /// The sentry's thread keeps off this core, where the guest's polls.
    apart_from: Option<usize>,
    /// Since when.
    apart_since: u64,
    /// Ticks of [`PINNED_US`] and the others, computed once in a while.
    us: u64,
    pinned_since: u64,
    penalty_until: u64,
    penalties: u32,
    id: u64,
    short_calls: u32,
    event_at: u64,
    /// Since when, in ticks, the guest thread has had something to do.
    given_at: u64,
    /// Ticks from then to its next event, summed up.
    guest_ticks: u64,
}

impl Pair {
    /// A pair that has not met yet. `far`: its guest thread was made on any core.
    pub fn new(cores: &Cores, far: bool) -> Pair {
        Pair {
            way: Way::Apart,
            allowed: cores.all,
            mask: u64::MAX,
            fresh: true,
            far,
            held: false,
            active: false,
            on: None,
            waits: false,
            waited: 0,
            late: 0,
            crowded_until: 0,
            lost: 0,
            apart_from: None,
            apart_since: 0,
            us: cores.ticks_in(1),
            pinned_since: 0,
            penalty_until: 0,
            penalties: 0,
            id: cores.new_id(),
            short_calls: 0,
            event_at: 0,
            given_at: 0,
            guest_ticks: 0,
        }
    }

    /// How long the guest thread has been left to itself so far.
    pub fn guest_time(&self, cores: &Cores) -> Duration {
        let nanoseconds = u128::from(self.guest_ticks) * 1_000 / u128::from(cores.ticks_in(1));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Gives the area to the guest thread `tid` with an order (`RUN`, `EXIT`), waking it if it sleeps.
    pub fn give(&mut self, cores: &Cores, memory: &Area, tid: i32, order: u32) {
        if order == state::RUN {
            if std::mem::take(&mut self.fresh) {
                let _ = process::set_affinity(0, &cores.all);
            }
            if !self.active {
                self.start(cores, tid);
            }
            self.choose(cores, memory, tid);
        }
        let word = memory.word(area::STATE);
        if word.swap(order, Ordering::SeqCst) & state::SLEEP != 0 {
            futex::wake(word, 1);
        }
    }

    /// The present call is about to wait for something other than its guest.
    pub fn will_sleep(&mut self, cores: &Cores) {
        self.waits = true;
        self.rest(cores);
    }

    /// It is over: nothing of it counts any more.
    pub fn end(&mut self, cores: &Cores, tid: i32) {
        self.allow(cores, tid, u64::MAX);
        self.part(cores, tid);
        self.rest(cores);
    }

    /// The guest thread runs on the cores of `mask` only, as far as they are the sandbox's.
    pub fn allow(&mut self, cores: &Cores, tid: i32, mask: u64) {
        if mask == self.mask {
            return;
        }
        let allowed = cores.all.within(mask);
        if allowed.count() == 0 {
            return;
        }
        (self.allowed, self.mask) = (allowed, mask);
        // Where it was made or pinned counts no more.
        self.far = false;
        self.part(cores, tid);
        let _ = process::set_affinity(tid, &self.allowed);
    }

    /// The pair has something to do, for the first time or again.
    fn start(&mut self, cores: &Cores, tid: i32) {
        self.active = true;
        cores.note_active(true);
        let on = self.on.take();
        self.pin(cores, on);
        if std::mem::take(&mut self.far) {
            self.hold(cores, tid);
        } else if matches!(self.way, Way::Together(cpu) if cores.is_uneven(cpu, &self.allowed)) {
            self.part(cores, tid);
        }
    }

    /// It has nothing to do.
    fn rest(&mut self, cores: &Cores) {
        let on = self.on;
        self.pin(cores, None);
        self.on = on;
        if std::mem::take(&mut self.active) {
            cores.note_active(false);
        }
    }

    /// Keeps the books of who is pinned where; only those that have something to do count.
    fn pin(&mut self, cores: &Cores, core: Option<usize>) {
        if self.active {
            self.on.inspect(|cpu| cores.note_pinned(*cpu, false));
            core.inspect(|cpu| cores.note_pinned(*cpu, true));
        }
        self.on = core;
    }

    /// Brings a guest thread that was made elsewhere here, or, if there is less to do, both to another core.
    fn hold(&mut self, cores: &Cores, tid: i32) {
        let best = cores.best(&self.allowed);
        if best != process::current_cpu() {
            self.meet(cores, tid, Way::Together(best));
        } else if process::set_affinity(tid, &CpuSet::one(best)).is_ok() {
            self.held = true;
            self.pin(cores, Some(best));
        }
    }

    /// Pins both threads.
    fn meet(&mut self, cores: &Cores, tid: i32, way: Way) {
        let one = CpuSet::one(way.core().unwrap_or_default());
        if process::set_affinity(tid, &one).is_err() || process::set_affinity(0, &one).is_err() {
            self.way = Way::Apart;
            return;
        }
        self.pin(cores, way.core());
        if let Way::Home(cpu) = way {
            cores.note_home(cpu, true);
        }
        self.way = way;
        self.late = 0;
        self.pinned_since = ticks();
    }

    fn is_sleepy(&self) -> bool {
        self.waited.count_ones() >= SLEEPY
    }

    /// Chooses the way for the coming wait.
    fn choose(&mut self, cores: &Cores, memory: &Area, tid: i32) {
        let now = ticks();
        self.given_at = now;
        let waited = std::mem::take(&mut self.waits);
        self.waited = self.waited << 1 | u8::from(waited);
        let guest_cpu = memory.word(area::CPU).load(Ordering::Relaxed) as usize;
        let same_core = guest_cpu == process::current_cpu();
        match self.way {
            Way::Together(_) | Way::Home(_) => {
                let long_call = !waited && now.wrapping_sub(self.event_at) > LONG_US * self.us;
                if long_call || now.wrapping_sub(self.pinned_since) > PINNED_US * self.us {
                    self.part(cores, tid);
                } else if matches!(self.way, Way::Together(_))
                    && self.is_sleepy()
                    && now >= self.crowded_until
                {
                    self.part(cores, tid);
                    self.approach(cores, tid, now, guest_cpu);
                }
            }
            Way::Poll if self.is_sleepy() || same_core => {
                self.part(cores, tid);
                self.approach(cores, tid, now, guest_cpu);
            }
            Way::Poll => {
                if !cores.take_place(self.id, now, self.us) {
                    self.approach(cores, tid, now, guest_cpu);
                }
            }
            Way::Apart if self.short_calls < SHORT_CALLS => self.short_calls += 1,
            Way::Apart if same_core && self.short_calls < SHORT_CALLS_TOGETHER => self.short_calls += 1,
            Way::Apart => self.approach(cores, tid, now, guest_cpu),
        }
        let (spins, rounds) = match self.way {
            Way::Poll => (SPINS, STUB_ROUNDS),
            // After a call of a guest that computed, or whose core others have, the next is far away.
            Way::Apart if !same_core && self.short_calls < 2 => (0, 0),
            Way::Apart | Way::Together(_) | Way::Home(_) => (0, looks(cores, guest_cpu, same_core, now)),
        };
        memory.word(area::SPINS).store(spins, Ordering::Relaxed);
        memory.word(area::YIELDS).store(rounds, Ordering::Relaxed);
    }

    /// From [`Way::Apart`]: home for a pair whose calls wait, else polling if there is a place, else together on one core.
    fn approach(&mut self, cores: &Cores, tid: i32, now: u64, guest_cpu: usize) {
        self.us = cores.ticks_in(1);
        self.let_go(cores, tid);
        let sleepy = self.is_sleepy();
        let met = guest_cpu == process::current_cpu();
        let again = met && now.wrapping_sub(self.apart_since) < REUNION_US * self.us;
        if !sleepy && !again && now >= self.penalty_until && cores.take_place(self.id, now, self.us) {
            self.way = Way::Poll;
            if met {
                self.keep_off(cores, guest_cpu, now);
            }
            return;
        }
        let way = if sleepy && now >= self.crowded_until {
            Way::Home(cores.home(&self.allowed))
        } else {
            Way::Together(cores.best(&self.allowed))
        };
        self.meet(cores, tid, way);
    }

    /// Polling needs two cores: leaves the guest's.
    fn keep_off(&mut self, cores: &Cores, guest_cpu: usize, now: u64) {
        self.apart_since = now;
        let rest = cores.all.without(guest_cpu);
        if rest.count() > 0 && process::set_affinity(0, &rest).is_ok() {
            self.apart_from = Some(guest_cpu);
        }
    }

    /// Lets the host place a guest thread that was kept for its first calls.
    fn let_go(&mut self, cores: &Cores, tid: i32) {
        if std::mem::take(&mut self.held) {
            let _ = process::set_affinity(tid, &self.allowed);
            self.pin(cores, None);
        }
    }

    /// Lets the host place both threads again.
    pub fn part(&mut self, cores: &Cores, tid: i32) {
        self.let_go(cores, tid);
        if self.way.core().is_some() {
            let _ = process::set_affinity(tid, &self.allowed);
        }
        if self.way.core().is_some() || self.apart_from.take().is_some() {
            let _ = process::set_affinity(0, &cores.all);
        }
        self.pin(cores, None);
        if let Way::Home(cpu) = self.way {
            cores.note_home(cpu, false);
        }
        self.way = Way::Apart;
        self.short_calls = 0;
    }

    /// Waits until the state word is no longer `order`, asleep or not, and returns it; now and then ([`LOOK_AROUND`])
    /// it returns though nothing has happened.
    pub fn take(&mut self, cores: &Cores, memory: &Area, tid: i32, order: u32) -> u32 {
        let start = ticks();
        let word = memory.word(area::STATE);
        let seen = match self.way {
            Way::Poll => self.poll(cores, word, start, order),
            Way::Apart | Way::Together(_) | Way::Home(_) => {
                let guest_cpu = memory.word(area::CPU).load(Ordering::Relaxed) as usize;
                self.glance(cores, word, order, guest_cpu, start)
            }
        };
        let value = seen.unwrap_or_else(|| self.sleep(cores, word, tid, order));
        let (last, now) = (self.event_at, ticks());
        let posted = memory.get(area::TSC).max(start);
        self.event_at = now;
        // Not before it was told to run for the first time.
        if order == state::RUN && self.given_at > 0 {
            self.guest_ticks += now.saturating_sub(self.given_at.max(last));
        }
        self.look_for_strangers(cores, now.saturating_sub(posted), now.saturating_sub(last));
        if self.event_at.wrapping_sub(start) > LONG_US * self.us {
            self.part(cores, tid);
        } else if matches!(self.way, Way::Home(_)) {
            self.look_for_crowd(cores, memory, tid);
        }
        value
    }

    /// Looks a few times, politely.
    fn glance(
        &mut self,
        cores: &Cores,
        word: &AtomicU32,
        order: u32,
        guest_cpu: usize,
        start: u64,
    ) -> Option<u32> {
        let here = process::current_cpu();
        let mut before = start;
        for _ in 0..looks(cores, here, here == guest_cpu, start) {
            process::yield_now();
            let now = word.load(Ordering::SeqCst);
            if now & !state::SLEEP != order {
                return Some(now);
            }
            let after = ticks();
            if here != guest_cpu && after.wrapping_sub(before) > STRANGER_US * self.us {
                self.look_for_strangers(cores, after.wrapping_sub(before), 0);
                return None;
            }
            before = after;
        }
        None
    }

    /// Notes a core where somebody computes, by how long one of the pair was kept from running: there, both sleep and wake
    /// each other, since a wake-up leads to the one who is woken at once.
    fn look_for_strangers(&mut self, cores: &Cores, late: u64, all: u64) {
        self.lost = self.lost.saturating_sub(all / LOST_PART);
        if late <= STRANGER_US * self.us {
            return;
        }
        self.lost = self.lost.saturating_add(late);
        if self.lost > LOST_US * self.us {
            self.lost = 0;
            cores.note_shared(process::current_cpu(), ticks(), self.us);
        }
    }

    /// Leaves a home where events are seen late, or which has much more to do than another core.
    fn look_for_crowd(&mut self, cores: &Cores, memory: &Area, tid: i32) {
        let posted = memory.get(area::TSC);
        let late = self.event_at.saturating_sub(posted) > LATE_US * self.us;
        let home = self.way.core();
        if late || home.is_some_and(|cpu| cores.is_crowded(cpu, &self.allowed)) {
            self.late += 3;
        } else {
            self.late = self.late.saturating_sub(1);
        }
        if self.late > CROWD {
            self.crowded_until = self.event_at + CROWDED_US * self.us;
            self.part(cores, tid);
        }
    }

    /// From polling to [`Way::Apart`].
    fn leave_place(&mut self, cores: &Cores) {
        if self.apart_from.take().is_some() {
            let _ = process::set_affinity(0, &cores.all);
        }
        self.way = Way::Apart;
    }

    fn poll(&mut self, cores: &Cores, word: &AtomicU32, start: u64, order: u32) -> Option<u32> {
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
                cores.close_place(self.id, after, self.us);
                self.leave_place(cores);
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
            let pinned = self.held || self.way.core().is_some();
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
