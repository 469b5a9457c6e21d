//! splice(2), tee(2), vmsplice(2): bytes between pipes and files. They are copied, which no guest can tell.

use std::sync::Arc;

use abi::{Errno, UserAddr};
use sync::Events;

use super::arg::{Fd, Flags};
use crate::file::pipe::{Pipe, pipe_of};
use crate::file::{self, FileDescription};
use crate::io::{SliceSource, VecSink};
use crate::task::CurrentTask;

const SPLICE_F_NONBLOCK: u32 = 2;
const SPLICE_F_ALL: u32 = 0xf;
/// Bytes moved at a time.
const STEP: usize = 64 << 10;

/// splice(2).
pub fn splice(
    task: &CurrentTask,
    input: Fd,
    input_offset: UserAddr,
    out: Fd,
    out_offset: UserAddr,
    len: usize,
    flags: Flags,
) -> Result<usize, Errno> {
    if len == 0 {
        return Ok(0);
    }
    if flags.0 & !SPLICE_F_ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let (input, out) = (task.fd(input.0)?, task.fd(out.0)?);
    if !input.readable() || !out.writable() {
        return Err(Errno::EBADF);
    }
    let wait = flags.0 & SPLICE_F_NONBLOCK == 0;
    match (pipe_of(&input), pipe_of(&out)) {
        (Some(from), Some(to)) => {
            if !input_offset.is_null() || !out_offset.is_null() {
                return Err(Errno::ESPIPE);
            }
            let wait = wait && !input.nonblocking() && !out.nonblocking();
            between_pipes(task, &input, from, &out, to, len, wait, true)
        }
        (Some(from), None) => {
            if !input_offset.is_null() {
                return Err(Errno::ESPIPE);
            }
            if out.flags() & abi::fcntl::O_APPEND != 0 {
                return Err(Errno::EINVAL);
            }
            let mut at = offset(task, &out, out_offset)?;
            let done = from_pipe(task, &input, from, &out, &mut at, len, wait)?;
            store_offset(task, out_offset, at)?;
            Ok(done)
        }
        (None, Some(to)) => {
            if !out_offset.is_null() {
                return Err(Errno::ESPIPE);
            }
            let mut at = offset(task, &input, input_offset)?;
            let done = to_pipe(task, &input, &mut at, &out, to, len, wait)?;
            store_offset(task, input_offset, at)?;
            Ok(done)
        }
        (None, None) => Err(Errno::EINVAL),
    }
}

/// tee(2).
pub fn tee(task: &CurrentTask, input: Fd, out: Fd, len: usize, flags: Flags) -> Result<usize, Errno> {
    if flags.0 & !SPLICE_F_ALL != 0 {
        return Err(Errno::EINVAL);
    }
    if len == 0 {
        return Ok(0);
    }
    let (input, out) = (task.fd(input.0)?, task.fd(out.0)?);
    if !input.readable() || !out.writable() {
        return Err(Errno::EBADF);
    }
    let (Some(from), Some(to)) = (pipe_of(&input), pipe_of(&out)) else {
        return Err(Errno::EINVAL);
    };
    let wait = flags.0 & SPLICE_F_NONBLOCK == 0 && !input.nonblocking() && !out.nonblocking();
    between_pipes(task, &input, from, &out, to, len, wait, false)
}

/// vmsplice(2): the pages are copied; SPLICE_F_GIFT changes nothing.
pub fn vmsplice(
    task: &CurrentTask,
    fd: Fd,
    iov: UserAddr,
    count: usize,
    flags: Flags,
) -> Result<usize, Errno> {
    if flags.0 & !SPLICE_F_ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let file = task.fd(fd.0)?;
    if pipe_of(&file).is_none() {
        return Err(Errno::EBADF);
    }
    let vectors = task.read_iovecs(iov, count)?;
    let mut buffers = task.buffers(vectors);
    let wait = flags.0 & SPLICE_F_NONBLOCK == 0;
    if file.writable() {
        if !wait {
            return file.ops().write(&file, 0, &mut buffers);
        }
        file::write(task, &file, None, &mut buffers)
    } else if !wait {
        file.ops().read(&file, 0, &mut buffers)
    } else {
        file::read(task, &file, None, &mut buffers)
    }
}

