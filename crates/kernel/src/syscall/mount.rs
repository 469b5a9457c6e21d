//! mount(2).

use std::sync::Arc;

use abi::{Errno, PAGE_SIZE, UserAddr};

use super::arg::{CStr, Flags};
use crate::cred::Caps;
use crate::task::CurrentTask;
use crate::vfs::{FilesystemType, LookupFlags, Mount, MountFlags, Path, PropagationType, Walker};

const MS_REMOUNT: u64 = 32;
const MS_BIND: u64 = 4096;
const MS_MOVE: u64 = 8192;
const MS_REC: u64 = 16384;
const MS_SILENT: u64 = 32768;
const MS_UNBINDABLE: u64 = 1 << 17;
const MS_PRIVATE: u64 = 1 << 18;
const MS_SLAVE: u64 = 1 << 19;
const MS_SHARED: u64 = 1 << 20;
const MS_PROPAGATION: u64 = MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED;
const MS_STRICTATIME: u64 = 1 << 24;
/// The flags about access times.
const MS_ATIME: MountFlags = MountFlags::NOATIME
    .union(MountFlags::NODIRATIME)
    .union(MountFlags::RELATIME);
const MS_MGC: u64 = 0xc0ed_0000;
const MS_MGC_MASK: u64 = 0xffff_0000;

/// mount(2).
pub fn mount(
    task: &CurrentTask,
    source: CStr,
    target: CStr,
    kind: CStr,
    flags: u64,
    data: UserAddr,
) -> Result<(), Errno> {
    let kind = optional(task, kind)?;
    let source = optional(task, source)?;
    let data = read_data(task, data)?;
    let target = task.read_path(target.0)?;
    let walker = Walker::of(task);
    let place = walker.resolve(None, &target, LookupFlags::FOLLOW)?;
    may_mount(task)?;
    let flags = if flags & MS_MGC_MASK == MS_MGC {
        flags & !MS_MGC_MASK
    } else {
        flags
    };
    let mut own = MountFlags::from_bits_truncate(flags);
    if !own.contains(MountFlags::NOATIME) && flags & MS_STRICTATIME == 0 {
        own |= MountFlags::RELATIME;
    }
    if !is_ours(task, &place.mount) {
        return Err(Errno::EINVAL);
    }
    if flags & MS_REMOUNT != 0 {
        if flags & (MS_STRICTATIME | MS_ATIME.bits()) == 0 {
            // Not asked about access times, it leaves their handling as it is.
            own = (own - MS_ATIME) | (place.mount.flags() & MS_ATIME);
        }
        return remount(&place, own);
    }
    if flags & MS_BIND != 0 {
        let source = source.ok_or(Errno::EINVAL)?;
        let from = walker.resolve(None, &source, LookupFlags::FOLLOW)?;
        return bind(task, &from, &place, flags & MS_REC != 0);
    }
    if flags & MS_PROPAGATION != 0 {
        return change_type(task, &place, flags);
    }
    if flags & MS_MOVE != 0 {
        let source = source.ok_or(Errno::EINVAL)?;
        let from = walker.resolve(None, &source, LookupFlags::FOLLOW)?;
        return move_mount(task, &from, &place);
    }
    let kind = task.kernel.vfs.filesystem_type(&kind.ok_or(Errno::EINVAL)?)?;
    may_make(task, &*kind)?;
    let source = source.unwrap_or_else(|| b"none".to_vec());
    let root = kind.mount(&task.kernel, &source, own, &data)?;
    task.kernel.vfs.mount_at(&place, root, &source, own).map(|_| ())
}

/// MS_SHARED and kin.
fn change_type(task: &CurrentTask, place: &Path, flags: u64) -> Result<(), Errno> {
    let others = flags & !(MS_REC | MS_SILENT | MS_PROPAGATION);
    let to = propagation_type(flags & MS_PROPAGATION).ok_or(Errno::EINVAL)?;
    if others != 0 || !place.is_mount_root() {
        return Err(Errno::EINVAL);
    }
    let vfs = &task.kernel.vfs;
    vfs.change_propagation_type(&place.mount, to, flags & MS_REC != 0);
    Ok(())
}

/// The propagation type of exactly one MS_ flag.
pub(super) fn propagation_type(flag: u64) -> Option<PropagationType> {
    Some(match flag {
        MS_UNBINDABLE => PropagationType::Unbindable,
        MS_PRIVATE => PropagationType::Private,
        MS_SLAVE => PropagationType::Slave,
        MS_SHARED => PropagationType::Shared,
        _ => return None,
    })
}

/// MS_BIND. What a locked mount hides does not come to light by a copy without it.
fn bind(task: &CurrentTask, from: &Path, to: &Path, recursive: bool) -> Result<(), Errno> {
    let vfs = &task.kernel.vfs;
    // Pseudo file systems that are not attached (a namespace's file) may be bound.
    let detached = vfs.namespace_of(&from.mount) == 0 && from.mount.parent().is_none();
    if !(is_ours(task, &from.mount) || detached) || (!recursive && vfs.hides_by_lock(from)) {
        return Err(Errno::EINVAL);
    }
    vfs.bind_at(to, from, recursive).map(|_| ())
}

