//! truncate(2), ftruncate(2).

use abi::Errno;

use super::arg::{CStr, Fd};
use crate::file;
use crate::task::CurrentTask;
use crate::vfs::{FileKind, LookupFlags, Walker};

/// truncate(2).
pub fn truncate(task: &CurrentTask, path: CStr, length: i64) -> Result<(), Errno> {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let path = task.read_path(path.0)?;
    let walker = Walker::of(task);
    let path = walker.resolve(None, &path, LookupFlags::FOLLOW)?;
    if path.inode()?.kind == FileKind::Regular {
        file::check_size(task, length)?;
    }
    file::lease::break_for(task, &path.inode()?, true, true)?;
    walker.truncate(&path, length)
}

/// ftruncate(2).
pub fn ftruncate(task: &CurrentTask, fd: Fd, length: i64) -> Result<(), Errno> {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    let file = task.fd(fd.0)?;
    if file.flags() & abi::fcntl::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    if file.path().inode()?.kind != FileKind::Regular || !file.writable() {
        return Err(Errno::EINVAL);
    }
    file::check_size(task, length)?;
    Walker::of(task).truncate_unchecked(file.path(), length)
}
