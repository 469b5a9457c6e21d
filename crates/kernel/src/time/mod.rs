//! Clocks and timers: what time it is, and who is to be told when.
//!
//! `clock` reads the clocks, `countdown` is the arithmetic of one timer, `queue` the thread that waits for the earliest,
//! `process` the timers of a process (setitimer, timer_create), `timerfd` those behind descriptors. A task that sleeps needs none of them: it
//! waits on its own waiter with a deadline.

mod clock;
mod countdown;
mod process;
pub(crate) mod queue;
mod spec;
#[cfg(test)]
mod tests;
mod timerfd;

pub use clock::{Clock, CpuClock, Grade, TICK, TimeKeeper};
pub use process::{Notify, ProcessTimers, TimerKind};
pub use spec::{ITimerSpec, ITimerVal, SECOND, TimeSpec, TimeVal};
pub use timerfd::TimerFd;
