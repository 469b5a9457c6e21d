//! access(2), faccessat(2), faccessat2(2).

use std::sync::Arc;

use abi::Errno;

use super::arg::{AT_FDCWD, CStr, Fd, Flags, Mode};
use super::dirfd::{AT_EACCESS, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, At};
use crate::cred::Caps;
use crate::task::CurrentTask;
use crate::vfs::permission::{MAY_EXEC, MAY_WRITE};
use crate::vfs::{FileKind, MountFlags, Walker, permission};

/// access(2).
pub fn access(task: &CurrentTask, path: CStr, mode: Mode) -> Result<(), Errno> {
    faccessat2(task, Fd(AT_FDCWD), path, mode, Flags(0))
}

/// faccessat(2) as the system call: without flags.
pub fn faccessat(task: &CurrentTask, dir: Fd, path: CStr, mode: Mode) -> Result<(), Errno> {
    faccessat2(task, dir, path, mode, Flags(0))
}

/// faccessat2(2).
pub fn faccessat2(task: &CurrentTask, dir: Fd, path: CStr, mode: Mode, flags: Flags) -> Result<(), Errno> {
    if mode.0 & !7 != 0 || flags.0 & !(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let mut walker = Walker::of(task);
    if flags.0 & AT_EACCESS == 0 {
        let same = walker.cred.uid == walker.cred.fsuid && walker.cred.gid == walker.cred.fsgid;
        if !same {
            // As the real user, with what that user could have.
            let mut cred = (*walker.cred).clone();
            cred.fsuid = cred.uid;
            cred.fsgid = cred.gid;
            cred.effective = if cred.user_ns.root() == Some(cred.uid) {
                cred.permitted
            } else {
                Caps::empty()
            };
            walker.cred = Arc::new(cred);
        }
    }
    let place = At::read(task, dir, path)?.resolve(&walker, flags.0)?;
    let inode = place.dentry.inode_ref()?;
    let noexec = place.mount.flags().contains(MountFlags::NOEXEC);
    if mode.0 & MAY_EXEC != 0 && inode.kind == FileKind::Regular && noexec {
        return Err(Errno::EACCES);
    }
    permission(&walker.cred, inode, mode.0)?;
    let content = matches!(
        inode.kind,
        FileKind::Regular | FileKind::Directory | FileKind::Symlink
    );
    if mode.0 & MAY_WRITE != 0 && content {
        place.mount.want_write()?;
    }
    Ok(())
}
