//! membarrier(2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;

use super::arg::Flags;
use crate::mm::Mm;
use crate::task::CurrentTask;

const QUERY: i32 = 0;
const GLOBAL: i32 = 1;
const GLOBAL_EXPEDITED: i32 = 2;
const REGISTER_GLOBAL_EXPEDITED: i32 = 4;
const PRIVATE_EXPEDITED: i32 = 8;
const REGISTER_PRIVATE_EXPEDITED: i32 = 16;
const PRIVATE_EXPEDITED_SYNC_CORE: i32 = 32;
const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: i32 = 64;
const GET_REGISTRATIONS: i32 = 512;
/// What QUERY answers. The RSEQ commands are left out: the engine cannot restart the
/// critical sections of threads that run.
const SUPPORTED: i32 = GLOBAL
    | GLOBAL_EXPEDITED
    | REGISTER_GLOBAL_EXPEDITED
    | PRIVATE_EXPEDITED
    | REGISTER_PRIVATE_EXPEDITED
    | PRIVATE_EXPEDITED_SYNC_CORE
    | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE
    | GET_REGISTRATIONS;

/// membarrier(2).
pub fn membarrier(task: &CurrentTask, command: i32, flags: Flags, _cpu: i32) -> Result<i32, Errno> {
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let mm = task.mm_ref();
    let registered = |command: i32| mm.membarrier.load(Ordering::SeqCst) & command as u32 != 0;
    match command {
        QUERY => return Ok(SUPPORTED),
        GET_REGISTRATIONS => return Ok(mm.membarrier.load(Ordering::SeqCst) as i32),
        GLOBAL => everywhere(task, |_| true)?,
        GLOBAL_EXPEDITED => {
            let bit = REGISTER_GLOBAL_EXPEDITED as u32;
            everywhere(task, |mm| mm.membarrier.load(Ordering::SeqCst) & bit != 0)?;
        }
        REGISTER_GLOBAL_EXPEDITED | REGISTER_PRIVATE_EXPEDITED | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE => {
            mm.membarrier.fetch_or(command as u32, Ordering::SeqCst);
        }
        PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE => {
            // The registration's number is twice the command's.
            if !registered(command * 2) {
                return Err(Errno::EPERM);
            }
            mm.barrier()?;
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// A barrier in every address space that `which` chooses.
fn everywhere(task: &CurrentTask, which: impl Fn(&Mm) -> bool) -> Result<(), Errno> {
    let tasks: Vec<_> = task.kernel.pids.read().tasks.values().cloned().collect();
    let spaces: BTreeMap<u64, Arc<Mm>> = tasks
        .iter()
        .filter_map(|task| task.mm())
        .map(|mm| (mm.id, mm))
        .collect();
    for mm in spaces.into_values().filter(|mm| which(mm)) {
        match mm.barrier() {
            // Gone meanwhile.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
