//! fcntl(2), except locks: those are in `fcntl_locking.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::fcntl::{O_APPEND, O_ASYNC, O_DIRECT, O_LARGEFILE, O_NOATIME, O_NONBLOCK, O_PATH};
use abi::{Errno, UserAddr};

use super::arg::Fd;
use super::fcntl_locking;
use crate::file::pipe::pipe_of;
use crate::file::{FileDescription, FileOwner, lease, sigio};
use crate::task::CurrentTask;
use crate::vfs::FileKind;
use crate::vfs::permission::is_owner;

const F_DUPFD: u32 = 0;
const F_GETFD: u32 = 1;
const F_SETFD: u32 = 2;
const F_GETFL: u32 = 3;
const F_SETFL: u32 = 4;
const F_GETLK: u32 = 5;
const F_SETLK: u32 = 6;
const F_SETLKW: u32 = 7;
const F_SETOWN: u32 = 8;
const F_GETOWN: u32 = 9;
const F_SETSIG: u32 = 10;
const F_GETSIG: u32 = 11;
const F_SETOWN_EX: u32 = 15;
const F_GETOWN_EX: u32 = 16;
const F_OFD_GETLK: u32 = 36;
const F_OFD_SETLK: u32 = 37;
const F_OFD_SETLKW: u32 = 38;
const F_SETLEASE: u32 = 1024;
const F_GETLEASE: u32 = 1025;
const F_NOTIFY: u32 = 1026;
const F_DUPFD_QUERY: u32 = 1027;
const F_CREATED_QUERY: u32 = 1028;
const F_DUPFD_CLOEXEC: u32 = 1030;
const F_SETPIPE_SZ: u32 = 1031;
const F_GETPIPE_SZ: u32 = 1032;
const F_ADD_SEALS: u32 = 1033;
const F_GET_SEALS: u32 = 1034;
const F_GET_RW_HINT: u32 = 1035;
const F_SET_RW_HINT: u32 = 1036;
/// RWH_WRITE_LIFE_EXTREME: the highest hint.
const RWH_WRITE_LIFE_EXTREME: u64 = 5;
/// FD_CLOEXEC.
const FD_CLOEXEC: u64 = 1;
/// F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP.
const OWNER_TID: i32 = 0;
const OWNER_PID: i32 = 1;
const OWNER_PGRP: i32 = 2;
/// Highest signal number.
const NSIG: u64 = 64;

