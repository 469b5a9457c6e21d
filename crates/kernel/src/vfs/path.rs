//! A place in the tree: a dentry seen through a mount.

use std::sync::Arc;

use abi::Errno;

use super::{Dentry, Inode, Mount};
use crate::file::FileDescription;

/// A dentry on a mount (Linux's struct path).
#[derive(Clone)]
pub struct Path {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The dentry.
    pub dentry: Arc<Dentry>,
}

impl Path {
    /// The inode there. `ENOENT` when the dentry is negative.
    pub fn inode(&self) -> Result<Arc<Inode>, Errno> {
        self.dentry.inode()
    }
}

/// Gives up the flock(2) and open-file-description locks of a file that is being dropped.
pub fn release_locks(file: &FileDescription) {
    let _ = file;
}
