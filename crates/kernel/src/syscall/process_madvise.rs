//! process_madvise(2), process_mrelease(2).

use std::sync::Arc;

use abi::{Errno, UserAddr};

use super::arg::{Fd, Flags};
use crate::mm::Mm;
use crate::task::{CurrentTask, PidFd};

/// MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT, MADV_COLLAPSE: what may be said of another process's memory.
const HARMLESS: [i32; 4] = [3, 20, 21, 25];

/// The address space behind a pidfd that the caller may look into.
fn target(task: &CurrentTask, pidfd: Fd) -> Result<Arc<Mm>, Errno> {
    let file = task.files().get(pidfd.0)?;
    let pidfd = file.ops_as::<PidFd>().ok_or(Errno::EBADF)?;
    let thread = match &pidfd.thread {
        Some(thread) => Some(thread.clone()),
        None => pidfd.group.signals.lock().threads.first().cloned(),
    };
    let thread = thread.ok_or(Errno::ESRCH)?;
    if !task.may_access(&thread) {
        return Err(Errno::EPERM);
    }
    thread.mm().ok_or(Errno::ESRCH)
}

/// process_madvise(2): how many bytes were advised.
pub fn process_madvise(
    task: &CurrentTask,
    pidfd: Fd,
    vectors: UserAddr,
    count: usize,
    advice: i32,
    flags: Flags,
) -> Result<usize, Errno> {
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let vectors = task.read_iovecs(vectors, count)?;
    let mm = target(task, pidfd)?;
    if mm.id != task.mm_ref().id && !HARMLESS.contains(&advice) {
        return Err(Errno::EINVAL);
    }
    let mut done = 0;
    for vector in vectors {
        match mm.advise(vector.addr, vector.len as u64, advice) {
            Ok(()) => done += vector.len,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// process_mrelease(2): a process that is being killed gives its memory back by itself at once.
pub fn process_mrelease(task: &CurrentTask, pidfd: Fd, flags: Flags) -> Result<(), Errno> {
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let file = task.files().get(pidfd.0)?;
    let pidfd = file.ops_as::<PidFd>().ok_or(Errno::EBADF)?;
    let group = pidfd.group.signals.lock();
    if group.threads.is_empty() {
        return Err(Errno::ESRCH);
    }
    if group.exiting() {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}
