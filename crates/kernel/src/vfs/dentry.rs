//! Dentries: names in directories, cached. What keeps cached ones alive is [`super::DentryCache`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use sync::{Mutex, rank};

use super::Inode;
use super::dcache::CacheSlot;

/// Dead entries of a children map are swept once it has more than this and has doubled.
const SWEEP_FLOOR: usize = 64;

/// A name in a directory, with its inode; or known not to exist (negative).
///
/// A negative dentry may become positive once; a positive one stays so and is taken out of its directory when the
/// name goes away.
pub struct Dentry {
    inode: OnceLock<Arc<Inode>>,
    /// Guarded by the dentry lock: renames change them.
    pub(crate) state: Mutex<DentryState>,
    /// Mounts attached here, in all namespaces.
    pub(crate) mounts: AtomicU32,
    /// Looked up since the cache last considered dropping it.
    pub(crate) referenced: AtomicBool,
    /// Its place in the cache.
    pub(crate) slot: CacheSlot,
    /// The state of its directory in which it was looked up ([`super::InodeOps::watch`]).
    pub(crate) seen: AtomicU64,
    /// Unlinked: `(deleted)` in /proc.
    deleted: AtomicBool,
}

/// The changeable part of a dentry.
pub(crate) struct DentryState {
    pub name: Box<[u8]>,
    /// `None` for a root.
    pub parent: Option<Arc<Dentry>>,
    /// Cached children.
    pub children: HashMap<Box<[u8]>, Weak<Dentry>>,
    /// Size of `children` at which dead entries are swept.
    sweep_at: usize,
}

impl Dentry {
    /// A root (of a mount or of an anonymous object such as a pipe, whose `name` is then shown as it is).
    pub fn root(name: &[u8], inode: Arc<Inode>) -> Arc<Dentry> {
        Self::child(name, None, Some(inode))
    }

    pub(crate) fn child(name: &[u8], parent: Option<Arc<Dentry>>, inode: Option<Arc<Inode>>) -> Arc<Dentry> {
        let state = DentryState {
            name: name.into(),
            parent,
            children: HashMap::new(),
            sweep_at: SWEEP_FLOOR,
        };
        Arc::new(Dentry {
            inode: inode.map_or_else(OnceLock::new, OnceLock::from),
            state: Mutex::new(rank::DENTRY, state),
            mounts: AtomicU32::new(0),
            referenced: AtomicBool::new(false),
            slot: CacheSlot::default(),
            seen: AtomicU64::new(0),
            deleted: AtomicBool::new(false),
        })
    }

    /// Its inode. `ENOENT` when negative.
    pub fn inode(&self) -> Result<Arc<Inode>, Errno> {
        self.inode.get().cloned().ok_or(Errno::ENOENT)
    }

    /// Its inode, borrowed. `ENOENT` when negative.
    pub fn inode_ref(&self) -> Result<&Arc<Inode>, Errno> {
        self.inode.get().ok_or(Errno::ENOENT)
    }

    /// Whether it is known not to exist.
    pub fn is_negative(&self) -> bool {
        self.inode.get().is_none()
    }

    /// Its name.
    pub fn name(&self) -> Box<[u8]> {
        self.state.lock().name.clone()
    }

    /// Its directory; `None` for a root.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.state.lock().parent.clone()
    }

    /// Whether its name was removed.
    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Relaxed)
    }

    /// Whether something is mounted here in some namespace.
    pub fn is_mountpoint(&self) -> bool {
        self.mounts.load(Ordering::Relaxed) > 0
    }

    /// Makes a negative dentry positive (its directory's lock is held).
    pub(crate) fn instantiate(&self, inode: Arc<Inode>) {
        // Already set only if a file system hands the name out twice; then the first stays.
        let _ = self.inode.set(inode);
    }

    /// The cached child of that name.
    pub(crate) fn cached_child(&self, name: &[u8]) -> Option<Arc<Dentry>> {
        let found = self.state.lock().children.get(name).and_then(Weak::upgrade)?;
        if !found.referenced.load(Ordering::Relaxed) {
            found.referenced.store(true, Ordering::Relaxed);
        }
        Some(found)
    }

    /// Enters a child into the map, in place of an older one.
    pub(crate) fn adopt(&self, name: &[u8], child: &Arc<Dentry>) {
        let mut state = self.state.lock();
        if state.children.len() >= state.sweep_at {
            state.children.retain(|_, weak| weak.strong_count() > 0);
            state.sweep_at = (2 * state.children.len()).max(SWEEP_FLOOR);
        }
        state.children.insert(name.into(), Arc::downgrade(child));
    }

    /// Takes `child` out of the map if it is there under `name`.
    pub(crate) fn disown(&self, name: &[u8], child: &Dentry) {
        let mut state = self.state.lock();
        if state
            .children
            .get(name)
            .is_some_and(|weak| std::ptr::eq(weak.as_ptr(), child))
        {
            state.children.remove(name);
        }
    }

    /// The name is gone: out of its directory's map and marked as deleted.
    pub(crate) fn unhash(&self) {
        self.deleted.store(true, Ordering::Relaxed);
        let (name, parent) = {
            let state = self.state.lock();
            (state.name.clone(), state.parent.clone())
        };
        if let Some(parent) = parent {
            parent.disown(&name, self);
        }
    }

    /// Takes it out of its directory's map without calling it deleted (its name now means another file).
    pub(crate) fn forget(&self) {
        let (name, parent) = {
            let state = self.state.lock();
            (state.name.clone(), state.parent.clone())
        };
        if let Some(parent) = parent {
            parent.disown(&name, self);
        }
    }

    /// Moves it under `new_name` in `new_parent` (rename; both directories are locked).
    pub(crate) fn rename_to(self: &Arc<Self>, new_parent: &Arc<Dentry>, new_name: &[u8]) {
        self.forget();
        let old = {
            let mut state = self.state.lock();
            state.name = new_name.into();
            state.parent.replace(new_parent.clone())
        };
        drop(old);
        new_parent.adopt(new_name, self);
    }

    /// Whether `self` is `other` or lies below it.
    pub(crate) fn is_below(self: &Arc<Self>, other: &Arc<Dentry>) -> bool {
        let mut at = self.clone();
        loop {
            if Arc::ptr_eq(&at, other) {
                return true;
            }
            match at.parent() {
                Some(parent) => at = parent,
                None => return false,
            }
        }
    }
}

impl Drop for Dentry {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let name = std::mem::take(&mut state.name);
        let mut next = state.parent.take();
        if let Some(parent) = &next {
            // Only tried: a dead entry that stays is swept later, and locks may be held here.
            if let Some(mut above) = parent.state.try_lock()
                && above
                    .children
                    .get(&name)
                    .is_some_and(|weak| std::ptr::eq(weak.as_ptr(), self))
            {
                above.children.remove(&name);
            }
        }
        // A deep chain of parents must not be dropped by recursion.
        while let Some(mut dentry) = next.and_then(Arc::into_inner) {
            next = dentry.state.get_mut().parent.take();
        }
    }
}
