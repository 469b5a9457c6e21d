//! open(2), openat(2), creat(2), openat2(2).

use abi::fcntl::{
    O_ACCMODE, O_APPEND, O_ASYNC, O_CLOEXEC, O_CREAT, O_DIRECT, O_DIRECTORY, O_EXCL, O_LARGEFILE, O_NOATIME,
    O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_SYNC, O_TMPFILE, O_TRUNC, O_WRONLY,
};
use abi::{Errno, PAGE_SIZE, UserAddr, abi_struct};

use super::arg::{AT_FDCWD, CStr, Fd, Flags, Mode};
use super::dirfd::At;
use crate::task::CurrentTask;
use crate::vfs::{LookupFlags, OpenHow, Walker};

/// Every flag that open(2) knows; it ignores others.
const KNOWN: u32 = O_ACCMODE
    | O_CREAT
    | O_EXCL
    | O_NOCTTY
    | O_TRUNC
    | O_APPEND
    | O_NONBLOCK
    | O_SYNC
    | O_ASYNC
    | O_DIRECT
    | O_LARGEFILE
    | O_DIRECTORY
    | O_NOFOLLOW
    | O_NOATIME
    | O_CLOEXEC
    | O_PATH
    | O_TMPFILE;
/// What O_PATH leaves in force.
const WITH_PATH: u32 = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;
/// O_TMPFILE without its O_DIRECTORY.
const TMPFILE: u32 = O_TMPFILE & !O_DIRECTORY;

abi_struct! {
    /// `struct open_how`.
    pub struct OpenHowArg { pub flags: u64, pub mode: u64, pub resolve: u64 }
}

/// open(2).
pub fn open(task: &CurrentTask, path: CStr, flags: Flags, mode: Mode) -> Result<i32, Errno> {
    openat(task, Fd(AT_FDCWD), path, flags, mode)
}

/// creat(2).
pub fn creat(task: &CurrentTask, path: CStr, mode: Mode) -> Result<i32, Errno> {
    openat(
        task,
        Fd(AT_FDCWD),
        path,
        Flags(O_CREAT | O_WRONLY | O_TRUNC),
        mode,
    )
}

/// openat(2).
pub fn openat(task: &CurrentTask, dir: Fd, path: CStr, flags: Flags, mode: Mode) -> Result<i32, Errno> {
    let mut flags = flags.0 & KNOWN;
    if flags & O_PATH != 0 {
        flags &= WITH_PATH;
    }
    let how = OpenHow {
        flags,
        mode: if creates(flags) { mode.0 & 0o7777 } else { 0 },
        resolve: LookupFlags::empty(),
    };
    open_at(task, dir, path, &how)
}

/// openat2(2).
pub fn openat2(task: &CurrentTask, dir: Fd, path: CStr, how: UserAddr, size: usize) -> Result<i32, Errno> {
    let how = read_how(task, how, size)?;
    let flags = u32::try_from(how.flags).map_err(|_| Errno::EINVAL)?;
    if flags & !KNOWN != 0 || (flags & O_PATH != 0 && flags & !WITH_PATH != 0) {
        return Err(Errno::EINVAL);
    }
    let mode_limit = if creates(flags) { 0o7777 } else { 0 };
    if how.mode & !mode_limit != 0 {
        return Err(Errno::EINVAL);
    }
    let resolve = resolve_flags(how.resolve)?;
    if resolve.contains(LookupFlags::BENEATH | LookupFlags::IN_ROOT) {
        return Err(Errno::EINVAL);
    }
    // Everything is looked up without waiting for a disk, but not always without a host call.
    const RESOLVE_CACHED: u64 = 0x20;
    if how.resolve & RESOLVE_CACHED != 0 {
        return Err(Errno::EAGAIN);
    }
    let how = OpenHow {
        flags,
        mode: how.mode as u32,
        resolve,
    };
    open_at(task, dir, path, &how)
}

fn creates(flags: u32) -> bool {
    flags & (O_CREAT | TMPFILE) != 0
}

fn read_how(task: &CurrentTask, addr: UserAddr, size: usize) -> Result<OpenHowArg, Errno> {
    const SIZE: usize = 24;
    if size < SIZE {
        return Err(Errno::EINVAL);
    }
    if size > PAGE_SIZE as usize {
        return Err(Errno::E2BIG);
    }
    let mut bytes = vec![0; size];
    task.copy_in(addr, &mut bytes)?;
    if bytes.iter().skip(SIZE).any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    Ok(abi::AbiField::get(&bytes))
}

fn resolve_flags(resolve: u64) -> Result<LookupFlags, Errno> {
    let table = [
        (0x01, LookupFlags::NO_XDEV),
        (0x02, LookupFlags::NO_MAGICLINKS),
        (0x04, LookupFlags::NO_SYMLINKS),
        (0x08, LookupFlags::BENEATH),
        (0x10, LookupFlags::IN_ROOT),
        (0x20, LookupFlags::empty()),
    ];
    let mut flags = LookupFlags::empty();
    let mut rest = resolve;
    for (bit, flag) in table {
        if resolve & bit != 0 {
            flags |= flag;
            rest &= !bit;
        }
    }
    if rest == 0 { Ok(flags) } else { Err(Errno::EINVAL) }
}

fn open_at(task: &CurrentTask, dir: Fd, path: CStr, how: &OpenHow) -> Result<i32, Errno> {
    if how.flags & O_PATH == 0 {
        if how.flags & TMPFILE != 0 {
            let writable = matches!(how.flags & O_ACCMODE, 1 | 2);
            if how.flags & O_DIRECTORY == 0 || !writable || how.flags & O_CREAT != 0 {
                return Err(Errno::EINVAL);
            }
        } else if how.flags & (O_DIRECTORY | O_CREAT) == O_DIRECTORY | O_CREAT {
            return Err(Errno::EINVAL);
        }
    }
    let bounded = how
        .resolve
        .intersects(LookupFlags::BENEATH | LookupFlags::IN_ROOT);
    let at = if bounded {
        At::read_bounded(task, dir, path)?
    } else {
        At::read(task, dir, path)?
    };
    let file = Walker::of(task).open_how(at.dir.as_ref(), &at.path, how)?;
    let cloexec = how.flags & O_CLOEXEC != 0;
    task.files().install(file, cloexec, 0, task.group.fd_limit())
}
