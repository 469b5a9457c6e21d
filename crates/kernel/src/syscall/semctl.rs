//! semctl(2).

use abi::{AbiField, Errno, UserAddr, abi_struct};

use super::shmctl::{IPC_64, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT};
use crate::ipc::perm::UserPerm;
use crate::ipc::sem::{SEMMNI, SEMMSL, SEMOPM, SEMVMX, SemSet, Semaphore};
use crate::task::CurrentTask;

const GETPID: i32 = 11;
const GETVAL: i32 = 12;
const GETALL: i32 = 13;
const GETNCNT: i32 = 14;
const GETZCNT: i32 = 15;
const SETVAL: i32 = 16;
const SETALL: i32 = 17;
const SEM_STAT: i32 = 18;
const SEM_INFO: i32 = 19;
const SEM_STAT_ANY: i32 = 20;

abi_struct! {
    /// `struct semid64_ds`.
    struct SemIdDs {
        perm: UserPerm, otime: i64, unused1: u64, ctime: i64, unused2: u64, nsems: u64, unused: [u64; 2],
    }
}

abi_struct! {
    /// `struct seminfo`.
    struct SemInfo {
        semmap: i32, semmni: i32, semmns: i32, semmnu: i32, semmsl: i32, semopm: i32, semume: i32,
        semusz: i32, semvmx: i32, semaem: i32,
    }
}

fn stat(task: &CurrentTask, id: i32, set: &SemSet) -> SemIdDs {
    let state = set.state.lock();
    SemIdDs {
        perm: state.perm.user(id, &task.cred()),
        otime: state.otime,
        ctime: state.ctime,
        nsems: state.semaphores.len() as u64,
        ..SemIdDs::default()
    }
}

fn seconds(task: &CurrentTask) -> i64 {
    i64::try_from(task.kernel.time.realtime_ns() / 1_000_000_000).unwrap_or(i64::MAX)
}

/// semctl(2). `arg` is a value or an address, by command.
pub fn semctl(task: &CurrentTask, id: i32, number: i32, command: i32, arg: u64) -> Result<i32, Errno> {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let buf = UserAddr(arg);
    let cred = task.cred();
    let set = |id: i32| task.ipc().semaphores.lock().get(id);
    match command & !IPC_64 {
        IPC_RMID => task.ipc().remove_semaphores(id, &cred)?,
        IPC_SET => {
            let new: SemIdDs = task.read_struct(buf)?;
            let set = set(id)?;
            let mut state = set.state.lock();
            state.perm.check_owner(&cred)?;
            state.perm.set(&new.perm, &cred)?;
            state.ctime = seconds(task);
        }
        IPC_STAT => {
            let set = set(id)?;
            set.state.lock().perm.check(&cred, 0o444)?;
            task.write_struct(buf, &stat(task, id, &set))?;
        }
        any @ (SEM_STAT | SEM_STAT_ANY) => {
            let (id, set) = task.ipc().semaphores.lock().at(id)?;
            if any == SEM_STAT {
                set.state.lock().perm.check(&cred, 0o444)?;
            }
            task.write_struct(buf, &stat(task, id, &set))?;
            return Ok(id);
        }
        info @ (IPC_INFO | SEM_INFO) => return tell_info(task, buf, info == SEM_INFO),
        GETALL => {
            let set = set(id)?;
            let values: Vec<u8> = {
                let state = set.state.lock();
                state.perm.check(&cred, 0o444)?;
                let values = state.semaphores.iter().map(|semaphore| semaphore.value as u16);
                values.flat_map(u16::to_le_bytes).collect()
            };
            task.copy_out(buf, &values)?;
        }
        SETALL => set_all(task, &*set(id)?, buf)?,
        SETVAL => {
            let value = arg as i32;
            if !(0..=SEMVMX).contains(&value) {
                return Err(Errno::ERANGE);
            }
            let set = set(id)?;
            {
                let mut state = set.state.lock();
                let index = u16::try_from(number).map_err(|_| Errno::EINVAL)?;
                if usize::from(index) >= state.semaphores.len() {
                    return Err(Errno::EINVAL);
                }
                state.perm.check(&cred, 0o222)?;
                state.clear_undo(Some(index));
                state.ctime = seconds(task);
                if let Some(semaphore) = state.semaphores.get_mut(usize::from(index)) {
                    (semaphore.value, semaphore.pid) = (value, task.tgid());
                }
            }
            set.wake();
        }
        what @ (GETVAL | GETPID | GETNCNT | GETZCNT) => {
            let set = set(id)?;
            let state = set.state.lock();
            state.perm.check(&cred, 0o444)?;
            let index = usize::try_from(number).map_err(|_| Errno::EINVAL)?;
            let semaphore: &Semaphore = state.semaphores.get(index).ok_or(Errno::EINVAL)?;
            return Ok(match what {
                GETVAL => semaphore.value,
                GETPID => task.own_pid(semaphore.pid) as i32,
                GETNCNT => semaphore.increase_waiters as i32,
                _ => semaphore.zero_waiters as i32,
            });
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn set_all(task: &CurrentTask, set: &SemSet, buf: UserAddr) -> Result<(), Errno> {
    let count = {
        let state = set.state.lock();
        state.perm.check(&task.cred(), 0o222)?;
        state.semaphores.len()
    };
    let mut bytes = vec![0; count * 2];
    task.copy_in(buf, &mut bytes)?;
    let values: Vec<i32> = bytes
        .chunks_exact(2)
        .map(|raw| i32::from(u16::get(raw)))
        .collect();
    if values.iter().any(|value| *value > SEMVMX) {
        return Err(Errno::ERANGE);
    }
    {
        let mut state = set.state.lock();
        if state.removed {
            return Err(Errno::EIDRM);
        }
        state.clear_undo(None);
        state.ctime = seconds(task);
        let pid = task.tgid();
        for (semaphore, value) in state.semaphores.iter_mut().zip(values) {
            (semaphore.value, semaphore.pid) = (value, pid);
        }
    }
    set.wake();
    Ok(())
}

fn tell_info(task: &CurrentTask, buf: UserAddr, used: bool) -> Result<i32, Errno> {
    let (sets, semaphores, highest) = {
        let ipc = task.ipc();
        let table = ipc.semaphores.lock();
        let count: usize = table
            .iter()
            .map(|(_, set)| set.state.lock().semaphores.len())
            .sum();
        (table.count(), count, table.highest())
    };
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let most = number(SEMMNI).saturating_mul(number(SEMMSL));
    let info = SemInfo {
        semmap: most,
        semmni: number(SEMMNI),
        semmns: most,
        semmnu: most,
        semmsl: number(SEMMSL),
        semopm: number(SEMOPM),
        semume: number(SEMOPM),
        semusz: if used { number(sets) } else { 20 },
        semvmx: SEMVMX,
        semaem: if used { number(semaphores) } else { SEMVMX },
    };
    task.write_struct(buf, &info)?;
    Ok(highest as i32)
}
