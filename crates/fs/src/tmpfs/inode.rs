//! Operations on files of a tmpfs.

use std::sync::Arc;

use abi::Errno;
use kernel::file::FileOps;
use kernel::vfs::{
    Attr, AttrChange, FileKind, Inode, InodeOps, NewInode, Path, RENAME_EXCHANGE, RENAME_NOREPLACE,
    RENAME_WHITEOUT,
};

use super::data::TmpData;
use super::directory::TmpDirectory;
use super::node::{Content, Node};

/// A file of a tmpfs.
pub struct TmpInode(pub Arc<Node>);

/// The node of an inode of this file system.
fn node(inode: &Inode) -> Result<&Arc<Node>, Errno> {
    inode.ops_as::<TmpInode>().map(|tmp| &tmp.0).ok_or(Errno::EXDEV)
}

impl TmpInode {
    /// Enters a new file.
    fn enter(&self, name: &[u8], inode: Arc<Inode>) -> Result<Arc<Inode>, Errno> {
        let mut entries = self.0.entries()?.lock();
        if entries.by_name.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        entries.insert(name, inode.clone());
        drop(entries);
        if inode.kind == FileKind::Directory {
            self.0.linked(true)?;
        }
        self.0.entries_changed();
        Ok(inode)
    }

    /// Takes a name away; the file keeps living as long as it is open.
    fn leave(&self, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        let gone = self.0.entries()?.lock().remove(name).ok_or(Errno::ENOENT)?;
        self.0.entries_changed();
        Ok(gone)
    }

    /// What a file that lost its name in this directory counts.
    fn lost(&self, gone: &Inode) -> Result<(), Errno> {
        let gone = node(gone)?;
        gone.linked(false)?;
        if gone.kind == FileKind::Directory {
            gone.linked(false)?;
            self.0.linked(false)?;
        }
        Ok(())
    }

    /// Whether `inode` may be replaced by `by`.
    fn may_replace(inode: &Inode, by: &Inode) -> Result<(), Errno> {
        let (old, new) = (node(inode)?, node(by)?);
        match (old.kind == FileKind::Directory, new.kind == FileKind::Directory) {
            (true, false) => Err(Errno::EISDIR),
            (false, true) => Err(Errno::ENOTDIR),
            (true, true) if !old.entries()?.lock().by_name.is_empty() => Err(Errno::ENOTEMPTY),
            _ => Ok(()),
        }
    }

    fn exchange(&self, name: &[u8], to: &TmpInode, new_name: &[u8]) -> Result<(), Errno> {
        let (one, other) = (self.lookup(name)?, to.lookup(new_name)?);
        self.0.entries()?.lock().insert(name, other.clone());
        to.0.entries()?.lock().insert(new_name, one.clone());
        for (dir, came, went) in [(self, &other, &one), (to, &one, &other)] {
            let count = |inode: &Inode| inode.kind == FileKind::Directory;
            match (count(came), count(went)) {
                (true, false) => dir.0.linked(true)?,
                (false, true) => dir.0.linked(false)?,
                _ => {}
            }
            dir.0.entries_changed();
        }
        Ok(())
    }
}

impl InodeOps for TmpInode {
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(self.0.attr())
    }

    fn set_attr(&self, change: &AttrChange) -> Result<(), Errno> {
        self.0.set_attr(change)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        let entries = self.0.entries()?.lock();
        entries
            .by_name
            .get(name)
            .map(|entry| entry.inode.clone())
            .ok_or(Errno::ENOENT)
    }

    fn create(&self, name: &[u8], new: &NewInode) -> Result<Arc<Inode>, Errno> {
        self.enter(name, self.0.fs.new_inode(new, None)?)
    }

    fn symlink(&self, name: &[u8], target: &[u8], new: &NewInode) -> Result<Arc<Inode>, Errno> {
        self.enter(name, self.0.fs.new_inode(new, Some(target))?)
    }

    fn link(&self, name: &[u8], target: &Arc<Inode>) -> Result<(), Errno> {
        node(target)?.linked(true)?;
        match self.enter(name, target.clone()) {
            Ok(_) => Ok(()),
            Err(error) => {
                node(target)?.linked(false)?;
                Err(error)
            }
        }
    }

    fn unlink(&self, name: &[u8], _: &Arc<Inode>) -> Result<(), Errno> {
        let gone = self.leave(name)?;
        self.lost(&gone)
    }

    fn rmdir(&self, name: &[u8], victim: &Arc<Inode>) -> Result<(), Errno> {
        if !node(victim)?.entries()?.lock().by_name.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        let gone = self.leave(name)?;
        self.lost(&gone)
    }

    fn rename(&self, name: &[u8], new_dir: &Arc<Inode>, new_name: &[u8], flags: u32) -> Result<(), Errno> {
        let to = new_dir.ops_as::<TmpInode>().ok_or(Errno::EXDEV)?;
        if flags & RENAME_EXCHANGE != 0 {
            return self.exchange(name, to, new_name);
        }
        let moved = self.lookup(name)?;
        let replaced = match to.lookup(new_name) {
            Ok(_) if flags & RENAME_NOREPLACE != 0 => return Err(Errno::EEXIST),
            Ok(replaced) if Arc::ptr_eq(&replaced, &moved) => return Ok(()),
            Ok(replaced) => {
                Self::may_replace(&replaced, &moved)?;
                Some(replaced)
            }
            Err(Errno::ENOENT) => None,
            Err(error) => return Err(error),
        };
        self.leave(name)?;
        to.0.entries()?.lock().insert(new_name, moved.clone());
        to.0.entries_changed();
        if let Some(replaced) = replaced {
            to.lost(&replaced)?;
        }
        if moved.kind == FileKind::Directory {
            self.0.linked(false)?;
            to.0.linked(true)?;
        }
        let now = AttrChange::default();
        node(&moved)?.set_attr(&now)?;
        if flags & RENAME_WHITEOUT != 0 {
            let whiteout = NewInode {
                kind: FileKind::CharDevice,
                perm: 0,
                uid: 0,
                gid: 0,
                rdev: 0,
            };
            self.create(name, &whiteout)?;
        }
        Ok(())
    }

    fn tmpfile(&self, new: &NewInode) -> Result<Arc<Inode>, Errno> {
        let inode = self.0.fs.new_inode(new, None)?;
        node(&inode)?.linked(false)?;
        Ok(inode)
    }

    fn readlink(&self) -> Result<Vec<u8>, Errno> {
        match &self.0.content {
            Content::Link(text) => Ok(text.to_vec()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open(&self, _: &Path, _: u32) -> Result<Box<dyn FileOps>, Errno> {
        match self.0.kind {
            FileKind::Regular => Ok(Box::new(TmpData(self.0.clone()))),
            FileKind::Directory => Ok(Box::new(TmpDirectory(self.0.clone()))),
            _ => Err(Errno::ENXIO),
        }
    }

    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.0
            .state
            .lock()
            .xattrs
            .get(name)
            .cloned()
            .ok_or(Errno::ENODATA)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        self.0.set_xattr(name, value, flags)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        self.0
            .state
            .lock()
            .xattrs
            .remove(name)
            .map(drop)
            .ok_or(Errno::ENODATA)
    }

    fn list_xattr(&self) -> Result<Vec<Vec<u8>>, Errno> {
        Ok(self.0.state.lock().xattrs.keys().cloned().collect())
    }
}
