//! statfs(2), fstatfs(2), ustat(2).

use abi::{Errno, UserAddr, abi_struct};

use super::arg::{CStr, Fd};
use super::dirfd::resolve;
use crate::task::CurrentTask;
use crate::vfs::{MountFlags, Path, StatFs, Walker};

abi_struct! {
    /// `struct statfs` of x86-64.
    pub struct StatFsOut {
        pub kind: u64, pub bsize: u64, pub blocks: u64, pub bfree: u64, pub bavail: u64, pub files: u64,
        pub ffree: u64, pub fsid: [u32; 2], pub namelen: u64, pub frsize: u64, pub flags: u64, pub spare: [u64; 4],
    }
}

/// ST_VALID.
const ST_VALID: u64 = 0x20;
/// ST_RELATIME.
const ST_RELATIME: u64 = 0x1000;

/// statfs(2).
pub fn statfs(task: &CurrentTask, path: CStr, buf: UserAddr) -> Result<(), Errno> {
    let place = resolve(&Walker::of(task), task, path, 0)?;
    store(task, &place, buf)
}

/// fstatfs(2).
pub fn fstatfs(task: &CurrentTask, fd: Fd, buf: UserAddr) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    store(task, file.path(), buf)
}

fn store(task: &CurrentTask, place: &Path, buf: UserAddr) -> Result<(), Errno> {
    let inode = place.inode()?;
    let stat: StatFs = match inode.ops.statfs() {
        Some(stat) => stat,
        None => inode.sb.ops.statfs()?,
    };
    let mount = place.mount.flags();
    // The low bits of MS_* and ST_* agree; ST_RELATIME has a number of its own.
    let mut flags = ST_VALID | (mount.bits() & 0xf) | (mount.bits() & 0xc00);
    if mount.contains(MountFlags::RELATIME) {
        flags |= ST_RELATIME;
    }
    let out = StatFsOut {
        kind: stat.magic,
        bsize: stat.block_size,
        blocks: stat.blocks,
        bfree: stat.blocks_free,
        bavail: stat.blocks_available,
        files: stat.files,
        ffree: stat.files_free,
        fsid: [inode.sb.dev as u32, (inode.sb.dev >> 32) as u32],
        namelen: stat.name_max,
        frsize: stat.block_size,
        flags,
        spare: [0; 4],
    };
    task.write_struct(buf, &out)
}
