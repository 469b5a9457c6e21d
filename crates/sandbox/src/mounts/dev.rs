//! Device nodes and links in /dev, as the runtime-spec wants them ("Default Devices").
//!
//! A node is a number; its driver is the sandbox's kernel's own. No device of the host is reachable.

use std::sync::Arc;

use abi::Errno;
use fs::tmpfs;
use kernel::Kernel;
use kernel::vfs::{FileKind, Inode, LookupFlags, MountFlags, NewInode, Walker, make_dev};

use super::place;
use crate::container::{Device, DeviceKind};

/// The devices that every container has: name, major and minor number.
const ALWAYS: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links, made where nothing of the name is there.
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Makes the usual nodes and links, `more`, and the console if there is a terminal.
pub fn populate(walker: &Walker<'_>, more: &[Device], console: bool) -> Result<(), (Vec<u8>, Errno)> {
    let usual = |(path, major, minor): &(&str, u32, u32)| Device {
        path: path.as_bytes().to_vec(),
        kind: DeviceKind::Character,
        number: (*major, *minor),
        perm: 0o666,
        owner: (0, 0),
    };
    let console = console.then(|| Device {
        perm: 0o600,
        ..usual(&("/dev/console", 5, 1))
    });
    // What the configuration says of a usual one counts.
    let devices = more
        .iter()
        .cloned()
        .chain(ALWAYS.iter().map(usual))
        .chain(console);
    for device in devices {
        make(walker, &device).map_err(|errno| (device.path.clone(), errno))?;
    }
    for (path, target) in LINKS {
        match walker.symlink(target.as_bytes(), None, path.as_bytes()) {
            Ok(_) | Err(Errno::EEXIST) => {}
            // A /dev of the image that may not be changed.
            Err(Errno::EROFS | Errno::EACCES | Errno::EPERM) => {}
            Err(errno) => return Err((path.as_bytes().to_vec(), errno)),
        }
    }
    Ok(())
}

fn make(walker: &Walker<'_>, device: &Device) -> Result<(), Errno> {
    if device.path == b"/dev/ptmx" {
        // Always the link into the container's own devpts.
        return Ok(());
    }
    let kind = kind(device);
    if let Ok(found) = walker.resolve(None, &device.path, LookupFlags::empty()) {
        let attr = found.inode()?.attr()?;
        if attr.kind == kind && attr.rdev == make_dev(device.number.0, device.number.1) {
            return Ok(());
        }
    }
    place::directory_of(walker, &device.path)?;
    let (uid, gid) = device.owner;
    match walker.mknod(
        None,
        &device.path,
        kind,
        device.perm,
        make_dev(device.number.0, device.number.1),
    ) {
        Ok(path) => {
            walker.chown(&path, uid, gid)?;
            walker.chmod(&path, device.perm)
        }
        // A /dev on the host's file system takes no nodes of ours (nor is one that it has of any use): one is mounted there.
        Err(_) => {
            let at = place::file(walker, &device.path)?;
            let node = node(walker.kernel, device)?;
            walker
                .kernel
                .vfs
                .mount_at(&at, node, b"devtmpfs", MountFlags::NOSUID)
                .map(drop)
        }
    }
}

fn kind(device: &Device) -> FileKind {
    match device.kind {
        DeviceKind::Character => FileKind::CharDevice,
        DeviceKind::Block => FileKind::BlockDevice,
        DeviceKind::Pipe => FileKind::Fifo,
    }
}

/// A node that has no directory.
pub fn node(kernel: &Arc<Kernel>, device: &Device) -> Result<Arc<Inode>, Errno> {
    let root = tmpfs::new_root(kernel, &tmpfs::Options::default())?;
    let new = NewInode {
        kind: kind(device),
        perm: device.perm,
        uid: device.owner.0,
        gid: device.owner.1,
        rdev: make_dev(device.number.0, device.number.1),
    };
    root.ops.create(b"node", &new)
}
