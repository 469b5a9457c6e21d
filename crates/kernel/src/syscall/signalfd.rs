//! signalfd(2).

use abi::fcntl::{O_CLOEXEC, O_NONBLOCK, O_RDWR};
use abi::{Errno, UserAddr};

use super::arg::{Fd, Flags};
use crate::file::signalfd::SignalFd;
use crate::signal::{SigSet, UNBLOCKABLE};
use crate::task::CurrentTask;

/// signalfd(2) without flags.
pub fn signalfd(task: &CurrentTask, fd: Fd, mask: UserAddr, size: usize) -> Result<Fd, Errno> {
    signalfd4(task, fd, mask, size, Flags(0))
}

/// signalfd(2): makes a new one for `fd` -1, else changes the mask of `fd`.
pub fn signalfd4(task: &CurrentTask, fd: Fd, mask: UserAddr, size: usize, flags: Flags) -> Result<Fd, Errno> {
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let mask = SigSet(task.read_struct(mask)?).without(UNBLOCKABLE);
    if flags.0 & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    if fd.0 != -1 {
        let file = task.files().get(fd.0)?;
        file.ops_as::<SignalFd>().ok_or(Errno::EINVAL)?.set_mask(mask);
        return Ok(fd);
    }
    let ops = Box::new(SignalFd::new(mask));
    let status = O_RDWR | (flags.0 & O_NONBLOCK);
    let file = crate::vfs::anon_file(&task.kernel, "anon_inode:[signalfd]", ops, status);
    let (cloexec, limit) = (flags.0 & O_CLOEXEC != 0, task.group.fd_limit());
    task.files().install(file, cloexec, 0, limit).map(Fd)
}
