//! fallocate(2).

use abi::Errno;

use super::arg::{Fd, Flags};
use crate::file;
use crate::task::CurrentTask;
use crate::vfs::{FileKind, notify};

/// FALLOC_FL_KEEP_SIZE.
const KEEP_SIZE: u32 = 1;
/// FALLOC_FL_PUNCH_HOLE.
const PUNCH_HOLE: u32 = 2;
/// All modes that Linux knows.
const KNOWN: u32 = 0x7b;

/// fallocate(2).
pub fn fallocate(task: &CurrentTask, fd: Fd, mode: Flags, offset: i64, len: i64) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    if file.flags() & abi::fcntl::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    if offset < 0 || len <= 0 {
        return Err(Errno::EINVAL);
    }
    let mode = mode.0;
    if mode & !KNOWN != 0 || (mode & PUNCH_HOLE != 0 && mode & KEEP_SIZE == 0) {
        return Err(Errno::EOPNOTSUPP);
    }
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    match file.path().inode()?.kind {
        FileKind::Fifo => return Err(Errno::ESPIPE),
        FileKind::Directory => return Err(Errno::EISDIR),
        FileKind::Regular | FileKind::BlockDevice => {}
        _ => return Err(Errno::ENODEV),
    }
    let (offset, len) = (offset.unsigned_abs(), len.unsigned_abs());
    let end = offset
        .checked_add(len)
        .filter(|end| i64::try_from(*end).is_ok())
        .ok_or(Errno::EFBIG)?;
    if mode & KEEP_SIZE == 0 {
        file::check_size(task, end)?;
    }
    file.ops().fallocate(&file, mode, offset, len)?;
    notify::on_path(&task.kernel.vfs, file.path(), notify::IN_MODIFY);
    Ok(())
}
