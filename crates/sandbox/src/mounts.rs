//! The mount tree that the command finds: the root under its private layer, the kernel's own file systems, the volumes.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use abi::Errno;
use fs::hostfs;
use kernel::Kernel;
use kernel::vfs::{Inode, LookupFlags, MountFlags, Path, Walker};

use crate::config::{Config, Handles};

/// A file system of the kernel's own.
struct Mounted {
    kind: &'static str,
    at: &'static [u8],
    options: &'static [u8],
    flags: MountFlags,
}

const SAFE: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// In the order of mounting: what lies below comes later.
const KERNEL_MOUNTS: &[Mounted] = &[
    Mounted {
        kind: "proc",
        at: b"/proc",
        options: b"",
        flags: SAFE,
    },
    Mounted {
        kind: "sysfs",
        at: b"/sys",
        options: b"",
        flags: SAFE.union(MountFlags::RDONLY),
    },
    Mounted {
        kind: "cgroup2",
        at: b"/sys/fs/cgroup",
        options: b"",
        flags: SAFE.union(MountFlags::RDONLY),
    },
    Mounted {
        kind: "devtmpfs",
        at: b"/dev",
        options: b"mode=0755",
        flags: MountFlags::NOSUID,
    },
    Mounted {
        kind: "devpts",
        at: b"/dev/pts",
        options: b"mode=0620,ptmxmode=0666,gid=5",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
    },
    Mounted {
        kind: "mqueue",
        at: b"/dev/mqueue",
        options: b"",
        flags: SAFE,
    },
    Mounted {
        kind: "tmpfs",
        at: b"/dev/shm",
        options: b"mode=1777",
        flags: MountFlags::NOSUID.union(MountFlags::NODEV),
    },
];

/// What could not be mounted, and why.
#[derive(Debug)]
pub struct MountError {
    /// The path inside.
    pub at: Vec<u8>,
    /// Why.
    pub errno: Errno,
}

/// Builds the tree and returns its root.
pub fn build(kernel: &Arc<Kernel>, handles: Handles, config: &Config) -> Result<Path, MountError> {
    let failed = |at: &[u8]| {
        let at = at.to_vec();
        move |errno| MountError { at, errno }
    };
    for kind in fs::types() {
        kernel.vfs.register_type(kind);
    }
    let root = root_inode(kernel, handles.root).map_err(failed(b"/"))?;
    let root = kernel.vfs.mount_root(root, b"overlay", MountFlags::empty());
    let walker = Walker::as_root(kernel, root.clone());
    for mount in KERNEL_MOUNTS {
        mount_kind(kernel, &walker, mount).map_err(failed(mount.at))?;
    }
    for (handle, (at, read_only)) in handles.volumes.into_iter().zip(&config.volumes) {
        mount_volume(kernel, &walker, handle, at, *read_only).map_err(failed(at))?;
    }
    Ok(root)
}

/// The host's tree, which nothing changes, under a layer in memory.
fn root_inode(kernel: &Arc<Kernel>, handle: OwnedFd) -> Result<Arc<Inode>, Errno> {
    let lower = hostfs::mount(
        handle,
        hostfs::Options {
            read_only: true,
            shared: false,
        },
    )?;
    let memory = kernel.vfs.filesystem_type(b"tmpfs")?;
    let upper = memory.mount(kernel, b"upper", MountFlags::empty(), b"mode=0755")?;
    fs::overlay::mount(vec![lower], upper)
}

fn mount_kind(kernel: &Arc<Kernel>, walker: &Walker<'_>, mount: &Mounted) -> Result<(), Errno> {
    let kind = kernel.vfs.filesystem_type(mount.kind.as_bytes())?;
    let inode = kind.mount(kernel, mount.kind.as_bytes(), mount.flags, mount.options)?;
    let at = directory(walker, mount.at)?;
    kernel
        .vfs
        .mount_at(&at, inode, mount.kind.as_bytes(), mount.flags)
        .map(drop)
}

fn mount_volume(
    kernel: &Arc<Kernel>,
    walker: &Walker<'_>,
    handle: OwnedFd,
    at: &[u8],
    read_only: bool,
) -> Result<(), Errno> {
    let inode = hostfs::mount(
        handle,
        hostfs::Options {
            read_only,
            shared: true,
        },
    )?;
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::RDONLY, read_only);
    let place = if inode.kind == kernel::vfs::FileKind::Directory {
        directory(walker, at)?
    } else {
        file(walker, at)?
    };
    kernel.vfs.mount_at(&place, inode, b"volume", flags).map(drop)
}

/// The directory at a path inside; it and those above it are made where they are missing.
fn directory(walker: &Walker<'_>, path: &[u8]) -> Result<Path, Errno> {
    let flags = LookupFlags::FOLLOW | LookupFlags::DIRECTORY;
    match walker.resolve(None, path, flags) {
        Err(Errno::ENOENT) => {}
        found => return found,
    }
    let mut made = Vec::new();
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        made.push(b'/');
        made.extend_from_slice(name);
        match walker.mkdir(None, &made, 0o755) {
            Ok(_) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    walker.resolve(None, path, flags)
}

/// The file at a path inside; made, empty, where it is missing.
fn file(walker: &Walker<'_>, path: &[u8]) -> Result<Path, Errno> {
    match walker.resolve(None, path, LookupFlags::FOLLOW) {
        Err(Errno::ENOENT) => {}
        found => return found,
    }
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    directory(
        walker,
        path.get(..end).filter(|dir| !dir.is_empty()).unwrap_or(b"/"),
    )?;
    walker.open(None, path, abi::fcntl::O_CREAT | abi::fcntl::O_WRONLY, 0o644)?;
    walker.resolve(None, path, LookupFlags::FOLLOW)
}
