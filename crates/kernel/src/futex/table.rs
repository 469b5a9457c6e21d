//! The queues: waiters by key, in buckets.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sync::{Mutex, MutexGuard, Waiter, rank};

use super::Key;

/// Buckets: enough that unrelated words rarely meet.
const BUCKETS: usize = 256;
/// Matches every waiter (FUTEX_BITSET_MATCH_ANY).
pub const ANY: u32 = u32::MAX;

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To be woken.
    Plain,
    /// To own a priority-inheriting lock (FUTEX_LOCK_PI).
    Lock,
    /// To be moved to such a lock (FUTEX_WAIT_REQUEUE_PI).
    RequeueToLock(Key),
}

/// One thread's wait on one word.
pub struct Waiting {
    /// Where the thread sleeps.
    pub waiter: Arc<Waiter>,
    /// Its id, which becomes the value of a lock.
    pub tid: u32,
    /// FUTEX_WAIT_BITSET's.
    pub bitset: u32,
    /// Set once it was woken and taken off its queue (for a lock: owns it).
    pub woken: AtomicBool,
    /// The bucket it is in: changed by requeues, under both buckets' locks.
    bucket: AtomicUsize,
}

/// An entry of a queue.
#[derive(Clone)]
pub struct Entry {
    /// The word.
    pub key: Key,
    /// What for.
    pub kind: Kind,
    /// The owner of the lock when the wait began (to find the waiters of an owner that ends).
    pub owner: u32,
    /// Who.
    pub waiting: Arc<Waiting>,
}

/// The waiters of some keys, longest waiting first.
#[derive(Default)]
pub struct Bucket {
    pub(super) entries: VecDeque<Entry>,
}

/// All futex queues of the sandbox.
pub struct FutexTable {
    buckets: Vec<Mutex<Bucket>>,
    /// Waiters for locks, so that an exit need not look for them when there are none.
    pub(super) lock_waiters: AtomicUsize,
    /// Private waits may be served in guest threads by the engine: wake-ups of private words must go there too.
    pub engine_private: AtomicBool,
}

impl Default for FutexTable {
    fn default() -> Self {
        let bucket = || Mutex::new(rank::FUTEX, Bucket::default());
        FutexTable {
            buckets: std::iter::repeat_with(bucket).take(BUCKETS).collect(),
            lock_waiters: AtomicUsize::new(0),
            engine_private: AtomicBool::new(false),
        }
    }
}

impl Waiting {
    /// A wait that is in no queue yet.
    pub fn new(waiter: Arc<Waiter>, tid: u32, bitset: u32) -> Arc<Waiting> {
        Arc::new(Waiting {
            waiter,
            tid,
            bitset,
            woken: AtomicBool::new(false),
            bucket: AtomicUsize::new(0),
        })
    }

    /// Whether it was woken.
    pub fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }
}

impl Bucket {
    /// Adds a wait at the end.
    pub fn push(&mut self, table: &FutexTable, entry: Entry) {
        entry
            .waiting
            .bucket
            .store(FutexTable::index(&entry.key), Ordering::SeqCst);
        if entry.kind != Kind::Plain {
            table.lock_waiters.fetch_add(1, Ordering::SeqCst);
        }
        self.entries.push_back(entry);
    }

    /// Takes the first `count` matching waiters off; the caller wakes them after unlocking.
    pub fn take(
        &mut self,
        table: &FutexTable,
        count: usize,
        mut matches: impl FnMut(&Entry) -> bool,
    ) -> Vec<Entry> {
        let mut taken = Vec::new();
        let mut index = 0;
        while taken.len() < count {
            let Some(entry) = self.entries.get(index) else {
                break;
            };
            if matches(entry) {
                taken.extend(self.entries.remove(index));
            } else {
                index += 1;
            }
        }
        let locks = taken.iter().filter(|entry| entry.kind != Kind::Plain).count();
        table.lock_waiters.fetch_sub(locks, Ordering::SeqCst);
        taken
    }

    /// Whether anybody waits for this key's lock.
    pub fn has_lock_waiter(&self, key: &Key) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.key == *key && entry.kind == Kind::Lock)
    }
}

/// Wakes waiters that were taken off their queue.
pub fn wake_all(taken: &[Entry]) {
    for entry in taken {
        entry.waiting.woken.store(true, Ordering::SeqCst);
        entry.waiting.waiter.notify();
    }
}

impl FutexTable {
    fn index(key: &Key) -> usize {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish() as usize % BUCKETS
    }

    /// The bucket of a key.
    pub fn bucket(&self, key: &Key) -> MutexGuard<'_, Bucket> {
        self.at(Self::index(key)).lock()
    }

    fn at(&self, index: usize) -> &Mutex<Bucket> {
        // The index is a remainder: there is always a bucket, the first stands for none.
        self.buckets.get(index).unwrap_or(&self.buckets[0])
    }

    /// The buckets of two keys, locked in order; `None` when they are one and the same.
    pub fn two(&self, one: &Key, other: &Key) -> (MutexGuard<'_, Bucket>, Option<MutexGuard<'_, Bucket>>) {
        let (a, b) = (Self::index(one), Self::index(other));
        if a == b {
            return (self.at(a).lock(), None);
        }
        if a < b {
            let first = self.at(a).lock();
            let second = self.at(b).lock_nested();
            (first, Some(second))
        } else {
            let second = self.at(b).lock();
            let first = self.at(a).lock_nested();
            (first, Some(second))
        }
    }

    /// Wakes up to `count` plain waiters of a key that share a bit with `bitset`; returns how many.
    pub fn wake(&self, key: &Key, count: usize, bitset: u32) -> usize {
        let taken = self.bucket(key).take(self, count, |entry| {
            entry.key == *key && entry.kind == Kind::Plain && entry.waiting.bitset & bitset != 0
        });
        wake_all(&taken);
        taken.len()
    }

    /// Takes a wait off whatever queue it is in; false when it was woken before.
    pub fn cancel(&self, waiting: &Arc<Waiting>) -> bool {
        loop {
            let index = waiting.bucket.load(Ordering::SeqCst);
            let mut bucket = self.at(index).lock();
            if waiting.is_woken() {
                return false;
            }
            // A requeue may have moved it before the lock was taken.
            if waiting.bucket.load(Ordering::SeqCst) == index {
                let gone = bucket.take(self, 1, |entry| Arc::ptr_eq(&entry.waiting, waiting));
                return !gone.is_empty();
            }
        }
    }

    /// Every wait for a lock that `matches` says belongs to the case, with its key.
    pub fn lock_waits(&self, mut matches: impl FnMut(&Entry) -> bool) -> Vec<Key> {
        let mut keys = Vec::new();
        if self.lock_waiters.load(Ordering::SeqCst) == 0 {
            return keys;
        }
        for bucket in &self.buckets {
            let bucket = bucket.lock();
            keys.extend(
                bucket
                    .entries
                    .iter()
                    .filter(|entry| matches(entry))
                    .map(|entry| entry.key),
            );
        }
        keys
    }
}
