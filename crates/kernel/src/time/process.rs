//! The timers of a process: setitimer(2), alarm(2), timer_create(2).

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use abi::Errno;
use abi::signal::{SI_TIMER, SIGALRM, SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU};
use sync::{Mutex, rank};

use super::clock::{Clock, CpuClock, TICK, after};
use super::countdown::Countdown;
use super::queue::{Expire, Ticket};
use crate::Kernel;
use crate::signal::{SigInfo, Signal, send_to_group, send_to_task};
use crate::task::{Task, ThreadGroup, rlimit};

/// Timers that a process may create; Linux counts them against RLIMIT_SIGPENDING.
const MAX_TIMERS: usize = 4096;
/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// Shortest time between two signals of one timer, whatever interval a guest asks for.
const SHORTEST: Duration = Duration::from_micros(100);
/// CPU time that does not move is looked at less and less often, but at least this often.
const SLOWEST: i64 = 25 * TICK;

/// setitimer(2)'s first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// ITIMER_REAL.
    Real = 0,
    /// ITIMER_VIRTUAL.
    Virtual = 1,
    /// ITIMER_PROF.
    Prof = 2,
}

/// Whom a timer tells.
#[derive(Clone)]
pub enum Notify {
    /// Nobody: it is only asked (SIGEV_NONE).
    None,
    /// The process, by a signal with a value.
    Process(Signal, u64),
    /// One thread.
    Thread(Weak<Task>, Signal, u64),
    /// The process, by the plain signal of an interval timer.
    Interval(Signal),
    /// The process has used up RLIMIT_CPU: SIGXCPU each second, SIGKILL at the hard limit.
    CpuLimit,
}

/// All timers of a process.
#[derive(Default)]
pub struct ProcessTimers {
    intervals: [Option<Arc<Timer>>; 3],
    cpu_limit: Option<Arc<Timer>>,
    created: BTreeMap<i32, Arc<Timer>>,
    next: i32,
}

/// One timer.
pub struct Timer {
    kernel: Weak<Kernel>,
    owner: Weak<ThreadGroup>,
    clock: ClockRef,
    /// Number of a created one.
    id: i32,
    notify: Notify,
    state: Mutex<State>,
}

/// A clock that does not keep its process alive.
enum ClockRef {
    Wall(Clock),
    Process(Weak<ThreadGroup>, CpuClock),
    Thread(Weak<Task>, CpuClock),
}

#[derive(Default)]
struct State {
    countdown: Countdown,
    ticket: Option<Ticket>,
    /// When it last sent a signal.
    fired: Option<Instant>,
    /// Expirations beyond those that sent a signal: of the signal delivered last, and of the pending one.
    overrun: u64,
    pending_overrun: u64,
    /// CPU clocks: the time at the last look, and how long to wait until the next.
    seen: i64,
    patience: i64,
}

impl ClockRef {
    fn new(clock: Clock) -> ClockRef {
        match clock {
            Clock::Process(group, kind) => ClockRef::Process(Arc::downgrade(&group), kind),
            Clock::Thread(task, kind) => ClockRef::Thread(Arc::downgrade(&task), kind),
            wall => ClockRef::Wall(wall),
        }
    }

    fn get(&self) -> Option<Clock> {
        Some(match self {
            ClockRef::Wall(clock) => clock.clone(),
            ClockRef::Process(group, kind) => Clock::Process(group.upgrade()?, *kind),
            ClockRef::Thread(task, kind) => Clock::Thread(task.upgrade()?, *kind),
        })
    }
}

impl Timer {
    fn new(
        kernel: &Arc<Kernel>,
        owner: &Arc<ThreadGroup>,
        clock: Clock,
        id: i32,
        notify: Notify,
    ) -> Arc<Timer> {
        Arc::new(Timer {
            kernel: Arc::downgrade(kernel),
            owner: Arc::downgrade(owner),
            clock: ClockRef::new(clock),
            id,
            notify,
            state: Mutex::new(rank::TIMERS, State::default()),
        })
    }

    /// Starts or stops it, in nanoseconds; returns the old interval and time left.
    pub fn set(self: &Arc<Self>, value: i64, interval: i64, absolute: bool) -> (i64, i64) {
        let (Some(kernel), Some(clock)) = (self.kernel.upgrade(), self.clock.get()) else {
            return (0, 0);
        };
        let now = clock.now(&kernel.time);
        let mut state = self.state.lock();
        let old = (state.countdown.interval, state.countdown.left(now));
        state.countdown = Countdown::new(now, value, interval, absolute);
        state.overrun = 0;
        state.pending_overrun = 0;
        state.patience = TICK;
        state.seen = now;
        self.rearm(&kernel, &clock, now, &mut state);
        old
    }