fn optional(task: &CurrentTask, text: CStr) -> Result<Option<Vec<u8>>, Errno> {
    if text.0.is_null() {
        Ok(None)
    } else {
        task.read_path(text.0).map(Some)
    }
}

/// The option string: up to a page, up to its NUL. Linux takes what is readable of the page.
fn read_data(task: &CurrentTask, addr: UserAddr) -> Result<Vec<u8>, Errno> {
    if addr.is_null() {
        return Ok(Vec::new());
    }
    let mut data = vec![0; PAGE_SIZE as usize];
    let got = task.copy_in_some(addr, &mut data)?;
    data.truncate(got);
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    data.truncate(end);
    Ok(data)
}

fn remount(place: &Path, flags: MountFlags) -> Result<(), Errno> {
    if !place.is_mount_root() {
        return Err(Errno::EINVAL);
    }
    place.mount.change_flags(flags)
}

/// Whether the caller may change the mount namespace that it is in: `EPERM`.
pub(super) fn may_mount(task: &CurrentTask) -> Result<(), Errno> {
    let vfs = &task.kernel.vfs;
    let owner = vfs.owner_of(vfs.namespace_of(&task.fs().root().mount));
    if task.cred().has_in(&owner, Caps::SYS_ADMIN) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// Whether the caller may make a file system of a kind; in a user namespace only some: `EPERM`.
///
/// Linux lets a user namespace mount proc and sysfs only where the ones around are wholly visible. Ours show nothing that a
/// mask could hide: they speak of the sandbox only, and their knobs ask for capabilities over the first user namespace.
pub(super) fn may_make(task: &CurrentTask, kind: &dyn FilesystemType) -> Result<(), Errno> {
    let cred = task.cred();
    if cred.has(Caps::SYS_ADMIN) || (kind.for_user_namespaces() && cred.has_own(Caps::SYS_ADMIN)) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// Whether a mount is attached in the caller's mount namespace.
pub(super) fn is_ours(task: &CurrentTask, mount: &Mount) -> bool {
    let vfs = &task.kernel.vfs;
    vfs.namespace_of(mount) == vfs.namespace_of(&task.fs().root().mount)
}

pub(super) fn move_mount(task: &CurrentTask, from: &Path, to: &Path) -> Result<(), Errno> {
    let ours = is_ours(task, &from.mount) && is_ours(task, &to.mount);
    if !from.is_mount_root() || from.mount.parent().is_none() || !ours || from.mount.is_locked() {
        return Err(Errno::EINVAL);
    }
    let vfs = &task.kernel.vfs;
    let shared = |mount: &Mount| mount.propagation().group != 0;
    let parent = from.mount.parent().map(|(parent, _)| parent);
    if parent.is_some_and(|parent| shared(&parent)) || (shared(&to.mount) && vfs.has_unbindable(&from.mount))
    {
        return Err(Errno::EINVAL);
    }
    // Not below itself.
    let mut at = to.mount.clone();
    loop {
        if Arc::ptr_eq(&at, &from.mount) {
            return Err(Errno::ELOOP);
        }
        match at.parent() {
            Some((parent, _)) => at = parent,
            None => break,
        }
    }
    task.kernel.vfs.move_mount(&from.mount, to)
}

/// umount2(2).
pub fn umount2(task: &CurrentTask, target: CStr, flags: Flags) -> Result<(), Errno> {
    const MNT_DETACH: u32 = 2;
    const MNT_EXPIRE: u32 = 4;
    const UMOUNT_NOFOLLOW: u32 = 8;
    const MNT_FORCE: u32 = 1;
    if flags.0 & !0xf != 0 {
        return Err(Errno::EINVAL);
    }
    let target = task.read_path(target.0)?;
    let place = {
        let walker = Walker::of(task);
        let follow = if flags.0 & UMOUNT_NOFOLLOW == 0 {
            LookupFlags::FOLLOW
        } else {
            LookupFlags::empty()
        };
        let place = walker.resolve(None, &target, follow)?;
        may_mount(task)?;
        place
    };
    if !place.is_mount_root() || !is_ours(task, &place.mount) || place.mount.is_locked() {
        return Err(Errno::EINVAL);
    }
    if flags.0 & MNT_EXPIRE != 0 && flags.0 & (MNT_FORCE | MNT_DETACH) != 0 {
        return Err(Errno::EINVAL);
    }
    if place.mount.parent().is_none() {
        return Err(if flags.0 & MNT_DETACH != 0 {
            Errno::EINVAL
        } else {
            Errno::EBUSY
        });
    }
    if flags.0 & MNT_EXPIRE != 0 {
        task.kernel.vfs.check_unused(&place)?;
        if !place.mount.mark_expiring() {
            return Err(Errno::EAGAIN);
        }
    }
    task.kernel.vfs.unmount(place.mount, flags.0 & MNT_DETACH != 0)
}
