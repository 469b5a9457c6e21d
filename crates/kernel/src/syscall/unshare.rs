//! unshare(2), setns(2).

use std::sync::Arc;

use abi::Errno;

use super::arg::{Fd, Flags};
use crate::task::{CurrentTask, NsFile, PidFd, check_namespace_flags, clone_flags as f, next_number};
use crate::vfs::new_mount_namespace;

/// unshare(2): descriptors, file system context, namespaces. Those of time cannot be made: `EINVAL`.
pub fn unshare(task: &CurrentTask, flags: u64) -> Result<(), Errno> {
    const KNOWN: u64 =
        f::FS | f::FILES | f::SIGHAND | f::VM | f::THREAD | f::SYSVSEM | f::NEWUSER | f::NAMESPACES;
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let alone = f::THREAD | f::SIGHAND | f::VM | f::NEWUSER | f::NEWPID;
    if flags & alone != 0 && task.group.signals.lock().threads.len() > 1 {
        return Err(Errno::EINVAL);
    }
    check_namespace_flags(task, flags)?;
    let cred = match flags & f::NEWUSER {
        0 => task.cred(),
        _ => Arc::new(task.cred().in_new_user_ns(next_number())?),
    };
    let namespaces = task.namespaces.lock().clone();
    if flags & f::NEWPID != 0 && namespaces.pid_for_children != task.group.pid_ns {
        return Err(Errno::EINVAL);
    }
    let namespaces = namespaces.changed(flags, &cred.user_ns)?;
    if flags & (f::FS | f::NEWNS | f::NEWUSER) != 0 {
        let own = if flags & f::NEWNS != 0 {
            new_mount_namespace(&task.kernel, &task.fs(), &cred.user_ns)?
        } else {
            task.fs().duplicate()
        };
        let _shared = std::mem::replace(&mut *task.fs.lock(), own);
    }
    if flags & f::FILES != 0 {
        let own = Arc::new(task.files().duplicate());
        let _shared = std::mem::replace(&mut *task.files.lock(), own);
    }
    if flags & f::NEWUSER != 0 {
        task.set_credentials((*cred).clone());
    }
    if flags & f::NEWIPC != 0 {
        task.change_ipc(namespaces.ipc.clone());
    }
    let old = std::mem::replace(&mut *task.namespaces.lock(), namespaces);
    drop(old);
    Ok(())
}

/// setns(2): by a file of /proc/PID/ns, or into several of a process's by its pidfd.
pub fn setns(task: &CurrentTask, fd: Fd, kinds: Flags) -> Result<(), Errno> {
    let file = task.files().get(fd.0)?;
    let wanted = u64::from(kinds.0);
    if let Some(file) = file.ops_as::<NsFile>() {
        if wanted != 0 && wanted != file.0.identity().1 {
            return Err(Errno::EINVAL);
        }
        return task.enter_namespaces(std::slice::from_ref(&file.0));
    }
    let Some(pidfd) = file.ops_as::<PidFd>() else {
        return Err(Errno::EINVAL);
    };
    if wanted == 0 || wanted & !(f::NAMESPACES | f::NEWUSER) != 0 {
        return Err(Errno::EINVAL);
    }
    let thread = pidfd.group.signals.lock().threads.first().cloned();
    let thread = thread.ok_or(Errno::ESRCH)?;
    if !task.may_access(&thread) {
        return Err(Errno::EPERM);
    }
    let all = thread.all_namespaces();
    let chosen: Vec<_> = all
        .into_iter()
        .filter(|ns| ns.identity().1 & wanted != 0)
        .collect();
    task.enter_namespaces(&chosen)
}
