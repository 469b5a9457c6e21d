//! Names taken away: unlink(2), rmdir(2).

use std::sync::Arc;

use abi::Errno;

use super::permission::may_delete;
use super::walk::{LastComponent, LastName};
use super::{Dentry, FileKind, Path, Walker, notify};

impl Walker<'_> {
    /// unlink(2).
    pub fn unlink(&self, dir: Option<&Path>, path: &[u8]) -> Result<(), Errno> {
        self.remove(dir, path, false)
    }

    /// rmdir(2).
    pub fn rmdir(&self, dir: Option<&Path>, path: &[u8]) -> Result<(), Errno> {
        self.remove(dir, path, true)
    }

    /// Whether something is mounted at the dentry in the caller's namespace.
    pub(super) fn is_local_mountpoint(&self, dentry: &Arc<Dentry>) -> bool {
        let vfs = &self.kernel.vfs;
        vfs.is_local_mountpoint(vfs.namespace_of(&self.root.mount), dentry)
    }

    fn remove(&self, dir: Option<&Path>, path: &[u8], want_dir: bool) -> Result<(), Errno> {
        let LastComponent { dir, name, slashes } = self.resolve_parent(dir, path)?;
        let LastName::Name(name) = name else {
            return Err(last_is_special(path, want_dir));
        };
        let dir_inode = dir.dentry.inode_ref()?;
        let changing = dir_inode.dir_lock.lock();
        let dentry = self.child_locked(&dir, &name)?;
        let victim = dentry.inode()?;
        if slashes && !want_dir {
            let is_dir = victim.kind == FileKind::Directory;
            return Err(if is_dir { Errno::EISDIR } else { Errno::ENOTDIR });
        }
        dir.mount.want_write()?;
        may_delete(&self.cred, dir_inode, &victim, Some(want_dir))?;
        if self.is_local_mountpoint(&dentry) {
            return Err(Errno::EBUSY);
        }
        if want_dir {
            // Nothing may be created in it from here on.
            let _victim = victim.dir_lock.lock_nested();
            dir_inode.ops.rmdir(&name, &victim)?;
        } else {
            dir_inode.ops.unlink(&name, &victim)?;
        }
        dentry.unhash();
        drop(changing);
        self.kernel.vfs.detach_all_at(&dentry);
        self.kernel.vfs.dcache.remove(&dentry);
        let vfs = &self.kernel.vfs;
        if notify::wanted(vfs) {
            if !want_dir {
                notify::on_inode(vfs, &victim, notify::IN_ATTRIB);
            }
            let gone = want_dir || victim.attr().is_ok_and(|attr| attr.nlink == 0);
            notify::on_child(vfs, &dir.dentry, notify::IN_DELETE, &name, want_dir, 0);
            if gone && Arc::strong_count(&dentry) == 1 {
                notify::on_inode(vfs, &victim, notify::IN_DELETE_SELF);
                notify::forget_watches(vfs, &victim);
            }
        }
        Ok(())
    }
}

/// The error for `/`, `.` and `..` at the end of the path.
fn last_is_special(path: &[u8], want_dir: bool) -> Errno {
    if !want_dir {
        return Errno::EISDIR;
    }
    let name = path.rsplit(|byte| *byte == b'/').find(|name| !name.is_empty());
    match name {
        Some(b".") => Errno::EINVAL,
        Some(b"..") => Errno::ENOTEMPTY,
        _ => Errno::EBUSY,
    }
}
