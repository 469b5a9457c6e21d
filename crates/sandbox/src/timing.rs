//! `--timing`: when each step of a start was done.

use std::time::{Duration, Instant};

/// Steps and the time since the start at which each was done. Costs nothing unless switched on.
#[derive(Clone, Debug)]
pub struct Timing {
    start: Option<Instant>,
    steps: Vec<(&'static str, Duration)>,
}

impl Timing {
    /// Starts the clock if `on`.
    pub fn new(on: bool) -> Timing {
        Timing {
            start: on.then(Instant::now),
            steps: Vec::new(),
        }
    }

    /// Notes that `step` is done.
    pub fn done(&mut self, step: &'static str) {
        if let Some(start) = self.start {
            self.steps.push((step, start.elapsed()));
        }
    }

    /// Writes the steps to standard error.
    pub fn print(&self, who: &str) {
        let mut last = Duration::ZERO;
        for (step, at) in &self.steps {
            let took = at.saturating_sub(last);
            eprintln!("{who}: {:8.3} ms  +{:7.3} ms  {step}", millis(*at), millis(took));
            last = *at;
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
