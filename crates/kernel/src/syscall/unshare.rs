//! unshare(2), setns(2).

use std::sync::Arc;

use abi::Errno;

use super::arg::{Fd, Flags};
use crate::cred::Caps;
use crate::task::{CurrentTask, NsFile, PidFd, clone_flags as f};
use crate::vfs::new_mount_namespace;

/// unshare(2): descriptors, file system context, namespaces of mounts, names and IPC.
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
    if flags & f::NAMESPACES != 0
        && (flags & f::NAMESPACES & !f::OFFERED != 0 || !task.cred().has(Caps::SYS_ADMIN))
    {
        let allowed = task.cred().has(Caps::SYS_ADMIN);
        return Err(if allowed { Errno::EINVAL } else { Errno::EPERM });
    }
    let namespaces = task.namespaces.lock().clone();
    let namespaces = namespaces.changed(flags)?;
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
    task.namespaces.lock().uts = namespaces.uts;
    if flags & f::NEWIPC != 0 {
        task.change_ipc(namespaces.ipc);
    }
    Ok(())
}

/// setns(2): by a file of /proc/PID/ns, or into several of a process's by its pidfd.
pub fn setns(task: &CurrentTask, fd: Fd, kinds: Flags) -> Result<(), Errno> {
    let file = task.files().get(fd.0)?;
    let wanted = u64::from(kinds.0);
    if let Some(file) = file.ops_as::<NsFile>() {
        return task.enter_namespace(&file.0, wanted);
    }
    let Some(pidfd) = file.ops_as::<PidFd>() else {
        return Err(Errno::EINVAL);
    };
    if wanted == 0 || wanted & !f::NAMESPACES != 0 {
        return Err(Errno::EINVAL);
    }
    let thread = pidfd.group.signals.lock().threads.first().cloned();
    let thread = thread.ok_or(Errno::ESRCH)?;
    if !task.may_access(&thread) {
        return Err(Errno::EPERM);
    }
    for namespace in thread.all_namespaces() {
        if namespace.identity().1 & wanted != 0 {
            task.enter_namespace(&namespace, 0)?;
        }
    }
    Ok(())
}
