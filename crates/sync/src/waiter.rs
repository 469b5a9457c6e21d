//! A thread that can be woken: one flag, one sleeper.

use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::{Events, Wake};

/// The place where one sentry thread sleeps. A wake before the sleep is not lost.
#[derive(Debug, Default)]
pub struct Waiter {
    notified: Mutex<bool>,
    condvar: Condvar,
}

impl Waiter {
    /// Wakes the sleeper, or makes its next sleep return at once.
    pub fn notify(&self) {
        let mut notified = self.notified.lock();
        if !*notified {
            *notified = true;
            self.condvar.notify_one();
        }
    }

    /// Forgets earlier wakes; call before registering on queues.
    pub fn reset(&self) {
        *self.notified.lock() = false;
    }

    /// Sleeps until notified or until `deadline`; returns whether it was notified (and takes the notification).
    pub fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut notified = self.notified.lock();
        while !*notified {
            match deadline {
                None => self.condvar.wait(&mut notified),
                Some(at) => {
                    if self.condvar.wait_until(&mut notified, at).timed_out() {
                        break;
                    }
                }
            }
        }
        std::mem::replace(&mut *notified, false)
    }
}

impl Wake for Waiter {
    fn wake(&self, _: u64, _: Events) {
        self.notify();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::WaitQueue;

    #[test]
    fn a_wake_before_the_sleep_is_not_lost() {
        let waiter = Arc::new(Waiter::default());
        let queue = WaitQueue::new();
        let id = queue.add(waiter.clone(), 0, Events::IN);
        queue.wake(Events::OUT);
        assert!(!waiter.wait(Some(Instant::now())));
        queue.wake(Events::IN);
        assert!(waiter.wait(None));
        queue.remove(id);
        queue.wake(Events::IN);
        assert!(!waiter.wait(Some(Instant::now())));
    }
}
