//! Descriptors kept for the next use: directory handles, and files open to read. The least recently used go first.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use sync::{Mutex, rank};

/// Handles kept per tree. The sentry may have 20,000 descriptors on small hosts, and guests' open files need most of them.
const KEPT: usize = 2048;

/// A bounded cache of descriptors by node number.
pub struct Handles(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_node: HashMap<u64, (Arc<OwnedFd>, u64)>,
    by_use: BTreeMap<u64, u64>,
    clock: u64,
}

impl Default for Handles {
    fn default() -> Self {
        Handles(Mutex::new(rank::LEAF, Kept::default()))
    }
}

impl Handles {
    /// The node's handle, if it is kept.
    pub fn get(&self, node: u64) -> Option<Arc<OwnedFd>> {
        let mut kept = self.0.lock();
        kept.clock += 1;
        let now = kept.clock;
        let (fd, used) = kept.by_node.get_mut(&node)?;
        let (fd, before) = (fd.clone(), std::mem::replace(used, now));
        kept.by_use.remove(&before);
        kept.by_use.insert(now, node);
        Some(fd)
    }

    /// Keeps a handle; the least recently used one goes when there are too many.
    pub fn keep(&self, node: u64, fd: Arc<OwnedFd>) {
        let mut kept = self.0.lock();
        kept.clock += 1;
        let now = kept.clock;
        let replaced = kept.by_node.insert(node, (fd, now));
        if let Some((_, used)) = &replaced {
            kept.by_use.remove(used);
        }
        kept.by_use.insert(now, node);
        let mut gone = None;
        if kept.by_node.len() > KEPT
            && let Some((_, oldest)) = kept.by_use.pop_first()
        {
            gone = kept.by_node.remove(&oldest);
        }
        drop(kept);
        drop((replaced, gone));
    }

    /// Drops the node's handle.
    pub fn forget(&self, node: u64) {
        // Nested: a node may be dropped wherever its last owner is.
        let mut kept = self.0.lock_nested();
        let gone = kept.by_node.remove(&node);
        if let Some((_, used)) = &gone {
            kept.by_use.remove(used);
        }
        drop(kept);
        drop(gone);
    }

    /// Drops all, when descriptors have run out.
    pub fn clear(&self) {
        let gone = std::mem::take(&mut self.0.lock().by_node);
        self.0.lock().by_use.clear();
        drop(gone);
    }
}
