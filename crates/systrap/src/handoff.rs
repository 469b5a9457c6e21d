//! Waiting for the other side: how long to poll, to yield, and when to sleep.
//!
//! One word per guest thread says who owns its area; a waiter that goes to sleep sets [`state::SLEEP`] in it first,
//! and the owner that gives it away wakes only then. An idle pair burns no CPU.

use std::sync::atomic::{AtomicU32, Ordering};

use host::{futex, process};

use crate::layout::state;

/// Polls of the sentry before it yields.
const SPINS: u32 = 20;
/// Yields of the sentry before it sleeps.
const YIELDS: u32 = 20;
/// Polls of the stub before it yields.
pub const STUB_SPINS: u32 = 20;
/// Yields of the stub before it sleeps.
pub const STUB_YIELDS: u32 = 20;

/// Gives the area to the guest thread with an order (`RUN`, `EXIT`), waking it if it sleeps.
pub fn give(word: &AtomicU32, order: u32) {
    if word.swap(order, Ordering::SeqCst) & state::SLEEP != 0 {
        futex::wake(word, 1);
    }
}

/// Waits until the word is neither `RUN` nor `RUN | SLEEP`, and returns it.
pub fn take(word: &AtomicU32) -> u32 {
    for _ in 0..SPINS {
        let now = word.load(Ordering::SeqCst);
        if now & !state::SLEEP != state::RUN {
            return now;
        }
        std::hint::spin_loop();
    }
    for _ in 0..YIELDS {
        process::yield_now();
        let now = word.load(Ordering::SeqCst);
        if now & !state::SLEEP != state::RUN {
            return now;
        }
    }
    loop {
        let sleeping = state::RUN | state::SLEEP;
        match word.compare_exchange(state::RUN, sleeping, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => {}
            Err(now) if now == sleeping => {}
            Err(now) => return now,
        }
        let _ = futex::wait(word, sleeping, None);
    }
}
