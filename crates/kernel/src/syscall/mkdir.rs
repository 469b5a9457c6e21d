//! mkdir(2), mkdirat(2), rmdir(2).

use abi::Errno;

use super::arg::{AT_FDCWD, CStr, Fd, Mode};
use super::dirfd::At;
use crate::task::CurrentTask;
use crate::vfs::Walker;

/// mkdir(2).
pub fn mkdir(task: &CurrentTask, path: CStr, mode: Mode) -> Result<(), Errno> {
    mkdirat(task, Fd(AT_FDCWD), path, mode)
}

/// mkdirat(2).
pub fn mkdirat(task: &CurrentTask, dir: Fd, path: CStr, mode: Mode) -> Result<(), Errno> {
    let at = At::read(task, dir, path)?;
    Walker::of(task)
        .mkdir(at.dir.as_ref(), &at.path, mode.0)
        .map(|_| ())
}

/// rmdir(2).
pub fn rmdir(task: &CurrentTask, path: CStr) -> Result<(), Errno> {
    let path = task.read_path(path.0)?;
    Walker::of(task).rmdir(None, &path)
}
