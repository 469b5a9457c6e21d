//! Listing a directory: the upper layer's entries, then those of the lower ones that are neither hidden nor covered.

use std::collections::HashSet;
use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{O_DIRECTORY, O_RDONLY};
use kernel::file::{DirSink, FileDescription, FileOps, Whence};
use kernel::io::Sink;
use kernel::vfs::{FileKind, Inode};
use sync::{Mutex, rank};

use super::node::Node;
use super::{Overlay, open_layer};
use crate::hostfs::HostInode;
use crate::listing::{Entries, Listing};

/// Collects a layer's entries.
struct Collect<'a> {
    overlay: &'a Overlay,
    layer: u32,
    dev: u64,
    seen: Option<&'a mut HashSet<Box<[u8]>>>,
    entries: &'a mut Entries,
    failed: Option<Errno>,
}

impl DirSink for Collect<'_> {
    fn entry(&mut self, name: &[u8], ino: u64, kind: FileKind, _: u64) -> bool {
        if matches!(name, b"." | b"..") {
            return true;
        }
        if let Some(seen) = &mut self.seen
            && !seen.insert(name.into())
        {
            return true;
        }
        let key = (self.layer, self.dev, ino);
        // What was copied up shows the number it had before.
        let before = match self.layer {
            0 => self.overlay.known(&key).map(|node| node.ino),
            _ => None,
        };
        let ino = before.unwrap_or_else(|| self.overlay.number(&key));
        self.failed = self.entries.push(name, ino, kind).err();
        self.failed.is_none()
    }
}

impl Overlay {
    /// The entries of a directory.
    pub(super) fn list(&self, node: &Node) -> Result<Arc<Listing>, Errno> {
        let (upper, lowers, hidden, changes) = {
            let state = node.state.lock();
            if let Some(list) = &state.list {
                return Ok(list.clone());
            }
            let hidden = state.hidden.clone();
            (state.upper.clone(), state.lowers.clone(), hidden, state.changes)
        };
        // Of the first lower layer alone the names and numbers are shown as they are.
        if let (None, [(1, lower)], true) = (&upper, &*lowers, hidden.is_empty())
            && let Some(lower) = lower.ops_as::<HostInode>()
        {
            return lower.listing();
        }
        let mut layers: Vec<(u32, Arc<Inode>)> = upper.into_iter().map(|inode| (0, inode)).collect();
        layers.extend(lowers.iter().cloned());
        let mut entries = Entries::default();
        let single = layers.len() == 1 && hidden.is_empty();
        let (mut seen, mut hidden) = (HashSet::new(), Some(hidden));
        for (layer, inode) in &layers {
            if *layer > 0 {
                // Hides from the first lower layer on.
                seen.extend(hidden.take().into_iter().flatten());
            }
            let mut sink = Collect {
                overlay: self,
                layer: *layer,
                dev: inode.sb.dev,
                seen: (!single).then_some(&mut seen),
                entries: &mut entries,
                failed: None,
            };
            read_layer(inode, &mut sink)?;
        }
        let list = self.listed.keep(entries)?;
        if self.listed.remembers(&list) {
            let mut state = node.state.lock();
            if state.changes == changes {
                state.list = Some(list.clone());
            }
        }
        Ok(list)
    }
}

fn read_layer(inode: &Arc<Inode>, sink: &mut Collect<'_>) -> Result<(), Errno> {
    let file = open_layer(inode, O_RDONLY | O_DIRECTORY)?;
    let mut at = 0;
    loop {
        let next = file.ops().readdir(&file, at, sink)?;
        if let Some(error) = sink.failed {
            return Err(error);
        }
        if next == at {
            return Ok(());
        }
        at = next;
    }
}

/// An open directory. Its entries are taken when reading starts at 0, so that positions stay what they were.
pub struct OverlayDirectory {
    overlay: Arc<Overlay>,
    node: Arc<Node>,
    list: Mutex<Option<Arc<Listing>>>,
}

impl OverlayDirectory {
    pub(super) fn new(overlay: &Arc<Overlay>, node: &Arc<Node>) -> OverlayDirectory {
        OverlayDirectory {
            overlay: overlay.clone(),
            node: node.clone(),
            list: Mutex::new(rank::LEAF, None),
        }
    }

    fn entries(&self, restart: bool) -> Result<Arc<Listing>, Errno> {
        if !restart && let Some(list) = &*self.list.lock() {
            return Ok(list.clone());
        }
        let fresh = self.overlay.list(&self.node)?;
        let old = self.list.lock().replace(fresh.clone());
        drop(old);
        Ok(fresh)
    }
}

impl FileOps for OverlayDirectory {
    fn seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        let base = match whence {
            Whence::Set => 0,
            Whence::Current => current,
            _ => return Err(Errno::EINVAL),
        };
        let at = base.checked_add_signed(offset).ok_or(Errno::EINVAL)?;
        i64::try_from(at).map_err(|_| Errno::EINVAL)?;
        Ok(at)
    }

    fn pollable(&self) -> bool {
        false
    }

    fn read(&self, _: &FileDescription, _: u64, _: &mut dyn Sink) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }

    fn readdir(&self, file: &FileDescription, offset: u64, sink: &mut dyn DirSink) -> Result<u64, Errno> {
        let list = self.entries(offset == 0)?;
        let parent = file.path().dentry.parent().and_then(|parent| parent.inode().ok());
        let parent = parent.map_or(Ok(self.node.ino), |inode| inode.attr().map(|attr| attr.ino))?;
        let own = [(&b"."[..], self.node.ino), (b"..", parent)];
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        let own = own.into_iter().skip(skip);
        let own = own.map(|(name, ino)| (name, ino, FileKind::Directory));
        let rest = list.from(skip.saturating_sub(2));
        let mut at = offset;
        for (name, ino, kind) in own.chain(rest) {
            if !sink.entry(name, ino, kind, at + 1) {
                break;
            }
            at += 1;
        }
        Ok(at)
    }

    fn fsync(&self, _: &FileDescription, _: bool) -> Result<(), Errno> {
        Ok(())
    }
}
