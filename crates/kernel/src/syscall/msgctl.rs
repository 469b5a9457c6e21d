//! msgctl(2).

use abi::{Errno, UserAddr, abi_struct};

use super::shmctl::{IPC_64, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT};
use crate::cred::Caps;
use crate::ipc::msg::{MSGMAX, MSGMNB, MSGMNI, MessageQueue};
use crate::ipc::perm::UserPerm;
use crate::task::CurrentTask;

const MSG_STAT: i32 = 11;
const MSG_INFO: i32 = 12;
const MSG_STAT_ANY: i32 = 13;

abi_struct! {
    /// `struct msqid64_ds`.
    struct MsqIdDs {
        perm: UserPerm, stime: i64, rtime: i64, ctime: i64, cbytes: u64, qnum: u64, qbytes: u64,
        lspid: i32, lrpid: i32, unused: [u64; 2],
    }
}

abi_struct! {
    /// `struct msginfo`.
    struct MsgInfo {
        msgpool: i32, msgmap: i32, msgmax: i32, msgmnb: i32, msgmni: i32, msgssz: i32, msgtql: i32,
        msgseg: u16, pad: u16,
    }
}

fn stat(task: &CurrentTask, id: i32, queue: &MessageQueue) -> MsqIdDs {
    let state = queue.state.lock();
    MsqIdDs {
        perm: state.perm.user(id, &task.cred()),
        stime: state.stime,
        rtime: state.rtime,
        ctime: state.ctime,
        cbytes: state.bytes,
        qnum: state.messages.len() as u64,
        qbytes: state.limit,
        lspid: task.own_pid(state.lspid) as i32,
        lrpid: task.own_pid(state.lrpid) as i32,
        unused: [0; 2],
    }
}

/// msgctl(2).
pub fn msgctl(task: &CurrentTask, id: i32, command: i32, buf: UserAddr) -> Result<i32, Errno> {
    if id < 0 || command < 0 {
        return Err(Errno::EINVAL);
    }
    let cred = task.cred();
    let ipc = task.ipc();
    let queues = &ipc.queues;
    match command & !IPC_64 {
        IPC_RMID => task.ipc().remove_queue(id, &cred)?,
        IPC_SET => {
            let new: MsqIdDs = task.read_struct(buf)?;
            let queue = queues.lock().get(id)?;
            {
                let mut state = queue.state.lock();
                state.perm.check_owner(&cred)?;
                if new.qbytes > MSGMNB && !cred.has(Caps::SYS_RESOURCE) {
                    return Err(Errno::EPERM);
                }
                state.perm.set(&new.perm, &cred)?;
                state.limit = new.qbytes;
                state.ctime =
                    i64::try_from(task.kernel.time.realtime_ns() / 1_000_000_000).unwrap_or(i64::MAX);
            }
            queue.wake();
        }
        IPC_STAT => {
            let queue = queues.lock().get(id)?;
            queue.state.lock().perm.check(&cred, 0o444)?;
            task.write_struct(buf, &stat(task, id, &queue))?;
        }
        any @ (MSG_STAT | MSG_STAT_ANY) => {
            let (id, queue) = queues.lock().at(id)?;
            if any == MSG_STAT {
                queue.state.lock().perm.check(&cred, 0o444)?;
            }
            task.write_struct(buf, &stat(task, id, &queue))?;
            return Ok(id);
        }
        info @ (IPC_INFO | MSG_INFO) => return tell_info(task, buf, info == MSG_INFO),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn tell_info(task: &CurrentTask, buf: UserAddr, used: bool) -> Result<i32, Errno> {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let ipc = task.ipc();
    let table = ipc.queues.lock();
    let highest = table.highest();
    let mut info = MsgInfo {
        msgpool: 512_000,
        msgmap: MSGMNB as i32,
        msgmax: number(MSGMAX),
        msgmnb: MSGMNB as i32,
        msgmni: number(MSGMNI),
        msgssz: 16,
        msgtql: MSGMNB as i32,
        msgseg: u16::MAX,
        pad: 0,
    };
    if used {
        let (mut messages, mut bytes) = (0usize, 0u64);
        for (_, queue) in table.iter() {
            let state = queue.state.lock();
            messages += state.messages.len();
            bytes = bytes.saturating_add(state.bytes);
        }
        info.msgpool = number(table.count());
        info.msgmap = number(messages);
        info.msgtql = i32::try_from(bytes).unwrap_or(i32::MAX);
    }
    drop(table);
    task.write_struct(buf, &info)?;
    Ok(highest as i32)
}
