//! The bound on cached dentries: a clock over those that walks made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sync::{Mutex, rank};

use super::Dentry;

/// Dentries kept although nobody uses them. Each may keep an inode (and with it a host descriptor) alive.
pub const DENTRY_CACHE_LIMIT: usize = 16 << 10;
/// Second chances given out per insertion, so that one insertion stays cheap.
const SECOND_CHANCES: usize = 8;

/// A dentry's place in the cache.
pub(crate) struct CacheSlot(AtomicU32);

impl CacheSlot {
    const NONE: u32 = u32::MAX;
}

impl Default for CacheSlot {
    fn default() -> Self {
        CacheSlot(AtomicU32::new(Self::NONE))
    }
}

/// Keeps recently used dentries alive.
pub struct DentryCache {
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    dentries: Vec<Option<Arc<Dentry>>>,
    free: Vec<usize>,
    hand: usize,
}

impl Default for DentryCache {
    fn default() -> Self {
        DentryCache {
            slots: Mutex::new(rank::LEAF, Slots::default()),
        }
    }
}

impl Slots {
    /// A slot to use; the dentry in it, if any, makes way.
    fn choose(&mut self) -> usize {
        if let Some(free) = self.free.pop() {
            return free;
        }
        if self.dentries.len() < DENTRY_CACHE_LIMIT {
            self.dentries.push(None);
            return self.dentries.len() - 1;
        }
        for chance in 0..=SECOND_CHANCES {
            let at = self.hand;
            self.hand = (self.hand + 1) % DENTRY_CACHE_LIMIT;
            let used = self.dentries.get(at).and_then(Option::as_ref);
            let spared = used.is_some_and(|dentry| dentry.referenced.swap(false, Ordering::Relaxed));
            if !spared || chance == SECOND_CHANCES {
                return at;
            }
        }
        self.hand
    }
}

impl DentryCache {
    /// Keeps `dentry` for a while; drops one that was not looked up lately when there are too many.
    pub(crate) fn insert(&self, dentry: &Arc<Dentry>) {
        let evicted = {
            let mut slots = self.slots.lock();
            let at = slots.choose();
            dentry.slot.0.store(at as u32, Ordering::Relaxed);
            slots
                .dentries
                .get_mut(at)
                .and_then(|slot| slot.replace(dentry.clone()))
        };
        // Dropped here, without the lock: dropping may end an inode.
        drop(evicted);
    }

    /// Keeps `dentry` no longer (its name is gone).
    pub(crate) fn remove(&self, dentry: &Dentry) {
        let at = dentry.slot.0.swap(CacheSlot::NONE, Ordering::Relaxed) as usize;
        let gone = {
            let mut slots = self.slots.lock();
            let slot = slots.dentries.get_mut(at);
            let own = slot.and_then(|slot| slot.take_if(|kept| std::ptr::eq(&**kept, dentry)));
            if own.is_some() {
                slots.free.push(at);
            }
            own
        };
        drop(gone);
    }

    /// Drops all that `which` chooses (unmounting a file system).
    pub(crate) fn drop_where(&self, which: impl Fn(&Dentry) -> bool) {
        // Looked at without the lock: `which` may take others.
        let all: Vec<Arc<Dentry>> = self.slots.lock().dentries.iter().flatten().cloned().collect();
        for dentry in all.iter().filter(|dentry| which(dentry)) {
            self.remove(dentry);
        }
    }
}
