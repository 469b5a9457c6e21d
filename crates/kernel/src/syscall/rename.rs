//! rename(2), renameat(2), renameat2(2).

use abi::Errno;

use super::arg::{AT_FDCWD, CStr, Fd, Flags};
use super::dirfd::At;
use crate::task::CurrentTask;
use crate::vfs::Walker;

/// rename(2).
pub fn rename(task: &CurrentTask, old: CStr, new: CStr) -> Result<(), Errno> {
    renameat2(task, Fd(AT_FDCWD), old, Fd(AT_FDCWD), new, Flags(0))
}

/// renameat(2).
pub fn renameat(task: &CurrentTask, old_dir: Fd, old: CStr, new_dir: Fd, new: CStr) -> Result<(), Errno> {
    renameat2(task, old_dir, old, new_dir, new, Flags(0))
}

/// renameat2(2).
pub fn renameat2(
    task: &CurrentTask,
    old_dir: Fd,
    old: CStr,
    new_dir: Fd,
    new: CStr,
    flags: Flags,
) -> Result<(), Errno> {
    let old = At::read(task, old_dir, old)?;
    let new = At::read(task, new_dir, new)?;
    Walker::of(task).rename(old.dir.as_ref(), &old.path, new.dir.as_ref(), &new.path, flags.0)
}
