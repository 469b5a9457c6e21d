//! seccomp(2).

use std::sync::Arc;

use abi::fcntl::O_RDWR;
use abi::{AbiField, Errno, UserAddr, abi_struct};

use crate::cred::Caps;
use crate::task::{CurrentTask, Instruction, Listener, ListenerFile, SECCOMP_PROGRAM_MAX, Seccomp};

abi_struct! {
    /// `struct sock_fprog`.
    struct Program { len: u16, pad: [u16; 3], filter: UserAddr }
}

const SET_MODE_STRICT: u32 = 0;
const SET_MODE_FILTER: u32 = 1;
const GET_ACTION_AVAIL: u32 = 2;
const GET_NOTIF_SIZES: u32 = 3;

const FLAG_TSYNC: u32 = 1;
const FLAG_LOG: u32 = 2;
const FLAG_SPEC_ALLOW: u32 = 4;
const FLAG_NEW_LISTENER: u32 = 8;
const FLAG_TSYNC_ESRCH: u32 = 16;
const FLAG_WAIT_KILLABLE: u32 = 32;

/// seccomp(2).
pub fn seccomp(task: &CurrentTask, operation: u32, flags: u32, args: UserAddr) -> Result<u64, Errno> {
    match operation {
        SET_MODE_STRICT if flags == 0 && args.is_null() => set_strict(task),
        SET_MODE_FILTER => set_filter(task, flags, args),
        GET_ACTION_AVAIL if flags == 0 => {
            let action: u32 = task.read_struct(args)?;
            match action {
                0 | 0x8000_0000 | 0x0003_0000 | 0x0005_0000 | 0x7fc0_0000 | 0x7ff0_0000 | 0x7ffc_0000
                | 0x7fff_0000 => Ok(0),
                _ => Err(Errno::EOPNOTSUPP),
            }
        }
        GET_NOTIF_SIZES if flags == 0 => {
            // struct seccomp_notif, seccomp_notif_resp, seccomp_data.
            task.write_struct(args, &[80_u16, 24, 64]).map(|()| 0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// prctl(PR_SET_SECCOMP).
pub(super) fn set_mode(task: &CurrentTask, mode: u64, program: UserAddr) -> Result<u64, Errno> {
    match mode {
        1 => set_strict(task),
        2 => set_filter(task, 0, program),
        _ => Err(Errno::EINVAL),
    }
}

fn set_strict(task: &CurrentTask) -> Result<u64, Errno> {
    let mut filters = task.seccomp.lock();
    if filters.as_ref().is_some_and(|filters| filters.mode() != 1) {
        return Err(Errno::EINVAL);
    }
    *filters = Some(Seccomp::strict());
    drop(filters);
    task.update_local_answers();
    Ok(0)
}

fn set_filter(task: &CurrentTask, flags: u32, at: UserAddr) -> Result<u64, Errno> {
    const KNOWN: u32 =
        FLAG_TSYNC | FLAG_LOG | FLAG_SPEC_ALLOW | FLAG_NEW_LISTENER | FLAG_TSYNC_ESRCH | FLAG_WAIT_KILLABLE;
    let both = FLAG_TSYNC | FLAG_NEW_LISTENER;
    let ambiguous = flags & both == both && flags & FLAG_TSYNC_ESRCH == 0;
    let wants_listener = flags & FLAG_NEW_LISTENER != 0;
    if flags & !KNOWN != 0 || ambiguous || (flags & FLAG_WAIT_KILLABLE != 0 && !wants_listener) {
        return Err(Errno::EINVAL);
    }
    let program: Program = task.read_struct(at)?;
    let len = usize::from(program.len);
    if len == 0 || len > SECCOMP_PROGRAM_MAX {
        return Err(Errno::EINVAL);
    }
    if !task.state.lock().no_new_privs && !task.cred().has_own(Caps::SYS_ADMIN) {
        return Err(Errno::EACCES);
    }
    let mut bytes = vec![0; len * 8];
    task.copy_in(program.filter, &mut bytes)?;
    let instructions = bytes.chunks_exact(8).map(|raw| Instruction {
        code: u16::get(raw),
        jt: raw[2],
        jf: raw[3],
        k: u32::get(&raw[4..]),
    });
    let before = task.seccomp.lock().clone();
    if before.as_ref().is_some_and(|filters| filters.mode() == 1) {
        return Err(Errno::EINVAL);
    }
    let listener = wants_listener.then(Arc::<Listener>::default);
    let log = flags & FLAG_LOG != 0;
    let filters = Seccomp::filter(instructions.collect(), before.clone(), log, listener.clone())?;
    if flags & FLAG_TSYNC != 0 {
        let threads = task.group.signals.lock().threads.clone();
        // A thread with filters of its own would lose them.
        let apart = threads.iter().find(|thread| {
            let theirs = thread.seccomp.lock().clone();
            theirs.is_some_and(|theirs| before.as_ref().is_none_or(|before| !theirs.is_before(before)))
        });
        if let Some(thread) = apart {
            return match flags & FLAG_TSYNC_ESRCH {
                0 => Ok(u64::from(task.own_pid(thread.tid))),
                _ => Err(Errno::ESRCH),
            };
        }
        let no_new_privs = task.state.lock().no_new_privs;
        let others = threads.iter().filter(|thread| thread.tid != task.tid);
        for thread in others.filter(|thread| !thread.state.lock().exiting) {
            *thread.seccomp.lock() = Some(filters.clone());
            if no_new_privs {
                thread.state.lock().no_new_privs = true;
            }
            // It tells its engine before it continues.
            thread.state.lock().answers_changed = true;
            thread.notify_signal();
        }
    }
    let fd = listener
        .map(|listener| install_listener(task, listener))
        .transpose()?;
    *task.seccomp.lock() = Some(filters);
    task.update_local_answers();
    Ok(fd.unwrap_or(0))
}

/// The descriptor for who answers.
fn install_listener(task: &CurrentTask, listener: Arc<Listener>) -> Result<u64, Errno> {
    let name = "anon_inode:seccomp notify";
    let file = crate::vfs::anon_file(&task.kernel, name, Box::new(ListenerFile(listener)), O_RDWR);
    let limit = task.group.fd_limit();
    task.files().install(file, true, 0, limit).map(|fd| fd as u64)
}
