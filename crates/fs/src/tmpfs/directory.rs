//! Entries of a tmpfs directory, in order of their making, and the open directory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use abi::Errno;
use kernel::file::{DirSink, FileDescription, FileOps, Whence, memory_file};
use kernel::vfs::{FileKind, Inode};

use super::node::Node;

/// Positions 0 and 1 are `.` and `..`.
const FIRST: u64 = 2;

/// Names and what they mean. An entry keeps its position, so that a listing goes on where it stopped whatever changed.
#[derive(Default)]
pub struct Entries {
    by_name: HashMap<Box<[u8]>, (u64, Arc<Inode>)>,
    by_position: BTreeMap<u64, Box<[u8]>>,
    last: u64,
}

impl Entries {
    /// The entry of that name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Inode>> {
        self.by_name.get(name).map(|(_, inode)| inode)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Adds or replaces an entry; returns what the name meant before.
    pub fn insert(&mut self, name: &[u8], inode: Arc<Inode>) -> Option<Arc<Inode>> {
        if let Some((_, old)) = self.by_name.get_mut(name) {
            return Some(std::mem::replace(old, inode));
        }
        self.last = self.last.max(FIRST - 1) + 1;
        self.by_name.insert(name.into(), (self.last, inode));
        self.by_position.insert(self.last, name.into());
        None
    }

    /// Takes an entry out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Inode>> {
        let (position, inode) = self.by_name.remove(name)?;
        self.by_position.remove(&position);
        Some(inode)
    }

    /// Takes everything out.
    pub fn take_all(&mut self) -> impl Iterator<Item = Arc<Inode>> + use<> {
        self.by_position.clear();
        std::mem::take(&mut self.by_name)
            .into_values()
            .map(|(_, inode)| inode)
    }
}

/// An open tmpfs directory.
pub struct OpenDirectory;

impl OpenDirectory {
    fn numbers(file: &FileDescription) -> Result<(u64, u64), Errno> {
        let dentry = &file.path().dentry;
        let own = dentry.inode()?.attr()?.ino;
        let parent = match dentry.parent() {
            Some(parent) => parent.inode()?.attr()?.ino,
            None => own,
        };
        Ok((own, parent))
    }
}

impl FileOps for OpenDirectory {
    fn read(&self, _: &FileDescription, _: u64, _: &mut dyn kernel::io::Sink) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn pollable(&self) -> bool {
        false
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        match whence {
            Whence::Set | Whence::Current => memory_file::seek_to(current, whence, offset, 0),
            _ => Err(Errno::EINVAL),
        }
    }

    fn readdir(&self, file: &FileDescription, offset: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let (own, parent) = Self::numbers(file)?;
        for (position, name, ino) in [(0, &b"."[..], own), (1, b"..", parent)] {
            if offset <= position && !sink.entry(name, ino, FileKind::Directory, position + 1) {
                return Ok(position);
            }
        }
        let inode = file.path().inode()?;
        let node = inode.ops_as::<Node>().ok_or(Errno::ENOTDIR)?;
        let entries = node.entries()?.lock();
        let mut next = offset.max(FIRST);
        for (position, name) in entries.by_position.range(next..) {
            let Some(child) = entries.get(name) else { continue };
            let ino = child.ops_as::<Node>().map_or(0, Node::ino);
            if !sink.entry(name, ino, child.kind, position + 1) {
                return Ok(*position);
            }
            next = position + 1;
        }
        Ok(next)
    }

    fn fsync(&self, _: &FileDescription, _: bool) -> Result<(), Errno> {
        Ok(())
    }
}
