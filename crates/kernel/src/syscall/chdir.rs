//! chdir(2), fchdir(2).

use abi::Errno;

use super::arg::{CStr, Fd};
use crate::task::CurrentTask;
use crate::vfs::{FileKind, LookupFlags, Walker};

/// chdir(2).
pub fn chdir(task: &CurrentTask, path: CStr) -> Result<(), Errno> {
    let path = task.read_path(path.0)?;
    let walker = Walker::of(task);
    let dir = walker.resolve(None, &path, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
    walker.may_search(&dir)?;
    task.fs().set_cwd(dir);
    Ok(())
}

/// fchdir(2).
pub fn fchdir(task: &CurrentTask, fd: Fd) -> Result<(), Errno> {
    let dir = task.fd(fd.0)?.path().clone();
    if dir.inode()?.kind != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    Walker::of(task).may_search(&dir)?;
    task.fs().set_cwd(dir);
    Ok(())
}
