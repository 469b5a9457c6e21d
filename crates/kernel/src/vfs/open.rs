//! open(2): walk, create if asked, check, and let the file system or driver open.

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{
    O_ACCMODE, O_CREAT, O_DIRECTORY, O_EXCL, O_NOATIME, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_TMPFILE,
    O_TRUNC, O_WRONLY,
};

use super::create::Linkable;
use super::permission::{MAY_EXEC, MAY_READ, MAY_WRITE, is_owner, may_create, permission};
use super::walk::{Walk, devices_allowed};
use super::{AttrChange, Dentry, FileKind, LookupFlags, NewInode, Path, Walker, device, notify};
use crate::file::{FileDescription, FileOps, lease};

/// Bits of [`O_TMPFILE`] beyond O_DIRECTORY.
const TMPFILE_BIT: u32 = O_TMPFILE & !O_DIRECTORY;

/// What openat2(2) takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenHow {
    /// O_*.
    pub flags: u32,
    /// Permission bits of a new file, umask not yet applied.
    pub mode: u32,
    /// RESOLVE_*.
    pub resolve: LookupFlags,
}

/// The operations of an O_PATH file: none.
struct PathOnly;

impl FileOps for PathOnly {
    fn pollable(&self) -> bool {
        false
    }
}

impl Walker<'_> {
    /// open(2) of `path` from `dir` (`None`: the working directory).
    pub fn open(
        &self,
        dir: Option<&Path>,
        path: &[u8],
        flags: u32,
        mode: u32,
    ) -> Result<Arc<FileDescription>, Errno> {
        let resolve = LookupFlags::empty();
        self.open_how(dir, path, &OpenHow { flags, mode, resolve })
    }

    /// openat2(2).
    pub fn open_how(
        &self,
        dir: Option<&Path>,
        path: &[u8],
        how: &OpenHow,
    ) -> Result<Arc<FileDescription>, Errno> {
        let flags = how.flags;
        let mut lookup = how.resolve;
        lookup.set(LookupFlags::FOLLOW, flags & O_NOFOLLOW == 0);
        lookup.set(LookupFlags::DIRECTORY, flags & O_DIRECTORY != 0);
        if flags & O_PATH != 0 {
            let path = self.resolve(dir, path, lookup)?;
            let kept = flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW);
            return Ok(FileDescription::new(path, Box::new(PathOnly), kept));
        }
        if flags & TMPFILE_BIT != 0 {
            let path = self.resolve(dir, path, lookup)?;
            return self.open_tmpfile(&path, how);
        }
        if flags & O_CREAT != 0 {
            return self.open_or_create(dir, path, how, lookup);
        }
        let path = self.resolve(dir, path, lookup)?;
        self.open_path(&path, flags)
    }

    /// open(2) of a place that is there, with all checks.
    pub fn open_path(&self, path: &Path, flags: u32) -> Result<Arc<FileDescription>, Errno> {
        self.may_open(path, flags)?;
        let inode = path.dentry.inode_ref()?;
        if let Some(task) = self.task {
            let write = flags & (O_ACCMODE | O_TRUNC) != O_RDONLY;
            lease::break_for(task, inode, write, flags & O_NONBLOCK == 0)?;
        }
        if flags & O_TRUNC != 0 && inode.kind == FileKind::Regular {
            self.set_attr_unchecked(
                path,
                &AttrChange {
                    size: Some(0),
                    ..AttrChange::default()
                },
            )?;
            notify::on_path(&self.kernel.vfs, path, notify::IN_MODIFY);
        }
        self.open_checked(path, flags)
    }

    /// Opens without checks (just created, or checked before).
    fn open_checked(&self, path: &Path, flags: u32) -> Result<Arc<FileDescription>, Errno> {
        let inode = path.dentry.inode_ref()?;
        let ops = match inode.kind {
            FileKind::CharDevice | FileKind::BlockDevice => {
                let rdev = inode.attr()?.rdev;
                let opener =
                    self.kernel
                        .vfs
                        .devices
                        .find(inode.kind, device::major(rdev), device::minor(rdev))?;
                opener.open(self.kernel, path, device::minor(rdev), flags)?
            }
            FileKind::Fifo => {
                let task = self.task.ok_or(Errno::ENXIO)?;
                crate::file::fifo::open(task, inode, flags)?
            }
            FileKind::Socket => return Err(Errno::ENXIO),
            FileKind::Symlink => return Err(Errno::ELOOP),
            FileKind::Regular | FileKind::Directory | FileKind::Anonymous => inode.ops.open(path, flags)?,
        };
        notify::on_path(&self.kernel.vfs, path, notify::IN_OPEN);
        Ok(FileDescription::new(path.clone(), ops, flags))
    }

    fn may_open(&self, path: &Path, flags: u32) -> Result<(), Errno> {
        let inode = path.dentry.inode_ref()?;
        let mut mask = match flags & O_ACCMODE {
            O_RDONLY => MAY_READ,
            O_WRONLY => MAY_WRITE,
            _ => MAY_READ | MAY_WRITE,
        };
        if flags & O_TRUNC != 0 {
            mask |= MAY_WRITE;
        }
        match inode.kind {
            FileKind::Symlink => return Err(Errno::ELOOP),
            FileKind::Directory if mask & MAY_WRITE != 0 || flags & O_CREAT != 0 => {
                return Err(Errno::EISDIR);
            }
            FileKind::CharDevice | FileKind::BlockDevice if !devices_allowed(path) => {
                return Err(Errno::EACCES);
            }
            _ => {}
        }
        if flags & O_DIRECTORY != 0 && inode.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        permission(&self.cred, inode, mask)?;
        if mask & MAY_WRITE != 0 && inode.kind == FileKind::Regular {
            path.mount.want_write()?;
        }
        if flags & O_NOATIME != 0 && !is_owner(&self.cred, &inode.attr()?) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    fn open_or_create(
        &self,
        dir: Option<&Path>,
        path: &[u8],
        how: &OpenHow,
        lookup: LookupFlags,
    ) -> Result<Arc<FileDescription>, Errno> {
        let exclusive = how.flags & O_EXCL != 0;
        let mut walk = Walk::new(self, dir, path, lookup)?;
        loop {
            let Some((name, slashes)) = walk.walk_to_last()? else {
                let at = walk.finish()?;
                return if exclusive {
                    Err(Errno::EEXIST)
                } else {
                    self.open_path(&at, how.flags)
                };
            };
            if slashes {
                return Err(Errno::EISDIR);
            }
            let mut dentry = self.child(&walk.at, walk.text(name.clone()))?;
            if dentry.is_negative() {
                match self.create_for_open(&walk.at, walk.text(name), how)? {
                    Created::New(path) => {
                        // A new file may be opened whatever its mode says, and is empty already.
                        let file = self.open_checked(&path, how.flags & !O_TRUNC)?;
                        file.set_created();
                        return Ok(file);
                    }
                    Created::Exists(found) => dentry = found,
                }
            }
            if exclusive {
                return Err(Errno::EEXIST);
            }
            if !walk.enter(dentry, lookup.contains(LookupFlags::FOLLOW), true)? {
                let at = walk.finish()?;
                return self.open_path(&at, how.flags);
            }
        }
    }

    fn create_for_open(&self, dir: &Path, name: &[u8], how: &OpenHow) -> Result<Created, Errno> {
        let inode = dir.dentry.inode_ref()?;
        let _changing = inode.dir_lock.lock();
        let dentry = self.child_locked(dir, name)?;
        if !dentry.is_negative() {
            return Ok(Created::Exists(dentry));
        }
        dir.mount.want_write()?;
        may_create(&self.cred, dir)?;
        let new = self.new_inode(dir, FileKind::Regular, how.mode, 0)?;
        let child = inode.ops.create(name, &new)?;
        self.enter_new(dir, name, &dentry, child);
        Ok(Created::New(Path {
            mount: dir.mount.clone(),
            dentry,
        }))
    }

    fn open_tmpfile(&self, dir: &Path, how: &OpenHow) -> Result<Arc<FileDescription>, Errno> {
        let inode = dir.dentry.inode_ref()?;
        permission(&self.cred, inode, MAY_WRITE | MAY_EXEC)?;
        dir.mount.want_write()?;
        if dir.dentry.is_deleted() {
            return Err(Errno::ENOENT);
        }
        let new = self.new_inode(dir, FileKind::Regular, how.mode, 0)?;
        let child = inode.ops.tmpfile(&new)?;
        if how.flags & O_EXCL == 0 {
            child.attach(|| Linkable);
        }
        let name = format!("#{}", child.attr()?.ino);
        let dentry = Dentry::child(name.as_bytes(), Some(dir.dentry.clone()), Some(child));
        dentry.unhash();
        let path = Path {
            mount: dir.mount.clone(),
            dentry,
        };
        self.open_checked(&path, how.flags & !O_TRUNC)
    }

    /// What a new file in `dir` is like: umask, owner, setgid directories (Linux's inode_init_owner).
    pub(super) fn new_inode(
        &self,
        dir: &Path,
        kind: FileKind,
        mode: u32,
        rdev: u64,
    ) -> Result<NewInode, Errno> {
        use super::permission::{S_ISGID, S_IXGRP};
        use crate::cred::Caps;
        let parent = dir.dentry.inode_ref()?.attr()?;
        let mut perm = mode & 0o7777 & !self.umask;
        let mut gid = self.cred.fsgid;
        if parent.perm & S_ISGID != 0 {
            gid = parent.gid;
            if kind == FileKind::Directory {
                perm |= S_ISGID;
            } else if perm & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP
                && !self.cred.in_group(gid)
                && !self.cred.has_over(Caps::FSETID, parent.uid, gid)
            {
                perm &= !S_ISGID;
            }
        }
        Ok(NewInode {
            kind,
            perm,
            uid: self.cred.fsuid,
            gid,
            rdev,
        })
    }
}

enum Created {
    New(Path),
    Exists(Arc<Dentry>),
}
