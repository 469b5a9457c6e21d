//! New names: mknod(2), mkdir(2), symlink(2), link(2).

use std::sync::Arc;

use abi::Errno;

use super::permission::{may_create, permission};
use super::walk::{LastComponent, LastName};
use super::{Dentry, FileKind, Inode, Path, Walker, notify};
use crate::cred::Caps;

/// Attached to a file that has no name yet but may get one (O_TMPFILE without O_EXCL).
pub(super) struct Linkable;

impl Walker<'_> {
    /// Walks to the parent of a new name and runs `make` there, with the directory locked and all checks done.
    fn create_at(
        &self,
        dir: Option<&Path>,
        path: &[u8],
        slashes_allowed: bool,
        make: impl FnOnce(&Path, &Inode, &[u8]) -> Result<Arc<Inode>, Errno>,
    ) -> Result<Path, Errno> {
        let LastComponent { dir, name, slashes } = self.resolve_parent(dir, path)?;
        let LastName::Name(name) = name else {
            return Err(Errno::EEXIST);
        };
        let inode = dir.dentry.inode_ref()?;
        let _changing = inode.dir_lock.lock();
        let dentry = self.child_locked(&dir, &name)?;
        if !dentry.is_negative() {
            return Err(Errno::EEXIST);
        }
        if slashes && !slashes_allowed {
            return Err(Errno::ENOENT);
        }
        dir.mount.want_write()?;
        may_create(&self.cred, &dir)?;
        let child = make(&dir, inode, &name)?;
        self.enter_new(&dir, &name, &dentry, child);
        Ok(Path {
            mount: dir.mount.clone(),
            dentry,
        })
    }

    /// Makes the negative `dentry` of a new file positive.
    pub(super) fn enter_new(&self, dir: &Path, name: &[u8], dentry: &Arc<Dentry>, inode: Arc<Inode>) {
        let is_dir = inode.kind == FileKind::Directory;
        let cached = inode.sb.ops.cacheable();
        dentry.instantiate(inode);
        if !cached {
            dir.dentry.adopt(name, dentry);
        }
        notify::on_child(&self.kernel.vfs, &dir.dentry, notify::IN_CREATE, name, is_dir, 0);
    }

    /// mknod(2) of any kind but directories and links; also binds unix sockets.
    pub fn mknod(
        &self,
        dir: Option<&Path>,
        path: &[u8],
        kind: FileKind,
        mode: u32,
        rdev: u64,
    ) -> Result<Path, Errno> {
        let device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
        self.create_at(dir, path, false, |dir, inode, name| {
            // A whiteout (device 0/0) needs no privilege.
            if device && !self.cred.has(Caps::MKNOD) && !(kind == FileKind::CharDevice && rdev == 0) {
                return Err(Errno::EPERM);
            }
            inode.ops.create(name, &self.new_inode(dir, kind, mode, rdev)?)
        })
    }

    /// mkdir(2).
    pub fn mkdir(&self, dir: Option<&Path>, path: &[u8], mode: u32) -> Result<Path, Errno> {
        self.create_at(dir, path, true, |dir, inode, name| {
            inode
                .ops
                .create(name, &self.new_inode(dir, FileKind::Directory, mode & 0o1777, 0)?)
        })
    }

    /// symlink(2).
    pub fn symlink(&self, target: &[u8], dir: Option<&Path>, path: &[u8]) -> Result<Path, Errno> {
        self.create_at(dir, path, false, |dir, inode, name| {
            let mut new = self.new_inode(dir, FileKind::Symlink, 0, 0)?;
            new.perm = 0o777;
            inode.ops.symlink(name, target, &new)
        })
    }

    /// link(2): a further name for what is at `old`.
    pub fn link(&self, old: &Path, dir: Option<&Path>, path: &[u8]) -> Result<Path, Errno> {
        let victim = old.inode()?;
        let linked = self.create_at(dir, path, false, |dir, inode, name| {
            if !Arc::ptr_eq(&dir.mount, &old.mount) || !Arc::ptr_eq(&inode.sb, &victim.sb) {
                return Err(Errno::EXDEV);
            }
            if victim.kind == FileKind::Directory {
                return Err(Errno::EPERM);
            }
            let attr = victim.attr()?;
            if attr.nlink == 0 && victim.attached::<Linkable>().is_none() {
                return Err(Errno::ENOENT);
            }
            inode.ops.link(name, &victim)?;
            let _once = victim.detach::<Linkable>();
            Ok(victim.clone())
        })?;
        notify::on_inode(&self.kernel.vfs, &victim, notify::IN_ATTRIB);
        Ok(linked)
    }

    /// The search permission on a directory, for chdir(2) and the like.
    pub fn may_search(&self, dir: &Path) -> Result<(), Errno> {
        permission(&self.cred, dir.dentry.inode_ref()?, super::permission::MAY_EXEC)
    }
}
