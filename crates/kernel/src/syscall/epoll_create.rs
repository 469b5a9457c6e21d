//! epoll_create(2).

use abi::Errno;
use abi::fcntl::{O_CLOEXEC, O_RDWR};

use super::arg::{Fd, Flags};
use crate::file::epoll::EpollFile;
use crate::task::CurrentTask;

/// epoll_create(2): the size is only checked.
pub fn epoll_create(task: &CurrentTask, size: i32) -> Result<Fd, Errno> {
    if size <= 0 {
        return Err(Errno::EINVAL);
    }
    epoll_create1(task, Flags(0))
}

/// epoll_create1(2).
pub fn epoll_create1(task: &CurrentTask, flags: Flags) -> Result<Fd, Errno> {
    if flags.0 & !O_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    let ops = Box::new(EpollFile::new());
    let file = crate::vfs::anon_file(&task.kernel, "anon_inode:[eventpoll]", ops, O_RDWR);
    let (cloexec, limit) = (flags.0 & O_CLOEXEC != 0, task.group.fd_limit());
    task.files().install(file, cloexec, 0, limit).map(Fd)
}
