//! Open synthetic directories.

use std::sync::Arc;

use abi::Errno;
use kernel::file::{DirSink, FileDescription, FileOps, Whence};
use kernel::io::Sink;
use kernel::vfs::FileKind;

use super::inode::child_ino;
use super::snapshot::Snapshot;
use super::{Listed, Node};

/// Names of a directory at one moment.
pub type List = Arc<Vec<Listed>>;

/// An open directory. The names are taken when reading starts at 0 (also after rewinddir(3)).
pub struct ListFile {
    node: Arc<dyn Node>,
    ino: u64,
    parent: u64,
    names: Snapshot<Vec<Listed>>,
}

impl ListFile {
    pub(super) fn new(node: Arc<dyn Node>, ino: u64, parent: u64) -> ListFile {
        ListFile {
            node,
            ino,
            parent,
            names: Snapshot::new(),
        }
    }

    fn names(&self, restart: bool) -> Result<List, Errno> {
        let size = |names: &Vec<Listed>| {
            names
                .iter()
                .map(|listed| size_of::<Listed>() + listed.name.len())
                .sum()
        };
        self.names.get(restart, || self.node.list(), size)
    }
}

impl FileOps for ListFile {
    fn seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        super::text::seek_from(current, None, whence, offset)
    }

    fn pollable(&self) -> bool {
        false
    }

    fn read(&self, _: &FileDescription, _: u64, _: &mut dyn Sink) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }

    fn readdir(&self, _: &FileDescription, offset: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let names = self.names(offset == 0)?;
        let mut at = offset;
        if at == 0 {
            if !sink.entry(b".", self.ino, FileKind::Directory, 1) {
                return Ok(at);
            }
            at = 1;
        }
        if at == 1 {
            if !sink.entry(b"..", self.parent, FileKind::Directory, 2) {
                return Ok(at);
            }
            at = 2;
        }
        let start = usize::try_from(at - 2).unwrap_or(usize::MAX);
        for listed in names.iter().skip(start) {
            let ino = child_ino(self.ino, &listed.name);
            if !sink.entry(&listed.name, ino, listed.kind, at + 1) {
                return Ok(at);
            }
            at += 1;
        }
        Ok(at)
    }

    fn fsync(&self, _: &FileDescription, _: bool) -> Result<(), Errno> {
        Ok(())
    }
}
