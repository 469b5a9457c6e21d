//! The clocks (clock_gettime(2)). Real and monotonic time are the host's; CPU time is counted by the engine and the sentry.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use abi::Errno;

use super::queue::TimerQueue;
use crate::Kernel;
use crate::task::{CurrentTask, Task, ThreadGroup};
use crate::vfs::now_ns;

/// What CPU time is counted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuClock {
    /// User and system time.
    All,
    /// User time alone.
    User,
}

/// A clock that a task may name.
#[derive(Clone)]
pub enum Clock {
    /// CLOCK_REALTIME and its relatives.
    Real,
    /// CLOCK_MONOTONIC and its relatives.
    Monotonic,
    /// CLOCK_BOOTTIME.
    Boot,
    /// CPU time of a process.
    Process(Arc<ThreadGroup>, CpuClock),
    /// CPU time of a thread.
    Thread(Arc<Task>, CpuClock),
}

/// What else a clock id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// Nanoseconds.
    Fine,
    /// Moves with the tick; no timers.
    Coarse,
    /// CLOCK_MONOTONIC_RAW: fine, but no timers.
    Raw,
    /// Would wake a sleeping machine: needs CAP_WAKE_ALARM.
    Alarm,
}

/// Nanoseconds of a tick (CONFIG_HZ=250), the resolution of coarse clocks.
pub const TICK: i64 = 4_000_000;

/// TAI is this far ahead of UTC only once someone has told the kernel; nobody has.
const TAI_OFFSET: i64 = 0;

impl Clock {
    /// From a guest's clock id. `EINVAL` when there is no such clock.
    pub fn from_id(task: &CurrentTask, id: i32) -> Result<(Clock, Grade), Errno> {
        Ok(match id {
            0 => (Clock::Real, Grade::Fine),
            1 => (Clock::Monotonic, Grade::Fine),
            2 => (Clock::Process(task.group.clone(), CpuClock::All), Grade::Fine),
            3 => (Clock::Thread(task.task().clone(), CpuClock::All), Grade::Fine),
            4 => (Clock::Monotonic, Grade::Raw),
            5 => (Clock::Real, Grade::Coarse),
            6 => (Clock::Monotonic, Grade::Coarse),
            7 => (Clock::Boot, Grade::Fine),
            8 => (Clock::Real, Grade::Alarm),
            9 => (Clock::Boot, Grade::Alarm),
            11 => (Clock::Real, Grade::Fine),
            id if id < 0 => (Self::of_other(task, id)?, Grade::Fine),
            _ => return Err(Errno::EINVAL),
        })
    }

    /// The CPU clock of another process or thread (clock_getcpuclockid(3)): `~pid << 3 | thread << 2 | kind`.
    fn of_other(task: &CurrentTask, id: i32) -> Result<Clock, Errno> {
        let pid = u32::try_from(!(id >> 3)).map_err(|_| Errno::EINVAL)?;
        let kind = match id & 3 {
            0 | 2 => CpuClock::All,
            1 => CpuClock::User,
            _ => return Err(Errno::EINVAL),
        };
        if id & 4 != 0 {
            let found = match pid {
                0 => Some(task.task().clone()),
                tid => task.find_task(tid).ok(),
            };
            // Only threads of the caller's own process have clocks for it.
            let thread = found.filter(|thread| Arc::ptr_eq(&thread.group, &task.group));
            return thread
                .map(|thread| Clock::Thread(thread, kind))
                .ok_or(Errno::EINVAL);
        }
        let group = match pid {
            0 => Some(task.group.clone()),
            own => {
                let pid = task.kernel_pid(own).map_err(|_| Errno::EINVAL)?;
                let table = task.kernel.pids.read();
                table.group(pid).map(|entry| entry.group.clone())
            }
        };
        group
            .map(|group| Clock::Process(group, kind))
            .ok_or(Errno::EINVAL)
    }

    /// The time in nanoseconds.
    pub fn now(&self, keeper: &TimeKeeper) -> i64 {
        match self {
            Clock::Real => now_ns().saturating_add(TAI_OFFSET),
            Clock::Monotonic => i64::try_from(keeper.monotonic_ns()).unwrap_or(i64::MAX),
            Clock::Boot => keeper.boottime_ns(),
            Clock::Process(group, kind) => kind.of(group_cpu(group)),
            Clock::Thread(task, kind) => kind.of(thread_cpu(task)),
        }
    }

