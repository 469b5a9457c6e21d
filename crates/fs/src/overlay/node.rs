//! A file of the overlay: where its bytes are, and what no layer knows of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use kernel::vfs::{Attr, FileKind, Inode};
use sync::{Mutex, rank};

use super::{Key, Overlay};
use crate::listing::Listing;

/// A directory and a name in it.
pub type Place = (Arc<Node>, Box<[u8]>);

/// A file in use, or one that was copied up.
pub struct Node {
    overlay: Weak<Overlay>,
    /// st_ino.
    pub ino: u64,
    pub kind: FileKind,
    /// Where it was found first.
    origin: Key,
    /// Whether `upper` is set, to be asked without the lock.
    copied: AtomicBool,
    pub state: Mutex<NodeState>,
}

/// What changes about a node.
pub struct NodeState {
    pub inode: Weak<Inode>,
    pub upper: Option<Arc<Inode>>,
    upper_key: Option<Key>,
    /// Its layers below; several for a merged directory.
    pub lowers: Arc<[(u32, Arc<Inode>)]>,
    /// Where it was found last; `None`: the root, or unlinked.
    pub place: Option<Place>,
    /// Names of lower entries that are not to be seen.
    pub hidden: HashSet<Box<[u8]>>,
    /// Hard links, once they differ from what the lower layer says.
    pub links: Option<u32>,
    /// The directory's entries.
    pub list: Option<Arc<Listing>>,
    /// Counts what put `list` out of date, so that what was listed before is not kept after.
    pub changes: u64,
    /// A fifo or socket in the upper layer: what is bound to its inode lasts as long as its name.
    pub bound: Option<Arc<Inode>>,
}

impl Node {
    fn new(
        overlay: &Arc<Overlay>,
        origin: Key,
        kind: FileKind,
        upper: Option<Arc<Inode>>,
        lowers: Vec<(u32, Arc<Inode>)>,
    ) -> Arc<Node> {
        Arc::new(Node {
            overlay: Arc::downgrade(overlay),
            ino: overlay.number(&origin),
            kind,
            origin,
            copied: AtomicBool::new(upper.is_some()),
            state: Mutex::new(
                rank::FS,
                NodeState {
                    inode: Weak::new(),
                    upper_key: upper.is_some().then_some(origin),
                    upper,
                    lowers: lowers.into(),
                    place: None,
                    hidden: HashSet::new(),
                    links: None,
                    list: None,
                    changes: 0,
                    bound: None,
                },
            ),
        })
    }

    pub(super) fn of_lower(
        overlay: &Arc<Overlay>,
        key: Key,
        kind: FileKind,
        lowers: Vec<(u32, Arc<Inode>)>,
    ) -> Arc<Node> {
        Node::new(overlay, key, kind, None, lowers)
    }

    pub(super) fn of_upper(overlay: &Arc<Overlay>, key: Key, upper: Arc<Inode>) -> Arc<Node> {
        Node::new(overlay, key, upper.kind, Some(upper), Vec::new())
    }

    /// It was just found at `place`.
    pub fn found(&self, place: Option<Place>) {
        let Some(place) = place else { return };
        let old = self.state.lock().place.replace(place);
        drop(old);
    }

    /// Whether its bytes are in the upper layer.
    pub fn is_copied(&self) -> bool {
        self.copied.load(Ordering::Acquire)
    }

    pub fn upper(&self) -> Option<Arc<Inode>> {
        self.state.lock().upper.clone()
    }

    /// Its topmost lower file.
    pub fn lower(&self) -> Result<Arc<Inode>, Errno> {
        let state = self.state.lock();
        state
            .lowers
            .first()
            .map(|(_, inode)| inode.clone())
            .ok_or(Errno::ENOENT)
    }

    /// The layer's file that is seen.
    pub fn real(&self) -> Result<Arc<Inode>, Errno> {
        let state = self.state.lock();
        let lower = state.lowers.first().map(|(_, inode)| inode);
        state.upper.as_ref().or(lower).cloned().ok_or(Errno::ESTALE)
    }

