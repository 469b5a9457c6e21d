//! What closing a descriptor does beyond dropping it.

use std::sync::Arc;

use abi::Errno;

use super::FileDescription;
use crate::Kernel;
use crate::vfs::notify;

/// Closes one descriptor's hold on `file` for the process `tgid` (close(2), dup2(2), exec, exit): POSIX locks of
/// the process go, the file is flushed. The file is dropped here; call it without locks held.
pub fn close(kernel: &Kernel, file: Arc<FileDescription>, tgid: u32) -> Result<(), Errno> {
    let result = file.ops().flush(&file, tgid);
    super::lock::release_posix(&file, tgid);
    if notify::wanted(&kernel.vfs) && Arc::strong_count(&file) == 1 && file.flags() & abi::fcntl::O_PATH == 0
    {
        let event = if file.writable() {
            notify::IN_CLOSE_WRITE
        } else {
            notify::IN_CLOSE_NOWRITE
        };
        notify::on_path(&kernel.vfs, file.path(), event);
    }
    drop(file);
    result
}
