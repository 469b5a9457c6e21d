//! The overlay's files as inodes.

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{O_ACCMODE, O_RDONLY};
use kernel::file::FileOps;
use kernel::vfs::{Attr, AttrChange, FileKind, Inode, InodeOps, NewInode, Path};

use super::Overlay;
use super::data::OverlayData;
use super::directory::OverlayDirectory;
use super::node::Node;

/// A file of the overlay.
pub struct OverlayInode {
    pub(super) overlay: Arc<Overlay>,
    pub(super) node: Arc<Node>,
}

impl OverlayInode {
    fn copy_up(&self) -> Result<Arc<Inode>, Errno> {
        self.overlay.copy_up(&self.node, false)
    }
}

impl InodeOps for OverlayInode {
    fn attr(&self) -> Result<Attr, Errno> {
        self.node.attr()
    }

    fn set_attr(&self, change: &AttrChange) -> Result<(), Errno> {
        let upper = self.overlay.copy_up(&self.node, change.size == Some(0))?;
        upper.ops.set_attr(change)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        let node = self.overlay.lookup(&self.node, name)?;
        self.overlay.inode(&node)
    }

    fn create(&self, name: &[u8], new: &NewInode) -> Result<Arc<Inode>, Errno> {
        let dir = self.copy_up()?;
        self.overlay.adopt(&self.node, name, dir.ops.create(name, new)?)
    }

    fn symlink(&self, name: &[u8], target: &[u8], new: &NewInode) -> Result<Arc<Inode>, Errno> {
        let dir = self.copy_up()?;
        self.overlay
            .adopt(&self.node, name, dir.ops.symlink(name, target, new)?)
    }

    fn link(&self, name: &[u8], target: &Arc<Inode>) -> Result<(), Errno> {
        let target = target.ops_as::<OverlayInode>().ok_or(Errno::EXDEV)?;
        let upper = target.copy_up()?;
        self.copy_up()?.ops.link(name, &upper)?;
        target.node.count_links(&self.overlay, 1);
        self.node.entries_changed();
        Ok(())
    }

    fn unlink(&self, name: &[u8], victim: &Arc<Inode>) -> Result<(), Errno> {
        let victim = victim.ops_as::<OverlayInode>().ok_or(Errno::ESTALE)?;
        self.overlay.unlink(&self.node, name, &victim.node)
    }

    fn rmdir(&self, name: &[u8], victim: &Arc<Inode>) -> Result<(), Errno> {
        let victim = victim.ops_as::<OverlayInode>().ok_or(Errno::ESTALE)?;
        self.overlay.rmdir(&self.node, name, &victim.node)
    }

    fn rename(&self, name: &[u8], new_dir: &Arc<Inode>, new_name: &[u8], flags: u32) -> Result<(), Errno> {
        let to = new_dir.ops_as::<OverlayInode>().ok_or(Errno::EXDEV)?;
        self.overlay
            .rename((&self.node, name), (&to.node, new_name), flags)
    }

    fn tmpfile(&self, new: &NewInode) -> Result<Arc<Inode>, Errno> {
        let dir = self.copy_up()?;
        let node = self.overlay.upper_node(dir.ops.tmpfile(new)?, None)?;
        self.overlay.inode(&node)
    }

    fn readlink(&self) -> Result<Vec<u8>, Errno> {
        self.node.real()?.ops.readlink()
    }

    fn open(&self, path: &Path, flags: u32) -> Result<Box<dyn FileOps>, Errno> {
        match self.node.kind {
            FileKind::Directory => return Ok(Box::new(OverlayDirectory::new(&self.overlay, &self.node))),
            FileKind::Regular => {}
            _ => return self.node.real()?.ops.open(path, flags),
        }
        if flags & O_ACCMODE == O_RDONLY && !self.node.is_copied() {
            return Ok(Box::new(OverlayData::open(&self.node, flags)?));
        }
        self.copy_up()?.ops.open(path, flags)
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.node.real()?.ops.get_xattr(name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        self.copy_up()?.ops.set_xattr(name, value, flags)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        // Not copied for nothing.
        self.node.real()?.ops.get_xattr(name)?;
        self.copy_up()?.ops.remove_xattr(name)
    }

    fn list_xattr(&self) -> Result<Vec<Vec<u8>>, Errno> {
        self.node.real()?.ops.list_xattr()
    }
}
