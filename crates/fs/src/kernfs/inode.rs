//! Inodes over nodes: numbers, attributes, and the table that keeps one inode per file.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

use abi::Errno;
use kernel::cred::Credentials;
use kernel::file::FileOps;
use kernel::vfs::{
    Attr, AttrChange, FileKind, Follow, Inode, InodeOps, Path, StatFs, Superblock, SuperblockOps,
};
use sync::{Mutex, rank};

use super::Node;
use super::list::ListFile;
use super::text::TextFile;

/// Number of a root directory.
const ROOT_INO: u64 = 1;
/// Dead entries are swept from the inode table when it has grown by this many.
const SWEEP_EVERY: usize = 1024;

/// The superblock of a synthetic tree.
pub struct KernSuper {
    name: &'static str,
    magic: u64,
    /// Whether names never change by themselves.
    fixed: bool,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    inodes: HashMap<u64, Weak<Inode>>,
    sweep_at: usize,
}

impl KernSuper {
    /// A superblock; `fixed`: names may be cached because they never change by themselves.
    pub fn superblock(name: &'static str, magic: u64, fixed: bool) -> Arc<Superblock> {
        Superblock::new(Box::new(KernSuper {
            name,
            magic,
            fixed,
            live: Mutex::new(rank::LEAF, Live::default()),
        }))
    }
}

impl SuperblockOps for KernSuper {
    fn name(&self) -> &'static str {
        self.name
    }
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs {
            magic: self.magic,
            block_size: abi::PAGE_SIZE,
            name_max: 255,
            ..StatFs::default()
        })
    }
    fn cacheable(&self) -> bool {
        self.fixed
    }
}

/// The root inode of a tree.
pub fn root_inode(sb: &Arc<Superblock>, node: Arc<dyn Node>) -> Arc<Inode> {
    inode_for(sb, ROOT_INO, ROOT_INO, node)
}

/// FNV-1a over the parent's number and the name; cut to 52 bits so that doubles hold it too.
pub(super) fn child_ino(parent: u64, name: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parent.to_le_bytes().iter().chain(name) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
    ((hash ^ (hash >> 52)) & ((1 << 52) - 1)).max(ROOT_INO + 1)
}

/// The one inode with this number, made when nobody holds it.
fn inode_for(sb: &Arc<Superblock>, ino: u64, parent: u64, node: Arc<dyn Node>) -> Arc<Inode> {
    let kind = node.kind();
    let make = |node: Arc<dyn Node>| {
        let ops = KernInode {
            sb: sb.clone(),
            ino,
            parent,
            node,
            made: crate::kernfs::text::now(),
        };
        Inode::new(sb.clone(), kind, Box::new(ops))
    };
    let Some(table) = (&*sb.ops as &dyn Any).downcast_ref::<KernSuper>() else {
        return make(node);
    };
    let mut live = table.live.lock();
    if let Some(inode) = live.inodes.get(&ino).and_then(Weak::upgrade) {
        let same = |old: &KernInode| old.node.same(&*node);
        if inode.kind == kind && inode.ops_as::<KernInode>().is_some_and(same) {
            return inode;
        }
    }
    let inode = make(node);
    live.inodes.insert(ino, Arc::downgrade(&inode));
    if live.inodes.len() > live.sweep_at {
        live.inodes.retain(|_, inode| inode.strong_count() > 0);
        live.sweep_at = live.inodes.len() + SWEEP_EVERY;
    }
    inode
}

/// A node as an inode.
struct KernInode {
    sb: Arc<Superblock>,
    ino: u64,
    parent: u64,
    node: Arc<dyn Node>,
    /// All its times: when it was first looked at.
    made: i64,
}

impl InodeOps for KernInode {
    fn process(&self) -> Option<u32> {
        self.node.process()
    }

    fn attr(&self) -> Result<Attr, Errno> {
        let meta = self.node.meta()?;
        let kind = self.node.kind();
        Ok(Attr {
            ino: self.ino,
            kind,
            perm: meta.perm,
            nlink: if kind == FileKind::Directory { 2 } else { 1 },
            uid: meta.uid,
            gid: meta.gid,
            rdev: meta.rdev,
            size: meta.size,
            blocks: 0,
            blksize: 1024,
            atime: self.made,
            mtime: self.made,
            ctime: self.made,
            btime: None,
        })
    }

    fn set_attr(&self, change: &AttrChange) -> Result<(), Errno> {
        // O_TRUNC of a writable file is accepted and does nothing, as in Linux's procfs and sysfs.
        let rest = AttrChange {
            size: None,
            ..*change
        };
        if rest == AttrChange::default() {
            return Ok(());
        }
        self.node.set_attr(&rest)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        if self.node.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let node = self.node.lookup(name)?;
        let ino = child_ino(self.ino, name);
        Ok(inode_for(&self.sb, ino, self.ino, node))
    }

    fn unlink(&self, name: &[u8], _: &Arc<Inode>) -> Result<(), Errno> {
        self.node.unlink(name)
    }

    fn readlink(&self) -> Result<Vec<u8>, Errno> {
        self.node.readlink()
    }

    fn follow(&self) -> Result<Follow, Errno> {
        self.node.follow()
    }

    fn open(&self, path: &Path, flags: u32) -> Result<Box<dyn FileOps>, Errno> {
        if let Some(ops) = self.node.open(path, flags) {
            return ops;
        }
        match self.node.kind() {
            FileKind::Directory => Ok(Box::new(ListFile::new(self.node.clone(), self.ino, self.parent))),
            FileKind::Regular => Ok(Box::new(TextFile::new(self.node.clone()))),
            _ => Err(Errno::ENXIO),
        }
    }

    fn permission(&self, cred: &Credentials, mask: u32) -> Option<Result<(), Errno>> {
        self.node.permission(cred, mask)
    }
}
