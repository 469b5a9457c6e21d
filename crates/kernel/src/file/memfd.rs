//! Files in memory without a name (memfd_create(2), shared anonymous memory): inodes over [`super::memory_file`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::{Errno, PAGE_SIZE};
use sync::{Mutex, rank};

use super::memory_file::{F_SEAL_EXEC, MemoryFile, OpenMemoryFile};
use super::{FileDescription, FileOps};
use crate::Kernel;
use crate::vfs::{
    Attr, AttrChange, FileKind, Inode, InodeOps, Path, anon_path_of, anonymous_superblock, now_ns,
};

/// The inode of a file in memory that has no name: memfd_create(2), shared anonymous memory, System V segments.
struct MemoryInode {
    attr: Mutex<Attr>,
    file: Arc<MemoryFile>,
}

impl InodeOps for MemoryInode {
    fn attr(&self) -> Result<Attr, Errno> {
        let times = &self.file.times;
        Ok(Attr {
            size: self.file.size(),
            blocks: self.file.blocks(),
            atime: times.atime.load(Ordering::Relaxed),
            mtime: times.mtime.load(Ordering::Relaxed),
            ctime: times.ctime.load(Ordering::Relaxed),
            ..*self.attr.lock()
        })
    }

    fn set_attr(&self, change: &AttrChange) -> Result<(), Errno> {
        let exec = |perm: u32| perm & 0o111;
        if let Some(perm) = change.perm
            && self.file.seals() & F_SEAL_EXEC != 0
            && exec(perm) != exec(self.attr.lock().perm)
        {
            return Err(Errno::EPERM);
        }
        if let Some(size) = change.size {
            self.file.truncate(size)?;
        }
        self.attr.lock().apply(change, now_ns());
        self.file.times.apply(change);
        Ok(())
    }

    fn open(&self, _: &Path, _: u32) -> Result<Box<dyn FileOps>, Errno> {
        Ok(Box::new(OpenMemoryFile(self.file.clone())))
    }
}

/// A place outside every directory with an empty file in memory, owned by the current user; `name` is shown as it is.
fn anonymous(kernel: &Kernel, name: &str, perm: u32) -> Result<(Path, Arc<MemoryFile>), Errno> {
    let file = MemoryFile::new(&*kernel.memory, None)?;
    let owner = crate::task::current().map_or((0, 0), |task| {
        let cred = task.cred();
        (cred.fsuid, cred.fsgid)
    });
    let attr = Attr {
        ino: kernel.next_ino(),
        kind: FileKind::Regular,
        perm,
        nlink: 0,
        uid: owner.0,
        gid: owner.1,
        rdev: 0,
        size: 0,
        blocks: 0,
        blksize: PAGE_SIZE as u32,
        atime: 0,
        mtime: 0,
        ctime: 0,
        btime: None,
    };
    let ops = MemoryInode {
        attr: Mutex::new(rank::FS, attr),
        file: file.clone(),
    };
    let inode = Inode::new(anonymous_superblock(kernel), FileKind::Regular, Box::new(ops));
    Ok((anon_path_of(kernel, name, inode), file))
}

/// An open file for memfd_create(2): `seals` to begin with, `None` when it may not be sealed.
pub fn create(
    kernel: &Kernel,
    name: &str,
    flags: u32,
    seals: Option<u32>,
    perm: u32,
) -> Result<Arc<FileDescription>, Errno> {
    let (path, file) = anonymous(kernel, &format!("/memfd:{name} (deleted)"), perm)?;
    if let Some(seals) = seals {
        file.allow_seals(seals);
    }
    Ok(FileDescription::new(path, Box::new(OpenMemoryFile(file)), flags))
}
