//! readv(2), writev(2), preadv(2), pwritev(2), preadv2(2), pwritev2(2).

use abi::{Errno, UserAddr};

use super::arg::{Fd, Flags};
use crate::file::memory_file::OpenMemoryFile;
use crate::file::{self, FileDescription};
use crate::io::{Sink, Source};
use crate::task::CurrentTask;

/// RWF_HIPRI: a hint.
const RWF_HIPRI: u32 = 0x1;
/// RWF_DSYNC: what is written is brought to the disk, as with O_DSYNC.
const RWF_DSYNC: u32 = 0x2;
/// RWF_SYNC: as with O_SYNC.
const RWF_SYNC: u32 = 0x4;
/// RWF_NOWAIT: answer `EAGAIN` instead of waiting.
const RWF_NOWAIT: u32 = 0x8;
/// RWF_APPEND: write at the end.
const RWF_APPEND: u32 = 0x10;
/// RWF_NOAPPEND: write at the offset in spite of O_APPEND.
const RWF_NOAPPEND: u32 = 0x20;
/// RWF_ATOMIC: no file here has untorn writes.
const RWF_ATOMIC: u32 = 0x40;

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
    let mut buffers = task.buffers(task.read_iovecs(iov, count)?);
    if file.readable() && Sink::remaining(&buffers) > 0 {
        check_flags(&file, flags.0, sync::Events::READABLE)?;
    }
    file::read(task, &file, at, &mut buffers)
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
    let at = position(offset)?;
    let file = task.fd(fd.0)?;
    let mut buffers = task.buffers(task.read_iovecs(iov, count)?);
    let writes = file.writable() && Source::remaining(&buffers) > 0;
    if writes {
        check_flags(&file, flags.0, sync::Events::WRITABLE)?;
    }
    let done = file::write_placed(task, &file, at, placement(flags), &mut buffers)?;
    if writes && flags.0 & (RWF_DSYNC | RWF_SYNC) != 0 {
        match file.ops().fsync(&file, flags.0 & RWF_SYNC == 0) {
            // What keeps nothing has nothing to bring to a disk.
            Err(Errno::EINVAL) => {}
            other => other?,
        }
    }
    Ok(done)
}

/// What RWF_APPEND and RWF_NOAPPEND say of O_APPEND.
pub(super) fn placement(flags: Flags) -> Option<bool> {
    match flags.0 & (RWF_APPEND | RWF_NOAPPEND) {
        0 => None,
        RWF_APPEND => Some(true),
        _ => Some(false),
    }
}

/// kiocb_set_rw_flags.
pub(super) fn check_flags(file: &FileDescription, flags: u32, events: sync::Events) -> Result<(), Errno> {
    const KNOWN: u32 = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND | RWF_NOAPPEND | RWF_ATOMIC;
    if flags & !KNOWN != 0 || flags & RWF_ATOMIC != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags & RWF_NOWAIT != 0 {
        // tmpfs has no way not to wait.
        if file.ops_as::<OpenMemoryFile>().is_some() {
            return Err(Errno::EOPNOTSUPP);
        }
        if must_wait(file, events) {
            return Err(Errno::EAGAIN);
        }
    }
    if flags & RWF_APPEND != 0 && flags & RWF_NOAPPEND != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

fn must_wait(file: &FileDescription, events: sync::Events) -> bool {
    !file.ops().seekable()
        && !file
            .ops()
            .poll(file, None)
            .intersects(events | sync::Events::ALWAYS)
}
