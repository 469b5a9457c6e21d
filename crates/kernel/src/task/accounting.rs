//! CPU time of tasks. Guest time comes from the engine; time in the sentry is sampled, so that the common call pays nothing.

use std::cell::Cell;
use std::time::Instant;

use super::{CurrentTask, Task, ThreadGroup};

/// One served event in so many is timed and counts for all of them.
const SAMPLE: u32 = 16;
/// Guest time is asked of the engine at least every so many events.
const REFRESH: u32 = 256;

/// Counts events of one thread.
#[derive(Default)]
pub(super) struct CpuMeter {
    events: Cell<u32>,
    started: Cell<Option<Instant>>,
    slept_ns: Cell<u64>,
}

impl CurrentTask {
    /// Before an event is served.
    pub(super) fn meter_start(&self) {
        let events = self.meter.events.get().wrapping_add(1);
        self.meter.events.set(events);
        if events.is_multiple_of(SAMPLE) {
            self.meter.slept_ns.set(0);
            self.meter.started.set(Some(Instant::now()));
        }
    }

    /// After it was served.
    pub(super) fn meter_stop(&self) {
        if let Some(started) = self.meter.started.take() {
            let total = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let spent = total.saturating_sub(self.meter.slept_ns.get());
            let mut state = self.state.lock();
            state.system_ns = state
                .system_ns
                .saturating_add(spent.saturating_mul(u64::from(SAMPLE)));
        }
        if self.meter.events.get().is_multiple_of(REFRESH) {
            self.update_cpu_time();
        }
    }

    /// Whether the present event is timed: sleeps inside it are to be taken off.
    pub(super) fn metered(&self) -> bool {
        let started = self.meter.started.take();
        self.meter.started.set(started);
        started.is_some()
    }

    /// Time asleep inside a timed event.
    pub(super) fn meter_slept(&self, since: Instant) {
        let slept = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.meter
            .slept_ns
            .set(self.meter.slept_ns.get().saturating_add(slept));
    }

    /// Takes over the engine's count of time in guest code. What it knows of one thread includes waits for a processor;
    /// what it knows of the whole process does not, and bounds it.
    pub fn update_cpu_time(&self) {
        let own = self.context.borrow().cpu_time();
        let user = own.min(self.mm.borrow().space.cpu_time());
        self.state.lock().user_ns = u64::try_from(user.as_nanos()).unwrap_or(u64::MAX);
    }
}

impl Task {
    /// CPU time of this thread in nanoseconds: in guest code, in the sentry.
    pub fn cpu_ns(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.user_ns.saturating_add(state.exec_user_ns), state.system_ns)
    }
}

impl ThreadGroup {
    /// CPU time of all threads, living and ended, in nanoseconds.
    pub fn cpu_ns(&self) -> (u64, u64) {
        let (mut user, mut system) = self.state.lock().exited_ns;
        for thread in &self.signals.lock().threads {
            let (more_user, more_system) = thread.cpu_ns();
            user = user.saturating_add(more_user);
            system = system.saturating_add(more_system);
        }
        (user, system)
    }
}
