//! setuid(2), setgid(2), setreuid(2), setregid(2), setresuid(2), setresgid(2), setfsuid(2), setfsgid(2), setgroups(2).

use abi::{AbiField, Errno, UserAddr};

use crate::cred::{Caps, Credentials};
use crate::task::CurrentTask;

/// Most supplementary groups (NGROUPS_MAX).
const NGROUPS_MAX: usize = 65_536;

fn change(
    task: &CurrentTask,
    with: impl FnOnce(&Credentials) -> Result<Credentials, Errno>,
) -> Result<(), Errno> {
    let new = with(&task.cred())?;
    task.set_credentials(new);
    Ok(())
}

/// setuid(2).
pub fn setuid(task: &CurrentTask, uid: u32) -> Result<(), Errno> {
    change(task, |cred| cred.setuid(uid))
}

/// setgid(2).
pub fn setgid(task: &CurrentTask, gid: u32) -> Result<(), Errno> {
    change(task, |cred| cred.setgid(gid))
}

/// setreuid(2).
pub fn setreuid(task: &CurrentTask, real: u32, effective: u32) -> Result<(), Errno> {
    change(task, |cred| cred.setreuid(real, effective))
}

/// setregid(2).
pub fn setregid(task: &CurrentTask, real: u32, effective: u32) -> Result<(), Errno> {
    change(task, |cred| cred.setregid(real, effective))
}

/// setresuid(2).
pub fn setresuid(task: &CurrentTask, real: u32, effective: u32, saved: u32) -> Result<(), Errno> {
    change(task, |cred| cred.setresuid(real, effective, saved))
}

/// setresgid(2).
pub fn setresgid(task: &CurrentTask, real: u32, effective: u32, saved: u32) -> Result<(), Errno> {
    change(task, |cred| cred.setresgid(real, effective, saved))
}

/// setfsuid(2): the former id, whether it changed or not.
pub fn setfsuid(task: &CurrentTask, uid: u32) -> Result<u32, Errno> {
    let old = task.cred();
    if let Some(new) = old.setfsuid(uid) {
        task.set_credentials(new);
    }
    Ok(old.fsuid)
}

/// setfsgid(2).
pub fn setfsgid(task: &CurrentTask, gid: u32) -> Result<u32, Errno> {
    let old = task.cred();
    if let Some(new) = old.setfsgid(gid) {
        task.set_credentials(new);
    }
    Ok(old.fsgid)
}

/// setgroups(2).
pub fn setgroups(task: &CurrentTask, size: i32, list: UserAddr) -> Result<(), Errno> {
    if !task.cred().has(Caps::SETGID) {
        return Err(Errno::EPERM);
    }
    let count = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    if count > NGROUPS_MAX {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; count * 4];
    task.copy_in(list, &mut bytes)?;
    let mut groups: Vec<u32> = bytes.chunks_exact(4).map(u32::get).collect();
    if groups.contains(&u32::MAX) {
        return Err(Errno::EINVAL);
    }
    groups.sort_unstable();
    change(task, |cred| {
        let mut new = cred.clone();
        new.groups = groups;
        Ok(new)
    })
}
