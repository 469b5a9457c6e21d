//! readv(2), writev(2), preadv(2), pwritev(2), preadv2(2), pwritev2(2).

use abi::fcntl::O_APPEND;
use abi::{Errno, UserAddr};

use super::arg::{Fd, Flags};
use crate::file::{self, FileDescription};
use crate::task::CurrentTask;

/// RWF_HIPRI, RWF_DSYNC, RWF_SYNC: no effect beyond what every write does here.
const RWF_HINTS: u32 = 0x1 | 0x2 | 0x4;
/// RWF_NOWAIT: answer `EAGAIN` instead of waiting.
const RWF_NOWAIT: u32 = 0x8;
/// RWF_APPEND: write at the end.
const RWF_APPEND: u32 = 0x10;

/// readv(2).
pub fn readv(task: &CurrentTask, fd: Fd, iov: UserAddr, count: usize) -> Result<usize, Errno> {
    let file = task.fd(fd.0)?;
    let vectors = task.read_iovecs(iov, count)?;
    file::read(task, &file, None, &mut task.buffers(vectors))
}

/// writev(2).
pub fn writev(task: &CurrentTask, fd: Fd, iov: UserAddr, count: usize) -> Result<usize, Errno> {
    let file = task.fd(fd.0)?;
    let vectors = task.read_iovecs(iov, count)?;
    file::write(task, &file, None, &mut task.buffers(vectors))
}

/// preadv(2). On x86-64 the low half of the offset is all of it.
pub fn preadv(task: &CurrentTask, fd: Fd, iov: UserAddr, count: usize, offset: i64) -> Result<usize, Errno> {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = task.fd(fd.0)?;
    let vectors = task.read_iovecs(iov, count)?;
    file::read(task, &file, Some(offset), &mut task.buffers(vectors))
}

/// pwritev(2).
pub fn pwritev(task: &CurrentTask, fd: Fd, iov: UserAddr, count: usize, offset: i64) -> Result<usize, Errno> {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let file = task.fd(fd.0)?;
    let vectors = task.read_iovecs(iov, count)?;
    file::write(task, &file, Some(offset), &mut task.buffers(vectors))
}

/// The offset of preadv2(2) and pwritev2(2): -1 is the file's own position.
fn position(offset: i64) -> Result<Option<u64>, Errno> {
    match offset {
        -1 => Ok(None),
        _ => u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL),
    }
}

/// preadv2(2).
pub fn preadv2(
    task: &CurrentTask,
    fd: Fd,
    iov: UserAddr,
    count: usize,
    offset: i64,
    _high: u64,
    flags: Flags,
) -> Result<usize, Errno> {
    let at = position(offset)?;
    let file = task.fd(fd.0)?;
    let vectors = task.read_iovecs(iov, count)?;
    if flags.0 & !(RWF_HINTS | RWF_NOWAIT) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags.0 & RWF_NOWAIT != 0 && must_wait(&file, sync::Events::READABLE) {
        return Err(Errno::EAGAIN);
    }
    file::read(task, &file, at, &mut task.buffers(vectors))
}

/// pwritev2(2).
pub fn pwritev2(
    task: &CurrentTask,
    fd: Fd,
    iov: UserAddr,
    count: usize,
    offset: i64,
    _high: u64,
    flags: Flags,
) -> Result<usize, Errno> {
    let mut at = position(offset)?;
    let file = task.fd(fd.0)?;
    let vectors = task.read_iovecs(iov, count)?;
    if flags.0 & !(RWF_HINTS | RWF_NOWAIT | RWF_APPEND) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags.0 & RWF_NOWAIT != 0 && must_wait(&file, sync::Events::WRITABLE) {
        return Err(Errno::EAGAIN);
    }
    if flags.0 & RWF_APPEND != 0 && file.flags() & O_APPEND == 0 && file.ops().seekable() {
        let size = file.path().inode()?.attr()?.size;
        at = Some(size);
    }
    file::write(task, &file, at, &mut task.buffers(vectors))
}

fn must_wait(file: &FileDescription, events: sync::Events) -> bool {
    !file.ops().seekable()
        && !file
            .ops()
            .poll(file, None)
            .intersects(events | sync::Events::ALWAYS)
}
