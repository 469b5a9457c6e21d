//! mknod(2), mknodat(2).

use abi::Errno;

use super::arg::{AT_FDCWD, CStr, Fd, Mode};
use super::dirfd::At;
use crate::task::CurrentTask;
use crate::vfs::{FileKind, Walker};

/// mknod(2).
pub fn mknod(task: &CurrentTask, path: CStr, mode: Mode, dev: u32) -> Result<(), Errno> {
    mknodat(task, Fd(AT_FDCWD), path, mode, dev)
}

/// mknodat(2).
pub fn mknodat(task: &CurrentTask, dir: Fd, path: CStr, mode: Mode, dev: u32) -> Result<(), Errno> {
    const S_IFMT: u32 = 0o170000;
    let kind = match FileKind::from_mode(mode.0) {
        None if mode.0 & S_IFMT == 0 => FileKind::Regular,
        None | Some(FileKind::Symlink) => return Err(Errno::EINVAL),
        Some(FileKind::Directory) => return Err(Errno::EPERM),
        Some(kind) => kind,
    };
    let rdev = if matches!(kind, FileKind::CharDevice | FileKind::BlockDevice) {
        u64::from(dev)
    } else {
        0
    };
    let at = At::read(task, dir, path)?;
    Walker::of(task)
        .mknod(at.dir.as_ref(), &at.path, kind, mode.0 & 0o7777, rdev)
        .map(|_| ())
}
