//! A tree of the host, served from a directory handle: one component at a time, no link followed, no host path ever.
//!
//! *Exclusive* mode (nobody else changes the tree, or nobody minds) caches attributes, link texts, listings and, through
//! the VFS, names; *shared* mode does so as long as the host changes nothing (`watch`), or else asks again. Device nodes, sockets and fifos are shown but never opened here.
//! Nodes (`node`) know where a file is, not an open descriptor: handles are a bounded cache (`handles`).

mod data;
mod directory;
mod handles;
mod inode;
mod node;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod transfer;
mod watch;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use host::file::{self, Stat};
use kernel::vfs::{FileKind, Inode, StatFs, Superblock, SuperblockOps};
use sync::{Mutex, rank};

use crate::listing::Budget;
use handles::Handles;
pub(crate) use inode::HostInode;
use node::Node;
pub use watch::start as watch_changes;

/// OVERLAYFS_SUPER_MAGIC.
const OVERLAYFS: u64 = 0x794c_7630;

/// How a host tree is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Every change answers `EROFS`.
    pub read_only: bool,
    /// The host changes it too: nothing is cached but what it tells changes of.
    pub shared: bool,
}

/// A host tree.
pub(crate) struct HostFs {
    options: Options,
    /// Its root: a directory, or a single file.
    root: Arc<OwnedFd>,
    /// The device the root is on.
    dev: u64,
    sb: OnceLock<Weak<Superblock>>,
    /// Nodes in use by (device, inode number).
    nodes: Mutex<HashMap<(u64, u64), Weak<Node>>>,
    handles: Handles,
    listed: Arc<Budget>,
    /// Tells of the host's changes (shared mode).
    watch: Option<&'static watch::Watch>,
    /// Files keep their number but not their time of birth when they are first written (overlayfs copies them up).
    copies_up: bool,
    next_node: AtomicU64,
}

/// The root inode of the host tree at `root`: an O_PATH handle of a directory, or an open regular file.
pub fn mount(root: OwnedFd, options: Options) -> Result<Arc<Inode>, Errno> {
    let stat = file::stat(root.as_fd())?;
    // An O_PATH handle of a file cannot be opened again without its name.
    if FileKind::from_mode(stat.mode) == Some(FileKind::Regular) && !file::access(root.as_fd())?.reads {
        return Err(Errno::EBADF);
    }
    let magic = file::statfs(root.as_fd())?.magic;
    let watch = match options.shared {
        true => watch::of(magic),
        false => None,
    };
    let fs = Arc::new(HostFs {
        options,
        root: Arc::new(root),
        dev: stat.dev,
        sb: OnceLock::new(),
        nodes: Mutex::new(rank::LEAF, HashMap::new()),
        handles: Handles::default(),
        listed: Arc::default(),
        watch,
        copies_up: magic == OVERLAYFS,
        next_node: AtomicU64::new(1),
    });
    let sb = Superblock::new(Box::new(HostSuper(fs.clone())));
    let _ = fs.sb.set(Arc::downgrade(&sb));
    fs.inode(&stat, None)
}

impl HostFs {
    fn sb(&self) -> Result<Arc<Superblock>, Errno> {
        self.sb.get().and_then(Weak::upgrade).ok_or(Errno::ESTALE)
    }

    /// The node of a file that was just found at `place`; `None`: the root.
    fn node(self: &Arc<Self>, stat: &Stat, place: Option<node::Place>) -> Result<Arc<Node>, Errno> {
        let kind = FileKind::from_mode(stat.mode).ok_or(Errno::EIO)?;
        let known = self
            .nodes
            .lock()
            .get(&(stat.dev, stat.ino))
            .and_then(Weak::upgrade);
        if let Some(node) = known
            && node.is_still(kind, stat)
        {
            node.found(self, stat, place);
            return Ok(node);
        }
        let id = self.next_node.fetch_add(1, Ordering::Relaxed);
        let node = Node::new(self, id, kind, stat, place);
        let mut nodes = self.nodes.lock();
        // Another thread may have been faster.
        let other = nodes.get(&node.key).and_then(Weak::upgrade);
        match other {
            Some(other) if other.is_still(kind, stat) => {
                drop(nodes);
                Ok(other)
            }
            other => {
                nodes.insert(node.key, Arc::downgrade(&node));
                drop(nodes);
                drop(other);
                Ok(node)
            }
        }
    }

    /// The one inode of a file that was just found.
    fn inode(self: &Arc<Self>, stat: &Stat, place: Option<node::Place>) -> Result<Arc<Inode>, Errno> {
        let sb = self.sb()?;
        let node = self.node(stat, place)?;
        let mut state = node.state.lock();
        if let Some(inode) = state.inode.upgrade() {
            return Ok(inode);
        }
        let ops = HostInode {
            fs: self.clone(),
            node: node.clone(),
        };
        let inode = Inode::new(sb, node.kind, Box::new(ops));
        state.inode = Arc::downgrade(&inode);
        Ok(inode)
    }

    /// The node of a file, if it is in use.
    fn known(&self, stat: &Stat) -> Option<Arc<Node>> {
        self.nodes
            .lock()
            .get(&(stat.dev, stat.ino))
            .and_then(Weak::upgrade)
    }

    /// `EROFS` when nothing may be changed.
    fn writable(&self) -> Result<(), Errno> {
        if self.options.read_only {
            Err(Errno::EROFS)
        } else {
            Ok(())
        }
    }
}

/// The superblock of a host tree.
struct HostSuper(Arc<HostFs>);

impl SuperblockOps for HostSuper {
    fn name(&self) -> &'static str {
        "hostfs"
    }

    fn statfs(&self) -> Result<StatFs, Errno> {
        let raw = file::statfs(self.0.root.as_fd())?;
        Ok(StatFs {
            magic: raw.magic,
            block_size: raw.block_size,
            blocks: raw.blocks[0],
            blocks_free: raw.blocks[1],
            blocks_available: raw.blocks[2],
            files: raw.files[0],
            files_free: raw.files[1],
            name_max: raw.name_max,
        })
    }

    fn sync(&self) -> Result<(), Errno> {
        if self.0.options.read_only {
            return Ok(());
        }
        let list = host::dir::open_self(self.0.root.as_fd())?;
        file::sync_filesystem(list.as_fd())
    }

    fn cacheable(&self) -> bool {
        !self.0.options.shared
    }
}
