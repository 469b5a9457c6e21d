//! What a container may use, as its control group shows it.
//!
//! Memory and processor time are enforced by the host's control group that the sandbox is in; tasks by this kernel.

use std::sync::atomic::Ordering;

use crate::Kernel;

/// Limits; `None`: without limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of swap.
    pub swap: Option<u64>,
    /// Bytes that are kept for it when memory is short.
    pub reservation: u64,
    /// Microseconds of processor time in a period of microseconds.
    pub cpu_quota: Option<u64>,
    /// That period.
    pub cpu_period: u64,
    /// Relative share of the processors, 1 to 10,000.
    pub cpu_weight: u64,
    /// Processors, as a list; empty: all.
    pub cpus: String,
    /// Memory nodes, as a list; empty: all.
    pub mems: String,
    /// Tasks.
    pub pids: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: None,
            swap: None,
            reservation: 0,
            cpu_quota: None,
            cpu_period: 100_000,
            cpu_weight: 100,
            cpus: String::new(),
            mems: String::new(),
            pids: None,
        }
    }
}

impl Kernel {
    /// New limits. `processors` are those allowed, as the host numbers them.
    pub fn limit(&self, limits: Limits, processors: u64) {
        *self.limits.write() = limits;
        let own = match self.processors_are_the_engines() {
            true => processors,
            // As many, from the first on.
            false => 1_u64
                .checked_shl(processors.count_ones())
                .map_or(u64::MAX, |next| next - 1),
        };
        self.cpuset.store(own, Ordering::Relaxed);
    }

    /// Processors that tasks may run on, as a mask; not empty.
    pub fn allowed_processors(&self) -> u64 {
        let all = self.processors();
        match self.cpuset.load(Ordering::Relaxed) & all {
            0 => all,
            allowed => allowed,
        }
    }

    /// Bytes of memory that guests have: the machine's, or their limit.
    pub fn total_memory(&self) -> u64 {
        let limit = self.limits.read().memory;
        limit.map_or(self.config.total_memory, |limit| {
            limit.min(self.config.total_memory)
        })
    }
}
