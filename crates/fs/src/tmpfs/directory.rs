//! Open directories of a tmpfs.

use std::sync::Arc;

use abi::Errno;
use kernel::file::{DirSink, FileDescription, FileOps, Whence};
use kernel::vfs::FileKind;

use super::inode::TmpInode;
use super::node::{FIRST_POSITION, Node};

/// An open directory. Positions are those of the entries, in the order in which they were made.
pub struct TmpDirectory(pub Arc<Node>);

impl FileOps for TmpDirectory {
    fn seekable(&self) -> bool {
        true
    }

    fn pollable(&self) -> bool {
        false
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        let base = match whence {
            Whence::Set => 0,
            Whence::Current => current,
            _ => return Err(Errno::EINVAL),
        };
        let at = base.checked_add_signed(offset).ok_or(Errno::EINVAL)?;
        i64::try_from(at).map(|_| at).map_err(|_| Errno::EINVAL)
    }

    fn readdir(&self, file: &FileDescription, offset: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let mut at = offset;
        if at == 0 {
            if !sink.entry(b".", self.0.ino, FileKind::Directory, 1) {
                return Ok(at);
            }
            at = 1;
        }
        if at == 1 {
            let parent = file.path().dentry.parent().and_then(|parent| parent.inode().ok());
            let parent = parent.map_or(Ok(self.0.ino), |inode| inode.attr().map(|attr| attr.ino))?;
            if !sink.entry(b"..", parent, FileKind::Directory, FIRST_POSITION) {
                return Ok(at);
            }
            at = FIRST_POSITION;
        }
        let entries = self.0.entries()?.lock();
        for (position, name) in entries.by_position.range(at..) {
            let Some(entry) = entries.by_name.get(name) else {
                continue;
            };
            let ino = entry.inode.ops_as::<TmpInode>().map_or(0, |tmp| tmp.0.ino);
            if !sink.entry(name, ino, entry.inode.kind, position + 1) {
                return Ok(at);
            }
            at = position + 1;
        }
        Ok(at)
    }

    fn fsync(&self, _: &FileDescription, _: bool) -> Result<(), Errno> {
        Ok(())
    }
}
