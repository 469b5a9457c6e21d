//! chroot(2).

use abi::Errno;

use super::arg::CStr;
use crate::cred::Caps;
use crate::task::CurrentTask;
use crate::vfs::{LookupFlags, Walker};

/// chroot(2).
pub fn chroot(task: &CurrentTask, path: CStr) -> Result<(), Errno> {
    let path = task.read_path(path.0)?;
    let walker = Walker::of(task);
    let dir = walker.resolve(None, &path, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
    walker.may_search(&dir)?;
    if !walker.cred.has_own(Caps::SYS_CHROOT) {
        return Err(Errno::EPERM);
    }
    task.fs().set_root(dir);
    Ok(())
}
