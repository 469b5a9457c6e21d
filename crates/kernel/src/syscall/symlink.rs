//! symlink(2), symlinkat(2).

use abi::Errno;

use super::arg::{AT_FDCWD, CStr, Fd};
use super::dirfd::At;
use crate::task::CurrentTask;
use crate::vfs::Walker;

/// symlink(2).
pub fn symlink(task: &CurrentTask, target: CStr, path: CStr) -> Result<(), Errno> {
    symlinkat(task, target, Fd(AT_FDCWD), path)
}

/// symlinkat(2).
pub fn symlinkat(task: &CurrentTask, target: CStr, dir: Fd, path: CStr) -> Result<(), Errno> {
    let target = task.read_path(target.0)?;
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let at = At::read(task, dir, path)?;
    Walker::of(task)
        .symlink(&target, at.dir.as_ref(), &at.path)
        .map(|_| ())
}
