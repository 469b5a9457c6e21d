//! Calls with a relative timeout that go on after a stop or an ignored signal (Linux's restart_block).

use std::time::{Duration, Instant};

use abi::Errno;

use super::CurrentTask;

/// A call to go on with: the same number and arguments, but with the deadline of its first attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Restart {
    /// Call number.
    pub nr: u64,
    /// When it gives up.
    pub deadline: Instant,
}

impl CurrentTask {
    /// The deadline of a call with a relative timeout: now plus `timeout`, or, when the call goes on after an
    /// interruption, the deadline it had. Such a call ends an interrupted wait with [`CurrentTask::interrupted_until`].
    pub fn deadline_after(&self, timeout: Duration) -> Instant {
        match self.resumed.take() {
            Some(restart) if restart.nr == self.serving.get() => restart.deadline,
            _ => {
                let now = Instant::now();
                // Some centuries are as good as for ever, and cannot overflow.
                now.checked_add(timeout)
                    .unwrap_or_else(|| now + Duration::from_secs(1 << 32))
            }
        }
    }

    /// The error with which a call with a relative timeout ends when a signal interrupts it: it goes on until `deadline`
    /// when no handler runs, else the guest sees `EINTR`.
    pub fn interrupted_until(&self, deadline: Instant) -> Errno {
        let nr = self.serving.get();
        self.restart.set(Some(Restart { nr, deadline }));
        Errno::ERESTART_RESTARTBLOCK
    }
}
