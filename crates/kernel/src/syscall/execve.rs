//! execve(2), execveat(2).

use abi::fcntl::O_CLOEXEC;
use abi::{Errno, UserAddr};

use super::arg::{AT_FDCWD, CStr, Fd, Flags};
use crate::exec::{self, Program};
use crate::task::CurrentTask;
use crate::vfs::{LookupFlags, Walker};

const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
const AT_EMPTY_PATH: u32 = 0x1000;

/// execve(2).
pub fn execve(task: &CurrentTask, path: CStr, argv: UserAddr, envp: UserAddr) -> Result<(), Errno> {
    let path = task.read_path(path.0)?;
    let walker = Walker::of(task);
    let program = exec::open_program(&walker, None, &path, LookupFlags::FOLLOW)?;
    run(task, &walker, program, &path, false, argv, envp)
}

/// execveat(2).
pub fn execveat(
    task: &CurrentTask,
    dirfd: Fd,
    path: CStr,
    argv: UserAddr,
    envp: UserAddr,
    flags: Flags,
) -> Result<(), Errno> {
    if flags.0 & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = task.read_path(path.0)?;
    if path.is_empty() && flags.0 & AT_EMPTY_PATH == 0 {
        return Err(Errno::ENOENT);
    }
    let walker = Walker::of(task);
    let mut lookup = LookupFlags::EMPTY;
    lookup.set(LookupFlags::FOLLOW, flags.0 & AT_SYMLINK_NOFOLLOW == 0);
    if dirfd.0 == AT_FDCWD || path.starts_with(b"/") {
        let program = exec::open_program(&walker, None, &path, lookup)?;
        return run(task, &walker, program, &path, false, argv, envp);
    }
    let entry = task.files().entry(dirfd.0)?;
    let program = exec::open_program(&walker, Some(entry.file.path()), &path, lookup)?;
    let mut name = format!("/dev/fd/{}", dirfd.0).into_bytes();
    if !path.is_empty() {
        name.push(b'/');
        name.extend_from_slice(&path);
    }
    let inaccessible = entry.cloexec || entry.file.flags() & O_CLOEXEC != 0;
    run(task, &walker, program, &name, inaccessible, argv, envp)
}

fn run(
    task: &CurrentTask,
    walker: &Walker<'_>,
    program: Program,
    name: &[u8],
    inaccessible: bool,
    argv: UserAddr,
    envp: UserAddr,
) -> Result<(), Errno> {
    let arguments = exec::read_arguments(task, argv, envp)?;
    exec::execve(task, walker, program, name, inaccessible, arguments)?;
    Err(Errno::EJUSTRETURN)
}