    /// Interval and time left.
    pub fn get(&self) -> (i64, i64) {
        let (Some(kernel), Some(clock)) = (self.kernel.upgrade(), self.clock.get()) else {
            return (0, 0);
        };
        let now = clock.now(&kernel.time);
        let mut state = self.state.lock();
        if matches!(self.notify, Notify::None) {
            state.countdown.collect(now);
        }
        (state.countdown.interval, state.countdown.left(now))
    }

    /// timer_getoverrun(2).
    pub fn overrun(&self) -> i32 {
        let pending = self.is_pending();
        let state = self.state.lock();
        let overrun = if pending {
            state.overrun
        } else {
            state.pending_overrun
        };
        i32::try_from(overrun).unwrap_or(i32::MAX)
    }

    fn rearm(self: &Arc<Self>, kernel: &Kernel, clock: &Clock, now: i64, state: &mut State) {
        let queue = &kernel.time.queue;
        if let Some(ticket) = state.ticket.take() {
            queue.cancel(ticket);
        }
        let Some(next) = state.countdown.next else { return };
        if matches!(self.notify, Notify::None) {
            return;
        }
        let at = if clock.is_cpu() {
            // Several threads may spend it at the same time: look before one alone could have.
            let left = next.saturating_sub(now).max(0);
            let look = (left / 2).clamp(TICK / 4, state.patience.max(TICK));
            after(Instant::now(), look.min(left.max(TICK / 4)))
        } else {
            clock.instant_of(&kernel.time, next)
        };
        let soonest = state.fired.map(|fired| fired + SHORTEST);
        let at = soonest.map_or(at, |soonest| at.max(soonest));
        let me: Weak<dyn Expire> = Arc::downgrade(&(self.clone() as Arc<dyn Expire>));
        state.ticket = Some(queue.arm(at, me));
    }

    /// Stops it for good.
    fn stop(&self) {
        let ticket = {
            let mut state = self.state.lock();
            state.countdown = Countdown::default();
            state.ticket.take()
        };
        if let (Some(ticket), Some(kernel)) = (ticket, self.kernel.upgrade()) {
            kernel.time.queue.cancel(ticket);
        }
    }

    /// Whether its last signal still waits to be delivered.
    fn is_pending(&self) -> bool {
        let is_ours = |info: &SigInfo| info.code == SI_TIMER && info.pid == self.id as u32;
        match &self.notify {
            Notify::Process(..) => self
                .owner
                .upgrade()
                .is_some_and(|group| group.signals.lock().pending.iter().any(is_ours)),
            Notify::Thread(task, ..) => task
                .upgrade()
                .is_some_and(|task| task.signals.lock().pending.iter().any(is_ours)),
            _ => false,
        }
    }

    /// Sends the signal for `expirations`.
    fn tell(&self, expirations: u64) {
        let Some(group) = self.owner.upgrade() else { return };
        let (signal, value) = match &self.notify {
            Notify::None => return,
            Notify::CpuLimit => {
                let (_, hard) = group.state.lock().rlimits[rlimit::CPU];
                let (Some(kernel), Some(clock)) = (self.kernel.upgrade(), self.clock.get()) else {
                    return;
                };
                let used = u64::try_from(clock.now(&kernel.time)).unwrap_or(0) / SECOND;
                let signal = if used >= hard { SIGKILL } else { SIGXCPU };
                return send_to_group(&group, SigInfo::kernel(signal));
            }
            Notify::Interval(signal) => return send_to_group(&group, SigInfo::kernel(*signal)),
            Notify::Process(signal, value) | Notify::Thread(_, signal, value) => (*signal, *value),
        };
        let pending = self.is_pending();
        let overrun = {
            let mut state = self.state.lock();
            if pending {
                // It is not sent twice; the pending one stands for these too.
                state.pending_overrun = state.pending_overrun.saturating_add(expirations);
                return;
            }
            state.overrun = state.pending_overrun;
            state.pending_overrun = expirations - 1;
            state.pending_overrun
        };
        let info = SigInfo {
            signal,
            code: SI_TIMER,
            pid: self.id as u32,
            uid: u32::try_from(overrun).unwrap_or(i32::MAX as u32),
            value,
            ..SigInfo::default()
        };
        match &self.notify {
            Notify::Thread(task, ..) => {
                if let Some(task) = task.upgrade() {
                    send_to_task(&task, info);
                }
            }
            _ => send_to_group(&group, info),
        }
    }
}

