//! chown(2), fchown(2), lchown(2), fchownat(2).

use abi::Errno;

use super::arg::{AT_FDCWD, CStr, Fd, Flags};
use super::dirfd::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, At};
use super::setuid::kernel_id;
use crate::cred::IdKind;
use crate::task::CurrentTask;
use crate::vfs::Walker;

fn owners(task: &CurrentTask, uid: u32, gid: u32) -> Result<(u32, u32), Errno> {
    let uid = kernel_id(task, IdKind::User, uid)?;
    Ok((uid, kernel_id(task, IdKind::Group, gid)?))
}

/// chown(2).
pub fn chown(task: &CurrentTask, path: CStr, uid: u32, gid: u32) -> Result<(), Errno> {
    fchownat(task, Fd(AT_FDCWD), path, uid, gid, Flags(0))
}

/// lchown(2).
pub fn lchown(task: &CurrentTask, path: CStr, uid: u32, gid: u32) -> Result<(), Errno> {
    fchownat(task, Fd(AT_FDCWD), path, uid, gid, Flags(AT_SYMLINK_NOFOLLOW))
}

/// fchown(2).
pub fn fchown(task: &CurrentTask, fd: Fd, uid: u32, gid: u32) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    if file.flags() & abi::fcntl::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    let (uid, gid) = owners(task, uid, gid)?;
    Walker::of(task).chown(file.path(), uid, gid)
}

/// fchownat(2).
pub fn fchownat(
    task: &CurrentTask,
    dir: Fd,
    path: CStr,
    uid: u32,
    gid: u32,
    flags: Flags,
) -> Result<(), Errno> {
    if flags.0 & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let walker = Walker::of(task);
    let place = At::read(task, dir, path)?.resolve(&walker, flags.0)?;
    let (uid, gid) = owners(task, uid, gid)?;
    walker.chown(&place, uid, gid)
}
