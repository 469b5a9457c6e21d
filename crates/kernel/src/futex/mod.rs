//! futex(2): wait queues keyed by guest words.
//!
//! `key` names a word across address spaces, `table` holds the queues, `wait` and `lock` are the operations, `exit` is what a
//! thread leaves behind. A private wait may be served in the guest thread by the engine instead; then
//! [`FutexTable::engine_private`] is set and wake-ups of private words go to both.

mod exit;
mod key;
mod lock;
mod table;
#[cfg(test)]
mod tests;
mod wait;

pub use exit::{ROBUST_HEAD_BYTES, exit_task};
pub use key::{Key, Word};
pub use lock::{lock, requeue as requeue_lock, unlock, wait_requeue};
pub use table::{ANY, FutexTable};
pub use wait::{Expect, requeue, wait, wait_many, wake, wake_op};
