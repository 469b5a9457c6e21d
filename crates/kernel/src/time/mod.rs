//! Clocks and timers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The sandbox's clocks and its kernel timers.
pub struct TimeKeeper {
    /// When the kernel was made: guests' CLOCK_MONOTONIC counts from a second before.
    start: Instant,
}

impl Default for TimeKeeper {
    fn default() -> Self {
        TimeKeeper {
            start: Instant::now(),
        }
    }
}

impl TimeKeeper {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub fn monotonic_ns(&self) -> u64 {
        let since = self.start.elapsed() + Duration::from_secs(1);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// CLOCK_REALTIME, nanoseconds since the epoch.
    pub fn realtime_ns(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// When CLOCK_REALTIME (or CLOCK_MONOTONIC) will read `ns`, as a deadline; now when it has.
    pub fn deadline_at(&self, realtime: bool, ns: u64) -> Instant {
        let now = if realtime {
            self.realtime_ns()
        } else {
            self.monotonic_ns()
        };
        let wait = Duration::from_nanos(ns.saturating_sub(now));
        let at = Instant::now();
        // Some centuries are as good as for ever, and cannot overflow.
        at.checked_add(wait)
            .unwrap_or_else(|| at + Duration::from_secs(1 << 32))
    }
}
