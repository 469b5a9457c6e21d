//! Reading and writing open files on behalf of a task: access mode, position, limits, waiting, events.

use std::time::Instant;

use abi::Errno;
use abi::fcntl::O_APPEND;
use sync::Events;

use super::FileDescription;
use crate::io::{Sink, Source};
use crate::signal::{SigInfo, send_to_task};
use crate::task::{CurrentTask, Deadline};
use crate::vfs::{AttrChange, FileKind, notify, perm_after_write, xattr};

/// RLIMIT_FSIZE.
const RLIMIT_FSIZE: usize = 1;
/// SIGXFSZ.
const SIGXFSZ: u32 = 25;
/// Largest position of a file (MAX_LFS_FILESIZE).
const POSITION_MAX: u64 = i64::MAX as u64;

/// Reads from `file`: at `at` (pread(2)), else at its position, which moves on.
/// `EBADF` when it is not open for reading, `ESPIPE` for `at` on what has no positions.
pub fn read(
    task: &CurrentTask,
    file: &FileDescription,
    at: Option<u64>,
    dst: &mut dyn Sink,
) -> Result<usize, Errno> {
    let ops = file.ops();
    if at.is_some() && !ops.seekable() {
        return Err(Errno::ESPIPE);
    }
    if !file.readable() {
        return Err(Errno::EBADF);
    }
    dst.check()?;
    let mut once = |offset| {
        check_span(offset, dst.remaining())?;
        let end = deadline(file, false);
        let read = task.file_op(file, Events::READABLE, end, || ops.read(file, offset, dst));
        timed_out(end, read)
    };
    let done = match at {
        Some(offset) => once(offset)?,
        None if ops.seekable() => {
            let mut position = file.position.lock();
            let done = once(*position)?;
            *position = position.saturating_add(done as u64);
            done
        }
        None => read_stream(task, file, dst)?,
    };
    if done > 0 && notify::wanted(&task.kernel.vfs) {
        notify::on_path(&task.kernel.vfs, file.path(), notify::IN_ACCESS);
    }
    Ok(done)
}

/// Reads from what has no positions. The file says how long it may wait (terminals); each byte that comes starts that anew.
fn read_stream(task: &CurrentTask, file: &FileDescription, dst: &mut dyn Sink) -> Result<usize, Errno> {
    let ops = file.ops();
    loop {
        let patience = ops.read_patience(file);
        let deadline = patience.and_then(|(time, _)| Instant::now().checked_add(time));
        let attempt = || match ops.read(file, 0, dst) {
            Err(Errno::EAGAIN) if ops.read_patience(file) != patience => Ok(None),
            other => other.map(Some),
        };
        match task.file_op(file, Events::READABLE, deadline, attempt) {
            Ok(Some(done)) => return Ok(done),
            Ok(None) if file.nonblocking() => return Err(Errno::EAGAIN),
            Ok(None) => {}
            // Without a deadline it is a connection's own error.
            Err(Errno::ETIMEDOUT) if deadline.is_some() => return ops.read_impatient(file, dst),
            Err(Errno::ERESTARTSYS) if ops.timeout(false).is_some() => return Err(Errno::EINTR),
            Err(error) => return Err(error),
        }
    }
}

