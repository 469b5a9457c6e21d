//! renameat2(2).

use std::sync::Arc;

use abi::Errno;

use super::permission::{MAY_EXEC, MAY_WRITE, may_create, may_delete, permission};
use super::walk::LastName;
use super::{Dentry, FileKind, Path, Walker, notify};

/// Fail when the new name exists.
pub const RENAME_NOREPLACE: u32 = 1;
/// Swap the two names.
pub const RENAME_EXCHANGE: u32 = 2;
/// Leave a whiteout at the old name.
pub const RENAME_WHITEOUT: u32 = 4;

/// Both ends of a rename, looked up under the directories' locks.
struct Ends {
    old_dir: Path,
    new_dir: Path,
    old_name: Box<[u8]>,
    new_name: Box<[u8]>,
    old_slashes: bool,
    new_slashes: bool,
}

impl Walker<'_> {
    /// renameat2(2).
    pub fn rename(
        &self,
        old_dir: Option<&Path>,
        old_path: &[u8],
        new_dir: Option<&Path>,
        new_path: &[u8],
        flags: u32,
    ) -> Result<(), Errno> {
        if flags & !(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) != 0
            || (flags & RENAME_EXCHANGE != 0 && flags & (RENAME_NOREPLACE | RENAME_WHITEOUT) != 0)
        {
            return Err(Errno::EINVAL);
        }
        let old = self.resolve_parent(old_dir, old_path)?;
        let new = self.resolve_parent(new_dir, new_path)?;
        if !Arc::ptr_eq(&old.dir.mount, &new.dir.mount) {
            return Err(Errno::EXDEV);
        }
        let LastName::Name(old_name) = old.name else {
            return Err(Errno::EBUSY);
        };
        let LastName::Name(new_name) = new.name else {
            return Err(if flags & RENAME_NOREPLACE != 0 {
                Errno::EEXIST
            } else {
                Errno::EBUSY
            });
        };
        let ends = Ends {
            old_dir: old.dir,
            new_dir: new.dir,
            old_name,
            new_name,
            old_slashes: old.slashes,
            new_slashes: new.slashes,
        };
        ends.old_dir.mount.want_write()?;
        let same_dir = Arc::ptr_eq(&ends.old_dir.dentry, &ends.new_dir.dentry);
        let _tree = (!same_dir).then(|| self.kernel.vfs.rename_lock.lock());
        let (first, second) = (ends.old_dir.dentry.inode_ref()?, ends.new_dir.dentry.inode_ref()?);
        // Two names of one directory inode (bind mounts of a file system that aliases) lock it once.
        if Arc::ptr_eq(first, second) {
            let _changing = first.dir_lock.lock();
            return self.rename_locked(&ends, flags);
        }
        // The one above the other first, like every removal of a directory; unrelated ones by address.
        let first_is_above = ends.new_dir.dentry.is_below(&ends.old_dir.dentry);
        let second_is_above = ends.old_dir.dentry.is_below(&ends.new_dir.dentry);
        let by_address = Arc::as_ptr(first).addr() < Arc::as_ptr(second).addr();
        let (low, high) = if first_is_above || (!second_is_above && by_address) {
            (first, second)
        } else {
            (second, first)
        };
        let _low = low.dir_lock.lock();
        let _high = high.dir_lock.lock_nested();
        self.rename_locked(&ends, flags)
    }

    fn rename_locked(&self, ends: &Ends, flags: u32) -> Result<(), Errno> {
        let source = self.child_locked(&ends.old_dir, &ends.old_name)?;
        let moving = source.inode()?;
        let target = self.child_locked(&ends.new_dir, &ends.new_name)?;
        let replaced = target.inode().ok();
        if flags & RENAME_NOREPLACE != 0 && replaced.is_some() {
            return Err(Errno::EEXIST);
        }
        if flags & RENAME_EXCHANGE != 0 && replaced.is_none() {
            return Err(Errno::ENOENT);
        }
        let is_dir = moving.kind == FileKind::Directory;
        if !is_dir && (ends.old_slashes || (ends.new_slashes && flags & RENAME_EXCHANGE == 0)) {
            return Err(Errno::ENOTDIR);
        }
        // A directory cannot move below itself, nor replace one that it lies in.
        if ends.new_dir.dentry.is_below(&source) {
            return Err(Errno::EINVAL);
        }
        if replaced.is_some() && ends.old_dir.dentry.is_below(&target) {
            return Err(if flags & RENAME_EXCHANGE != 0 {
                Errno::EINVAL
            } else {
                Errno::ENOTEMPTY
            });
        }
        if replaced.as_ref().is_some_and(|inode| Arc::ptr_eq(inode, &moving)) {
            return Ok(());
        }
        self.rename_permissions(ends, &source, &target, flags)?;
        if self.is_local_mountpoint(&source) || self.is_local_mountpoint(&target) {
            return Err(Errno::EBUSY);
        }
        let (old_inode, new_inode) = (ends.old_dir.dentry.inode_ref()?, ends.new_dir.dentry.inode_ref()?);
        old_inode
            .ops
            .rename(&ends.old_name, new_inode, &ends.new_name, flags)?;
        if flags & RENAME_EXCHANGE != 0 {
            source.forget();
            target.rename_to(&ends.old_dir.dentry, &ends.old_name);
            source.rename_to(&ends.new_dir.dentry, &ends.new_name);
        } else {
            if replaced.is_some() {
                target.unhash();
                self.kernel.vfs.detach_all_at(&target);
                self.kernel.vfs.dcache.remove(&target);
            } else {
                // The negative dentry of the new name: it now means the moved file.
                target.forget();
                self.kernel.vfs.dcache.remove(&target);
            }
            source.rename_to(&ends.new_dir.dentry, &ends.new_name);
        }
        self.rename_events(ends, &source, replaced, flags);
        Ok(())
    }

    fn rename_permissions(
        &self,
        ends: &Ends,
        source: &Arc<Dentry>,
        target: &Arc<Dentry>,
        flags: u32,
    ) -> Result<(), Errno> {
        let (old_inode, new_inode) = (ends.old_dir.dentry.inode_ref()?, ends.new_dir.dentry.inode_ref()?);
        let moving = source.inode_ref()?;
        let is_dir = moving.kind == FileKind::Directory;
        may_delete(&self.cred, old_inode, moving, None)?;
        match target.inode_ref() {
            Ok(replaced) if flags & RENAME_EXCHANGE != 0 => {
                may_delete(&self.cred, new_inode, replaced, None)?;
            }
            Ok(replaced) => may_delete(&self.cred, new_inode, replaced, Some(is_dir))?,
            Err(_) => may_create(&self.cred, &ends.new_dir)?,
        }
        // `..` of a moved directory changes.
        if is_dir && !Arc::ptr_eq(old_inode, new_inode) {
            permission(&self.cred, moving, MAY_WRITE)?;
        }
        permission(&self.cred, new_inode, MAY_WRITE | MAY_EXEC)
    }

    fn rename_events(
        &self,
        ends: &Ends,
        source: &Arc<Dentry>,
        replaced: Option<Arc<super::Inode>>,
        flags: u32,
    ) {
        let vfs = &self.kernel.vfs;
        if !notify::wanted(vfs) {
            return;
        }
        let Ok(moved) = source.inode() else { return };
        let is_dir = moved.kind == FileKind::Directory;
        let cookie = notify::next_cookie();
        let (old, new) = (&ends.old_dir.dentry, &ends.new_dir.dentry);
        if let (true, Ok(dir)) = (Arc::ptr_eq(old, new), old.inode_ref()) {
            crate::file::sigio::on_rename_within(dir);
        }
        notify::on_child(vfs, old, notify::IN_MOVED_FROM, &ends.old_name, is_dir, cookie);
        notify::on_child(vfs, new, notify::IN_MOVED_TO, &ends.new_name, is_dir, cookie);
        notify::on_inode(vfs, &moved, notify::IN_MOVE_SELF);
        let Some(replaced) = replaced else { return };
        if flags & RENAME_EXCHANGE != 0 {
            let is_dir = replaced.kind == FileKind::Directory;
            let cookie = notify::next_cookie();
            notify::on_child(vfs, new, notify::IN_MOVED_FROM, &ends.new_name, is_dir, cookie);
            notify::on_child(vfs, old, notify::IN_MOVED_TO, &ends.old_name, is_dir, cookie);
            notify::on_inode(vfs, &replaced, notify::IN_MOVE_SELF);
        } else if replaced.attr().is_ok_and(|attr| attr.nlink == 0) {
            notify::on_inode(vfs, &replaced, notify::IN_DELETE_SELF);
            notify::forget_watches(vfs, &replaced);
        }
    }
}
