//! pipe(2).

use abi::fcntl::{O_CLOEXEC, O_DIRECT, O_NONBLOCK};
use abi::{Errno, UserAddr};

use super::arg::Flags;
use crate::file::FileDescription;
use crate::task::CurrentTask;
use std::sync::Arc;

/// O_NOTIFICATION_PIPE (the number of O_EXCL).
const O_NOTIFICATION_PIPE: u32 = 0o200;

/// pipe(2).
pub fn pipe(task: &CurrentTask, fds: UserAddr) -> Result<(), Errno> {
    pipe2(task, fds, Flags(0))
}

/// pipe2(2).
pub fn pipe2(task: &CurrentTask, fds: UserAddr, flags: Flags) -> Result<(), Errno> {
    if flags.0 & !(O_CLOEXEC | O_NONBLOCK | O_DIRECT | O_NOTIFICATION_PIPE) != 0 {
        return Err(Errno::EINVAL);
    }
    if flags.0 & O_NOTIFICATION_PIPE != 0 {
        return Err(Errno::ENOPKG);
    }
    let pair = crate::file::pipe::open_pair(&task.kernel, flags.0 & !O_CLOEXEC);
    install_pair(task, pair, flags.0 & O_CLOEXEC != 0, fds)
}

/// Gives both files numbers and writes those to `fds`; undone when that fails.
pub(super) fn install_pair(
    task: &CurrentTask,
    (first, second): (Arc<FileDescription>, Arc<FileDescription>),
    cloexec: bool,
    fds: UserAddr,
) -> Result<(), Errno> {
    let (table, limit) = (task.files(), task.group.fd_limit());
    let one = table.install(first, cloexec, 0, limit)?;
    let two = match table.install(second, cloexec, 0, limit) {
        Ok(two) => two,
        Err(error) => {
            drop(table.remove(one));
            return Err(error);
        }
    };
    task.write_struct(fds, &[one, two]).inspect_err(|_| {
        drop((table.remove(one), table.remove(two)));
    })
}