fn offset(task: &CurrentTask, file: &FileDescription, addr: UserAddr) -> Result<Option<u64>, Errno> {
    if addr.is_null() {
        return Ok(None);
    }
    if !file.ops().seekable() {
        return Err(Errno::ESPIPE);
    }
    let offset: i64 = task.read_struct(addr)?;
    u64::try_from(offset).map(Some).map_err(|_| Errno::EINVAL)
}

fn store_offset(task: &CurrentTask, addr: UserAddr, at: Option<u64>) -> Result<(), Errno> {
    at.map_or(Ok(()), |at| task.write_struct(addr, &at))
}

/// Runs `attempt` once, or until it answers something else than `EAGAIN`.
fn maybe_wait<T>(
    task: &CurrentTask,
    files: &[&FileDescription],
    wait: bool,
    mut attempt: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Errno> {
    if !wait {
        return attempt();
    }
    let register = |table: &mut sync::PollTable| {
        for file in files {
            file.ops().poll(file, Some(&mut *table));
        }
    };
    task.blocking_op(None, register, Events::all(), attempt)
}

#[expect(clippy::too_many_arguments, reason = "both ends with their pipes")]
fn between_pipes(
    task: &CurrentTask,
    input: &FileDescription,
    from: &Arc<Pipe>,
    out: &FileDescription,
    to: &Arc<Pipe>,
    len: usize,
    wait: bool,
    consume: bool,
) -> Result<usize, Errno> {
    if Arc::ptr_eq(from, to) {
        return Err(Errno::EINVAL);
    }
    let result = maybe_wait(task, &[input, out], wait, || {
        if to.readers() == 0 {
            return Err(Errno::EPIPE);
        }
        let bytes = from.peek(len.min(STEP))?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let free = to.free();
        if free == 0 {
            return Err(Errno::EAGAIN);
        }
        let done = to.push(bytes.get(..free).unwrap_or(&bytes))?;
        if consume {
            from.discard(done);
        }
        Ok(done)
    });
    if result == Err(Errno::EPIPE) {
        crate::file::pipe::raise_sigpipe();
    }
    result
}

/// Pipe to file: what the file does not take stays in the pipe.
fn from_pipe(
    task: &CurrentTask,
    input: &FileDescription,
    from: &Arc<Pipe>,
    out: &FileDescription,
    at: &mut Option<u64>,
    len: usize,
    wait: bool,
) -> Result<usize, Errno> {
    let mut done = 0;
    while done < len && (done == 0 || !task.needs_attention()) {
        let wait = wait && done == 0 && !input.nonblocking();
        let peeked = maybe_wait(task, &[input], wait, || from.peek((len - done).min(STEP)));
        let bytes = match peeked {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => bytes,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        match file::write(task, out, *at, &mut SliceSource(&bytes)) {
            Ok(wrote) => {
                from.discard(wrote);
                done += wrote;
                *at = at.map(|at| at.saturating_add(wrote as u64));
                if wrote < bytes.len() {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// File to pipe: reads no more than the pipe has room for.
fn to_pipe(
    task: &CurrentTask,
    input: &FileDescription,
    at: &mut Option<u64>,
    out: &FileDescription,
    to: &Arc<Pipe>,
    len: usize,
    wait: bool,
) -> Result<usize, Errno> {
    let wait = wait && !out.nonblocking();
    let room = maybe_wait(task, &[out], wait, || {
        if to.readers() == 0 {
            return Err(Errno::EPIPE);
        }
        match to.free() {
            0 => Err(Errno::EAGAIN),
            free => Ok(free),
        }
    });
    if room == Err(Errno::EPIPE) {
        crate::file::pipe::raise_sigpipe();
    }
    let mut sink = VecSink::new(room?.min(len).min(STEP));
    let got = if !wait && !input.ops().seekable() {
        input.ops().read(input, 0, &mut sink)?
    } else {
        file::read(task, input, *at, &mut sink)?
    };
    *at = at.map(|at| at.saturating_add(got as u64));
    // Another writer may have taken the room meanwhile: then it is written like any write.
    file::write(task, out, None, &mut SliceSource(&sink.bytes))
}
