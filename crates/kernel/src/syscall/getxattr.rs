//! Extended attributes: setxattr(2), getxattr(2), listxattr(2), removexattr(2) and their l- and f- forms.

use abi::fcntl::O_PATH;
use abi::{Errno, UserAddr};

use super::arg::{CStr, Fd, Flags};
use super::dirfd::{AT_SYMLINK_NOFOLLOW, resolve};
use crate::task::CurrentTask;
use crate::vfs::{Path, Walker};

/// XATTR_NAME_MAX.
const NAME_LIMIT: usize = 255;
/// XATTR_SIZE_MAX and XATTR_LIST_MAX.
const SIZE_LIMIT: usize = 65536;

fn place(task: &CurrentTask, path: CStr, flags: u32) -> Result<Path, Errno> {
    resolve(&Walker::of(task), task, path, flags)
}

fn place_of(task: &CurrentTask, fd: Fd) -> Result<Path, Errno> {
    let file = task.fd(fd.0)?;
    if file.flags() & O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    Ok(file.path().clone())
}

fn read_name(task: &CurrentTask, name: CStr) -> Result<Vec<u8>, Errno> {
    let name = task.read_cstring(name.0, NAME_LIMIT + 1, Errno::ERANGE)?;
    if name.is_empty() {
        Err(Errno::ERANGE)
    } else {
        Ok(name)
    }
}

/// setxattr(2).
pub fn setxattr(
    task: &CurrentTask,
    path: CStr,
    name: CStr,
    value: UserAddr,
    size: usize,
    flags: Flags,
) -> Result<(), Errno> {
    set(task, || place(task, path, 0), name, value, size, flags)
}

/// lsetxattr(2).
pub fn lsetxattr(
    task: &CurrentTask,
    path: CStr,
    name: CStr,
    value: UserAddr,
    size: usize,
    flags: Flags,
) -> Result<(), Errno> {
    set(
        task,
        || place(task, path, AT_SYMLINK_NOFOLLOW),
        name,
        value,
        size,
        flags,
    )
}

/// fsetxattr(2).
pub fn fsetxattr(
    task: &CurrentTask,
    fd: Fd,
    name: CStr,
    value: UserAddr,
    size: usize,
    flags: Flags,
) -> Result<(), Errno> {
    set(task, || place_of(task, fd), name, value, size, flags)
}

fn set(
    task: &CurrentTask,
    find: impl FnOnce() -> Result<Path, Errno>,
    name: CStr,
    value: UserAddr,
    size: usize,
    flags: Flags,
) -> Result<(), Errno> {
    if flags.0 & !3 != 0 {
        return Err(Errno::EINVAL);
    }
    let name = read_name(task, name)?;
    if size > SIZE_LIMIT {
        return Err(Errno::E2BIG);
    }
    let mut bytes = vec![0; size];
    task.copy_in(value, &mut bytes)?;
    Walker::of(task).set_xattr(&find()?, &name, &bytes, flags.0)
}

/// getxattr(2).
pub fn getxattr(
    task: &CurrentTask,
    path: CStr,
    name: CStr,
    value: UserAddr,
    size: usize,
) -> Result<usize, Errno> {
    get(task, || place(task, path, 0), name, value, size)
}

/// lgetxattr(2).
pub fn lgetxattr(
    task: &CurrentTask,
    path: CStr,
    name: CStr,
    value: UserAddr,
    size: usize,
) -> Result<usize, Errno> {
    get(task, || place(task, path, AT_SYMLINK_NOFOLLOW), name, value, size)
}

/// fgetxattr(2).
pub fn fgetxattr(
    task: &CurrentTask,
    fd: Fd,
    name: CStr,
    value: UserAddr,
    size: usize,
) -> Result<usize, Errno> {
    get(task, || place_of(task, fd), name, value, size)
}

fn get(
    task: &CurrentTask,
    find: impl FnOnce() -> Result<Path, Errno>,
    name: CStr,
    value: UserAddr,
    size: usize,
) -> Result<usize, Errno> {
    let name = read_name(task, name)?;
    let bytes = Walker::of(task).get_xattr(&find()?, &name)?;
    store(task, value, size, &bytes)
}

/// listxattr(2).
pub fn listxattr(task: &CurrentTask, path: CStr, list: UserAddr, size: usize) -> Result<usize, Errno> {
    names(task, &place(task, path, 0)?, list, size)
}

/// llistxattr(2).
pub fn llistxattr(task: &CurrentTask, path: CStr, list: UserAddr, size: usize) -> Result<usize, Errno> {
    names(task, &place(task, path, AT_SYMLINK_NOFOLLOW)?, list, size)
}

/// flistxattr(2).
pub fn flistxattr(task: &CurrentTask, fd: Fd, list: UserAddr, size: usize) -> Result<usize, Errno> {
    names(task, &place_of(task, fd)?, list, size)
}

fn names(task: &CurrentTask, place: &Path, list: UserAddr, size: usize) -> Result<usize, Errno> {
    let mut bytes = Vec::new();
    for name in Walker::of(task).list_xattr(place)? {
        bytes.extend_from_slice(&name);
        bytes.push(0);
    }
    if bytes.len() > SIZE_LIMIT {
        return Err(Errno::E2BIG);
    }
    store(task, list, size, &bytes)
}

/// Size 0 asks for the length only.
fn store(task: &CurrentTask, addr: UserAddr, size: usize, bytes: &[u8]) -> Result<usize, Errno> {
    if size > 0 {
        if bytes.len() > size {
            return Err(Errno::ERANGE);
        }
        task.copy_out(addr, bytes)?;
    }
    Ok(bytes.len())
}

/// removexattr(2).
pub fn removexattr(task: &CurrentTask, path: CStr, name: CStr) -> Result<(), Errno> {
    let name = read_name(task, name)?;
    Walker::of(task).remove_xattr(&place(task, path, 0)?, &name)
}

/// lremovexattr(2).
pub fn lremovexattr(task: &CurrentTask, path: CStr, name: CStr) -> Result<(), Errno> {
    let name = read_name(task, name)?;
    Walker::of(task).remove_xattr(&place(task, path, AT_SYMLINK_NOFOLLOW)?, &name)
}

/// fremovexattr(2).
pub fn fremovexattr(task: &CurrentTask, fd: Fd, name: CStr) -> Result<(), Errno> {
    let name = read_name(task, name)?;
    Walker::of(task).remove_xattr(&place_of(task, fd)?, &name)
}
