//! close_range(2).

use abi::Errno;

use super::arg::Flags;
use crate::file;
use crate::task::CurrentTask;

/// CLOSE_RANGE_UNSHARE.
const UNSHARE: u32 = 2;
/// CLOSE_RANGE_CLOEXEC.
const CLOEXEC: u32 = 4;

/// close_range(2).
pub fn close_range(task: &CurrentTask, first: u32, last: u32, flags: Flags) -> Result<(), Errno> {
    if flags.0 & !(UNSHARE | CLOEXEC) != 0 || first > last {
        return Err(Errno::EINVAL);
    }
    if flags.0 & UNSHARE != 0 {
        let copy = std::sync::Arc::new(task.files().duplicate());
        let old = std::mem::replace(&mut *task.files.lock(), copy);
        drop(old);
    }
    let files = task.files();
    let within = |fd: i32| u32::try_from(fd).is_ok_and(|fd| (first..=last).contains(&fd));
    if flags.0 & CLOEXEC != 0 {
        for fd in files.numbers().into_iter().filter(|fd| within(*fd)) {
            // Another thread may have closed it meanwhile.
            let _ = files.set_cloexec(fd, true);
        }
        return Ok(());
    }
    for entry in files.remove_where(|fd, _| within(fd)) {
        // As on Linux, errors of single files are not reported.
        let _ = file::close(&task.kernel, entry.file, task.tgid());
    }
    Ok(())
}
