//! Congestion control: Reno (RFC 5681, 6582), CUBIC (RFC 9438), proportional rate reduction (RFC 6937).

use std::time::Duration;

use super::options::Congestion;
use crate::Instant;

/// Initial window in segments (RFC 6928).
pub(crate) const INITIAL_WINDOW: usize = 10;
/// CUBIC's C and beta.
const C: f64 = 0.4;
const BETA: f64 = 0.7;

/// TCP_CA_*
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Open,
    Recovery,
    Loss,
}

#[derive(Debug, Default)]
struct Cubic {
    /// Window before the last reduction, in segments.
    max: f64,
    k: f64,
    epoch: Option<Instant>,
    /// Reno-friendly estimate, in segments.
    estimate: f64,
    /// Window at the start of the epoch, in segments.
    origin: f64,
}

/// Windows in bytes.
#[derive(Debug)]
pub(crate) struct Control {
    algorithm: Congestion,
    pub mss: usize,
    pub window: usize,
    pub threshold: usize,
    pub phase: Phase,
    /// SND.NXT when recovery began.
    pub high: u32,
    /// Bytes acknowledged that have not yet made the window grow.
    credit: usize,
    /// Output was stopped by the window since the last look.
    pub limited: bool,
    cubic: Cubic,
    /// RFC 6937: bytes delivered and sent in this recovery, and what was in flight at its start.
    delivered: usize,
    out: usize,
    flight: usize,
    /// For an undo: window and threshold before.
    before: Option<(usize, usize)>,
    /// Time and stamp of the first retransmission of this episode (RFC 3522).
    pub first_resend: Option<u32>,
}

impl Control {
    pub(crate) fn new(algorithm: Congestion, mss: usize) -> Control {
        Control {
            algorithm,
            mss,
            window: INITIAL_WINDOW * mss,
            threshold: usize::MAX,
            phase: Phase::Open,
            high: 0,
            credit: 0,
            limited: false,
            cubic: Cubic::default(),
            delivered: 0,
            out: 0,
            flight: 0,
            before: None,
            first_resend: None,
        }
    }

    pub(crate) fn set_algorithm(&mut self, algorithm: Congestion) {
        if self.algorithm != algorithm {
            self.algorithm = algorithm;
            self.cubic = Cubic::default();
        }
    }

    /// The segment size became known or changed.
    pub(crate) fn set_mss(&mut self, mss: usize, fresh: bool) {
        if fresh {
            self.window = INITIAL_WINDOW * mss;
        } else if mss < self.mss {
            // Keep the window in segments (a smaller path MTU is no congestion).
            self.window = (self.window / self.mss).max(1) * mss;
        }
        self.mss = mss;
    }

    fn slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// `bytes` were acknowledged in order, outside of recovery.
    pub(crate) fn grow(&mut self, now: Instant, mut bytes: usize, flight: usize, rtt: Option<Duration>) {
        if !(self.limited || self.slow_start() && self.window < 2 * flight) {
            return;
        }
        if self.slow_start() {
            let step = bytes.min(self.threshold - self.window);
            self.window += step;
            bytes -= step;
            if bytes == 0 {
                return;
            }
        }
        match self.algorithm {
            Congestion::Reno => self.avoid(bytes, self.window),
            Congestion::Cubic => {
                let per = self.cubic_pace(now, bytes, rtt);
                self.avoid(bytes, per);
            }
        }
    }

    /// Grows by one segment for each `per` bytes acknowledged.
    fn avoid(&mut self, bytes: usize, per: usize) {
        self.credit += bytes;
        let per = per.max(self.mss);
        if self.credit >= per {
            self.window += self.mss * (self.credit / per);
            self.credit %= per;
        }
    }

    /// Bytes that must be acknowledged for one segment more (RFC 9438, section 4.2 to 4.5).
    fn cubic_pace(&mut self, now: Instant, bytes: usize, rtt: Option<Duration>) -> usize {
        let mss = self.mss as f64;
        let window = self.window as f64 / mss;
        let c = &mut self.cubic;
        let epoch = *c.epoch.get_or_insert_with(|| {
            if c.max <= window {
                c.k = 0.0;
                c.max = window;
            } else {
                c.k = ((c.max - window) / C).cbrt();
            }
            c.estimate = window;
            c.origin = window;
            now
        });
        let t = now.since(epoch).as_secs_f64() + rtt.unwrap_or_default().as_secs_f64();
        let target = (c.max + C * (t - c.k).powi(3)).clamp(window, window * 1.5);
        // Alpha of the Reno-friendly region, until the window of the last reduction is reached.
        let alpha = if c.estimate < c.max {
            3.0 * (1.0 - BETA) / (1.0 + BETA)
        } else {
            1.0
        };
        c.estimate += alpha * (bytes as f64 / mss) / window;
        let goal = target.max(c.estimate);
        let segments = if goal > window {
            window / (goal - window)
        } else {
            100.0 * window
        };
        // Never faster than slow start's half.
        (segments.max(2.0) * mss) as usize
    }