/// fcntl(2).
pub fn fcntl(task: &CurrentTask, fd: Fd, command: u32, arg: u64) -> Result<i64, Errno> {
    let file = task.fd(fd.0)?;
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => {
            let limit = task.group.fd_limit();
            // The argument is an int; a negative one is out of range like a large one.
            let from = u64::from(arg as u32);
            if from >= limit || from > i32::MAX as u64 {
                return Err(Errno::EINVAL);
            }
            let cloexec = command == F_DUPFD_CLOEXEC;
            let new = task.files().install(file, cloexec, from as usize, limit)?;
            return Ok(i64::from(new));
        }
        F_GETFD => return Ok(i64::from(task.files().entry(fd.0)?.cloexec)),
        F_SETFD => {
            task.files().set_cloexec(fd.0, arg & FD_CLOEXEC != 0)?;
            return Ok(0);
        }
        F_GETFL if file.flags() & O_PATH != 0 => return Ok(i64::from(file.flags())),
        F_GETFL => return Ok(i64::from(file.flags() | large(&file))),
        F_DUPFD_QUERY => {
            let other = task.fd(arg as u32 as i32)?;
            return Ok(i64::from(other.id() == file.id()));
        }
        _ if file.flags() & O_PATH != 0 => return Err(Errno::EBADF),
        _ => {}
    }
    match command {
        F_SETFL => set_status(task, &file, fd, arg as u32),
        F_GETLK | F_SETLK | F_SETLKW => {
            fcntl_locking::posix(task, &file, command - F_GETLK, UserAddr(arg)).map(|()| 0)
        }
        F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW => {
            fcntl_locking::ofd(task, &file, command - F_OFD_GETLK, UserAddr(arg)).map(|()| 0)
        }
        F_SETOWN | F_GETOWN | F_SETSIG | F_GETSIG | F_SETOWN_EX | F_GETOWN_EX => {
            owner(task, &file, command, arg)
        }
        F_GETLEASE => lease::get(&file),
        F_SETLEASE => lease::set(task, &file, fd.0, arg).map(|()| 0),
        F_NOTIFY => sigio::notify_directory(task, &file, fd.0, arg as u32).map(|()| 0),
        F_CREATED_QUERY => Ok(i64::from(file.created())),
        F_GETPIPE_SZ => {
            let pipe = pipe_of(&file).ok_or(Errno::EBADF)?;
            i64::try_from(pipe.capacity()).map_err(|_| Errno::EINVAL)
        }
        F_SETPIPE_SZ => {
            let pipe = pipe_of(&file).ok_or(Errno::EBADF)?;
            let size = pipe.set_capacity(arg as u32 as usize)?;
            i64::try_from(size).map_err(|_| Errno::EINVAL)
        }
        F_GET_SEALS => file.ops().seals(&file, None).map(i64::from),
        F_ADD_SEALS => file.ops().seals(&file, Some(arg as u32)).map(|_| 0),
        F_GET_RW_HINT => {
            let hint = file.path().inode()?.attached::<WriteHint>();
            let hint = hint.map_or(0, |hint| hint.0.load(Ordering::Relaxed));
            task.write_struct(UserAddr(arg), &hint).map(|()| 0)
        }
        F_SET_RW_HINT => set_write_hint(task, &file, UserAddr(arg)).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

/// How long what is written to a file will live (RWH_WRITE_LIFE_*): kept, for nobody here acts on it.
struct WriteHint(AtomicU64);

fn set_write_hint(task: &CurrentTask, file: &FileDescription, addr: UserAddr) -> Result<(), Errno> {
    let inode = file.path().inode()?;
    if !is_owner(&task.cred(), &inode.attr()?) {
        return Err(Errno::EPERM);
    }
    let hint: u64 = task.read_struct(addr)?;
    if hint > RWH_WRITE_LIFE_EXTREME {
        return Err(Errno::EINVAL);
    }
    let kept = inode.attach(|| WriteHint(AtomicU64::new(0)));
    kept.0.store(hint, Ordering::Relaxed);
    Ok(())
}

/// x86-64 opens every file with O_LARGEFILE, and shows it for those that open(2) made.
fn large(file: &FileDescription) -> u32 {
    let by_path = file.path().inode().is_ok_and(|inode| {
        matches!(
            inode.kind,
            FileKind::Regular | FileKind::Directory | FileKind::BlockDevice
        ) || (inode.kind == FileKind::CharDevice)
    });
    if by_path { O_LARGEFILE } else { 0 }
}

fn set_status(task: &CurrentTask, file: &Arc<FileDescription>, fd: Fd, flags: u32) -> Result<i64, Errno> {
    const CHANGEABLE: u32 = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK;
    let old = file.flags();
    if flags & O_NOATIME != 0 && old & O_NOATIME == 0 {
        let attr = file.path().inode()?.attr()?;
        if !is_owner(&task.cred(), &attr) {
            return Err(Errno::EPERM);
        }
    }
    let new = (old & !CHANGEABLE) | (flags & CHANGEABLE);
    file.ops().set_flags(file, new)?;
    file.set_flags(new);
    if (old ^ new) & O_ASYNC != 0 {
        sigio::set_async(&task.kernel, file, fd.0, new & O_ASYNC != 0);
    }
    Ok(0)
}

/// F_SETOWN and its kin: who gets SIGIO.
fn owner(task: &CurrentTask, file: &FileDescription, command: u32, arg: u64) -> Result<i64, Errno> {
    let now = *file.owner.lock();
    let cred = task.cred();
    match command {
        F_GETOWN => Ok(i64::from(sigio::shown_owner(task, now.pid))),
        F_GETSIG => Ok(i64::from(now.signal)),
        F_SETSIG if arg > NSIG => Err(Errno::EINVAL),
        F_SETSIG => {
            file.owner.lock().signal = arg as u32;
            Ok(0)
        }
        F_SETOWN => {
            sigio::set_owner(task, file, arg as u32 as i32)?;
            Ok(0)
        }
        F_GETOWN_EX => {
            let kind = match now {
                FileOwner { thread: true, .. } => OWNER_TID,
                FileOwner { pid, .. } if pid < 0 => OWNER_PGRP,
                _ => OWNER_PID,
            };
            task.write_struct(
                UserAddr(arg),
                &[kind, sigio::shown_owner(task, now.pid).wrapping_abs()],
            )?;
            Ok(0)
        }
        _ => {
            let [kind, pid]: [i32; 2] = task.read_struct(UserAddr(arg))?;
            let pid = match kind {
                OWNER_TID | OWNER_PID => pid,
                OWNER_PGRP => pid.checked_neg().ok_or(Errno::EINVAL)?,
                _ => return Err(Errno::EINVAL),
            };
            sigio::owner_exists(task, pid, kind == OWNER_TID)?;
            let new = FileOwner {
                pid: sigio::kernel_owner(task, pid)?,
                thread: kind == OWNER_TID,
                uid: cred.uid,
                euid: cred.euid,
                ..now
            };
            *file.owner.lock() = new;
            Ok(0)
        }
    }
}
