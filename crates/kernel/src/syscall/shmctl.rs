//! shmctl(2).

use abi::{Errno, UserAddr, abi_struct};

use crate::ipc::perm::UserPerm;
use crate::ipc::shm::{SHM_LOCKED, SHMMAX, SHMMIN, SHMMNI, Segment, check_lock};
use crate::task::CurrentTask;

/// IPC_64: the same structures on x86-64.
pub(super) const IPC_64: i32 = 0x100;
pub(super) const IPC_RMID: i32 = 0;
pub(super) const IPC_SET: i32 = 1;
pub(super) const IPC_STAT: i32 = 2;
pub(super) const IPC_INFO: i32 = 3;
const SHM_LOCK: i32 = 11;
const SHM_UNLOCK: i32 = 12;
const SHM_STAT: i32 = 13;
const SHM_INFO: i32 = 14;
const SHM_STAT_ANY: i32 = 15;

abi_struct! {
    /// `struct shmid64_ds`.
    struct ShmIdDs {
        perm: UserPerm, segsz: u64, atime: i64, dtime: i64, ctime: i64, cpid: i32, lpid: i32,
        nattch: u64, unused: [u64; 2],
    }
}

abi_struct! {
    /// `struct shminfo64`.
    struct ShmInfo64 { shmmax: u64, shmmin: u64, shmmni: u64, shmseg: u64, shmall: u64, unused: [u64; 4] }
}

abi_struct! {
    /// `struct shm_info`.
    struct ShmInfo { used: i32, pad: i32, total: u64, resident: u64, swapped: u64, attempts: u64, successes: u64 }
}

fn stat(task: &CurrentTask, id: i32, segment: &Segment) -> ShmIdDs {
    let state = segment.state.lock();
    ShmIdDs {
        perm: state.perm.user(id, &task.cred()),
        segsz: segment.size,
        atime: state.atime,
        dtime: state.dtime,
        ctime: state.ctime,
        cpid: task.own_pid(state.cpid) as i32,
        lpid: task.own_pid(state.lpid) as i32,
        nattch: state.memory().map_or(0, |(_, attached)| attached),
        unused: [0; 2],
    }
}

/// shmctl(2).
pub fn shmctl(task: &CurrentTask, id: i32, command: i32, buf: UserAddr) -> Result<i32, Errno> {
    let kernel = &task.kernel;
    let cred = task.cred();
    if id < 0 || command < 0 {
        return Err(Errno::EINVAL);
    }
    match command & !IPC_64 {
        IPC_RMID => task.ipc().remove_segment(id, &cred)?,
        IPC_SET => {
            let new: ShmIdDs = task.read_struct(buf)?;
            let segment = task.ipc().segment(id)?;
            let mut state = segment.state.lock();
            state.perm.check_owner(&cred)?;
            state.perm.set(&new.perm, &cred)?;
            state.ctime = i64::try_from(kernel.time.realtime_ns() / 1_000_000_000).unwrap_or(i64::MAX);
        }
        IPC_STAT => {
            let segment = task.ipc().segment(id)?;
            segment.state.lock().perm.check(&cred, 0o444)?;
            task.write_struct(buf, &stat(task, id, &segment))?;
        }
        any @ (SHM_STAT | SHM_STAT_ANY) => {
            let (id, segment) = task.ipc().segment_at(id)?;
            if any == SHM_STAT {
                segment.state.lock().perm.check(&cred, 0o444)?;
            }
            task.write_struct(buf, &stat(task, id, &segment))?;
            return Ok(id);
        }
        IPC_INFO => {
            let info = ShmInfo64 {
                shmmax: SHMMAX,
                shmmin: SHMMIN,
                shmmni: SHMMNI as u64,
                shmseg: SHMMNI as u64,
                shmall: SHMMAX,
                unused: [0; 4],
            };
            task.write_struct(buf, &info)?;
            return Ok(task.ipc().segment_count().1 as i32);
        }
        SHM_INFO => {
            let (used, highest) = task.ipc().segment_count();
            let (total, resident) = task.ipc().segment_pages();
            let info = ShmInfo {
                used: i32::try_from(used).unwrap_or(i32::MAX),
                total,
                resident,
                ..ShmInfo::default()
            };
            task.write_struct(buf, &info)?;
            return Ok(highest as i32);
        }
        lock @ (SHM_LOCK | SHM_UNLOCK) => {
            let segment = task.ipc().segment(id)?;
            let mut state = segment.state.lock();
            check_lock(&state.perm, &cred)?;
            if lock == SHM_LOCK {
                state.perm.mode |= SHM_LOCKED;
            } else {
                state.perm.mode &= !SHM_LOCKED;
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
