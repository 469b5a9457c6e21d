//! What a file is: attributes, and bytes, entries or a link's text.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::{Errno, PAGE_SIZE, page_up};
use kernel::file::FileMemory;
use kernel::vfs::{Attr, AttrChange, FileKind, Inode, NewInode, TimeChange, now_ns};
use sync::{Mutex, rank};

use super::Shared;

/// Bytes of extended attributes of one file, names and values (as ext4 allows in a block).
const MAX_XATTRS: usize = 64 << 10;
/// A directory entry costs this much in `st_size` (BOGO_DIRENT_SIZE).
const ENTRY_SIZE: u64 = 20;
/// Links of a file (LINK_MAX of tmpfs is larger; a name each is bounded by memory anyway).
const MAX_LINKS: u32 = 65_000;

/// An entry of a directory, with the position at which readdir finds it.
pub struct Entry {
    pub inode: Arc<Inode>,
    pub position: u64,
}

/// Entries of a directory by name and by position.
#[derive(Default)]
pub struct Entries {
    pub by_name: BTreeMap<Box<[u8]>, Entry>,
    pub by_position: BTreeMap<u64, Box<[u8]>>,
    next: u64,
}

/// The first position of an entry: `.` and `..` come before.
pub const FIRST_POSITION: u64 = 2;

