//! Times of files in memory.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::vfs::{AttrChange, TimeChange, now_ns};

/// relatime: an access time older than this is renewed (a day).
const RELATIME_NS: i64 = 24 * 3600 * 1_000_000_000;

/// Times of a file, nanoseconds since the epoch.
#[derive(Debug)]
pub struct FileTimes {
    /// Last access.
    pub atime: AtomicI64,
    /// Last change of content.
    pub mtime: AtomicI64,
    /// Last change of the inode.
    pub ctime: AtomicI64,
}

impl FileTimes {
    /// All at the present.
    pub fn now() -> FileTimes {
        let now = now_ns();
        FileTimes {
            atime: AtomicI64::new(now),
            mtime: AtomicI64::new(now),
            ctime: AtomicI64::new(now),
        }
    }

    /// The content changed.
    pub fn modified(&self) {
        let now = now_ns();
        self.mtime.store(now, Ordering::Relaxed);
        self.ctime.store(now, Ordering::Relaxed);
    }

    /// The inode changed.
    pub fn changed(&self) {
        self.ctime.store(now_ns(), Ordering::Relaxed);
    }

    /// The content was read; recorded as relatime does.
    pub fn accessed(&self) {
        let atime = self.atime.load(Ordering::Relaxed);
        let changed = self
            .mtime
            .load(Ordering::Relaxed)
            .max(self.ctime.load(Ordering::Relaxed));
        let now = now_ns();
        if atime <= changed || now.saturating_sub(atime) > RELATIME_NS {
            self.atime.store(now, Ordering::Relaxed);
        }
    }

    /// Sets what a change names, and the change time.
    pub fn apply(&self, change: &AttrChange) {
        let now = now_ns();
        let time = |change: TimeChange| match change {
            TimeChange::Now => now,
            TimeChange::At(at) => at,
        };
        if let Some(atime) = change.atime {
            self.atime.store(time(atime), Ordering::Relaxed);
        }
        if let Some(mtime) = change.mtime {
            self.mtime.store(time(mtime), Ordering::Relaxed);
        }
        self.ctime.store(now, Ordering::Relaxed);
    }
}
