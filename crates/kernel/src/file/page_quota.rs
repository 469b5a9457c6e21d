//! A limit on the pages of several files in memory.

use std::sync::atomic::{AtomicU64, Ordering};

use abi::Errno;

/// A limit on pages that several files share (tmpfs's size option).
#[derive(Debug)]
pub struct PageQuota {
    limit: u64,
    used: AtomicU64,
}

impl PageQuota {
    /// A quota of so many pages.
    pub fn new(limit: u64) -> PageQuota {
        PageQuota {
            limit,
            used: AtomicU64::new(0),
        }
    }

    /// The limit in pages.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Pages in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes pages. `ENOSPC` when there are not that many left.
    pub fn charge(&self, pages: u64) -> Result<(), Errno> {
        let take = |used: u64| used.checked_add(pages).filter(|sum| *sum <= self.limit);
        let result = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        result.map(|_| ()).map_err(|_| Errno::ENOSPC)
    }

    /// Gives pages back.
    pub fn release(&self, pages: u64) {
        self.used.fetch_sub(pages, Ordering::Relaxed);
    }
}
