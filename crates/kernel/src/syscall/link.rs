//! link(2), linkat(2).

use abi::Errno;

use super::arg::{AT_FDCWD, CStr, Fd, Flags};
use super::dirfd::{AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, At};
use crate::cred::Caps;
use crate::task::CurrentTask;
use crate::vfs::Walker;

/// link(2).
pub fn link(task: &CurrentTask, old: CStr, new: CStr) -> Result<(), Errno> {
    linkat(task, Fd(AT_FDCWD), old, Fd(AT_FDCWD), new, Flags(0))
}

/// linkat(2).
pub fn linkat(
    task: &CurrentTask,
    old_dir: Fd,
    old: CStr,
    new_dir: Fd,
    new: CStr,
    flags: Flags,
) -> Result<(), Errno> {
    if flags.0 & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let walker = Walker::of(task);
    let old = At::read(task, old_dir, old)?;
    // Linking whatever a descriptor names needs a privilege.
    if old.path.is_empty() && flags.0 & AT_EMPTY_PATH != 0 && !walker.cred.has(Caps::DAC_READ_SEARCH) {
        return Err(Errno::ENOENT);
    }
    let place = old.resolve_nofollow(&walker, flags.0)?;
    let new = At::read(task, new_dir, new)?;
    walker.link(&place, new.dir.as_ref(), &new.path).map(|_| ())
}
