//! Extended attributes (xattr(7)): who may see and change which name space.

use std::sync::atomic::Ordering;

use abi::Errno;

use super::permission::{MAY_READ, MAY_WRITE, S_ISVTX, is_owner, permission};
use super::{FileKind, Path, Vfs, Walker, notify};
use crate::cred::{Caps, FileCaps};

/// The attribute that holds a file's capabilities.
const CAPABILITY: &[u8] = b"security.capability";

/// A write takes a file's capabilities away (cap_inode_killpriv), whoever writes.
pub(crate) fn drop_capabilities(vfs: &Vfs, path: &Path) -> Result<(), Errno> {
    if !vfs.capable_files.load(Ordering::Relaxed) {
        return Ok(());
    }
    let inode = path.inode()?;
    match inode.ops.get_xattr(CAPABILITY) {
        Ok(_) => inode.ops.remove_xattr(CAPABILITY),
        Err(_) => Ok(()),
    }
}

impl Walker<'_> {
    /// getxattr(2).
    pub fn get_xattr(&self, path: &Path, name: &[u8]) -> Result<Vec<u8>, Errno> {
        self.may_xattr(path, name, false)?;
        let value = path.dentry.inode_ref()?.ops.get_xattr(name)?;
        if name == CAPABILITY {
            return FileCaps::shown(value, &self.cred.user_ns);
        }
        Ok(value)
    }

    /// setxattr(2).
    pub fn set_xattr(&self, path: &Path, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        path.mount.want_write()?;
        self.may_xattr(path, name, true)?;
        let own = if name == CAPABILITY {
            self.kernel.vfs.capable_files.store(true, Ordering::Relaxed);
            FileCaps::stored(value, &self.cred.user_ns)?
        } else {
            None
        };
        let value = own.as_deref().unwrap_or(value);
        path.dentry.inode_ref()?.ops.set_xattr(name, value, flags)?;
        notify::on_path(&self.kernel.vfs, path, notify::IN_ATTRIB);
        Ok(())
    }

    /// removexattr(2).
    pub fn remove_xattr(&self, path: &Path, name: &[u8]) -> Result<(), Errno> {
        path.mount.want_write()?;
        self.may_xattr(path, name, true)?;
        path.dentry.inode_ref()?.ops.remove_xattr(name)?;
        notify::on_path(&self.kernel.vfs, path, notify::IN_ATTRIB);
        Ok(())
    }

    /// listxattr(2): `trusted.` names only for the privileged.
    pub fn list_xattr(&self, path: &Path) -> Result<Vec<Vec<u8>>, Errno> {
        let mut names = path.dentry.inode_ref()?.ops.list_xattr()?;
        if !self.cred.has(Caps::SYS_ADMIN) {
            names.retain(|name| !name.starts_with(b"trusted."));
        }
        Ok(names)
    }

    fn may_xattr(&self, path: &Path, name: &[u8], write: bool) -> Result<(), Errno> {
        let inode = path.dentry.inode_ref()?;
        let denied = if write { Errno::EPERM } else { Errno::ENODATA };
        if [&b"user."[..], b"trusted.", b"security."].contains(&name) {
            // A name space without a name in it (xattr_resolve_name).
            return Err(Errno::EINVAL);
        }
        if name.starts_with(b"security.") {
            let fine = if name == CAPABILITY {
                let attr = inode.attr()?;
                self.cred.has_over(Caps::SETFCAP, attr.uid, attr.gid)
            } else {
                self.cred.has(Caps::SYS_ADMIN)
            };
            return if write && !fine { Err(denied) } else { Ok(()) };
        }
        if name.starts_with(b"trusted.") {
            return if self.cred.has(Caps::SYS_ADMIN) {
                Ok(())
            } else {
                Err(denied)
            };
        }
        if !name.starts_with(b"user.") {
            // POSIX ACLs and others: not supported.
            return Err(Errno::EOPNOTSUPP);
        }
        if !matches!(inode.kind, FileKind::Regular | FileKind::Directory) {
            return Err(denied);
        }
        if write && inode.kind == FileKind::Directory {
            let attr = inode.attr()?;
            if attr.perm & S_ISVTX != 0 && !is_owner(&self.cred, &attr) {
                return Err(denied);
            }
        }
        permission(&self.cred, inode, if write { MAY_WRITE } else { MAY_READ })
    }
}
