//! Descriptors kept for the next use: directory handles, and files open to read. Those not used lately go first.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use sync::{Mutex, rank};

/// Handles kept per tree. The sentry may have 20,000 descriptors on small hosts, and guests' open files need most of them.
const KEPT: usize = 2048;

/// A bounded cache of descriptors by node number: a clock over those that are kept.
pub struct Handles(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    places: HashMap<u64, usize>,
    slots: Vec<Slot>,
    hand: usize,
}

struct Slot {
    node: u64,
    fd: Arc<OwnedFd>,
    /// Asked for since the hand was last here.
    used: bool,
}

impl Default for Handles {
    fn default() -> Self {
        Handles(Mutex::new(rank::LEAF, Kept::default()))
    }
}

impl Kept {
    /// The slot that is to make way: the first from the hand on that was not used since the last round.
    fn victim(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (at + 1) % self.slots.len().max(1);
            let spared = self.slots.get_mut(at).map(|slot| &mut slot.used);
            if !spared.is_some_and(std::mem::take) {
                return at;
            }
        }
    }

    fn remove(&mut self, node: u64) -> Option<Arc<OwnedFd>> {
        let at = self.places.remove(&node)?;
        let gone = self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            self.places.insert(moved.node, at);
        }
        Some(gone.fd)
    }
}

impl Handles {
    /// The node's handle, if it is kept.
    pub fn get(&self, node: u64) -> Option<Arc<OwnedFd>> {
        let mut kept = self.0.lock();
        let at = *kept.places.get(&node)?;
        let slot = kept.slots.get_mut(at)?;
        slot.used = true;
        Some(slot.fd.clone())
    }

    /// Keeps a handle; one that was not used lately goes when there are too many.
    pub fn keep(&self, node: u64, fd: Arc<OwnedFd>) {
        let mut kept = self.0.lock();
        let slot = Slot {
            node,
            fd,
            used: false,
        };
        let known = kept.places.get(&node).copied();
        let at = match known {
            None if kept.slots.len() < KEPT => kept.slots.len(),
            None => kept.victim(),
            Some(at) => at,
        };
        let gone = match kept.slots.get_mut(at) {
            Some(old) => Some(std::mem::replace(old, slot)),
            None => {
                kept.slots.push(slot);
                None
            }
        };
        if let Some(gone) = &gone {
            kept.places.remove(&gone.node);
        }
        kept.places.insert(node, at);
        drop(kept);
        drop(gone);
    }

    /// Drops the node's handle.
    pub fn forget(&self, node: u64) {
        // Nested: a node may be dropped wherever its last owner is.
        let mut kept = self.0.lock_nested();
        let gone = kept.remove(node);
        drop(kept);
        drop(gone);
    }

    /// Drops all, when descriptors have run out.
    pub fn clear(&self) {
        let gone = std::mem::take(&mut *self.0.lock());
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let handles = Handles::default();
        let fd: Arc<OwnedFd> = Arc::new(std::fs::File::open("/").unwrap().into());
        for node in 0..3 * KEPT as u64 {
            handles.keep(node, fd.clone());
            assert!(handles.get(0).is_some(), "{node}");
        }
        assert_eq!(Arc::strong_count(&fd), KEPT + 1);
        let left: Vec<u64> = (0..3 * KEPT as u64)
            .filter(|node| handles.get(*node).is_some())
            .collect();
        assert_eq!(left.len(), KEPT);
        for node in left {
            handles.forget(node);
            assert!(handles.get(node).is_none());
        }
        assert_eq!(Arc::strong_count(&fd), 1);
    }
}
