//! eventfd(2).

use abi::Errno;
use abi::fcntl::{O_CLOEXEC, O_NONBLOCK, O_RDWR};

use super::arg::{Fd, Flags};
use crate::file::eventfd::EventFd;
use crate::task::CurrentTask;

const EFD_SEMAPHORE: u32 = 1;

/// eventfd(2) without flags.
pub fn eventfd(task: &CurrentTask, initial: u32) -> Result<Fd, Errno> {
    eventfd2(task, initial, Flags(0))
}

/// eventfd(2).
pub fn eventfd2(task: &CurrentTask, initial: u32, flags: Flags) -> Result<Fd, Errno> {
    if flags.0 & !(O_CLOEXEC | O_NONBLOCK | EFD_SEMAPHORE) != 0 {
        return Err(Errno::EINVAL);
    }
    let ops = EventFd::new(u64::from(initial), flags.0 & EFD_SEMAPHORE != 0);
    let file = crate::vfs::anon_file(
        &task.kernel,
        "anon_inode:[eventfd]",
        Box::new(ops),
        O_RDWR | (flags.0 & O_NONBLOCK),
    );
    let (cloexec, limit) = (flags.0 & O_CLOEXEC != 0, task.group.fd_limit());
    task.files().install(file, cloexec, 0, limit).map(Fd)
}
