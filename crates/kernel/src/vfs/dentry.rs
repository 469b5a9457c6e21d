//! Dentries: names in directories, cached.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Mutex, rank};

use super::Inode;

/// A name in a directory, with its inode; or known not to exist (negative).
pub struct Dentry {
    /// Guarded by the dentry lock: renames change them.
    pub(crate) state: Mutex<DentryState>,
}

/// The changeable part of a dentry.
pub(crate) struct DentryState {
    pub name: Box<[u8]>,
    /// `None` for a root.
    pub parent: Option<Arc<Dentry>>,
    /// `None`: negative.
    pub inode: Option<Arc<Inode>>,
    /// Cached children. The vfs developer decides what keeps them alive (a bounded LRU).
    pub children: HashMap<Box<[u8]>, Weak<Dentry>>,
    /// Unlinked: `(deleted)` in /proc.
    pub deleted: bool,
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
            inode,
            children: HashMap::new(),
            deleted: false,
        };
        Arc::new(Dentry {
            state: Mutex::new(rank::DENTRY, state),
        })
    }

    /// Its inode. `ENOENT` when negative.
    pub fn inode(&self) -> Result<Arc<Inode>, Errno> {
        self.state.lock().inode.clone().ok_or(Errno::ENOENT)
    }

    /// Its name.
    pub fn name(&self) -> Box<[u8]> {
        self.state.lock().name.clone()
    }

    /// Its directory; `None` for a root.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.state.lock().parent.clone()
    }
}
