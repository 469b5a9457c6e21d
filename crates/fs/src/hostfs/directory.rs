//! Open directories of a host tree.

use std::os::fd::AsFd;
use std::sync::Arc;

use abi::Errno;
use host::dir::Open;
use host::file;
use kernel::file::{DirSink, FileDescription, FileOps, Whence};
use kernel::io::Sink;
use kernel::vfs::FileKind;
use sync::{Mutex, rank};

use super::HostFs;
use super::node::Node;
use crate::listing::Listing;

/// An open directory. Its entries are taken when reading starts at 0, so that positions stay what they were.
pub struct HostDirectory {
    fs: Arc<HostFs>,
    node: Arc<Node>,
    entries: Mutex<Option<Arc<Listing>>>,
}

impl HostDirectory {
    pub fn new(fs: &Arc<HostFs>, node: &Arc<Node>) -> HostDirectory {
        HostDirectory {
            fs: fs.clone(),
            node: node.clone(),
            entries: Mutex::new(rank::LEAF, None),
        }
    }

    fn entries(&self, restart: bool) -> Result<Arc<Listing>, Errno> {
        if !restart && let Some(entries) = &*self.entries.lock() {
            return Ok(entries.clone());
        }
        let entries = self.node.listing(&self.fs)?;
        let old = self.entries.lock().replace(entries.clone());
        drop(old);
        Ok(entries)
    }

    fn own_numbers(&self, file: &FileDescription) -> Result<(u64, u64), Errno> {
        let own = self.node.attr(&self.fs)?.ino;
        let parent = file.path().dentry.parent().and_then(|parent| parent.inode().ok());
        let parent = parent.map_or(Ok(own), |inode| inode.attr().map(|attr| attr.ino))?;
        Ok((own, parent))
    }
}

impl FileOps for HostDirectory {
    fn seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        let base = match whence {
            Whence::Set => 0,
            Whence::Current => current,
            _ => return Err(Errno::EINVAL),
        };
        base.checked_add_signed(offset).ok_or(Errno::EINVAL)
    }

    fn pollable(&self) -> bool {
        false
    }

    fn read(&self, _: &FileDescription, _: u64, _: &mut dyn Sink) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }

    fn readdir(&self, file: &FileDescription, offset: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let entries = self.entries(offset == 0)?;
        let mut at = offset;
        if at < 2 {
            let (own, parent) = self.own_numbers(file)?;
            for (position, name, ino) in [(0, &b"."[..], own), (1, b"..", parent)] {
                if at == position {
                    if !sink.entry(name, ino, FileKind::Directory, at + 1) {
                        return Ok(at);
                    }
                    at += 1;
                }
            }
        }
        let start = usize::try_from(at - 2).unwrap_or(usize::MAX);
        for (name, ino, kind) in entries.from(start) {
            if !sink.entry(name, ino, kind, at + 1) {
                return Ok(at);
            }
            at += 1;
        }
        Ok(at)
    }

    fn fsync(&self, _: &FileDescription, data_only: bool) -> Result<(), Errno> {
        if self.fs.options.read_only {
            return Ok(());
        }
        let fd = self.node.reach(&self.fs, Open::List)?;
        file::sync(fd.as_fd(), data_only)
    }
}
