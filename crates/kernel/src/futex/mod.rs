//! futex(2): wait queues keyed by guest words.

/// All futex queues of the sandbox.
#[derive(Default)]
pub struct FutexTable {}