impl Expire for Timer {
    fn expire(self: Arc<Self>) {
        let (Some(kernel), Some(clock)) = (self.kernel.upgrade(), self.clock.get()) else {
            return;
        };
        if let Clock::Thread(task, _) = &clock {
            // Has it tell its time, for the next look.
            let interrupter = task.interrupter.lock().clone();
            if let Some(interrupter) = interrupter {
                interrupter.interrupt();
            }
        }
        let now = clock.now(&kernel.time);
        let expirations = {
            let mut state = self.state.lock();
            state.ticket = None;
            let expirations = state.countdown.collect(now);
            if expirations > 0 {
                state.fired = Some(Instant::now());
            }
            state.patience = if now > state.seen {
                TICK
            } else {
                state.patience.saturating_mul(2).clamp(TICK, SLOWEST)
            };
            state.seen = now;
            self.rearm(&kernel, &clock, now, &mut state);
            expirations
        };
        if expirations > 0 {
            self.tell(expirations);
        }
    }
}

impl Drop for ProcessTimers {
    fn drop(&mut self) {
        let own = self.intervals.iter().flatten().chain(&self.cpu_limit);
        for timer in own.chain(self.created.values()) {
            timer.stop();
        }
    }
}

impl ThreadGroup {
    /// The interval timer of a kind; made when first asked for.
    pub fn interval_timer(self: &Arc<Self>, kernel: &Arc<Kernel>, kind: TimerKind) -> Arc<Timer> {
        let mut timers = self.timers.lock();
        let slot = &mut timers.intervals[kind as usize];
        let make = || {
            let (clock, signal) = match kind {
                TimerKind::Real => (Clock::Monotonic, SIGALRM),
                TimerKind::Virtual => (Clock::Process(self.clone(), CpuClock::User), SIGVTALRM),
                TimerKind::Prof => (Clock::Process(self.clone(), CpuClock::All), SIGPROF),
            };
            Timer::new(kernel, self, clock, 0, Notify::Interval(signal))
        };
        slot.get_or_insert_with(make).clone()
    }

    /// RLIMIT_CPU has changed, or the process is new: counts the time that it may use.
    pub fn watch_cpu_limit(self: &Arc<Self>, kernel: &Arc<Kernel>) {
        let (soft, _) = self.state.lock().rlimits[rlimit::CPU];
        let timer = {
            let mut timers = self.timers.lock();
            if soft == u64::MAX && timers.cpu_limit.is_none() {
                return;
            }
            let make = || {
                let clock = Clock::Process(self.clone(), CpuClock::All);
                Timer::new(kernel, self, clock, 0, Notify::CpuLimit)
            };
            timers.cpu_limit.get_or_insert_with(make).clone()
        };
        // A limit of 0 acts as one of a second, as in Linux.
        let at = soft.max(1).saturating_mul(SECOND);
        let at = if soft == u64::MAX {
            0
        } else {
            i64::try_from(at).unwrap_or(i64::MAX)
        };
        timer.set(at, SECOND as i64, true);
    }

    /// timer_create(2): the number of a new timer. `notify` gets the number for signals without a value of their own.
    pub fn create_timer(
        self: &Arc<Self>,
        kernel: &Arc<Kernel>,
        clock: Clock,
        notify: impl FnOnce(i32) -> Notify,
    ) -> Result<i32, Errno> {
        let limit = self
            .rlimit(rlimit::SIGPENDING)
            .saturating_sub(crate::signal::queued(&self.signals.lock()));
        let mut timers = self.timers.lock();
        if timers.created.len() >= MAX_TIMERS || timers.created.len() as u64 >= limit {
            return Err(Errno::EAGAIN);
        }
        let mut id = timers.next;
        while timers.created.contains_key(&id) {
            id = id.checked_add(1).unwrap_or(0);
        }
        timers.next = id.checked_add(1).unwrap_or(0);
        let timer = Timer::new(kernel, self, clock, id, notify(id));
        timers.created.insert(id, timer);
        Ok(id)
    }

    /// A created timer. `EINVAL` when there is none.
    pub fn timer(&self, id: i32) -> Result<Arc<Timer>, Errno> {
        self.timers.lock().created.get(&id).cloned().ok_or(Errno::EINVAL)
    }

    /// How many there are.
    pub fn timer_count(&self) -> u64 {
        self.timers.lock().created.len() as u64
    }

    /// timer_delete(2).
    pub fn delete_timer(&self, id: i32) -> Result<(), Errno> {
        let timer = self.timers.lock().created.remove(&id).ok_or(Errno::EINVAL)?;
        timer.stop();
        Ok(())
    }

    /// execve(2) deletes created timers; interval timers go on.
    pub fn delete_created_timers(&self) {
        let created = std::mem::take(&mut self.timers.lock().created);
        for timer in created.values() {
            timer.stop();
        }
    }

    /// The end of the process: no timer runs on.
    pub fn stop_timers(&self) {
        let timers = std::mem::take(&mut *self.timers.lock());
        drop(timers);
    }
}
