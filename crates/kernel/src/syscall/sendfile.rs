//! sendfile(2), copy_file_range(2): bytes from file to file through a buffer of the kernel.

use abi::{Errno, UserAddr};

use super::arg::{Fd, Flags};
use crate::file::{self, FileDescription};
use crate::io::{SliceSource, VecSink};
use crate::task::CurrentTask;
use crate::vfs::FileKind;

/// Bytes moved at a time.
const STEP: usize = 64 << 10;
/// Bytes that one call moves at most (MAX_RW_COUNT).
const MOST: usize = 0x7fff_f000;

/// sendfile(2).
pub fn sendfile(
    task: &CurrentTask,
    out: Fd,
    input: Fd,
    offset: UserAddr,
    count: usize,
) -> Result<usize, Errno> {
    let mut at = read_offset(task, offset)?;
    let input = task.fd(input.0)?;
    if !input.readable() {
        return Err(Errno::EBADF);
    }
    if at.is_some() && !input.ops().seekable() {
        return Err(Errno::ESPIPE);
    }
    let out = task.fd(out.0)?;
    if !out.writable() {
        return Err(Errno::EBADF);
    }
    if out.flags() & abi::fcntl::O_APPEND != 0 {
        return Err(Errno::EINVAL);
    }
    // What was read must not be lost when it cannot be written (splice_direct_to_actor).
    if !input.ops().seekable() || input.path().inode()?.kind == FileKind::Directory {
        return Err(Errno::EINVAL);
    }
    let result = copy(task, &input, &mut at, &out, &mut None, count.min(MOST));
    if let (Some(at), Ok(_)) = (at, &result) {
        task.write_struct(offset, &at)?;
    }
    result
}

/// copy_file_range(2).
pub fn copy_file_range(
    task: &CurrentTask,
    input: Fd,
    input_offset: UserAddr,
    out: Fd,
    out_offset: UserAddr,
    len: usize,
    flags: Flags,
) -> Result<usize, Errno> {
    let (input, out) = (task.fd(input.0)?, task.fd(out.0)?);
    let mut from = read_offset(task, input_offset)?;
    let mut to = read_offset(task, out_offset)?;
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let (source, target) = (input.path().inode()?, out.path().inode()?);
    for inode in [&source, &target] {
        match inode.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
    }
    // The host's pipes have an inode of no kind in particular.
    if !input.ops().seekable() || !out.ops().seekable() {
        return Err(Errno::EINVAL);
    }
    if !input.readable() || !out.writable() || out.flags() & abi::fcntl::O_APPEND != 0 {
        return Err(Errno::EBADF);
    }
    let len = len.min(MOST);
    if std::sync::Arc::ptr_eq(&source, &target) {
        let from = from.unwrap_or(*input.position.lock());
        let to = to.unwrap_or(*out.position.lock());
        let len = len as u64;
        if from < to.saturating_add(len) && to < from.saturating_add(len) {
            return Err(Errno::EINVAL);
        }
    }
    let done = copy(task, &input, &mut from, &out, &mut to, len)?;
    if let Some(from) = from {
        task.write_struct(input_offset, &from)?;
    }
    if let Some(to) = to {
        task.write_struct(out_offset, &to)?;
    }
    Ok(done)
}

/// The offset argument: null means the file's own position. `EINVAL` when it is negative.
fn read_offset(task: &CurrentTask, addr: UserAddr) -> Result<Option<u64>, Errno> {
    if addr.is_null() {
        return Ok(None);
    }
    let offset: i64 = task.read_struct(addr)?;
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
}

/// Copies up to `count` bytes; given offsets move on, else the files' positions do. An error after some bytes
/// ends it with their number; what was read but not written is read again next time.
fn copy(
    task: &CurrentTask,
    input: &FileDescription,
    from: &mut Option<u64>,
    out: &FileDescription,
    to: &mut Option<u64>,
    count: usize,
) -> Result<usize, Errno> {
    let mut done = 0;
    // Long copies give way to signals.
    while done < count && (done == 0 || !task.needs_attention()) {
        let start = from.unwrap_or(*input.position.lock());
        let mut sink = VecSink::new(STEP.min(count - done));
        let read = if input.ops().seekable() {
            file::read(task, input, Some(start), &mut sink)
        } else {
            file::read(task, input, None, &mut sink)
        };
        let got = match read {
            Ok(0) => break,
            Ok(got) => got,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        let wrote = match file::write(task, out, *to, &mut SliceSource(&sink.bytes)) {
            Ok(wrote) => wrote,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        done += wrote;
        let after = start.saturating_add(wrote as u64);
        match from {
            Some(from) => *from = after,
            None => *input.position.lock() = after,
        }
        if let Some(to) = to {
            *to = to.saturating_add(wrote as u64);
        }
        if wrote < got {
            break;
        }
    }
    Ok(done)
}
