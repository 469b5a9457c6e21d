//! readlink(2), readlinkat(2).

use abi::{Errno, UserAddr};

use super::arg::{AT_FDCWD, CStr, Fd};
use super::dirfd::{AT_EMPTY_PATH, At};
use crate::task::CurrentTask;
use crate::vfs::{FileKind, Walker};

/// readlink(2).
pub fn readlink(task: &CurrentTask, path: CStr, buf: UserAddr, size: i32) -> Result<usize, Errno> {
    readlinkat(task, Fd(AT_FDCWD), path, buf, size)
}

/// readlinkat(2).
pub fn readlinkat(task: &CurrentTask, dir: Fd, path: CStr, buf: UserAddr, size: i32) -> Result<usize, Errno> {
    let size = usize::try_from(size)
        .ok()
        .filter(|size| *size > 0)
        .ok_or(Errno::EINVAL)?;
    let at = At::read(task, dir, path)?;
    let empty = at.path.is_empty();
    // An empty path is the descriptor itself, opened with O_PATH | O_NOFOLLOW; only then is it allowed.
    let flags = if at.dir.is_some() { AT_EMPTY_PATH } else { 0 };
    let place = at.resolve_nofollow(&Walker::of(task), flags)?;
    let inode = place.dentry.inode_ref()?;
    if inode.kind != FileKind::Symlink {
        return Err(if empty { Errno::ENOENT } else { Errno::EINVAL });
    }
    let target = inode.ops.readlink()?;
    let take = target.len().min(size);
    task.copy_out(buf, &target[..take])?;
    Ok(take)
}
