//! Where the `*at` calls start: a descriptor and a path text.

use abi::Errno;

use super::arg::{AT_FDCWD, CStr, Fd};
use crate::task::CurrentTask;
use crate::vfs::{FileKind, LookupFlags, Path, Walker};

pub(super) const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
pub(super) const AT_REMOVEDIR: u32 = 0x200;
pub(super) const AT_EACCESS: u32 = 0x200;
pub(super) const AT_SYMLINK_FOLLOW: u32 = 0x400;
pub(super) const AT_NO_AUTOMOUNT: u32 = 0x800;
pub(super) const AT_EMPTY_PATH: u32 = 0x1000;

/// A start and a text.
pub(super) struct At {
    /// `None`: the working directory.
    pub dir: Option<Path>,
    pub path: Vec<u8>,
}

impl At {
    /// From a call's arguments. The descriptor is only looked at for a relative path.
    pub fn read(task: &CurrentTask, fd: Fd, path: CStr) -> Result<At, Errno> {
        let path = task.read_path(path.0)?;
        Self::new(task, fd, path)
    }

    /// The same for a walk that starts at the descriptor even when the path is absolute.
    pub fn read_bounded(task: &CurrentTask, fd: Fd, path: CStr) -> Result<At, Errno> {
        let path = task.read_path(path.0)?;
        if fd.0 == AT_FDCWD {
            return Ok(At { dir: None, path });
        }
        let dir = Some(task.fd(fd.0)?.path().clone());
        Ok(At { dir, path })
    }

    /// From a descriptor and a text that was read already.
    pub fn new(task: &CurrentTask, fd: Fd, path: Vec<u8>) -> Result<At, Errno> {
        if fd.0 == AT_FDCWD || path.first() == Some(&b'/') {
            return Ok(At { dir: None, path });
        }
        let dir = task.fd(fd.0)?.path().clone();
        if !path.is_empty() && dir.dentry.inode_ref()?.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(At { dir: Some(dir), path })
    }

    /// The place meant by the path with AT_* flags.
    pub fn resolve(&self, walker: &Walker<'_>, flags: u32) -> Result<Path, Errno> {
        let mut lookup = LookupFlags::empty();
        lookup.set(LookupFlags::FOLLOW, flags & AT_SYMLINK_NOFOLLOW == 0);
        lookup.set(LookupFlags::EMPTY, flags & AT_EMPTY_PATH != 0);
        walker.resolve(self.dir.as_ref(), &self.path, lookup)
    }

    /// The same for calls that follow a last symbolic link only with AT_SYMLINK_FOLLOW.
    pub fn resolve_nofollow(&self, walker: &Walker<'_>, flags: u32) -> Result<Path, Errno> {
        let nofollow = if flags & AT_SYMLINK_FOLLOW == 0 {
            AT_SYMLINK_NOFOLLOW
        } else {
            0
        };
        self.resolve(walker, (flags & AT_EMPTY_PATH) | nofollow)
    }
}

/// The place of a path from the working directory; `flags` are AT_*.
pub(super) fn resolve(
    walker: &Walker<'_>,
    task: &CurrentTask,
    path: CStr,
    flags: u32,
) -> Result<Path, Errno> {
    At::read(task, Fd(AT_FDCWD), path)?.resolve(walker, flags)
}
