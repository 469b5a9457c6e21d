//! chmod(2), fchmod(2), fchmodat(2), fchmodat2(2).

use abi::Errno;

use super::arg::{AT_FDCWD, CStr, Fd, Flags, Mode};
use super::dirfd::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, At};
use crate::task::CurrentTask;
use crate::vfs::Walker;

/// chmod(2).
pub fn chmod(task: &CurrentTask, path: CStr, mode: Mode) -> Result<(), Errno> {
    fchmodat2(task, Fd(AT_FDCWD), path, mode, Flags(0))
}

/// fchmod(2).
pub fn fchmod(task: &CurrentTask, fd: Fd, mode: Mode) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    if file.flags() & abi::fcntl::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    Walker::of(task).chmod(file.path(), mode.0)
}

/// fchmodat(2) as the system call: without flags.
pub fn fchmodat(task: &CurrentTask, dir: Fd, path: CStr, mode: Mode) -> Result<(), Errno> {
    fchmodat2(task, dir, path, mode, Flags(0))
}

/// fchmodat2(2).
pub fn fchmodat2(task: &CurrentTask, dir: Fd, path: CStr, mode: Mode, flags: Flags) -> Result<(), Errno> {
    if flags.0 & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let walker = Walker::of(task);
    let place = At::read(task, dir, path)?.resolve(&walker, flags.0)?;
    walker.chmod(&place, mode.0)
}
