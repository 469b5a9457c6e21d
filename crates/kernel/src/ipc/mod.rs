//! System V IPC and POSIX message queues.

use std::collections::BTreeMap;
use std::sync::Arc;

use sync::{Mutex, rank};

use crate::Kernel;

pub mod mq;
pub mod msg;
pub mod perm;
pub mod sem;
pub mod shm;
#[cfg(test)]
mod tests;

use perm::Ids;

/// All IPC objects of the sandbox.
pub struct IpcTable {
    /// Shared memory segments.
    pub segments: Mutex<Ids<shm::Segment>>,
    /// Semaphore sets.
    pub semaphores: Mutex<Ids<sem::SemSet>>,
    /// Message queues.
    pub queues: Mutex<Ids<msg::MessageQueue>>,
    /// POSIX message queues by name.
    pub mqs: Mutex<BTreeMap<Vec<u8>, Arc<mq::Mq>>>,
}

impl Default for IpcTable {
    fn default() -> Self {
        IpcTable {
            segments: Mutex::new(rank::IPC, Ids::new(shm::SHMMNI)),
            semaphores: Mutex::new(rank::IPC, Ids::new(sem::SEMMNI)),
            queues: Mutex::new(rank::IPC, Ids::new(msg::MSGMNI)),
            mqs: Mutex::new(rank::IPC, BTreeMap::new()),
        }
    }
}

/// Seconds since the epoch, for the objects' times.
fn now(kernel: &Kernel) -> i64 {
    i64::try_from(kernel.time.realtime_ns() / 1_000_000_000).unwrap_or(i64::MAX)
}

/// A process has ended: its semaphore adjustments are made.
pub fn exit_process(kernel: &Kernel, pid: u32) {
    kernel.undo_semaphores(pid);
}