/// A transfer must end within the positions that there are (rw_verify_area): `EINVAL`.
fn check_span(offset: u64, len: usize) -> Result<(), Errno> {
    // What begins beyond them is an address (/proc/PID/mem).
    if offset <= POSITION_MAX && offset.saturating_add(len as u64) > POSITION_MAX {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Writes to `file`: at `at` (pwrite(2)), at the end with O_APPEND, else at its position, which moves on.
pub fn write(
    task: &CurrentTask,
    file: &FileDescription,
    at: Option<u64>,
    src: &mut dyn Source,
) -> Result<usize, Errno> {
    write_placed(task, file, at, None, src)
}

/// As [`write`]; `place` overrides O_APPEND (RWF_APPEND, RWF_NOAPPEND of pwritev2(2)).
pub fn write_placed(
    task: &CurrentTask,
    file: &FileDescription,
    at: Option<u64>,
    place: Option<bool>,
    src: &mut dyn Source,
) -> Result<usize, Errno> {
    let ops = file.ops();
    if at.is_some() && !ops.seekable() {
        return Err(Errno::ESPIPE);
    }
    if !file.writable() {
        return Err(Errno::EBADF);
    }
    src.check()?;
    let append = place.unwrap_or(file.flags() & O_APPEND != 0);
    let done = if !ops.seekable() {
        write_stream(task, file, src)?
    } else if src.remaining() == 0 {
        0
    } else {
        drop_privileges(task, file)?;
        match at {
            Some(offset) => write_at(task, file, (offset, append), src)?.0,
            None => {
                let mut position = file.position.lock();
                let (done, after) = write_at(task, file, (*position, append), src)?;
                *position = after;
                done
            }
        }
    };
    if done > 0 && notify::wanted(&task.kernel.vfs) {
        notify::on_path(&task.kernel.vfs, file.path(), notify::IN_MODIFY);
    }
    Ok(done)
}

/// When a wait on the file ends by its own timeout.
fn deadline(file: &FileDescription, write: bool) -> Deadline {
    let length = file.ops().timeout(write)?;
    Instant::now().checked_add(length)
}

/// A wait that its deadline ended; without one it is a connection's own error. With one it is not gone on with after a
/// signal (signal(7), SO_RCVTIMEO).
fn timed_out(deadline: Deadline, result: Result<usize, Errno>) -> Result<usize, Errno> {
    match result {
        Err(Errno::ETIMEDOUT) if deadline.is_some() => Err(Errno::EAGAIN),
        Err(Errno::ERESTARTSYS) if deadline.is_some() => Err(Errno::EINTR),
        other => other,
    }
}

/// A blocking write to a byte stream goes on until all is taken; a signal after some bytes ends it with their number.
fn write_stream(task: &CurrentTask, file: &FileDescription, src: &mut dyn Source) -> Result<usize, Errno> {
    let ops = file.ops();
    let whole = ops.writes_all() && !file.nonblocking();
    let mut done = 0;
    loop {
        let end = deadline(file, true);
        let wrote = task.file_op(file, Events::WRITABLE, end, || ops.write(file, 0, src));
        match timed_out(end, wrote) {
            Ok(count) => {
                done += count;
                if !whole || count == 0 || src.remaining() == 0 {
                    return Ok(done);
                }
            }
            Err(_) if done > 0 => return Ok(done),
            Err(error) => return Err(error),
        }
    }
}

/// Writes to a seekable file; returns the bytes written and the position after them.
fn write_at(
    task: &CurrentTask,
    file: &FileDescription,
    (offset, append): (u64, bool),
    src: &mut dyn Source,
) -> Result<(usize, u64), Errno> {
    let ops = file.ops();
    check_span(offset, src.remaining())?;
    let regular = file.path().dentry.inode_ref()?.kind == FileKind::Regular;
    let limit = if regular {
        task.group.rlimit(RLIMIT_FSIZE).min(POSITION_MAX)
    } else {
        POSITION_MAX
    };
    let room = if limit == POSITION_MAX && append {
        usize::MAX
    } else {
        let start = if append {
            file.path().inode()?.attr()?.size
        } else {
            offset
        };
        room_below(task, limit, start)?
    };
    let mut src = Limited { src, left: room };
    if append {
        task.file_op(file, Events::WRITABLE, None, || ops.append(file, &mut src))
    } else {
        let done = task.file_op(file, Events::WRITABLE, None, || ops.write(file, offset, &mut src))?;
        Ok((done, offset.saturating_add(done as u64)))
    }
}

/// Bytes that may be written from `start` on under the file size limit; `EFBIG` and SIGXFSZ for none.
fn room_below(task: &CurrentTask, limit: u64, start: u64) -> Result<usize, Errno> {
    if start < limit {
        return Ok(usize::try_from(limit - start).unwrap_or(usize::MAX));
    }
    if limit < POSITION_MAX {
        send_to_task(task.task(), SigInfo::kernel(SIGXFSZ));
    }
    Err(Errno::EFBIG)
}

/// Checks a size that truncate(2) or fallocate(2) wants against RLIMIT_FSIZE: `EFBIG` and SIGXFSZ.
pub fn check_size(task: &CurrentTask, size: u64) -> Result<(), Errno> {
    if size > task.group.rlimit(RLIMIT_FSIZE) {
        send_to_task(task.task(), SigInfo::kernel(SIGXFSZ));
        return Err(Errno::EFBIG);
    }
    Ok(())
}

/// A write takes the setuid and setgid bits and the capabilities off (file_remove_privs).
fn drop_privileges(task: &CurrentTask, file: &FileDescription) -> Result<(), Errno> {
    xattr::drop_capabilities(&task.kernel.vfs, file.path())?;
    if task.cred.read().has(crate::cred::Caps::FSETID) {
        return Ok(());
    }
    if let Some(perm) = perm_after_write(&task.cred(), file.path())? {
        let change = AttrChange {
            perm: Some(perm),
            ..AttrChange::default()
        };
        file.path().inode()?.ops.set_attr(&change)?;
    }
    Ok(())
}

/// A source that ends early.
struct Limited<'a> {
    src: &'a mut dyn Source,
    left: usize,
}

impl Source for Limited<'_> {
    fn remaining(&self) -> usize {
        self.src.remaining().min(self.left)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        let take = buf.len().min(self.left);
        let got = self.src.read(&mut buf[..take])?;
        self.left -= got;
        Ok(got)
    }

    fn unread(&mut self, bytes: usize) -> bool {
        let taken = self.src.unread(bytes);
        self.left += if taken { bytes } else { 0 };
        taken
    }
}
