//! ioctl(2): what every file has; the rest is the file's own.

use abi::fcntl::{O_APPEND, O_ASYNC, O_NONBLOCK, O_PATH};
use abi::{Errno, UserAddr};

use super::arg::{Fd, Flags};
use crate::file::{FileDescription, sigio};
use crate::task::CurrentTask;
use crate::vfs::FileKind;

const FIONREAD: u32 = 0x541b;
const FIONBIO: u32 = 0x5421;
const FIONCLEX: u32 = 0x5450;
const FIOCLEX: u32 = 0x5451;
const FIOASYNC: u32 = 0x5452;
const FIOQSIZE: u32 = 0x5460;
const FIGETBSZ: u32 = 2;
const FICLONE: u32 = 0x4004_9409;
const FICLONERANGE: u32 = 0x4020_940d;

/// ioctl(2).
pub fn ioctl(task: &CurrentTask, fd: Fd, command: Flags, arg: u64) -> Result<i64, Errno> {
    let file = task.fd(fd.0)?;
    if file.flags() & O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    match command.0 {
        FIOCLEX => return task.files().set_cloexec(fd.0, true).map(|()| 0),
        FIONCLEX => return task.files().set_cloexec(fd.0, false).map(|()| 0),
        FIONBIO | FIOASYNC => {
            let on: i32 = task.read_struct(UserAddr(arg))?;
            let bit = if command.0 == FIONBIO { O_NONBLOCK } else { O_ASYNC };
            let flags = if on != 0 {
                file.flags() | bit
            } else {
                file.flags() & !bit
            };
            if command.0 == FIOASYNC && flags != file.flags() && !file.ops().pollable() {
                return Err(Errno::ENOTTY);
            }
            file.ops().set_flags(&file, flags)?;
            file.set_flags(flags);
            if command.0 == FIOASYNC {
                sigio::set_async(&task.kernel, &file, fd.0, on != 0);
            }
            return Ok(0);
        }
        _ => {}
    }
    match file.ops().ioctl(&file, task, command.0, arg) {
        Err(Errno::ENOTTY) => {}
        done => return done,
    }
    let inode = file.path().inode()?;
    let sized = matches!(
        inode.kind,
        FileKind::Regular | FileKind::Directory | FileKind::Symlink
    );
    match command.0 {
        FIONREAD if inode.kind == FileKind::Regular => {
            let left = inode.attr()?.size.saturating_sub(*file.position.lock());
            let left = i32::try_from(left).unwrap_or(i32::MAX);
            task.write_struct(UserAddr(arg), &left).map(|()| 0)
        }
        FIOQSIZE if sized => task.write_struct(UserAddr(arg), &inode.attr()?.size).map(|()| 0),
        FIGETBSZ if sized => task
            .write_struct(UserAddr(arg), &inode.attr()?.blksize)
            .map(|()| 0),
        FICLONE if sized => share_extents(task, &file, arg as i32),
        FICLONERANGE if sized => {
            let range: [u64; 4] = task.read_struct(UserAddr(arg))?;
            share_extents(task, &file, range[0] as i32)
        }
        _ => Err(Errno::ENOTTY),
    }
}

/// FICLONE and FICLONERANGE: no file system here shares extents.
fn share_extents(task: &CurrentTask, file: &FileDescription, from: i32) -> Result<i64, Errno> {
    let from = task.fd(from)?;
    let (source, target) = (from.path().inode()?, file.path().inode()?);
    if source.kind == FileKind::Directory || target.kind == FileKind::Directory {
        return Err(Errno::EISDIR);
    }
    if source.kind != FileKind::Regular || target.kind != FileKind::Regular {
        return Err(Errno::EINVAL);
    }
    if !from.readable() || !file.writable() || file.flags() & O_APPEND != 0 {
        return Err(Errno::EBADF);
    }
    if source.sb.dev != target.sb.dev {
        return Err(Errno::EXDEV);
    }
    Err(Errno::EOPNOTSUPP)
}
