//! prctl(2): properties of the calling process.

use std::ffi::CStr;

use abi::Errno;

use crate::call::check;

/// No exec of this process or its children ever gains privileges.
pub fn no_new_privs() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into()).map(drop)
}

/// Sends the caller SIGKILL when the thread that cloned it ends. Cleared by changes of credentials: set it after them.
pub fn die_with_parent() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }.into()).map(drop)
}

/// Closes the process to ptrace(2), core dumps and `/proc/PID` of ordinary users.
pub fn not_dumpable() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }.into()).map(drop)
}

/// Becomes root of the user namespace that the process was cloned into, without other groups, open to its parent's ptrace(2)
/// as before. For a process with one thread.
pub fn become_root() -> Result<(), Errno> {
    // SAFETY: the raw call changes this thread's groups; no memory is read for a count of zero.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) })?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_setresgid, 0, 0, 0) })?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_setresuid, 0, 0, 0) })?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) }.into()).map(drop)
}

/// The thread's name (at most 15 bytes), as `ps` shows it.
pub fn set_name(name: &CStr) {
    // SAFETY: the name is NUL-terminated; the kernel copies at most 16 bytes. A failure changes only what `ps` shows.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Writes over the caller's arguments, which `ps` shows, as far as there is room. Only for processes with one thread whose own
/// arguments were read before. Nothing happens where /proc does not tell their place.
pub fn set_title(arguments: &[Vec<u8>]) {
    /// Fields 48 and 49 of proc(5)'s stat, counted from the state (field 3).
    const ARG_START: usize = 45;
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else {
        return;
    };
    let fields: Vec<&str> = match stat.rsplit_once(") ") {
        Some((_, rest)) => rest.split(' ').collect(),
        None => return,
    };
    let field = |index: usize| {
        fields
            .get(index)
            .and_then(|text| text.trim().parse::<usize>().ok())
    };
    let (Some(start), Some(end)) = (field(ARG_START), field(ARG_START + 1)) else {
        return;
    };
    if start == 0 || end <= start {
        return;
    }
    let mut title = arguments.join(&0);
    // The last byte stays zero: else the kernel reads on into the environment.
    title.resize(end - start - 1, 0);
    title.push(0);
    // SAFETY: the kernel says that the arguments' strings lie there, on the stack's page above every frame; they are writable bytes
    // that were copied by the standard library before and that no Rust reference covers.
    unsafe { std::ptr::copy_nonoverlapping(title.as_ptr(), start as *mut u8, title.len()) };
}

/// umask(2).
pub fn umask(mask: u32) -> u32 {
    // SAFETY: no memory is passed.
    unsafe { libc::umask(mask) }
}

/// Real user and group ids of the caller, and its supplementary groups.
pub fn ids() -> Result<(u32, u32, Vec<u32>), Errno> {
    // SAFETY: no memory is passed.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    // SAFETY: a count of 0 asks for the number only.
    let count = check(unsafe { libc::getgroups(0, std::ptr::null_mut()) }.into())?;
    let mut groups = vec![0; count as usize];
    // SAFETY: `groups` has room for `count` ids.
    let count = check(unsafe { libc::getgroups(count as libc::c_int, groups.as_mut_ptr()) }.into())?;
    groups.truncate(count as usize);
    Ok((uid, gid, groups))
}
