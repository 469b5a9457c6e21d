//! A writable layer over read-only ones: what guests change lives in the upper layer, the lower ones never change.
//!
//! The layers are any inodes. Which lower names are hidden, which directories are merged and which number a file has shown
//! since before it was copied up is kept here, in the nodes, not in the upper layer: the upper layer lives and dies with us.
//! So a lower directory is renamed as cheaply as any other, and hard links of a lower file stay one file when it is copied up.

mod copy_tree;
mod copy_up;
mod data;
mod directory;
mod inode;
mod names;
mod node;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use kernel::file::FileDescription;
use kernel::vfs::{
    Dentry, FileKind, Inode, Mount, MountFlags, NewInode, Path, StatFs, Superblock, SuperblockOps,
};
use sync::{Mutex, rank};

use crate::listing::Budget;
pub use copy_tree::copy_tree;
use inode::OverlayInode;
use node::{Node, Place};

/// f_type (OVERLAYFS_SUPER_MAGIC).
const MAGIC: u64 = 0x794c_7630;

/// A file of a layer: layer number (0: upper), device, inode number.
type Key = (u32, u64, u64);

/// A node in the table; those that know what no layer does are kept.
struct Slot {
    node: Weak<Node>,
    kept: Option<Arc<Node>>,
}

/// An overlay.
struct Overlay {
    sb: OnceLock<Weak<Superblock>>,
    /// The upper layer's root.
    upper: Arc<Inode>,
    /// Beside it: names for files that have lost theirs in the upper layer, but not all that they have in lower ones.
    spare: Arc<Inode>,
    table: Mutex<HashMap<Key, Slot>>,
    listed: Arc<Budget>,
    /// Held while a file is copied up, and by whoever finds an unknown file in the upper layer: it may be half a copy.
    copying: Mutex<()>,
}

/// The root inode of an overlay; the first of `lowers` is the topmost. `upper` is empty and for the overlay alone.
pub fn mount(lowers: Vec<Arc<Inode>>, upper: Arc<Inode>) -> Result<Arc<Inode>, Errno> {
    let is_dir = |inode: &Arc<Inode>| inode.kind == FileKind::Directory;
    if lowers.is_empty() || !lowers.iter().all(is_dir) || !is_dir(&upper) {
        return Err(Errno::ENOTDIR);
    }
    let own = upper.attr()?;
    let part = NewInode {
        kind: FileKind::Directory,
        perm: 0o755,
        uid: own.uid,
        gid: own.gid,
        rdev: 0,
    };
    let spare = upper.ops.create(b"links", &part)?;
    let upper = upper.ops.create(b"root", &part)?;
    let overlay = Arc::new(Overlay {
        sb: OnceLock::new(),
        upper: upper.clone(),
        spare,
        table: Mutex::new(rank::LEAF, HashMap::new()),
        listed: Arc::default(),
        copying: Mutex::new(rank::OVERLAY, ()),
    });
    let sb = Superblock::new(Box::new(OverlaySuper(overlay.clone())));
    let _ = overlay.sb.set(Arc::downgrade(&sb));
    let lowers: Vec<_> = (1..).zip(lowers).collect();
    let node = overlay.lower_node(lowers, None)?;
    copy_up::copy_attributes(&*node.lower()?.ops, &upper)?;
    node.set_upper(&overlay, upper)?;
    overlay.inode(&node)
}

impl Overlay {
    fn sb(&self) -> Result<Arc<Superblock>, Errno> {
        self.sb.get().and_then(Weak::upgrade).ok_or(Errno::ESTALE)
    }

    /// The one inode of a node.
    fn inode(self: &Arc<Self>, node: &Arc<Node>) -> Result<Arc<Inode>, Errno> {
        let sb = self.sb()?;
        let mut state = node.state.lock();
        if let Some(inode) = state.inode.upgrade() {
            return Ok(inode);
        }
        let ops = OverlayInode {
            overlay: self.clone(),
            node: node.clone(),
        };
        let inode = Inode::new(sb, node.kind, Box::new(ops));
        state.inode = Arc::downgrade(&inode);
        Ok(inode)
    }

    fn known(&self, key: &Key) -> Option<Arc<Node>> {
        self.table.lock().get(key).and_then(|slot| slot.node.upgrade())
    }

    /// Enters a node, unless there is one by now: returns that one then.
    fn enter(&self, key: Key, node: Arc<Node>) -> Arc<Node> {
        let mut table = self.table.lock();
        if let Some(known) = table.get(&key).and_then(|slot| slot.node.upgrade()) {
            drop(table);
            return known;
        }
        let slot = Slot {
            node: Arc::downgrade(&node),
            kept: None,
        };
        let old = table.insert(key, slot);
        drop(table);
        drop(old);
        node
    }

    /// The node of a file found in lower layers at `place`; a directory may be in several.
    fn lower_node(
        self: &Arc<Self>,
        lowers: Vec<(u32, Arc<Inode>)>,
        place: Option<Place>,
    ) -> Result<Arc<Node>, Errno> {
        let (layer, inode) = lowers.first().ok_or(Errno::ENOENT)?;
        let attr = inode.attr()?;
        let key = (*layer, inode.sb.dev, attr.ino);
        let node = match self.known(&key) {
            Some(node) => node,
            None => {
                let node = Node::of_lower(self, key, inode.kind, lowers);
                self.enter(key, node)
            }
        };
        node.found(place);
        Ok(node)
    }

    /// The node of a file found in the upper layer at `place`.
    fn upper_node(self: &Arc<Self>, upper: Arc<Inode>, place: Option<Place>) -> Result<Arc<Node>, Errno> {
        let key = (0, upper.sb.dev, upper.attr()?.ino);
        let mut known = self.known(&key);
        if known.is_none() {
            // Either nobody knows it, or it is being copied up this moment.
            drop(self.copying.lock());
            known = self.known(&key);
        }
        let node = match known {
            Some(node) => node,
            None => {
                let node = Node::of_upper(self, key, upper);
                self.enter(key, node)
            }
        };
        node.found(place);
        Ok(node)
    }

    /// The number that the overlay shows for a file of a layer.
    fn number(&self, key: &Key) -> u64 {
        // Doubles hold 53 bits exactly, and some programs keep inode numbers in them.
        match key.0 {
            0 => key.2 ^ 1 << 50,
            1 => key.2,
            layer => key.2 ^ u64::from(layer) << 44,
        }
    }
}

/// A layer's file opened for the overlay's own use, or for one that sees it as it is.
fn open_layer(inode: &Arc<Inode>, flags: u32) -> Result<Arc<FileDescription>, Errno> {
    let dentry = Dentry::root(b"/", inode.clone());
    let path = Path {
        mount: Mount::new(dentry.clone(), b"layer", MountFlags::empty()),
        dentry,
    };
    let ops = inode.ops.open(&path, flags)?;
    Ok(FileDescription::new(path, ops, flags))
}

/// The superblock of an overlay.
struct OverlaySuper(Arc<Overlay>);

impl SuperblockOps for OverlaySuper {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn statfs(&self) -> Result<StatFs, Errno> {
        let upper = self.0.upper.sb.ops.statfs()?;
        Ok(StatFs {
            magic: MAGIC,
            ..upper
        })
    }

    fn sync(&self) -> Result<(), Errno> {
        self.0.upper.sb.ops.sync()
    }
}
