//! /proc/loadavg: averages of the number of running tasks, advanced when somebody looks.

use abi::Errno;
use kernel::Kernel;
use sync::{Mutex, rank};

use super::stat::{running, uptime_ns};
use super::system::System;

/// Seconds over which the three averages decay.
const SPANS: [f64; 3] = [60.0, 300.0, 900.0];

/// The averages and when they were brought up to date.
struct Averages {
    at_ns: u64,
    values: [f64; 3],
}

static AVERAGES: Mutex<Averages> = Mutex::new(
    rank::LEAF,
    Averages {
        at_ns: 0,
        values: [0.0; 3],
    },
);

/// The three load averages now.
pub fn now(kernel: &Kernel) -> [f64; 3] {
    let (running, _) = running(kernel);
    // The reader itself runs only because it asks.
    let load = running.saturating_sub(1) as f64;
    let up = uptime_ns(kernel);
    let mut averages = AVERAGES.lock();
    let seconds = up.saturating_sub(averages.at_ns) as f64 / 1e9;
    for (value, span) in averages.values.iter_mut().zip(SPANS) {
        let keep = (-seconds / span).exp();
        *value = *value * keep + load * (1.0 - keep);
    }
    averages.at_ns = up;
    averages.values
}

/// /proc/loadavg.
pub fn show(at: &System) -> Result<Vec<u8>, Errno> {
    let kernel = at.kernel()?;
    let [one, five, fifteen] = now(&kernel);
    let (running, all) = running(&kernel);
    let last = kernel.pids.read().last_pid;
    Ok(format!(
        "{one:.2} {five:.2} {fifteen:.2} {}/{} {last}\n",
        running.max(1),
        all.max(1)
    )
    .into_bytes())
}
