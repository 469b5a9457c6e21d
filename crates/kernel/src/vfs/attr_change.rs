//! Changes of attributes with Linux's rules (notify_change): chmod, chown, utimensat, truncate, privileges lost on write.

use abi::Errno;

use super::permission::{MAY_WRITE, S_ISGID, S_ISUID, S_IXGRP, is_owner, permission};
use super::{AttrChange, FileKind, Path, TimeChange, Walker, notify};
use crate::cred::{Caps, Credentials};

impl Walker<'_> {
    /// chmod(2).
    pub fn chmod(&self, path: &Path, mode: u32) -> Result<(), Errno> {
        path.mount.want_write()?;
        let inode = path.dentry.inode_ref()?;
        if inode.kind == FileKind::Symlink {
            return Err(Errno::EOPNOTSUPP);
        }
        let attr = inode.attr()?;
        if !is_owner(&self.cred, &attr) {
            return Err(Errno::EPERM);
        }
        let mut perm = mode & 0o7777;
        if !self.cred.in_group(attr.gid) && !self.cred.has_over(Caps::FSETID, attr.uid, attr.gid) {
            perm &= !S_ISGID;
        }
        let change = AttrChange {
            perm: Some(perm),
            ..AttrChange::default()
        };
        self.set_attr_unchecked(path, &change)
    }

    /// chown(2); `u32::MAX` leaves an id as it is.
    pub fn chown(&self, path: &Path, uid: u32, gid: u32) -> Result<(), Errno> {
        path.mount.want_write()?;
        let inode = path.dentry.inode_ref()?;
        let attr = inode.attr()?;
        let uid = (uid != u32::MAX).then_some(uid);
        let gid = (gid != u32::MAX).then_some(gid);
        let owner = self.cred.fsuid == attr.uid;
        let privileged = self.cred.has_over(Caps::CHOWN, attr.uid, attr.gid);
        if uid.is_some_and(|uid| !(privileged || (owner && uid == attr.uid))) {
            return Err(Errno::EPERM);
        }
        let group_fine = |gid| privileged || (owner && (gid == attr.gid || self.cred.in_group(gid)));
        if gid.is_some_and(|gid| !group_fine(gid)) {
            return Err(Errno::EPERM);
        }
        let mut perm = attr.perm;
        if inode.kind != FileKind::Directory {
            perm &= !S_ISUID;
            let keeps = self.cred.in_group(attr.gid) || self.cred.has_over(Caps::FSETID, attr.uid, attr.gid);
            if perm & S_IXGRP != 0 || !keeps {
                perm &= !S_ISGID;
            }
        }
        let change = AttrChange {
            perm: (perm != attr.perm).then_some(perm),
            uid,
            gid,
            ..AttrChange::default()
        };
        self.set_attr_unchecked(path, &change)
    }

    /// utimensat(2): `None` leaves a time as it is.
    pub fn set_times(
        &self,
        path: &Path,
        atime: Option<TimeChange>,
        mtime: Option<TimeChange>,
    ) -> Result<(), Errno> {
        if atime.is_none() && mtime.is_none() {
            return Ok(());
        }
        path.mount.want_write()?;
        let inode = path.dentry.inode_ref()?;
        if !is_owner(&self.cred, &inode.attr()?) {
            // Whoever may write may set both to the present.
            if atime != Some(TimeChange::Now) || mtime != Some(TimeChange::Now) {
                return Err(Errno::EPERM);
            }
            permission(&self.cred, inode, MAY_WRITE)?;
        }
        let change = AttrChange {
            atime,
            mtime,
            ..AttrChange::default()
        };
        self.set_attr_unchecked(path, &change)
    }

    /// truncate(2) of a place.
    pub fn truncate(&self, path: &Path, size: u64) -> Result<(), Errno> {
        let inode = path.dentry.inode_ref()?;
        match inode.kind {
            FileKind::Directory => return Err(Errno::EISDIR),
            FileKind::Regular => {}
            _ => return Err(Errno::EINVAL),
        }
        path.mount.want_write()?;
        permission(&self.cred, inode, MAY_WRITE)?;
        self.truncate_unchecked(path, size)
    }

    /// ftruncate(2) after its checks.
    pub fn truncate_unchecked(&self, path: &Path, size: u64) -> Result<(), Errno> {
        let mut change = AttrChange {
            size: Some(size),
            ..AttrChange::default()
        };
        change.perm = perm_after_write(&self.cred, path)?;
        path.dentry.inode_ref()?.ops.set_attr(&change)?;
        notify::on_path(&self.kernel.vfs, path, notify::IN_MODIFY);
        Ok(())
    }

    pub(super) fn set_attr_unchecked(&self, path: &Path, change: &AttrChange) -> Result<(), Errno> {
        path.dentry.inode_ref()?.ops.set_attr(change)?;
        notify::on_path(&self.kernel.vfs, path, notify::IN_ATTRIB);
        Ok(())
    }
}

/// The permission bits without setuid and setgid when a write must clear them; `None`: nothing to do.
pub fn perm_after_write(cred: &Credentials, path: &Path) -> Result<Option<u32>, Errno> {
    if cred.has(Caps::FSETID) {
        return Ok(None);
    }
    let inode = path.dentry.inode_ref()?;
    if inode.kind != FileKind::Regular {
        return Ok(None);
    }
    let attr = inode.attr()?;
    let mut perm = attr.perm & !S_ISUID;
    if perm & S_IXGRP != 0 {
        perm &= !S_ISGID;
    }
    Ok((perm != attr.perm).then_some(perm))
}
