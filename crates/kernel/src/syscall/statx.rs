//! statx(2).

use abi::{Errno, UserAddr, abi_struct};

use super::arg::{CStr, Fd, Flags};
use super::dirfd::{AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW, At};
use super::stat::NS;
use crate::task::CurrentTask;
use crate::vfs::{Path, Walker, device};

/// STATX_BASIC_STATS.
const BASIC: u32 = 0x7ff;
/// STATX_BTIME.
const BTIME: u32 = 0x800;
/// STATX_MNT_ID.
const MNT_ID: u32 = 0x1000;
/// STATX__RESERVED.
const RESERVED: u32 = 0x8000_0000;
/// AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC.
const SYNC_TYPE: u32 = 0x6000;
/// STATX_ATTR_MOUNT_ROOT.
const ATTR_MOUNT_ROOT: u64 = 0x2000;

abi_struct! {
    /// `struct statx_timestamp`.
    pub struct Timestamp { pub sec: i64, pub nsec: u32, pub pad: i32 }
}
abi_struct! {
    /// `struct statx`.
    pub struct Statx {
        pub mask: u32, pub blksize: u32, pub attributes: u64, pub nlink: u32, pub uid: u32, pub gid: u32,
        pub mode: u16, pub pad: u16, pub ino: u64, pub size: u64, pub blocks: u64, pub attributes_mask: u64,
        pub atime: Timestamp, pub btime: Timestamp, pub ctime: Timestamp, pub mtime: Timestamp,
        pub rdev_major: u32, pub rdev_minor: u32, pub dev_major: u32, pub dev_minor: u32,
        pub mnt_id: u64, pub dio_mem_align: u32, pub dio_offset_align: u32, pub spare: [u64; 12],
    }
}

/// statx(2).
pub fn statx(
    task: &CurrentTask,
    dir: Fd,
    path: CStr,
    flags: Flags,
    mask: Flags,
    buf: UserAddr,
) -> Result<(), Errno> {
    const KNOWN: u32 = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | SYNC_TYPE;
    if mask.0 & RESERVED != 0 || flags.0 & !KNOWN != 0 || flags.0 & SYNC_TYPE == SYNC_TYPE {
        return Err(Errno::EINVAL);
    }
    let text = if path.0.is_null() && flags.0 & AT_EMPTY_PATH != 0 {
        Vec::new()
    } else {
        task.read_path(path.0)?
    };
    let place = At::new(task, dir, text)?.resolve(&Walker::of(task), flags.0)?;
    let mut bytes = [0; 256];
    abi::AbiField::put(&fill(task, &place)?, &mut bytes);
    task.copy_out(buf, &bytes)
}

fn fill(task: &CurrentTask, place: &Path) -> Result<Statx, Errno> {
    let inode = place.dentry.inode_ref()?;
    let attr = inode.attr()?;
    let time = |at: i64| Timestamp {
        sec: at.div_euclid(NS),
        nsec: at.rem_euclid(NS) as u32,
        pad: 0,
    };
    Ok(Statx {
        mask: BASIC | MNT_ID | if attr.btime.is_some() { BTIME } else { 0 },
        blksize: attr.blksize,
        attributes: if place.is_mount_root() { ATTR_MOUNT_ROOT } else { 0 },
        attributes_mask: ATTR_MOUNT_ROOT,
        nlink: attr.nlink,
        uid: task.shown_uid(attr.uid),
        gid: task.shown_gid(attr.gid),
        mode: (attr.mode() & 0xffff) as u16,
        ino: attr.ino,
        size: attr.size,
        blocks: attr.blocks,
        atime: time(attr.atime),
        btime: time(attr.btime.unwrap_or(0)),
        ctime: time(attr.ctime),
        mtime: time(attr.mtime),
        rdev_major: device::major(attr.rdev),
        rdev_minor: device::minor(attr.rdev),
        dev_major: device::major(inode.sb.dev),
        dev_minor: device::minor(inode.sb.dev),
        mnt_id: u64::from(place.mount.id),
        ..Statx::default()
    })
}
