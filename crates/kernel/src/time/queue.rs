//! One thread that waits for the earliest of all timers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use sync::{Mutex, Waiter, rank};

/// Something to be told when its time has come. It looks at its clock itself and arms itself again.
pub trait Expire: Send + Sync {
    /// Called on the timer thread, which holds no lock.
    fn expire(self: Arc<Self>);
}

/// An entry of the queue, to be cancelled by.
pub type Ticket = (Instant, u64);

/// All armed timers.
#[derive(Default)]
pub struct TimerQueue(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    waiter: Waiter,
    thread: OnceLock<bool>,
    closed: AtomicBool,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Ticket, Weak<dyn Expire>>,
    next: u64,
}

impl Default for Inner {
    fn default() -> Self {
        Inner {
            state: Mutex::new(rank::LEAF, State::default()),
            waiter: Waiter::default(),
            thread: OnceLock::new(),
            closed: AtomicBool::new(false),
        }
    }
}

impl TimerQueue {
    /// Has `target` told at `at`.
    pub fn arm(&self, at: Instant, target: Weak<dyn Expire>) -> Ticket {
        let (ticket, first) = {
            let mut state = self.0.state.lock();
            state.next += 1;
            let ticket = (at, state.next);
            state.entries.insert(ticket, target);
            let first = state.entries.first_key_value().map(|(first, _)| *first);
            (ticket, first == Some(ticket))
        };
        self.start();
        if first {
            self.0.waiter.notify();
        }
        ticket
    }

    /// Takes a timer out again.
    pub fn cancel(&self, ticket: Ticket) {
        let gone = self.0.state.lock().entries.remove(&ticket);
        drop(gone);
    }

    fn start(&self) {
        self.0.thread.get_or_init(|| {
            let inner = self.0.clone();
            let builder = std::thread::Builder::new().name("timers".into());
            // Without a thread no timer expires; the host has none to give, so guests will not start either.
            builder.spawn(move || inner.run()).is_ok()
        });
    }
}

impl Drop for TimerQueue {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.waiter.notify();
    }
}

impl Inner {
    fn run(&self) {
        while !self.closed.load(Ordering::SeqCst) {
            let now = Instant::now();
            let (due, next) = {
                let mut state = self.state.lock();
                let later = state.entries.split_off(&(now, u64::MAX));
                let due = std::mem::replace(&mut state.entries, later);
                let next = state.entries.first_key_value().map(|((at, _), _)| *at);
                (due, next)
            };
            if due.is_empty() {
                self.waiter.wait(next);
                continue;
            }
            for target in due.into_values() {
                if let Some(target) = target.upgrade() {
                    target.expire();
                }
            }
        }
    }
}
