//! lseek(2).

use abi::Errno;

use super::arg::Fd;
use crate::file::Whence;
use crate::task::CurrentTask;

/// Anonymous files that accept every position.
const EVENT_FILES: &[&[u8]] = &[
    b"anon_inode:[eventfd]",
    b"anon_inode:[eventpoll]",
    b"anon_inode:[signalfd]",
    b"anon_inode:[timerfd]",
    b"anon_inode:inotify",
];

/// lseek(2).
pub fn lseek(task: &CurrentTask, fd: Fd, offset: i64, whence: u32) -> Result<u64, Errno> {
    let file = task.fd(fd.0)?;
    if file.flags() & abi::fcntl::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    let whence = match whence {
        0 => Whence::Set,
        1 => Whence::Current,
        2 => Whence::End,
        3 => Whence::Data,
        4 => Whence::Hole,
        _ => return Err(Errno::EINVAL),
    };
    if !file.ops().seekable() {
        // The files of events stay where they are (noop_llseek).
        let name = file.path().dentry.name();
        return if EVENT_FILES.contains(&&*name) {
            Ok(0)
        } else {
            Err(Errno::ESPIPE)
        };
    }
    let mut position = file.position.lock();
    let new = file.ops().seek(&file, *position, whence, offset)?;
    *position = new;
    Ok(new)
}
