//! Round trip time and retransmission timeout (RFC 6298, with Linux's bounds).

use std::time::Duration;

/// Before anything is measured.
pub(crate) const INITIAL_RTO: Duration = Duration::from_secs(1);
/// Linux's TCP_RTO_MIN.
pub(crate) const MIN_RTO: Duration = Duration::from_millis(200);
/// Linux's TCP_RTO_MAX.
pub(crate) const MAX_RTO: Duration = Duration::from_secs(120);

/// What was measured.
#[derive(Debug, Default)]
pub(crate) struct Rtt {
    pub smoothed: Option<Duration>,
    pub variation: Duration,
    pub least: Option<Duration>,
    pub latest: Duration,
    /// Doublings of the timeout.
    pub backoff: u8,
}

impl Rtt {
    /// Takes a measurement in.
    pub(crate) fn sample(&mut self, rtt: Duration) {
        let rtt = rtt.max(Duration::from_micros(1));
        self.latest = rtt;
        self.least = Some(self.least.map_or(rtt, |l| l.min(rtt)));
        match self.smoothed {
            None => {
                self.smoothed = Some(rtt);
                self.variation = rtt / 2;
            }
            Some(s) => {
                let error = s.abs_diff(rtt);
                self.variation = (self.variation * 3 + error) / 4;
                self.smoothed = Some((s * 7 + rtt) / 8);
            }
        }
        self.backoff = 0;
    }

    /// The timeout, doublings included.
    pub(crate) fn timeout(&self) -> Duration {
        let base = match self.smoothed {
            None => INITIAL_RTO,
            // Linux keeps the variation term above the minimum instead of the sum.
            Some(s) => s + (self.variation * 4).max(MIN_RTO),
        };
        base.saturating_mul(1 << self.backoff.min(16)).min(MAX_RTO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_backoff() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), INITIAL_RTO);
        rtt.sample(Duration::from_micros(100));
        assert_eq!(rtt.timeout(), MIN_RTO + Duration::from_micros(100));
        rtt.backoff = 60;
        assert_eq!(rtt.timeout(), MAX_RTO);
    }
}
