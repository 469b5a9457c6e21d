//! System V IPC and POSIX message queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Bytes that messages of System V queues may take in the sentry: far more than programs use, and bearable.
const MESSAGES_MAX: u64 = 64 << 20;
/// What a message costs beside its text.
const MESSAGE_COST: u64 = 64;
/// Semaphore adjustments (SEM_UNDO) of all processes: each takes some tens of bytes.
const UNDO_MAX: u64 = 1 << 18;
/// Bytes that POSIX queues may promise to hold.
const MQ_MAX: u64 = 64 << 20;

/// Something of which there is only so much.
#[derive(Debug, Default)]
pub struct Budget(AtomicU64);

impl Budget {
    /// Takes `amount` unless more than `limit` would be taken then.
    fn take(&self, amount: u64, limit: u64) -> bool {
        let add = |used: u64| used.checked_add(amount).filter(|sum| *sum <= limit);
        let order = Ordering::Relaxed;
        self.0.fetch_update(order, order, add).is_ok()
    }

    fn give_back(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }
}

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
    /// Bytes of System V messages.
    message_bytes: Arc<Budget>,
    /// Semaphore adjustments.
    undo_entries: Arc<Budget>,
    /// Bytes that POSIX queues may hold.
    pub(crate) mq_bytes: Arc<Budget>,
}

impl Default for IpcTable {
    fn default() -> Self {
        IpcTable {
            segments: Mutex::new(rank::IPC, Ids::new(shm::SHMMNI)),
            semaphores: Mutex::new(rank::IPC, Ids::new(sem::SEMMNI)),
            queues: Mutex::new(rank::IPC, Ids::new(msg::MSGMNI)),
            mqs: Mutex::new(rank::IPC, BTreeMap::new()),
            message_bytes: Arc::default(),
            undo_entries: Arc::default(),
            mq_bytes: Arc::default(),
        }
    }
}

/// Seconds since the epoch, for the objects' times.
fn now(kernel: &Kernel) -> i64 {
    i64::try_from(kernel.time.realtime_ns() / 1_000_000_000).unwrap_or(i64::MAX)
}

impl IpcTable {
    /// A process has ended, or leaves the namespace: its semaphore adjustments are made.
    pub fn exit_process(&self, pid: u32) {
        self.undo_semaphores(pid);
    }

    /// The table of a new namespace. What all objects may take together stays as it is.
    pub fn empty(&self) -> IpcTable {
        IpcTable {
            message_bytes: self.message_bytes.clone(),
            undo_entries: self.undo_entries.clone(),
            mq_bytes: self.mq_bytes.clone(),
            ..IpcTable::default()
        }
    }
}
