//! utime(2), utimes(2), futimesat(2), utimensat(2).

use abi::{Errno, UserAddr};

use super::arg::{AT_FDCWD, CStr, Fd, Flags};
use super::dirfd::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, At};
use super::stat::NS;
use crate::task::CurrentTask;
use crate::vfs::{TimeChange, Walker};

const UTIME_NOW: i64 = 0x3fff_ffff;
const UTIME_OMIT: i64 = 0x3fff_fffe;
/// Microseconds in a second.
const US: i64 = 1_000_000;

type Times = [Option<TimeChange>; 2];

const BOTH_NOW: Times = [Some(TimeChange::Now), Some(TimeChange::Now)];

/// utime(2).
pub fn utime(task: &CurrentTask, path: CStr, times: UserAddr) -> Result<(), Errno> {
    let times = if times.is_null() {
        BOTH_NOW
    } else {
        let seconds: [i64; 2] = task.read_struct(times)?;
        seconds.map(|seconds| Some(TimeChange::At(seconds.saturating_mul(NS))))
    };
    set_at(task, Fd(AT_FDCWD), path, times, 0)
}

/// utimes(2).
pub fn utimes(task: &CurrentTask, path: CStr, times: UserAddr) -> Result<(), Errno> {
    futimesat(task, Fd(AT_FDCWD), path, times)
}

/// futimesat(2).
pub fn futimesat(task: &CurrentTask, dir: Fd, path: CStr, times: UserAddr) -> Result<(), Errno> {
    let times = if times.is_null() {
        BOTH_NOW
    } else {
        let [a, b, c, d]: [i64; 4] = task.read_struct(times)?;
        if !(0..US).contains(&b) || !(0..US).contains(&d) {
            return Err(Errno::EINVAL);
        }
        [(a, b), (c, d)].map(|(seconds, micros)| Some(at(seconds, micros * 1000)))
    };
    if path.0.is_null() && dir.0 != AT_FDCWD {
        return set_fd(task, dir, times);
    }
    set_at(task, dir, path, times, 0)
}

/// utimensat(2).
pub fn utimensat(
    task: &CurrentTask,
    dir: Fd,
    path: CStr,
    times: UserAddr,
    flags: Flags,
) -> Result<(), Errno> {
    let times = if times.is_null() {
        BOTH_NOW
    } else {
        let [a, b, c, d]: [i64; 4] = task.read_struct(times)?;
        [change(a, b)?, change(c, d)?]
    };
    if times == [None, None] {
        return Ok(());
    }
    if flags.0 & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    if path.0.is_null() && dir.0 != AT_FDCWD {
        if flags.0 != 0 {
            return Err(Errno::EINVAL);
        }
        return set_fd(task, dir, times);
    }
    set_at(task, dir, path, times, flags.0)
}

fn at(seconds: i64, nanoseconds: i64) -> TimeChange {
    TimeChange::At(seconds.saturating_mul(NS).saturating_add(nanoseconds))
}

fn change(seconds: i64, nanoseconds: i64) -> Result<Option<TimeChange>, Errno> {
    match nanoseconds {
        UTIME_NOW => Ok(Some(TimeChange::Now)),
        UTIME_OMIT => Ok(None),
        0..NS => Ok(Some(at(seconds, nanoseconds))),
        _ => Err(Errno::EINVAL),
    }
}

fn set_fd(task: &CurrentTask, fd: Fd, [atime, mtime]: Times) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    if file.flags() & abi::fcntl::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    Walker::of(task).set_times(file.path(), atime, mtime)
}

fn set_at(task: &CurrentTask, dir: Fd, path: CStr, [atime, mtime]: Times, flags: u32) -> Result<(), Errno> {
    let walker = Walker::of(task);
    let place = At::read(task, dir, path)?.resolve(&walker, flags)?;
    walker.set_times(&place, atime, mtime)
}
