//! posix_fadvise(2), readahead(2): checked and otherwise left to the host's page cache.

use abi::Errno;

use super::arg::Fd;
use crate::task::CurrentTask;
use crate::vfs::FileKind;

/// posix_fadvise(2).
pub fn fadvise64(task: &CurrentTask, fd: Fd, _offset: i64, len: i64, advice: u32) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    if file.flags() & abi::fcntl::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    if file.path().inode()?.kind == FileKind::Fifo {
        return Err(Errno::ESPIPE);
    }
    if len < 0 || advice > 5 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// readahead(2).
pub fn readahead(task: &CurrentTask, fd: Fd, _offset: i64, _count: usize) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    match file.path().inode()?.kind {
        FileKind::Regular | FileKind::BlockDevice => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}
