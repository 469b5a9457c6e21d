//! getcwd(2).

use abi::{Errno, UserAddr};

use crate::task::CurrentTask;
use crate::vfs::FsState;

/// Longest text, with its NUL.
const PATH_MAX: usize = 4096;

/// getcwd(2): the number of bytes with the NUL.
pub fn getcwd(task: &CurrentTask, buf: UserAddr, size: usize) -> Result<usize, Errno> {
    let FsState { root, cwd, .. } = task.fs().get();
    if cwd.dentry.is_deleted() {
        return Err(Errno::ENOENT);
    }
    let (mut text, reachable) = cwd.plain_text(&root);
    if text.len() >= PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if !reachable {
        text.splice(0..0, *b"(unreachable)");
    }
    text.push(0);
    if text.len() > size {
        return Err(Errno::ERANGE);
    }
    task.copy_out(buf, &text)?;
    Ok(text.len())
}
