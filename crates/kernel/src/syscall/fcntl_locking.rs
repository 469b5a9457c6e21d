//! fcntl_locking(2): struct flock in and out; the locks themselves are in [`crate::file::lock`].

use abi::{Errno, UserAddr, abi_struct};

use crate::file::FileDescription;
use crate::file::lock::{self, LockKind, LockOwner, RecordLock};
use crate::task::CurrentTask;

abi_struct! {
    /// `struct flock`.
    pub struct Flock {
        pub kind: i16, pub whence: i16, pub pad: u32, pub start: i64, pub len: i64, pub pid: i32, pub pad2: u32,
    }
}

const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;
/// Positions of the operations from F_GETLK and F_OFD_GETLK on.
const GET: u32 = 0;
const SET_WAIT: u32 = 2;

/// F_GETLK, F_SETLK, F_SETLKW.
pub fn posix(task: &CurrentTask, file: &FileDescription, op: u32, arg: UserAddr) -> Result<(), Errno> {
    let owner = LockOwner::Process(task.tgid());
    operate(task, file, op, arg, owner)
}

/// F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW.
pub fn ofd(task: &CurrentTask, file: &FileDescription, op: u32, arg: UserAddr) -> Result<(), Errno> {
    let flock: Flock = task.read_struct(arg)?;
    if flock.pid != 0 {
        return Err(Errno::EINVAL);
    }
    operate(task, file, op, arg, LockOwner::File(file.id()))
}

fn operate(
    task: &CurrentTask,
    file: &FileDescription,
    op: u32,
    arg: UserAddr,
    owner: LockOwner,
) -> Result<(), Errno> {
    let mut flock: Flock = task.read_struct(arg)?;
    let kind = match flock.kind {
        F_RDLCK => Some(LockKind::Read),
        F_WRLCK => Some(LockKind::Write),
        F_UNLCK => None,
        _ => return Err(Errno::EINVAL),
    };
    let (start, end) = range(file, &flock)?;
    if op == GET {
        let kind = match (kind, owner) {
            (Some(kind), _) => kind,
            // OFD locks may ask for any lock in the range.
            (None, LockOwner::File(_)) => LockKind::Write,
            (None, LockOwner::Process(_)) => return Err(Errno::EINVAL),
        };
        let wanted = RecordLock {
            owner,
            kind,
            start,
            end,
        };
        match lock::conflicting(file, &wanted)? {
            None => flock.kind = F_UNLCK,
            Some(found) => describe(task, &mut flock, &found),
        }
        return task.write_struct(arg, &flock);
    }
    match kind {
        Some(LockKind::Read) if !file.readable() => return Err(Errno::EBADF),
        Some(LockKind::Write) if !file.writable() => return Err(Errno::EBADF),
        _ => {}
    }
    match kind {
        None => lock::unlock(file, owner, start, end),
        Some(kind) => {
            let wanted = RecordLock {
                owner,
                kind,
                start,
                end,
            };
            if op == SET_WAIT {
                lock::set_waiting(task, file, wanted)
            } else {
                lock::set(file, wanted)
            }
        }
    }
}

fn describe(task: &CurrentTask, flock: &mut Flock, found: &RecordLock) {
    flock.kind = match found.kind {
        LockKind::Read => F_RDLCK,
        LockKind::Write => F_WRLCK,
    };
    flock.whence = 0;
    flock.start = i64::try_from(found.start).unwrap_or(i64::MAX);
    flock.len = if found.end == lock::END {
        0
    } else {
        i64::try_from(found.end - found.start).unwrap_or(0)
    };
    flock.pid = match found.owner {
        LockOwner::Process(pid) => i32::try_from(task.own_pid(pid)).unwrap_or(-1),
        LockOwner::File(_) => -1,
    };
}

/// The bytes `[start, end)` that a struct flock means.
fn range(file: &FileDescription, flock: &Flock) -> Result<(u64, u64), Errno> {
    let base = match flock.whence {
        0 => 0,
        1 => i64::try_from(*file.position.lock()).unwrap_or(i64::MAX),
        2 => i64::try_from(file.path().inode()?.attr()?.size).unwrap_or(i64::MAX),
        _ => return Err(Errno::EINVAL),
    };
    let start = base.checked_add(flock.start).ok_or(Errno::EOVERFLOW)?;
    let (start, end) = match flock.len {
        0 => (start, None),
        len if len > 0 => (start, Some(start.checked_add(len).ok_or(Errno::EOVERFLOW)?)),
        len => (start.checked_add(len).ok_or(Errno::EINVAL)?, Some(start)),
    };
    let start = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
    match end {
        None => Ok((start, lock::END)),
        Some(end) => Ok((start, u64::try_from(end).map_err(|_| Errno::EINVAL)?)),
    }
}