    /// The threshold after a loss, with `flight` bytes in the network.
    fn reduced(&mut self, flight: usize) -> usize {
        let floor = 2 * self.mss;
        match self.algorithm {
            Congestion::Reno => (flight / 2).max(floor),
            Congestion::Cubic => {
                let window = self.window as f64 / self.mss as f64;
                let c = &mut self.cubic;
                c.epoch = None;
                // Fast convergence.
                c.max = if window < c.max {
                    window * (1.0 + BETA) / 2.0
                } else {
                    window
                };
                ((self.window as f64 * BETA) as usize).max(floor)
            }
        }
    }

    /// Fast retransmit: recovery until `high` is acknowledged.
    pub(crate) fn enter_recovery(&mut self, high: u32, flight: usize) {
        self.before = Some((self.window, self.threshold));
        self.threshold = self.reduced(flight);
        self.phase = Phase::Recovery;
        self.high = high;
        (self.delivered, self.out) = (0, 0);
        self.flight = flight.max(1);
        self.credit = 0;
        self.first_resend = None;
    }

    /// Timeout: everything begins anew with one segment.
    pub(crate) fn enter_loss(&mut self, high: u32, flight: usize) {
        if self.phase == Phase::Open {
            self.before = Some((self.window, self.threshold));
            self.threshold = self.reduced(flight);
            self.first_resend = None;
        }
        self.phase = Phase::Loss;
        self.high = high;
        self.window = self.mss;
        self.credit = 0;
    }

    /// In recovery: `bytes` more were delivered; sets how much may be sent (RFC 6937 with the slow start bound).
    pub(crate) fn reduce(&mut self, bytes: usize, in_flight: usize, progress: bool) {
        self.delivered += bytes;
        let allowance = if in_flight > self.threshold {
            (self.delivered as u128 * self.threshold as u128 / self.flight as u128) as usize
        } else {
            let bound = if progress {
                self.delivered.max(self.out + bytes) + self.mss
            } else {
                self.out.max(self.delivered)
            };
            bound.min(self.out + self.threshold.saturating_sub(in_flight))
        };
        let mut more = allowance.saturating_sub(self.out);
        if self.out == 0 {
            // The retransmission that recovery is for goes out in any case.
            more = more.max(self.mss);
        }
        self.window = in_flight + more;
    }

    /// Bytes sent, new or again.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if self.phase == Phase::Recovery {
            self.out += bytes;
        }
    }

    /// What was lost at the start of the episode is acknowledged.
    pub(crate) fn leave(&mut self) {
        if self.phase == Phase::Recovery {
            self.window = self.threshold.max(self.mss);
        }
        self.phase = Phase::Open;
        self.before = None;
        self.first_resend = None;
    }

    /// The losses were none: windows as before.
    pub(crate) fn undo(&mut self) {
        if let Some((window, threshold)) = self.before.take() {
            self.window = self.window.max(window);
            self.threshold = threshold;
            self.cubic.epoch = None;
        }
        self.phase = Phase::Open;
        self.first_resend = None;
    }

    pub(crate) fn can_undo(&self) -> bool {
        self.before.is_some()
    }

    /// After a pause the window is not trusted any more (RFC 2861 as Linux does it).
    pub(crate) fn restart(&mut self, idle: Duration, timeout: Duration) {
        let mut halvings = (idle.as_micros() / timeout.as_micros().max(1)).min(32);
        let floor = (INITIAL_WINDOW * self.mss).min(self.window);
        self.threshold = self.threshold.max(self.window / 4 * 3);
        while halvings > 0 && self.window > floor {
            self.window = (self.window / 2).max(floor);
            halvings -= 1;
        }
        self.cubic.epoch = None;
        self.limited = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_start_doubles_and_cubic_recovers_its_window() {
        let mut c = Control::new(Congestion::Cubic, 1000);
        c.limited = true;
        c.grow(Instant::ZERO, 10_000, 10_000, None);
        assert_eq!(c.window, 20_000);
        c.window = 1_000_000;
        c.enter_recovery(0, 1_000_000);
        assert_eq!(c.threshold, 700_000);
        c.leave();
        let rtt = Duration::from_millis(20);
        let mut now = Instant::ZERO;
        for _ in 0..500 {
            now = now + rtt;
            let window = c.window;
            c.grow(now, window, window, Some(rtt));
        }
        // K = cbrt(300 / 0.4) = 9.1 s; after 10 s it is back and a little beyond.
        assert!((950_000..1_100_000).contains(&c.window), "{}", c.window);
    }

    #[test]
    fn reno_halves() {
        let mut c = Control::new(Congestion::Reno, 1000);
        c.window = 100_000;
        c.enter_recovery(0, 100_000);
        c.leave();
        assert_eq!(c.window, 50_000);
    }
}
