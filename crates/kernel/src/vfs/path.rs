//! A place in the tree: a dentry seen through a mount; and its text.

use std::sync::Arc;

use abi::Errno;

use super::{Dentry, Inode, Mount};

/// Bytes of text that are put together at most: a directory may lie deeper than any path reaches.
const TEXT_LIMIT: usize = 64 << 10;

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

    /// Whether both are the same place.
    pub fn same(&self, other: &Path) -> bool {
        Arc::ptr_eq(&self.dentry, &other.dentry) && Arc::ptr_eq(&self.mount, &other.mount)
    }

    /// Whether it is the root of its mount.
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, &self.mount.root)
    }

    /// The place above within what `root` bounds (`..`); itself at the root.
    pub fn above(&self, root: &Path) -> Path {
        let mut at = self.clone();
        loop {
            if at.same(root) {
                return at;
            }
            if at.is_mount_root() {
                match at.mount.parent() {
                    Some((mount, dentry)) => at = Path { mount, dentry },
                    None => return at,
                }
                continue;
            }
            return match at.dentry.parent() {
                Some(dentry) => Path {
                    mount: at.mount,
                    dentry,
                },
                None => at,
            };
        }
    }

    /// The text of the place as seen from `root`, as /proc shows it: ` (deleted)` after an unlinked name.
    /// Names of anonymous objects stand as they are.
    pub fn text(&self, root: &Path) -> Vec<u8> {
        let mut text = self.plain_text(root).0;
        if self.dentry.is_deleted() {
            text.extend_from_slice(b" (deleted)");
        }
        text
    }

    /// The text of the place, and whether it lies below `root` (else the text is from the top of its tree, or only the
    /// end of one that is far too long).
    pub fn plain_text(&self, root: &Path) -> (Vec<u8>, bool) {
        if self.dentry.parent().is_none() && !self.is_mount_root() {
            return (self.dentry.name().to_vec(), true);
        }
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let mut bytes = 0;
        let mut at = self.clone();
        let reachable = loop {
            if at.same(root) {
                break true;
            }
            if at.is_mount_root() {
                match at.mount.parent() {
                    Some((mount, dentry)) => at = Path { mount, dentry },
                    None => break false,
                }
                continue;
            }
            let (name, parent) = {
                let state = at.dentry.state.lock();
                (state.name.clone(), state.parent.clone())
            };
            match parent {
                Some(parent) => at.dentry = parent,
                None => break false,
            }
            bytes += name.len() + 1;
            names.push(name);
            if bytes > TEXT_LIMIT {
                break false;
            }
        };
        let mut text = Vec::with_capacity(names.iter().map(|name| name.len() + 1).sum::<usize>().max(1));
        for name in names.iter().rev() {
            text.push(b'/');
            text.extend_from_slice(name);
        }
        if text.is_empty() {
            text.push(b'/');
        }
        (text, reachable)
    }
}
