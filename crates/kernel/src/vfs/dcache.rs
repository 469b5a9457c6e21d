//! The bound on cached dentries: a clock over those that walks made.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sync::{Mutex, rank};

use super::Dentry;

/// Dentries kept although nobody uses them. Each may keep an inode (and with it a host descriptor) alive.
pub const DENTRY_CACHE_LIMIT: usize = 16 << 10;
/// Second chances given out per insertion, so that one insertion stays cheap.
const SECOND_CHANCES: usize = 8;

/// Keeps recently used dentries alive.
pub struct DentryCache {
    ring: Mutex<VecDeque<Arc<Dentry>>>,
}

impl Default for DentryCache {
    fn default() -> Self {
        DentryCache {
            ring: Mutex::new(rank::LEAF, VecDeque::new()),
        }
    }
}

impl DentryCache {
    /// Keeps `dentry` for a while; drops one that was not looked up lately when there are too many.
    pub(crate) fn insert(&self, dentry: &Arc<Dentry>) {
        let evicted = {
            let mut ring = self.ring.lock();
            ring.push_back(dentry.clone());
            if ring.len() <= DENTRY_CACHE_LIMIT {
                None
            } else {
                Self::choose(&mut ring)
            }
        };
        // Dropped here, without the lock: dropping may end an inode.
        drop(evicted);
    }

    fn choose(ring: &mut VecDeque<Arc<Dentry>>) -> Option<Arc<Dentry>> {
        for _ in 0..SECOND_CHANCES {
            let oldest = ring.pop_front()?;
            if !oldest.is_deleted() && oldest.referenced.swap(false, Ordering::Relaxed) {
                ring.push_back(oldest);
            } else {
                return Some(oldest);
            }
        }
        ring.pop_front()
    }

    /// Drops all that `which` chooses (unmounting a file system).
    pub(crate) fn drop_where(&self, which: impl Fn(&Dentry) -> bool) {
        // Looked at without the lock: `which` may take others.
        let all = std::mem::take(&mut *self.ring.lock());
        let (gone, kept): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(|dentry| which(dentry));
        self.ring.lock().extend(kept);
        drop(gone);
    }
}
