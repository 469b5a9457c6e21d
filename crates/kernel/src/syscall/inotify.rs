//! inotify_init(2), inotify_add_watch(2), inotify_rm_watch(2).

use abi::Errno;
use abi::fcntl::{O_CLOEXEC, O_NONBLOCK, O_RDONLY};

use super::arg::{CStr, Fd, Flags};
use crate::file::inotify::InotifyFile;
use crate::task::CurrentTask;
use crate::vfs::notify::{IN_ALL_EVENTS, IN_DONT_FOLLOW, IN_MASK_ADD, IN_MASK_CREATE, IN_ONLYDIR};
use crate::vfs::permission::MAY_READ;
use crate::vfs::{LookupFlags, Walker, anon_file, permission};

/// inotify_init(2).
pub fn inotify_init(task: &CurrentTask) -> Result<i32, Errno> {
    inotify_init1(task, Flags(0))
}

/// inotify_init1(2).
pub fn inotify_init1(task: &CurrentTask, flags: Flags) -> Result<i32, Errno> {
    if flags.0 & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let ops = Box::new(InotifyFile::new(&task.kernel));
    let file = anon_file(
        &task.kernel,
        "anon_inode:inotify",
        ops,
        O_RDONLY | (flags.0 & O_NONBLOCK),
    );
    let cloexec = flags.0 & O_CLOEXEC != 0;
    task.files().install(file, cloexec, 0, task.group.fd_limit())
}

/// inotify_add_watch(2).
pub fn inotify_add_watch(task: &CurrentTask, fd: Fd, path: CStr, mask: Flags) -> Result<i32, Errno> {
    if mask.0 & IN_ALL_EVENTS == 0 || mask.0 & (IN_MASK_ADD | IN_MASK_CREATE) == IN_MASK_ADD | IN_MASK_CREATE
    {
        return Err(Errno::EINVAL);
    }
    let file = task.fd(fd.0)?;
    let inotify = file.ops_as::<InotifyFile>().ok_or(Errno::EINVAL)?;
    let mut flags = LookupFlags::empty();
    flags.set(LookupFlags::FOLLOW, mask.0 & IN_DONT_FOLLOW == 0);
    flags.set(LookupFlags::DIRECTORY, mask.0 & IN_ONLYDIR != 0);
    let walker = Walker::of(task);
    let place = walker.resolve(None, &task.read_path(path.0)?, flags)?;
    let inode = place.inode()?;
    permission(&walker.cred, &inode, MAY_READ)?;
    inotify.instance().add(&task.kernel.vfs, &inode, mask.0)
}

/// inotify_rm_watch(2).
pub fn inotify_rm_watch(task: &CurrentTask, fd: Fd, wd: i32) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    let inotify = file.ops_as::<InotifyFile>().ok_or(Errno::EINVAL)?;
    if inotify.instance().remove(&task.kernel.vfs, wd) {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}