    /// Whether it counts CPU time.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Clock::Process(..) | Clock::Thread(..))
    }

    /// The moment at which this clock may show `time`, at the earliest.
    pub fn instant_of(&self, keeper: &TimeKeeper, time: i64) -> Instant {
        let left = time.saturating_sub(self.now(keeper)).max(0);
        after(Instant::now(), left)
    }
}

impl CpuClock {
    fn of(self, (user, system): (u64, u64)) -> i64 {
        let total = match self {
            CpuClock::All => user.saturating_add(system),
            CpuClock::User => user,
        };
        i64::try_from(total).unwrap_or(i64::MAX)
    }
}

/// CPU time of a process. Its running threads tell theirs only now and then, so the engine is asked.
fn group_cpu(group: &ThreadGroup) -> (u64, u64) {
    let (told, system) = group.cpu_ns();
    let threads = group.signals.lock().threads.clone();
    let space = threads
        .first()
        .and_then(|thread| thread.mm())
        .map(|mm| mm.space.clone());
    let Some(space) = space else {
        return (told, system);
    };
    let running = u64::try_from(space.cpu_time().as_nanos()).unwrap_or(u64::MAX);
    if running == 0 {
        // An engine that does not count.
        return (told, system);
    }
    let before = threads.iter().fold(0_u64, |sum, thread| {
        sum.saturating_add(thread.state.lock().exec_user_ns)
    });
    (running.saturating_add(before), system)
}

/// CPU time of a thread: of one that is alone in its process as exactly as the process's, else as it was told last.
fn thread_cpu(task: &Task) -> (u64, u64) {
    let alone = task.group.signals.lock().threads.len() == 1;
    if alone {
        group_cpu(&task.group)
    } else {
        task.cpu_ns()
    }
}

/// `start` plus nanoseconds; far away when that cannot be represented.
pub fn after(start: Instant, ns: i64) -> Instant {
    let length = Duration::from_nanos(u64::try_from(ns).unwrap_or(0));
    start
        .checked_add(length)
        .unwrap_or_else(|| start + Duration::from_secs(1 << 32))
}

/// Where the host's monotonic clocks stood at a moment.
#[derive(Clone, Copy)]
struct Base {
    at: Instant,
    monotonic: i64,
    boottime: i64,
}

/// The sandbox's clocks and its kernel timers.
pub struct TimeKeeper {
    created: Instant,
    base: OnceLock<Base>,
    /// Timers of all processes.
    pub(crate) queue: TimerQueue,
}

impl Default for TimeKeeper {
    fn default() -> Self {
        TimeKeeper {
            created: Instant::now(),
            base: OnceLock::new(),
            queue: TimerQueue::default(),
        }
    }
}

impl TimeKeeper {
    /// Sets what CLOCK_MONOTONIC and CLOCK_BOOTTIME show now, in nanoseconds: the host's, which the guest can read by itself.
    /// Only the first call counts. Without one they start at 0 with the kernel.
    pub fn calibrate(&self, at: Instant, monotonic: i64, boottime: i64) {
        let _ = self.base.set(Base {
            at,
            monotonic,
            boottime,
        });
    }

    fn base(&self) -> Base {
        self.base.get().copied().unwrap_or(Base {
            at: self.created,
            monotonic: 0,
            boottime: 0,
        })
    }

    fn since(base: &Base) -> i64 {
        i64::try_from(base.at.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }

    /// CLOCK_MONOTONIC, nanoseconds.
    pub fn monotonic_ns(&self) -> u64 {
        let base = self.base();
        let now = base.monotonic.saturating_add(Self::since(&base));
        u64::try_from(now).unwrap_or(0)
    }

    /// CLOCK_REALTIME, nanoseconds since the epoch.
    pub fn realtime_ns(&self) -> u64 {
        u64::try_from(now_ns()).unwrap_or(0)
    }

    /// When CLOCK_REALTIME (or CLOCK_MONOTONIC) will read `ns`, as a deadline; now when it has.
    pub fn deadline_at(&self, realtime: bool, ns: u64) -> Instant {
        let clock = if realtime { Clock::Real } else { Clock::Monotonic };
        clock.instant_of(self, i64::try_from(ns).unwrap_or(i64::MAX))
    }

    /// CLOCK_BOOTTIME. Sleeps of the host since the start of the sandbox are left out.
    pub fn boottime_ns(&self) -> i64 {
        let base = self.base();
        base.boottime.saturating_add(Self::since(&base))
    }
}

impl Kernel {
    /// Nanoseconds since boot, as /proc/uptime shows them.
    pub fn uptime_ns(&self) -> i64 {
        self.time.boottime_ns()
    }
}
