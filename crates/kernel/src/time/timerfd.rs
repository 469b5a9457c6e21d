//! timerfd_create(2): a timer behind a descriptor.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use abi::{Errno, UserAddr};
use sync::{Events, Mutex, PollTable, WaitQueue, rank};

use super::clock::Clock;
use super::countdown::Countdown;
use super::queue::{Expire, Ticket};
use crate::Kernel;
use crate::file::{FileDescription, FileOps};
use crate::io::{Sink, Source};
use crate::task::CurrentTask;

/// As whoever restores a snapshot sets what has not been read.
const TFD_IOC_SET_TICKS: u32 = 0x4008_5400;
/// Shortest time between two wake-ups by one timer, whatever interval a guest asks for.
const SHORTEST: Duration = Duration::from_micros(100);

/// A timerfd.
pub struct TimerFd(Arc<Timer>);

struct Timer {
    kernel: Weak<Kernel>,
    clock: Clock,
    state: Mutex<State>,
    queue: WaitQueue,
}

#[derive(Default)]
struct State {
    countdown: Countdown,
    /// Expirations not yet read.
    ticks: u64,
    /// Of the last timerfd_settime(2).
    flags: u32,
    ticket: Option<Ticket>,
    /// When the timer thread woke waiters last.
    woken: Option<Instant>,
}

impl TimerFd {
    /// TFD_TIMER_ABSTIME.
    pub const ABSOLUTE: u32 = 1;

    /// A timer that does not run.
    pub fn new(kernel: &Arc<Kernel>, clock: Clock) -> TimerFd {
        TimerFd(Arc::new(Timer {
            kernel: Arc::downgrade(kernel),
            clock,
            state: Mutex::new(rank::FILE_STATE, State::default()),
            queue: WaitQueue::new(),
        }))
    }

    /// timerfd_settime(2) in nanoseconds; returns the old interval and time left.
    pub fn set(&self, value: i64, interval: i64, flags: u32) -> Result<(i64, i64), Errno> {
        let timer = &self.0;
        let kernel = timer.kernel.upgrade().ok_or(Errno::ESRCH)?;
        let now = timer.clock.now(&kernel.time);
        let mut state = timer.state.lock();
        state.countdown.collect(now);
        let old = (state.countdown.interval, state.countdown.left(now));
        state.countdown = Countdown::new(now, value, interval, flags & Self::ABSOLUTE != 0);
        (state.ticks, state.flags) = (0, flags);
        timer.rearm(&kernel, &mut state);
        Ok(old)
    }

    /// timerfd_gettime(2): interval and time left.
    pub fn get(&self) -> Result<(i64, i64), Errno> {
        let timer = &self.0;
        let kernel = timer.kernel.upgrade().ok_or(Errno::ESRCH)?;
        let mut state = timer.state.lock();
        timer.collect(&kernel, &mut state);
        let now = timer.clock.now(&kernel.time);
        Ok((state.countdown.interval, state.countdown.left(now)))
    }
}

impl Timer {
    /// Takes the expirations so far over into `ticks`; whether there were any.
    fn collect(&self, kernel: &Kernel, state: &mut State) -> bool {
        let expired = state.countdown.collect(self.clock.now(&kernel.time));
        state.ticks = state.ticks.saturating_add(expired);
        expired > 0
    }

    /// Has the timer thread look at the next expiration.
    fn rearm(self: &Arc<Self>, kernel: &Kernel, state: &mut State) {
        let queue = &kernel.time.queue;
        if let Some(ticket) = state.ticket.take() {
            queue.cancel(ticket);
        }
        if let Some(next) = state.countdown.next {
            let soonest = state.woken.map(|woken| woken + SHORTEST);
            let at = self.clock.instant_of(&kernel.time, next);
            let me: Weak<dyn Expire> = Arc::downgrade(&(self.clone() as Arc<dyn Expire>));
            state.ticket = Some(queue.arm(soonest.map_or(at, |soonest| at.max(soonest)), me));
        }
    }
}

impl Expire for Timer {
    fn expire(self: Arc<Self>) {
        let Some(kernel) = self.kernel.upgrade() else {
            return;
        };
        {
            let mut state = self.state.lock();
            state.ticket = None;
            if self.collect(&kernel, &mut state) {
                state.woken = Some(Instant::now());
                // Further periods wake nobody who has not read this one, but for edge-triggered watchers.
                if !self.queue.is_empty() {
                    self.rearm(&kernel, &mut state);
                }
            } else {
                // Real time was set back.
                self.rearm(&kernel, &mut state);
            }
        }
        self.queue.wake(Events::READABLE);
    }
}

impl FileOps for TimerFd {
    fn read(&self, _: &FileDescription, _: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let timer = &self.0;
        let kernel = timer.kernel.upgrade().ok_or(Errno::ESRCH)?;
        let ticks = {
            let mut state = timer.state.lock();
            timer.collect(&kernel, &mut state);
            if state.ticks == 0 {
                return Err(Errno::EAGAIN);
            }
            let ticks = std::mem::take(&mut state.ticks);
            timer.rearm(&kernel, &mut state);
            ticks
        };
        match dst.write(&ticks.to_le_bytes())? {
            8 => Ok(8),
            _ => Err(Errno::EFAULT),
        }
    }

    fn write(&self, _: &FileDescription, _: u64, _: &mut dyn Source) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        let timer = &self.0;
        if let Some(table) = table {
            table.register(&timer.queue);
        }
        let Some(kernel) = timer.kernel.upgrade() else {
            return Events::empty();
        };
        let mut state = timer.state.lock();
        timer.collect(&kernel, &mut state);
        if state.ticket.is_none() {
            timer.rearm(&kernel, &mut state);
        }
        if state.ticks > 0 {
            Events::READABLE
        } else {
            Events::empty()
        }
    }

    fn ioctl(&self, _: &FileDescription, task: &CurrentTask, command: u32, arg: u64) -> Result<i64, Errno> {
        if command != TFD_IOC_SET_TICKS {
            return Err(Errno::ENOTTY);
        }
        let ticks: u64 = task.read_struct(UserAddr(arg))?;
        if ticks == 0 {
            return Err(Errno::EINVAL);
        }
        self.0.state.lock().ticks = ticks;
        self.0.queue.wake(Events::READABLE);
        Ok(0)
    }

    fn fdinfo(&self, _: &FileDescription) -> String {
        let Ok((interval, left)) = self.get() else {
            return String::new();
        };
        let clock = match self.0.clock {
            Clock::Real => 0,
            Clock::Boot => 7,
            _ => 1,
        };
        let pair = |ns: i64| format!("({}, {})", ns / 1_000_000_000, ns % 1_000_000_000);
        let (ticks, flags) = {
            let state = self.0.state.lock();
            (state.ticks, state.flags)
        };
        format!(
            "clockid: {clock}\nticks: {ticks}\nsettime flags: 0{flags:o}\nit_value: {}\nit_interval: {}\n",
            pair(left),
            pair(interval)
        )
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        let ticket = self.0.state.lock().ticket.take();
        if let (Some(ticket), Some(kernel)) = (ticket, self.0.kernel.upgrade()) {
            kernel.time.queue.cancel(ticket);
        }
    }
}
