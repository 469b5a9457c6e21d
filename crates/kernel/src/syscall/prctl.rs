//! prctl(2).

use abi::{Errno, UserAddr};

mod mm;

use super::seccomp;
use crate::cred::{Caps, Credentials, securebits};
use crate::mm::wish;
use crate::task::{CurrentTask, UserDispatch, treat};

/// Longest name with its NUL (TASK_COMM_LEN).
const COMM: usize = 16;
/// Default timer slack in nanoseconds.
const TIMER_SLACK: u64 = 50_000;
/// Highest capability number.
const CAP_LAST: u64 = 40;

/// PR_ numbers.
mod pr {
    pub const SET_PDEATHSIG: i32 = 1;
    pub const GET_PDEATHSIG: i32 = 2;
    pub const GET_DUMPABLE: i32 = 3;
    pub const SET_DUMPABLE: i32 = 4;
    pub const GET_KEEPCAPS: i32 = 7;
    pub const SET_KEEPCAPS: i32 = 8;
    pub const GET_TIMING: i32 = 13;
    pub const SET_TIMING: i32 = 14;
    pub const SET_NAME: i32 = 15;
    pub const GET_NAME: i32 = 16;
    pub const GET_SECCOMP: i32 = 21;
    pub const SET_SECCOMP: i32 = 22;
    pub const CAPBSET_READ: i32 = 23;
    pub const CAPBSET_DROP: i32 = 24;
    pub const GET_TSC: i32 = 25;
    pub const SET_TSC: i32 = 26;
    pub const GET_SECUREBITS: i32 = 27;
    pub const SET_SECUREBITS: i32 = 28;
    pub const SET_TIMERSLACK: i32 = 29;
    pub const GET_TIMERSLACK: i32 = 30;
    pub const TASK_PERF_EVENTS_DISABLE: i32 = 31;
    pub const TASK_PERF_EVENTS_ENABLE: i32 = 32;
    pub const MCE_KILL: i32 = 33;
    pub const MCE_KILL_GET: i32 = 34;
    pub const SET_MM: i32 = 35;
    pub const SET_CHILD_SUBREAPER: i32 = 36;
    pub const GET_CHILD_SUBREAPER: i32 = 37;
    pub const SET_NO_NEW_PRIVS: i32 = 38;
    pub const GET_NO_NEW_PRIVS: i32 = 39;
    pub const GET_TID_ADDRESS: i32 = 40;
    pub const SET_THP_DISABLE: i32 = 41;
    pub const GET_THP_DISABLE: i32 = 42;
    pub const CAP_AMBIENT: i32 = 47;
    pub const GET_SPECULATION_CTRL: i32 = 52;
    pub const SET_SPECULATION_CTRL: i32 = 53;
    pub const SET_IO_FLUSHER: i32 = 57;
    pub const GET_IO_FLUSHER: i32 = 58;
    pub const SET_SYSCALL_USER_DISPATCH: i32 = 59;
    pub const SET_MDWE: i32 = 65;
    pub const GET_MDWE: i32 = 66;
    pub const SET_MEMORY_MERGE: i32 = 67;
    pub const GET_MEMORY_MERGE: i32 = 68;
    pub const GET_AUXV: i32 = 0x4155_5856;
}