    /// stat(2).
    pub fn attr(&self) -> Result<Attr, Errno> {
        let (real, links, merged) = {
            let state = self.state.lock();
            let lower = state.lowers.first().map(|(_, inode)| inode);
            let real = state.upper.as_ref().or(lower).cloned().ok_or(Errno::ESTALE)?;
            let parts = state.lowers.len() + usize::from(state.upper.is_some());
            (real, state.links, parts > 1)
        };
        let mut attr = real.attr()?;
        attr.ino = self.ino;
        if self.kind == FileKind::Directory {
            // Of a merged directory nobody has counted the subdirectories: 1 says so, as on Linux's overlayfs.
            attr.nlink = if merged { 1 } else { attr.nlink };
        } else {
            attr.nlink = links.unwrap_or(attr.nlink);
        }
        Ok(attr)
    }

    /// Its bytes are in the upper layer from now on, and the node is kept, because only it knows of the lower ones.
    pub(super) fn set_upper(self: &Arc<Self>, overlay: &Overlay, upper: Arc<Inode>) -> Result<(), Errno> {
        let key = (0, upper.sb.dev, upper.attr()?.ino);
        let links = match self.kind {
            FileKind::Directory => None,
            _ => Some(self.attr()?.nlink),
        };
        let slot = || super::Slot {
            node: Arc::downgrade(self),
            kept: Some(self.clone()),
        };
        let mut table = overlay.table.lock();
        let old = (table.insert(key, slot()), table.insert(self.origin, slot()));
        drop(table);
        drop(old);
        let mut state = self.state.lock();
        state.upper = Some(upper);
        state.upper_key = Some(key);
        state.links = state.links.or(links);
        state.list = None;
        state.changes += 1;
        self.copied.store(true, Ordering::Release);
        Ok(())
    }

    /// One hard link more or less, where this has to be counted here; without any left, nothing more is to be known of it.
    pub(super) fn count_links(self: &Arc<Self>, overlay: &Overlay, change: i32) {
        // The lower layer is asked without the lock.
        let lower = self
            .lower()
            .and_then(|lower| lower.attr())
            .map(|attr| attr.nlink)
            .ok();
        let lower = lower.filter(|_| self.kind != FileKind::Directory);
        let mut state = self.state.lock();
        let Some(links) = state.links.or(lower) else {
            return;
        };
        let links = links.saturating_add_signed(change);
        state.links = Some(links);
        drop(state);
        if links == 0 {
            if self.is_copied() {
                overlay.drop_spare(self);
            }
            self.forget(overlay);
        } else if let Some(slot) = overlay.table.lock().get_mut(&self.origin) {
            slot.kept = Some(self.clone());
        }
    }

    /// It is gone for good: the table no longer keeps it.
    pub(super) fn forget(&self, overlay: &Overlay) {
        let keys = [Some(self.origin), self.state.lock().upper_key];
        let mut kept = Vec::new();
        let mut table = overlay.table.lock();
        for key in keys.into_iter().flatten() {
            kept.extend(table.get_mut(&key).and_then(|slot| slot.kept.take()));
        }
        drop(table);
        drop(kept);
    }

    /// Its name `place` is gone.
    pub fn left(&self, place: &Place) {
        let mut state = self.state.lock();
        let there = state
            .place
            .as_ref()
            .is_some_and(|at| Arc::ptr_eq(&at.0, &place.0) && at.1 == place.1);
        let old = if there { state.place.take() } else { None };
        let bound = state.bound.take();
        drop(state);
        drop((old, bound));
    }

    /// Its entries have changed.
    pub fn entries_changed(&self) {
        let mut state = self.state.lock();
        state.changes += 1;
        let old = state.list.take();
        drop(state);
        drop(old);
    }

    fn leave(&mut self) -> Option<Arc<Node>> {
        let (upper_key, place) = {
            let state = self.state.get_mut();
            (state.upper_key, state.place.take())
        };
        if let Some(overlay) = self.overlay.upgrade() {
            let mut table = overlay.table.lock_nested();
            for key in [Some(self.origin), upper_key].into_iter().flatten() {
                if table.get(&key).is_some_and(|slot| slot.node.strong_count() == 0) {
                    table.remove(&key);
                }
            }
        }
        place.map(|(parent, _)| parent)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One after the other: a chain of directories may be deeper than the stack.
        let mut next = self.leave();
        while let Some(parent) = next {
            next = Arc::into_inner(parent).and_then(|mut node| node.leave());
        }
    }
}
