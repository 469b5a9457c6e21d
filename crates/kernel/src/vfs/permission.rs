//! Who may do what with an inode: permission bits, capabilities, sticky directories (path_resolution(7)).

use std::sync::Arc;

use abi::Errno;

use super::{Attr, FileKind, Inode, MountFlags, Path};
use crate::cred::{Caps, Credentials};

/// Execute or search.
pub const MAY_EXEC: u32 = 1;
/// Write.
pub const MAY_WRITE: u32 = 2;
/// Read.
pub const MAY_READ: u32 = 4;

/// S_ISUID.
pub const S_ISUID: u32 = 0o4000;
/// S_ISGID.
pub const S_ISGID: u32 = 0o2000;
/// S_ISVTX.
pub const S_ISVTX: u32 = 0o1000;
/// S_IXGRP.
pub const S_IXGRP: u32 = 0o010;

/// Whether `cred` may access the inode with `mask` (MAY_*): `EACCES`. The mount's read-only flag is checked by
/// whoever changes something, see [`super::Mount::want_write`].
pub fn permission(cred: &Credentials, inode: &Inode, mask: u32) -> Result<(), Errno> {
    if let Some(answer) = inode.ops.permission(cred, mask) {
        return answer;
    }
    // Without a look at the attributes when every owner counts.
    let privileged = cred.has(Caps::DAC_OVERRIDE);
    if inode.kind == FileKind::Directory
        && (privileged || (mask & MAY_WRITE == 0 && cred.has(Caps::DAC_READ_SEARCH)))
    {
        return Ok(());
    }
    if privileged && mask & MAY_EXEC == 0 {
        return Ok(());
    }
    by_attr(cred, &inode.attr()?, mask)
}

/// The check by attributes alone (Linux's generic_permission).
pub fn by_attr(cred: &Credentials, attr: &Attr, mask: u32) -> Result<(), Errno> {
    let shift = if cred.fsuid == attr.uid {
        6
    } else if cred.in_group(attr.gid) {
        3
    } else {
        0
    };
    if (attr.perm >> shift) & mask == mask {
        return Ok(());
    }
    let directory = attr.kind == FileKind::Directory;
    // Root may execute only what somebody may execute.
    if cred.has_over(Caps::DAC_OVERRIDE, attr.uid, attr.gid)
        && (directory || mask & MAY_EXEC == 0 || attr.perm & 0o111 != 0)
    {
        return Ok(());
    }
    if cred.has_over(Caps::DAC_READ_SEARCH, attr.uid, attr.gid)
        && (mask == MAY_READ || (directory && mask & MAY_WRITE == 0))
    {
        return Ok(());
    }
    Err(Errno::EACCES)
}

/// Whether `cred` owns the inode or may act as if.
pub fn is_owner(cred: &Credentials, attr: &Attr) -> bool {
    cred.fsuid == attr.uid || cred.has_over(Caps::FOWNER, attr.uid, attr.gid)
}

/// Whether a name may be made in the directory. `ENOENT` when it was removed.
pub(super) fn may_create(cred: &Credentials, dir: &Path) -> Result<(), Errno> {
    if dir.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    permission(cred, dir.dentry.inode_ref()?, MAY_WRITE | MAY_EXEC)
}

/// Whether a name may be taken out of the directory (Linux's may_delete).
pub(super) fn may_delete(
    cred: &Credentials,
    dir: &Inode,
    victim: &Arc<Inode>,
    want_dir: Option<bool>,
) -> Result<(), Errno> {
    permission(cred, dir, MAY_WRITE | MAY_EXEC)?;
    if !cred.has(Caps::FOWNER) {
        let dir_attr = dir.attr()?;
        if dir_attr.perm & S_ISVTX != 0 && dir_attr.uid != cred.fsuid && !is_owner(cred, &victim.attr()?) {
            return Err(Errno::EPERM);
        }
    }
    let is_dir = victim.kind == FileKind::Directory;
    match want_dir {
        Some(true) if !is_dir => Err(Errno::ENOTDIR),
        Some(false) if is_dir => Err(Errno::EISDIR),
        _ => Ok(()),
    }
}

/// Whether the file may be executed (execve(2), AT_EXECVE): `EACCES` on a noexec mount or when it is not regular.
pub fn may_execute(cred: &Credentials, path: &Path) -> Result<(), Errno> {
    let inode = path.dentry.inode_ref()?;
    if inode.kind != FileKind::Regular || path.mount.flags().contains(MountFlags::NOEXEC) {
        return Err(Errno::EACCES);
    }
    permission(cred, inode, MAY_EXEC)
}