/// prctl(2). Options that are not known here are `EINVAL`, as on a Linux without them.
pub fn prctl(
    task: &CurrentTask,
    option: i32,
    arg2: u64,
    arg3: u64,
    arg4: u64,
    arg5: u64,
) -> Result<u64, Errno> {
    let rest_zero = arg3 | arg4 | arg5 == 0;
    match option {
        pr::SET_PDEATHSIG if arg2 > 64 => Err(Errno::EINVAL),
        pr::SET_PDEATHSIG => {
            task.state.lock().pdeath_signal = arg2 as u32;
            Ok(0)
        }
        pr::GET_PDEATHSIG => {
            let signal = task.state.lock().pdeath_signal;
            task.write_struct(UserAddr(arg2), &signal).map(|()| 0)
        }
        pr::GET_DUMPABLE => Ok(u64::from(task.group.state.lock().dumpable)),
        pr::SET_DUMPABLE if arg2 > 1 => Err(Errno::EINVAL),
        pr::SET_DUMPABLE => {
            task.group.state.lock().dumpable = arg2 == 1;
            Ok(0)
        }
        pr::SET_NAME => set_name(task, UserAddr(arg2)),
        pr::GET_NAME => {
            let mut name = task.comm.lock().clone();
            name.resize(COMM, 0);
            task.copy_out(UserAddr(arg2), &name).map(|()| 0)
        }
        pr::GET_SECCOMP => Ok(task
            .seccomp
            .lock()
            .as_ref()
            .map_or(0, |filters| u64::from(filters.mode()))),
        pr::SET_SECCOMP => seccomp::set_mode(task, arg2, UserAddr(arg3)),
        pr::GET_TIMING => Ok(0),
        pr::SET_TIMING => {
            if arg2 == 0 {
                Ok(0)
            } else {
                Err(Errno::EINVAL)
            }
        }
        // PR_TSC_ENABLE is all there is.
        pr::GET_TSC => task.write_struct(UserAddr(arg2), &1_u32).map(|()| 0),
        pr::SET_TSC => {
            if arg2 == 1 {
                Ok(0)
            } else {
                Err(Errno::EINVAL)
            }
        }
        pr::SET_TIMERSLACK => {
            task.state.lock().timer_slack = if arg2 as i64 <= 0 { TIMER_SLACK } else { arg2 };
            Ok(0)
        }
        pr::GET_TIMERSLACK => Ok(match task.state.lock().timer_slack {
            0 => TIMER_SLACK,
            slack => slack,
        }),
        pr::TASK_PERF_EVENTS_DISABLE | pr::TASK_PERF_EVENTS_ENABLE => Ok(0),
        pr::MCE_KILL if arg4 | arg5 == 0 => set_memory_errors(task, arg2, arg3),
        pr::MCE_KILL_GET if arg2 == 0 && rest_zero => Ok(memory_errors(task)),
        pr::SET_MM => mm::set_mm(task, arg2, arg3, arg4, arg5),
        pr::SET_CHILD_SUBREAPER => {
            task.group.state.lock().child_subreaper = arg2 != 0;
            Ok(0)
        }
        pr::GET_CHILD_SUBREAPER => {
            let set = u32::from(task.group.state.lock().child_subreaper);
            task.write_struct(UserAddr(arg2), &set).map(|()| 0)
        }
        pr::SET_NO_NEW_PRIVS if arg2 == 1 && rest_zero => {
            task.state.lock().no_new_privs = true;
            Ok(0)
        }
        pr::GET_NO_NEW_PRIVS if arg2 == 0 && rest_zero => Ok(u64::from(task.state.lock().no_new_privs)),
        pr::GET_TID_ADDRESS => {
            let addr = task.state.lock().clear_child_tid;
            task.write_struct(UserAddr(arg2), &addr).map(|()| 0)
        }
        // Huge pages and merging are the host's business: the wish is remembered, and not followed.
        pr::SET_THP_DISABLE if rest_zero => mm::set_wish(task, wish::NO_HUGE_PAGES, arg2 != 0),
        pr::GET_THP_DISABLE if arg2 == 0 && rest_zero => Ok(u64::from(mm::wished(task, wish::NO_HUGE_PAGES))),
        pr::SET_MEMORY_MERGE if rest_zero => mm::set_wish(task, wish::MERGE, arg2 != 0),
        pr::GET_MEMORY_MERGE if arg2 == 0 && rest_zero => Ok(u64::from(mm::wished(task, wish::MERGE))),
        pr::SET_MDWE if rest_zero => mm::set_mdwe(task, arg2),
        pr::GET_MDWE if arg2 == 0 && rest_zero => Ok(mm::get_mdwe(task)),
        pr::GET_AUXV if arg4 | arg5 == 0 => mm::get_auxv(task, UserAddr(arg2), arg3),
        pr::GET_SPECULATION_CTRL if rest_zero => get_speculation(arg2),
        pr::SET_SPECULATION_CTRL if arg4 | arg5 == 0 => set_speculation(arg2, arg3),
        pr::SET_IO_FLUSHER | pr::GET_IO_FLUSHER => io_flusher(task, option, arg2, rest_zero),
        pr::SET_SYSCALL_USER_DISPATCH => set_user_dispatch(task, arg2, arg3, arg4, arg5),
        _ => capabilities(task, option, arg2, arg3, arg4 | arg5),
    }
}

