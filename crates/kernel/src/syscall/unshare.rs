//! unshare(2), setns(2).

use std::sync::Arc;

use abi::Errno;

use super::arg::{Fd, Flags};
use crate::cred::Caps;
use crate::task::{CurrentTask, clone_flags as f};
use crate::vfs::new_mount_namespace;

/// unshare(2): descriptors, file system context and mounts; there are no other namespaces to make.
pub fn unshare(task: &CurrentTask, flags: u64) -> Result<(), Errno> {
    const KNOWN: u64 =
        f::FS | f::FILES | f::SIGHAND | f::VM | f::THREAD | f::SYSVSEM | f::NEWUSER | f::NAMESPACES;
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & (f::THREAD | f::SIGHAND | f::VM) != 0 && task.group.signals.lock().threads.len() > 1 {
        return Err(Errno::EINVAL);
    }
    if flags & f::NEWUSER != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & f::NAMESPACES != 0 && (flags & f::NAMESPACES != f::NEWNS || !task.cred().has(Caps::SYS_ADMIN))
    {
        let allowed = task.cred().has(Caps::SYS_ADMIN);
        return Err(if allowed { Errno::EINVAL } else { Errno::EPERM });
    }
    if flags & (f::FS | f::NEWNS) != 0 {
        let own = if flags & f::NEWNS != 0 {
            new_mount_namespace(&task.kernel, &task.fs())?
        } else {
            task.fs().duplicate()
        };
        let _shared = std::mem::replace(&mut *task.fs.lock(), own);
    }
    if flags & f::FILES != 0 {
        let own = Arc::new(task.files().duplicate());
        let _shared = std::mem::replace(&mut *task.files.lock(), own);
    }
    Ok(())
}

/// setns(2): no file names a namespace that could be entered.
pub fn setns(task: &CurrentTask, fd: Fd, _: Flags) -> Result<(), Errno> {
    task.files().get(fd.0)?;
    Err(Errno::EINVAL)
}
