//! Copying a file from a lower layer to the upper one, before its first change.

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{O_RDONLY, O_RDWR};
use kernel::io::{SliceSource, VecSink};
use kernel::vfs::{Attr, AttrChange, FileKind, Inode, InodeOps, NewInode, TimeChange};

use super::node::{Node, Place};
use super::{Overlay, open_layer};

/// Bytes copied at once.
const STEP: usize = 1 << 20;
/// Zeroes are left out in pieces of this size, so that sparse files stay so.
const HOLE: usize = 64 << 10;

impl Overlay {
    /// Makes sure that the node is in the upper layer. `empty`: its content is about to be thrown away.
    pub(super) fn copy_up(self: &Arc<Self>, node: &Arc<Node>, empty: bool) -> Result<Arc<Inode>, Errno> {
        if let Some(upper) = node.upper() {
            return Ok(upper);
        }
        // Content is copied before the lock is taken: it may take long, and everyone who makes a file takes the lock.
        let ready = if node.kind == FileKind::Regular && !empty {
            self.prepare(node)?
        } else {
            None
        };
        let _copying = self.copying.lock();
        if let Some(upper) = node.upper() {
            // Another was faster.
            return Ok(upper);
        }
        let mut chain = vec![node.clone()];
        while let Some(last) = chain.last()
            && !last.is_copied()
        {
            let parent = last.state.lock().place.as_ref().map(|(parent, _)| parent.clone());
            match parent {
                Some(parent) => chain.push(parent),
                None => break,
            }
        }
        for at in chain.iter().skip(1).rev().filter(|at| !at.is_copied()) {
            self.copy_one(at, empty, None)?;
        }
        self.copy_one(node, empty, ready)?;
        node.upper().ok_or(Errno::ESTALE)
    }

    /// A copy without a name; `None` when the upper layer has no such files.
    fn prepare(&self, node: &Arc<Node>) -> Result<Option<Arc<Inode>>, Errno> {
        let lower = node.lower()?;
        let copy = match self.upper.ops.tmpfile(&new_inode(&lower.attr()?)) {
            Ok(copy) => copy,
            Err(Errno::EOPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error),
        };
        copy_content(&lower, &copy, true)?;
        Ok(Some(copy))
    }

    /// Copies one file whose directory is in the upper layer; `ready`: the copy, which lacks a name only.
    fn copy_one(&self, node: &Arc<Node>, empty: bool, ready: Option<Arc<Inode>>) -> Result<(), Errno> {
        let place = node.state.lock().place.clone();
        if let Some(copy) = ready {
            // Unlinked but still open: it needs no name in the upper layer either.
            if let Some((dir, name)) = &place {
                let dir = dir.upper().ok_or(Errno::ESTALE)?;
                dir.ops.link(name, &copy)?;
            }
            return node.set_upper(self, copy);
        }
        let lower = node.lower()?;
        let attr = lower.attr()?;
        let upper = match &place {
            Some((dir, name)) => {
                let dir = dir.upper().ok_or(Errno::ESTALE)?;
                make(&dir, name, &lower, &attr)?
            }
            None if node.kind != FileKind::Regular => return Err(Errno::ENOENT),
            None => self.upper.ops.tmpfile(&new_inode(&attr))?,
        };
        let data = node.kind == FileKind::Regular && !empty;
        let copied = copy_content(&lower, &upper, data).and_then(|()| node.set_upper(self, upper.clone()));
        if copied.is_err() {
            undo(&place, &upper);
        }
        copied
    }
}

/// Everything of a file but its name.
pub(super) fn copy_content(lower: &Arc<Inode>, upper: &Arc<Inode>, data: bool) -> Result<(), Errno> {
    if data {
        copy_data(lower, upper)?;
    }
    copy_xattrs(lower, upper)?;
    copy_attributes(&*lower.ops, upper)
}

/// Takes half a copy away again.
fn undo(place: &Option<Place>, upper: &Arc<Inode>) {
    let Some((dir, name)) = place else { return };
    let Some(dir) = dir.upper() else { return };
    // If this fails, an empty or short file stays in the upper layer; the error that led here is reported.
    let _ = match upper.kind {
        FileKind::Directory => dir.ops.rmdir(name, upper),
        _ => dir.ops.unlink(name, upper),
    };
}

fn new_inode(attr: &Attr) -> NewInode {
    NewInode {
        kind: attr.kind,
        perm: attr.perm,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
    }
}

pub(super) fn make(
    dir: &Arc<Inode>,
    name: &[u8],
    lower: &Arc<Inode>,
    attr: &Attr,
) -> Result<Arc<Inode>, Errno> {
    let new = new_inode(attr);
    match attr.kind {
        FileKind::Symlink => dir.ops.symlink(name, &lower.ops.readlink()?, &new),
        _ => dir.ops.create(name, &new),
    }
}

/// Owner, mode and times.
pub(super) fn copy_attributes(lower: &dyn InodeOps, upper: &Arc<Inode>) -> Result<(), Errno> {
    let attr = lower.attr()?;
    let change = AttrChange {
        perm: (attr.kind != FileKind::Symlink).then_some(attr.perm),
        uid: Some(attr.uid),
        gid: Some(attr.gid),
        size: None,
        atime: Some(TimeChange::At(attr.atime)),
        mtime: Some(TimeChange::At(attr.mtime)),
    };
    upper.ops.set_attr(&change)
}

fn copy_xattrs(lower: &Arc<Inode>, upper: &Arc<Inode>) -> Result<(), Errno> {
    for name in lower.ops.list_xattr()? {
        let value = match lower.ops.get_xattr(&name) {
            Ok(value) => value,
            // It went meanwhile, or is not for us to read.
            Err(_) => continue,
        };
        match upper.ops.set_xattr(&name, &value, 0) {
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EPERM) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn copy_data(lower: &Arc<Inode>, upper: &Arc<Inode>) -> Result<(), Errno> {
    let size = lower.attr()?.size;
    let from = open_layer(lower, O_RDONLY)?;
    let to = open_layer(upper, O_RDWR)?;
    let mut at = 0u64;
    while at < size {
        let want = usize::try_from(size - at).unwrap_or(STEP).min(STEP);
        let mut sink = VecSink::new(want);
        let got = from.ops().read(&from, at, &mut sink)?;
        if got == 0 {
            break;
        }
        for (index, piece) in sink.bytes.chunks(HOLE).enumerate() {
            if piece.iter().any(|byte| *byte != 0) {
                write_all(&to, at + (index * HOLE) as u64, piece)?;
            }
        }
        at += got as u64;
    }
    // The end may be a hole.
    let change = AttrChange {
        size: Some(size),
        ..AttrChange::default()
    };
    upper.ops.set_attr(&change)
}

fn write_all(file: &kernel::file::FileDescription, mut at: u64, piece: &[u8]) -> Result<(), Errno> {
    let mut source = SliceSource(piece);
    while !source.0.is_empty() {
        let put = file.ops().write(file, at, &mut source)?;
        if put == 0 {
            return Err(Errno::EIO);
        }
        at += put as u64;
    }
    Ok(())
}