/// PR_MCE_KILL.
fn set_memory_errors(task: &CurrentTask, what: u64, how: u64) -> Result<u64, Errno> {
    let both = treat::MEMORY_ERRORS | treat::MEMORY_ERRORS_EARLY;
    let mut state = task.state.lock();
    state.treatment = match (what, how) {
        // PR_MCE_KILL_CLEAR; PR_MCE_KILL_SET with LATE, EARLY, DEFAULT.
        (0, 0) => state.treatment & !treat::MEMORY_ERRORS,
        (1, 0) => state.treatment & !treat::MEMORY_ERRORS_EARLY | treat::MEMORY_ERRORS,
        (1, 1) => state.treatment | both,
        (1, 2) => state.treatment & !both,
        _ => return Err(Errno::EINVAL),
    };
    Ok(0)
}

/// PR_MCE_KILL_GET.
fn memory_errors(task: &CurrentTask) -> u64 {
    let treatment = task.state.lock().treatment;
    match (
        treatment & treat::MEMORY_ERRORS != 0,
        treatment & treat::MEMORY_ERRORS_EARLY != 0,
    ) {
        (false, _) => 2,
        (true, early) => u64::from(early),
    }
}

/// PR_GET_SPECULATION_CTRL, as on a processor that none of it affects.
fn get_speculation(what: u64) -> Result<u64, Errno> {
    match what {
        // PR_SPEC_STORE_BYPASS, PR_SPEC_INDIRECT_BRANCH: PR_SPEC_NOT_AFFECTED.
        0 | 1 => Ok(0),
        // PR_SPEC_L1D_FLUSH: PR_SPEC_FORCE_DISABLE.
        2 => Ok(8),
        _ => Err(Errno::ENODEV),
    }
}

/// PR_SET_SPECULATION_CTRL: nothing can be changed from inside.
fn set_speculation(what: u64, how: u64) -> Result<u64, Errno> {
    const ENABLE: u64 = 2;
    match (what, how) {
        (0, _) => Err(Errno::ENXIO),
        (1, ENABLE) => Ok(0),
        (1, 4 | 8) => Err(Errno::EPERM),
        (1, _) => Err(Errno::ERANGE),
        (2, _) => Err(Errno::EPERM),
        _ => Err(Errno::ENODEV),
    }
}