impl Entries {
    pub fn insert(&mut self, name: &[u8], inode: Arc<Inode>) {
        let position = FIRST_POSITION + self.next;
        self.next += 1;
        self.by_position.insert(position, name.into());
        let old = self.by_name.insert(name.into(), Entry { inode, position });
        if let Some(old) = old {
            self.by_position.remove(&old.position);
        }
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Inode>> {
        let entry = self.by_name.remove(name)?;
        self.by_position.remove(&entry.position);
        Some(entry.inode)
    }
}

/// What the file holds.
pub enum Content {
    Bytes(Arc<dyn FileMemory>),
    Entries(Mutex<Entries>),
    Link(Box<[u8]>),
    /// A device, fifo or socket.
    Special,
}

/// The changeable attributes.
pub struct State {
    pub perm: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub size: u64,
    pub atime: i64,
    pub mtime: i64,
    pub ctime: i64,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A file.
pub struct Node {
    pub fs: Arc<Shared>,
    pub ino: u64,
    pub kind: FileKind,
    rdev: u64,
    btime: i64,
    pub content: Content,
    pub state: Mutex<State>,
    /// Mapped at some time: bytes beyond the end may have been written through a mapping.
    pub mapped: AtomicBool,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.fs.inodes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Node {
    pub fn new(fs: &Arc<Shared>, ino: u64, new: &NewInode, link: Option<&[u8]>) -> Result<Node, Errno> {
        let content = match (new.kind, link) {
            (FileKind::Regular, _) => fs.memory.create().map(Content::Bytes),
            (FileKind::Directory, _) => Ok(Content::Entries(Mutex::new(rank::FS_INNER, Entries::default()))),
            (FileKind::Symlink, Some(text)) => Ok(Content::Link(text.into())),
            _ => Ok(Content::Special),
        };
        let content = content.inspect_err(|_| {
            fs.inodes.fetch_sub(1, Ordering::Relaxed);
        })?;
        let now = now_ns();
        let state = State {
            perm: new.perm,
            uid: new.uid,
            gid: new.gid,
            nlink: if new.kind == FileKind::Directory { 2 } else { 1 },
            size: link.map_or(0, |text| text.len() as u64),
            atime: now,
            mtime: now,
            ctime: now,
            xattrs: BTreeMap::new(),
        };
        Ok(Node {
            fs: fs.clone(),
            ino,
            kind: new.kind,
            rdev: new.rdev,
            btime: now,
            content,
            state: Mutex::new(rank::LEAF, state),
            mapped: AtomicBool::new(false),
        })
    }

    /// The bytes of a regular file.
    pub fn bytes(&self) -> Result<&Arc<dyn FileMemory>, Errno> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes),
            Content::Entries(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The entries of a directory.
    pub fn entries(&self) -> Result<&Mutex<Entries>, Errno> {
        match &self.content {
            Content::Entries(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub fn attr(&self) -> Attr {
        let (entries, blocks) = match &self.content {
            Content::Entries(entries) => (entries.lock().by_name.len() as u64, 0),
            Content::Bytes(bytes) => (0, bytes.allocated().div_ceil(512)),
            _ => (0, 0),
        };
        let state = self.state.lock();
        let size = if self.kind == FileKind::Directory {
            (entries + 2) * ENTRY_SIZE
        } else {
            state.size
        };
        Attr {
            ino: self.ino,
            kind: self.kind,
            perm: state.perm,
            nlink: state.nlink,
            uid: state.uid,
            gid: state.gid,
            rdev: self.rdev,
            size,
            blocks,
            blksize: PAGE_SIZE as u32,
            atime: state.atime,
            mtime: state.mtime,
            ctime: state.ctime,
            btime: Some(self.btime),
        }
    }

    pub fn set_attr(&self, change: &AttrChange) -> Result<(), Errno> {
        if let Some(size) = change.size {
            self.resize(size)?;
        }
        let now = now_ns();
        let time = |change: TimeChange| match change {
            TimeChange::Now => now,
            TimeChange::At(at) => at,
        };
        let mut state = self.state.lock();
        state.perm = change.perm.unwrap_or(state.perm);
        state.uid = change.uid.unwrap_or(state.uid);
        state.gid = change.gid.unwrap_or(state.gid);
        if let Some(change) = change.atime {
            state.atime = time(change);
        }
        if let Some(change) = change.mtime {
            state.mtime = time(change);
        }
        state.ctime = now;
        Ok(())
    }

    /// Shortens or lengthens a regular file.
    fn resize(&self, size: u64) -> Result<(), Errno> {
        let bytes = self.bytes()?;
        if size > self.fs.size {
            return Err(Errno::EFBIG);
        }
        let mut state = self.state.lock();
        if size < state.size {
            bytes.punch(size, page_up(state.size).unwrap_or(u64::MAX) - size)?;
        } else {
            self.clear_tail(bytes, state.size)?;
        }
        state.size = size;
        state.mtime = now_ns();
        Ok(())
    }

    /// Before a file grows: what a mapping left behind the end in its last page must read as zeroes.
    fn clear_tail(&self, bytes: &Arc<dyn FileMemory>, size: u64) -> Result<(), Errno> {
        if !self.mapped.load(Ordering::Relaxed) || size.is_multiple_of(PAGE_SIZE) {
            return Ok(());
        }
        bytes.punch(size, PAGE_SIZE - size % PAGE_SIZE)
    }

    /// Stores `data` at `offset`, or at the end (`None`); returns the position after it.
    pub fn store(&self, offset: Option<u64>, data: &[u8]) -> Result<u64, Errno> {
        let bytes = self.bytes()?;
        let mut state = self.state.lock();
        let at = offset.unwrap_or(state.size);
        let end = at.checked_add(data.len() as u64).ok_or(Errno::EFBIG)?;
        if end > self.fs.size {
            return Err(Errno::ENOSPC);
        }
        if end > state.size {
            self.clear_tail(bytes, state.size)?;
        }
        bytes.write_at(at, data)?;
        let now = now_ns();
        (state.mtime, state.ctime) = (now, now);
        state.size = state.size.max(end);
        Ok(end)
    }

    /// Counts a name given (`more`) or taken; of a directory, a subdirectory.
    pub fn linked(&self, more: bool) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if more {
            if state.nlink >= MAX_LINKS && self.kind != FileKind::Directory {
                return Err(Errno::EMLINK);
            }
            state.nlink += 1;
        } else {
            state.nlink = state.nlink.saturating_sub(1);
        }
        state.ctime = now_ns();
        Ok(())
    }

    /// The entries of a directory were changed.
    pub fn entries_changed(&self) {
        let now = now_ns();
        let mut state = self.state.lock();
        (state.mtime, state.ctime) = (now, now);
    }

    pub fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        const CREATE: u32 = 1;
        const REPLACE: u32 = 2;
        let mut state = self.state.lock();
        let old = state.xattrs.get(name).map(Vec::len);
        match old {
            Some(_) if flags & CREATE != 0 => return Err(Errno::EEXIST),
            None if flags & REPLACE != 0 => return Err(Errno::ENODATA),
            _ => {}
        }
        let held: usize = state
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        let freed = old.map_or(0, |len| len + name.len());
        if held - freed + name.len() + value.len() > MAX_XATTRS {
            return Err(Errno::ENOSPC);
        }
        state.xattrs.insert(name.to_vec(), value.to_vec());
        state.ctime = now_ns();
        Ok(())
    }
}
