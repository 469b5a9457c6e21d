//! sync(2), syncfs(2), sync_file_range(2).

use abi::Errno;

use super::arg::{Fd, Flags};
use crate::task::CurrentTask;
use crate::vfs::FileKind;

/// sync(2).
pub fn sync(task: &CurrentTask) -> Result<(), Errno> {
    let root = task.fs().root();
    let namespace = task.kernel.vfs.namespace_of(&root.mount);
    for mount in task.kernel.vfs.mounts(namespace) {
        // sync(2) reports no errors.
        let _ = mount.superblock().and_then(|sb| sb.ops.sync());
    }
    Ok(())
}

/// syncfs(2).
pub fn syncfs(task: &CurrentTask, fd: Fd) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    if file.flags() & abi::fcntl::O_PATH != 0 {
        return Err(Errno::EBADF);
    }
    file.path().inode()?.sb.ops.sync()
}

/// sync_file_range(2): writes the whole file's data.
pub fn sync_file_range(
    task: &CurrentTask,
    fd: Fd,
    offset: i64,
    bytes: i64,
    flags: Flags,
) -> Result<(), Errno> {
    let end = offset.checked_add(bytes);
    if flags.0 & !7 != 0 || offset < 0 || bytes < 0 || end.is_none() {
        return Err(Errno::EINVAL);
    }
    let file = task.fd(fd.0)?;
    match file.path().inode()?.kind {
        FileKind::Regular | FileKind::BlockDevice | FileKind::Directory => {}
        _ => return Err(Errno::ESPIPE),
    }
    if flags.0 == 0 {
        return Ok(());
    }
    file.ops().fsync(&file, true)
}
