//! Files without a place in any directory.

use std::sync::Arc;

use abi::Errno;

use super::{
    Attr, Dentry, FileKind, Inode, InodeOps, Mount, MountFlags, Path, StatFs, Superblock, SuperblockOps,
};
use crate::Kernel;
use crate::file::{FileDescription, FileOps};

struct AnonymousFs;
impl SuperblockOps for AnonymousFs {
    fn name(&self) -> &'static str {
        "anon_inodefs"
    }
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs::default())
    }
}
struct AnonymousInode(Attr);
impl InodeOps for AnonymousInode {
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(self.0)
    }
    fn open(&self, _: &Path, _: u32) -> Result<Box<dyn FileOps>, Errno> {
        Err(Errno::ENXIO)
    }
}

/// A place outside every directory for one object.
pub fn anon_path(_: &Kernel, name: &str, ino: u64, kind: FileKind, perm: u32) -> Path {
    let sb = Superblock::new(Box::new(AnonymousFs));
    let attr = Attr {
        ino,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        blocks: 0,
        blksize: 4096,
        atime: 0,
        mtime: 0,
        ctime: 0,
        btime: None,
    };
    let inode = Inode::new(sb, kind, Box::new(AnonymousInode(attr)));
    let root = Dentry::root(name.as_bytes(), inode);
    let mount = Arc::new(Mount {
        id: 0,
        root: root.clone(),
        source: Vec::new(),
        at: sync::Mutex::new(sync::rank::MOUNTS, None),
        flags: sync::Mutex::new(sync::rank::LEAF, MountFlags::empty()),
    });
    Path { mount, dentry: root }
}

/// An open file outside every directory.
pub fn anon_file(kernel: &Kernel, name: &str, ops: Box<dyn FileOps>, flags: u32) -> Arc<FileDescription> {
    let path = anon_path(kernel, name, kernel.next_ino(), FileKind::Fifo, 0o600);
    FileDescription::new(path, ops, flags)
}
