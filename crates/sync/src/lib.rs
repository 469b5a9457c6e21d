//! Locks with ranks, wait queues and waiters: the ways in which sentry threads wait for each other.
//!
//! Lock order is the list in [`rank`], checked on every acquisition in debug builds.
#![forbid(unsafe_code)]

mod lock;
mod queue;
pub mod rank;
mod waiter;

pub use lock::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use queue::{Events, PollTable, Registrations, WaitQueue, Wake};
pub use rank::Rank;
pub use waiter::Waiter;
