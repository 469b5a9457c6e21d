//! stat(2), lstat(2), fstat(2), fstatat(2).

use abi::{Errno, UserAddr, abi_struct};

use super::arg::{AT_FDCWD, CStr, Fd, Flags};
use super::dirfd::{AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW, At};
use crate::task::CurrentTask;
use crate::vfs::{Inode, Walker};

/// Nanoseconds in a second.
pub(super) const NS: i64 = 1_000_000_000;

abi_struct! {
    /// `struct stat` of x86-64.
    pub struct Stat {
        pub dev: u64, pub ino: u64, pub nlink: u64, pub mode: u32, pub uid: u32, pub gid: u32, pub pad: u32,
        pub rdev: u64, pub size: i64, pub blksize: i64, pub blocks: i64,
        pub atime: [i64; 2], pub mtime: [i64; 2], pub ctime: [i64; 2], pub unused: [i64; 3],
    }
}

/// stat(2).
pub fn stat(task: &CurrentTask, path: CStr, buf: UserAddr) -> Result<(), Errno> {
    newfstatat(task, Fd(AT_FDCWD), path, buf, Flags(0))
}

/// lstat(2).
pub fn lstat(task: &CurrentTask, path: CStr, buf: UserAddr) -> Result<(), Errno> {
    newfstatat(task, Fd(AT_FDCWD), path, buf, Flags(AT_SYMLINK_NOFOLLOW))
}

/// fstat(2).
pub fn fstat(task: &CurrentTask, fd: Fd, buf: UserAddr) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    store(task, file.path().dentry.inode_ref()?, buf)
}

/// fstatat(2).
pub fn newfstatat(task: &CurrentTask, dir: Fd, path: CStr, buf: UserAddr, flags: Flags) -> Result<(), Errno> {
    if flags.0 & !(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    // glibc's fstat() is fstatat(fd, "", AT_EMPTY_PATH); a null path means the same.
    let path = if path.0.is_null() && flags.0 & AT_EMPTY_PATH != 0 {
        Vec::new()
    } else {
        task.read_path(path.0)?
    };
    if path.is_empty() && flags.0 & AT_EMPTY_PATH != 0 && dir.0 >= 0 {
        return fstat(task, dir, buf);
    }
    let at = At::new(task, dir, path)?;
    let place = at.resolve(&Walker::of(task), flags.0)?;
    store(task, place.dentry.inode_ref()?, buf)
}

fn store(task: &CurrentTask, inode: &Inode, buf: UserAddr) -> Result<(), Errno> {
    let attr = inode.attr()?;
    let time = |at: i64| [at.div_euclid(NS), at.rem_euclid(NS)];
    let stat = Stat {
        dev: inode.sb.dev,
        ino: attr.ino,
        nlink: u64::from(attr.nlink),
        mode: attr.mode(),
        uid: task.shown_uid(attr.uid),
        gid: task.shown_gid(attr.gid),
        pad: 0,
        rdev: attr.rdev,
        size: i64::try_from(attr.size).map_err(|_| Errno::EOVERFLOW)?,
        blksize: i64::from(attr.blksize),
        blocks: i64::try_from(attr.blocks).unwrap_or(i64::MAX),
        atime: time(attr.atime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
        unused: [0; 3],
    };
    let mut bytes = [0; 144];
    abi::AbiField::put(&stat, &mut bytes);
    task.copy_out(buf, &bytes)
}
