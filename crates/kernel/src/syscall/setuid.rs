//! setuid(2), setgid(2), setreuid(2), setregid(2), setresuid(2), setresgid(2), setfsuid(2), setfsgid(2), setgroups(2).

use abi::{AbiField, Errno, UserAddr};

use crate::cred::{Caps, Credentials, IdKind, NO_ID};
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

/// The kernel's id for one that the caller gives; -1 stays. `EINVAL` when it has no meaning for the caller.
pub(super) fn kernel_id(task: &CurrentTask, kind: IdKind, id: u32) -> Result<u32, Errno> {
    if id == NO_ID {
        return Ok(id);
    }
    task.cred().user_ns.to_kernel(kind, id).ok_or(Errno::EINVAL)
}

/// setuid(2).
pub fn setuid(task: &CurrentTask, uid: u32) -> Result<(), Errno> {
    let uid = kernel_id(task, IdKind::User, uid)?;
    change(task, |cred| cred.setuid(uid))
}

/// setgid(2).
pub fn setgid(task: &CurrentTask, gid: u32) -> Result<(), Errno> {
    let gid = kernel_id(task, IdKind::Group, gid)?;
    change(task, |cred| cred.setgid(gid))
}

/// setreuid(2).
pub fn setreuid(task: &CurrentTask, real: u32, effective: u32) -> Result<(), Errno> {
    let real = kernel_id(task, IdKind::User, real)?;
    let effective = kernel_id(task, IdKind::User, effective)?;
    change(task, |cred| cred.setreuid(real, effective))
}

/// setregid(2).
pub fn setregid(task: &CurrentTask, real: u32, effective: u32) -> Result<(), Errno> {
    let real = kernel_id(task, IdKind::Group, real)?;
    let effective = kernel_id(task, IdKind::Group, effective)?;
    change(task, |cred| cred.setregid(real, effective))
}

/// setresuid(2).
pub fn setresuid(task: &CurrentTask, real: u32, effective: u32, saved: u32) -> Result<(), Errno> {
    let real = kernel_id(task, IdKind::User, real)?;
    let effective = kernel_id(task, IdKind::User, effective)?;
    let saved = kernel_id(task, IdKind::User, saved)?;
    change(task, |cred| cred.setresuid(real, effective, saved))
}

/// setresgid(2).
pub fn setresgid(task: &CurrentTask, real: u32, effective: u32, saved: u32) -> Result<(), Errno> {
    let real = kernel_id(task, IdKind::Group, real)?;
    let effective = kernel_id(task, IdKind::Group, effective)?;
    let saved = kernel_id(task, IdKind::Group, saved)?;
    change(task, |cred| cred.setresgid(real, effective, saved))
}

/// setfsuid(2): the former id, whether it changed or not.
pub fn setfsuid(task: &CurrentTask, uid: u32) -> Result<u32, Errno> {
    let old = task.cred();
    let wanted = old.user_ns.to_kernel(IdKind::User, uid);
    if let Some(new) = wanted.and_then(|uid| old.setfsuid(uid)) {
        task.set_credentials(new);
    }
    Ok(old.user_ns.shown_uid(old.fsuid))
}

/// setfsgid(2).
pub fn setfsgid(task: &CurrentTask, gid: u32) -> Result<u32, Errno> {
    let old = task.cred();
    let wanted = old.user_ns.to_kernel(IdKind::Group, gid);
    if let Some(new) = wanted.and_then(|gid| old.setfsgid(gid)) {
        task.set_credentials(new);
    }
    Ok(old.user_ns.shown_gid(old.fsgid))
}

/// setgroups(2).
pub fn setgroups(task: &CurrentTask, size: i32, list: UserAddr) -> Result<(), Errno> {
    let cred = task.cred();
    if !cred.has_own(Caps::SETGID) || !cred.user_ns.groups_ready() {
        return Err(Errno::EPERM);
    }
    let count = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    if count > NGROUPS_MAX {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; count * 4];
    task.copy_in(list, &mut bytes)?;
    let given = bytes.chunks_exact(4).map(u32::get);
    let known = given.map(|gid| cred.user_ns.to_kernel(IdKind::Group, gid));
    let mut groups: Vec<u32> = known.collect::<Option<_>>().ok_or(Errno::EINVAL)?;
    groups.sort_unstable();
    change(task, |cred| {
        let mut new = cred.clone();
        new.groups = groups;
        Ok(new)
    })
}