/// PR_SET_IO_FLUSHER, PR_GET_IO_FLUSHER: remembered.
fn io_flusher(task: &CurrentTask, option: i32, arg2: u64, rest_zero: bool) -> Result<u64, Errno> {
    if !task.cred().has(Caps::SYS_RESOURCE) {
        return Err(Errno::EPERM);
    }
    let mut state = task.state.lock();
    let now = u64::from(state.treatment & treat::IO_FLUSHER != 0);
    match (option, arg2) {
        _ if !rest_zero => return Err(Errno::EINVAL),
        (pr::GET_IO_FLUSHER, 0) => return Ok(now),
        (pr::SET_IO_FLUSHER, 0) => state.treatment &= !treat::IO_FLUSHER,
        (pr::SET_IO_FLUSHER, 1) => state.treatment |= treat::IO_FLUSHER,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// PR_SET_SYSCALL_USER_DISPATCH.
fn set_user_dispatch(
    task: &CurrentTask,
    mode: u64,
    offset: u64,
    len: u64,
    selector: u64,
) -> Result<u64, Errno> {
    let dispatch = match mode {
        // PR_SYS_DISPATCH_OFF, PR_SYS_DISPATCH_ON.
        0 if offset | len | selector == 0 => None,
        1 => Some(UserDispatch {
            offset,
            len,
            selector: UserAddr(selector),
        }),
        _ => return Err(Errno::EINVAL),
    };
    task.set_user_dispatch(dispatch).map(|()| 0)
}

fn set_name(task: &CurrentTask, at: UserAddr) -> Result<u64, Errno> {
    let mut name = match task.read_cstring(at, COMM, Errno::ENAMETOOLONG) {
        // Longer names are cut.
        Err(Errno::ENAMETOOLONG) => {
            let mut name = vec![0; COMM - 1];
            task.copy_in(at, &mut name)?;
            name
        }
        other => other?,
    };
    name.truncate(COMM - 1);
    *task.comm.lock() = name;
    Ok(0)
}

/// The options about capabilities.
fn capabilities(task: &CurrentTask, option: i32, arg2: u64, arg3: u64, rest: u64) -> Result<u64, Errno> {
    let cred = task.cred();
    match option {
        pr::GET_KEEPCAPS => Ok(u64::from(cred.securebits & securebits::KEEP_CAPS != 0)),
        pr::SET_KEEPCAPS if arg2 > 1 => Err(Errno::EINVAL),
        pr::SET_KEEPCAPS if cred.securebits & securebits::KEEP_CAPS_LOCKED != 0 => Err(Errno::EPERM),
        pr::SET_KEEPCAPS => change(task, |new| {
            new.securebits &= !securebits::KEEP_CAPS;
            if arg2 == 1 {
                new.securebits |= securebits::KEEP_CAPS;
            }
        }),
        pr::CAPBSET_READ => Ok(u64::from(cred.bounding.contains(capability(arg2)?))),
        pr::CAPBSET_DROP => {
            let gone = capability(arg2)?;
            if !cred.has_own(Caps::SETPCAP) {
                return Err(Errno::EPERM);
            }
            change(task, |new| new.bounding -= gone)
        }
        pr::GET_SECUREBITS => Ok(u64::from(cred.securebits)),
        pr::SET_SECUREBITS => set_securebits(task, arg2),
        pr::CAP_AMBIENT if rest == 0 => ambient(task, arg2, arg3),
        _ => Err(Errno::EINVAL),
    }
}

fn change(task: &CurrentTask, with: impl FnOnce(&mut Credentials)) -> Result<u64, Errno> {
    let mut new = (*task.cred()).clone();
    with(&mut new);
    task.set_credentials(new);
    Ok(0)
}

fn capability(number: u64) -> Result<Caps, Errno> {
    if number > CAP_LAST {
        return Err(Errno::EINVAL);
    }
    Ok(Caps::from_bits_truncate(1 << number))
}

fn set_securebits(task: &CurrentTask, wanted: u64) -> Result<u64, Errno> {
    let cred = task.cred();
    let Ok(wanted) = u32::try_from(wanted) else {
        return Err(Errno::EPERM);
    };
    let old = cred.securebits;
    // A lock covers the bit below it and itself.
    let locked = (old & securebits::LOCKS) >> 1;
    let changes_locked = locked & (old ^ wanted) != 0 || old & securebits::LOCKS & !wanted != 0;
    if changes_locked || wanted & !securebits::ALL != 0 || !cred.has_own(Caps::SETPCAP) {
        return Err(Errno::EPERM);
    }
    change(task, |new| new.securebits = wanted)
}

/// PR_CAP_AMBIENT.
fn ambient(task: &CurrentTask, what: u64, number: u64) -> Result<u64, Errno> {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR_ALL: u64 = 4;
    if what == CLEAR_ALL {
        if number != 0 {
            return Err(Errno::EINVAL);
        }
        return change(task, |new| new.ambient = Caps::empty());
    }
    let cap = capability(number)?;
    let cred = task.cred();
    match what {
        IS_SET => Ok(u64::from(cred.ambient.contains(cap))),
        RAISE => {
            let may = cred.permitted.contains(cap)
                && cred.inheritable.contains(cap)
                && cred.securebits & securebits::NO_CAP_AMBIENT_RAISE == 0;
            if !may {
                return Err(Errno::EPERM);
            }
            change(task, |new| new.ambient |= cap)
        }
        LOWER => change(task, |new| new.ambient -= cap),
        _ => Err(Errno::EINVAL),
    }
}
