//! unlink(2), unlinkat(2).

use abi::Errno;

use super::arg::{AT_FDCWD, CStr, Fd, Flags};
use super::dirfd::{AT_REMOVEDIR, At};
use crate::task::CurrentTask;
use crate::vfs::Walker;

/// unlink(2).
pub fn unlink(task: &CurrentTask, path: CStr) -> Result<(), Errno> {
    unlinkat(task, Fd(AT_FDCWD), path, Flags(0))
}

/// unlinkat(2).
pub fn unlinkat(task: &CurrentTask, dir: Fd, path: CStr, flags: Flags) -> Result<(), Errno> {
    if flags.0 & !AT_REMOVEDIR != 0 {
        return Err(Errno::EINVAL);
    }
    let at = At::read(task, dir, path)?;
    let walker = Walker::of(task);
    if flags.0 & AT_REMOVEDIR != 0 {
        walker.rmdir(at.dir.as_ref(), &at.path)
    } else {
        walker.unlink(at.dir.as_ref(), &at.path)
    }
}
