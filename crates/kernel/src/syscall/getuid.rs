//! getuid(2), geteuid(2), getgid(2), getegid(2), getresuid(2), getresgid(2), getgroups(2).

use abi::{Errno, UserAddr};

use crate::task::CurrentTask;

/// getuid(2).
pub fn getuid(task: &CurrentTask) -> Result<u32, Errno> {
    let cred = task.cred();
    Ok(cred.user_ns.shown_uid(cred.uid))
}

/// geteuid(2).
pub fn geteuid(task: &CurrentTask) -> Result<u32, Errno> {
    let cred = task.cred();
    Ok(cred.user_ns.shown_uid(cred.euid))
}

/// getgid(2).
pub fn getgid(task: &CurrentTask) -> Result<u32, Errno> {
    let cred = task.cred();
    Ok(cred.user_ns.shown_gid(cred.gid))
}

/// getegid(2).
pub fn getegid(task: &CurrentTask) -> Result<u32, Errno> {
    let cred = task.cred();
    Ok(cred.user_ns.shown_gid(cred.egid))
}

/// getresuid(2).
pub fn getresuid(
    task: &CurrentTask,
    real: UserAddr,
    effective: UserAddr,
    saved: UserAddr,
) -> Result<(), Errno> {
    let cred = task.cred();
    task.write_struct(real, &cred.user_ns.shown_uid(cred.uid))?;
    task.write_struct(effective, &cred.user_ns.shown_uid(cred.euid))?;
    task.write_struct(saved, &cred.user_ns.shown_uid(cred.suid))
}

/// getresgid(2).
pub fn getresgid(
    task: &CurrentTask,
    real: UserAddr,
    effective: UserAddr,
    saved: UserAddr,
) -> Result<(), Errno> {
    let cred = task.cred();
    task.write_struct(real, &cred.user_ns.shown_gid(cred.gid))?;
    task.write_struct(effective, &cred.user_ns.shown_gid(cred.egid))?;
    task.write_struct(saved, &cred.user_ns.shown_gid(cred.sgid))
}

/// getgroups(2).
pub fn getgroups(task: &CurrentTask, size: i32, list: UserAddr) -> Result<usize, Errno> {
    let cred = task.cred();
    let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    let count = cred.groups.len();
    if size == 0 {
        return Ok(count);
    }
    if size < count {
        return Err(Errno::EINVAL);
    }
    let shown = cred.groups.iter().map(|gid| cred.user_ns.shown_gid(*gid));
    let bytes: Vec<u8> = shown.flat_map(u32::to_le_bytes).collect();
    task.copy_out(list, &bytes)?;
    Ok(count)
}
