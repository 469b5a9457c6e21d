//! maskedPaths and readonlyPaths of the configuration.

use abi::Errno;
use kernel::vfs::{FileKind, LookupFlags, MountFlags, Path, Walker};

use super::dev;
use crate::container::{Device, DeviceKind};

/// Hides what is at a path: a directory under an empty one, anything else under the null device. Nothing there: nothing done.
pub fn mask(walker: &Walker<'_>, path: &[u8]) -> Result<(), Errno> {
    let Some(at) = find(walker, path)? else {
        return Ok(());
    };
    let vfs = &walker.kernel.vfs;
    let (inode, name) = if at.inode()?.kind == FileKind::Directory {
        let kind = vfs.filesystem_type(b"tmpfs")?;
        let options = b"size=4k,nr_inodes=1,mode=0555";
        (
            kind.mount(walker.kernel, b"tmpfs", MountFlags::RDONLY, options)?,
            &b"tmpfs"[..],
        )
    } else {
        let null = Device {
            path: Vec::new(),
            kind: DeviceKind::Character,
            number: (1, 3),
            perm: 0o666,
            owner: (0, 0),
        };
        (dev::node(walker.kernel, &null)?, &b"devtmpfs"[..])
    };
    vfs.mount_at(
        &at,
        inode,
        name,
        MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC,
    )
    .map(drop)
}

/// Makes what is at a path read-only. Nothing there: nothing done.
pub fn read_only(walker: &Walker<'_>, path: &[u8]) -> Result<(), Errno> {
    let Some(at) = find(walker, path)? else {
        return Ok(());
    };
    let mount = walker.kernel.vfs.bind_at(&at, &at, true)?;
    mount.set_flags(mount.flags() | MountFlags::RDONLY);
    Ok(())
}

fn find(walker: &Walker<'_>, path: &[u8]) -> Result<Option<Path>, Errno> {
    match walker.resolve(None, path, LookupFlags::FOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}
