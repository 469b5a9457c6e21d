//! The arithmetic of one timer, in its clock's nanoseconds; no clock is read and nobody is told here.

/// When a timer expires next, and how often after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Countdown {
    /// The clock's time of the next expiration; `None`: not running.
    pub next: Option<i64>,
    /// Time between expirations; 0: only one.
    pub interval: i64,
}

impl Countdown {
    /// Running to `value` (`absolute`: the clock's time, else from `now` on); a value of 0 stops it.
    pub fn new(now: i64, value: i64, interval: i64, absolute: bool) -> Countdown {
        let next = match value {
            0 => None,
            at if absolute => Some(at),
            length => Some(now.saturating_add(length)),
        };
        Countdown { next, interval }
    }

    /// Time left: 0 when it does not run, else at least 1.
    pub fn left(&self, now: i64) -> i64 {
        self.next.map_or(0, |next| next.saturating_sub(now).max(1))
    }

    /// Takes the expirations up to `now` and moves on; how many there were.
    pub fn collect(&mut self, now: i64) -> u64 {
        let Some(next) = self.next.filter(|next| *next <= now) else {
            return 0;
        };
        if self.interval <= 0 {
            self.next = None;
            return 1;
        }
        let missed = now.saturating_sub(next) / self.interval;
        let periods = missed.saturating_add(1);
        self.next = Some(next.saturating_add(periods.saturating_mul(self.interval)));
        u64::try_from(periods).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_periods_are_counted_and_the_phase_is_kept() {
        let mut timer = Countdown::new(100, 10, 20, false);
        assert_eq!((timer.left(105), timer.collect(109)), (5, 0));
        assert_eq!((timer.collect(110), timer.next), (1, Some(130)));
        assert_eq!((timer.collect(175), timer.next), (3, Some(190)));
        let mut once = Countdown::new(100, 50, 0, true);
        assert_eq!((once.left(100), once.collect(100), once.left(100)), (1, 1, 0));
        assert_eq!(Countdown::new(5, 0, 7, false).next, None);
    }

    #[test]
    fn extreme_values_stay_in_range() {
        let mut timer = Countdown::new(i64::MAX - 1, i64::MAX, 1, false);
        assert_eq!(timer.next, Some(i64::MAX));
        assert_eq!(timer.collect(i64::MAX), 1);
        let mut old = Countdown::new(0, 1, 1, true);
        assert_eq!(old.collect(i64::MAX), i64::MAX as u64);
    }
}
