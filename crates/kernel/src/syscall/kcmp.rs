//! kcmp(2).

use std::sync::Arc;

use abi::Errno;

use crate::task::{CurrentTask, Task};

const KCMP_FILE: i32 = 0;
const KCMP_VM: i32 = 1;
const KCMP_FILES: i32 = 2;
const KCMP_FS: i32 = 3;
const KCMP_SIGHAND: i32 = 4;

/// 0 equal, 1 less, 2 greater: an order that tells nothing of addresses across runs.
fn order<T: ?Sized>(one: &Arc<T>, two: &Arc<T>) -> u64 {
    let (one, two) = (Arc::as_ptr(one).cast::<u8>(), Arc::as_ptr(two).cast::<u8>());
    match one.cmp(&two) {
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Less => 1,
        std::cmp::Ordering::Greater => 2,
    }
}

/// kcmp(2).
pub fn kcmp(
    task: &CurrentTask,
    pid1: i32,
    pid2: i32,
    kind: i32,
    index1: u64,
    index2: u64,
) -> Result<u64, Errno> {
    let find = |pid: i32| -> Result<Arc<Task>, Errno> {
        let pid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
        task.find_task(pid)
    };
    let (one, two) = (find(pid1)?, find(pid2)?);
    if !task.may_access(&one) || !task.may_access(&two) {
        return Err(Errno::EPERM);
    }
    let file = |task: &Task, index: u64| {
        let fd = i32::try_from(index).map_err(|_| Errno::EBADF)?;
        task.files().get(fd)
    };
    match kind {
        KCMP_FILE => Ok(order(&file(&one, index1)?, &file(&two, index2)?)),
        KCMP_VM => match (one.mm(), two.mm()) {
            (Some(one), Some(two)) => Ok(order(&one, &two)),
            _ => Err(Errno::ESRCH),
        },
        KCMP_FILES => Ok(order(&one.files(), &two.files())),
        KCMP_FS => Ok(order(&one.fs(), &two.fs())),
        KCMP_SIGHAND => Ok(order(&one.group.action_table(), &two.group.action_table())),
        _ => Err(Errno::EINVAL),
    }
}
