//! The mount tree that a container finds: its root, the kernel's own file systems, trees of the host.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use abi::Errno;
use fs::hostfs;
use kernel::Kernel;
use kernel::vfs::{LookupFlags, MountFlags, Path, Walker};

use crate::container::{Container, Mount, Root, Source};

/// What could not be mounted, and why.
#[derive(Debug)]
pub struct MountError {
    /// The path inside.
    pub at: Vec<u8>,
    /// Why.
    pub errno: Errno,
}

/// Builds the tree of a container and returns its root.
pub fn build(
    kernel: &Arc<Kernel>,
    root: OwnedFd,
    trees: Vec<OwnedFd>,
    container: &Container,
) -> Result<Path, MountError> {
    let failed = |at: &[u8]| {
        let at = at.to_vec();
        move |errno| MountError { at, errno }
    };
    for kind in fs::types() {
        kernel.vfs.register_type(kind);
    }
    let root = mount_root(kernel, root, container.root).map_err(failed(b"/"))?;
    let walker = Walker::as_root(kernel, root.clone());
    let mut trees: Vec<Option<OwnedFd>> = trees.into_iter().map(Some).collect();
    for mount in &container.mounts {
        mount_one(kernel, &walker, &mut trees, mount).map_err(failed(&mount.at))?;
    }
    if container.root == (Root::Direct { read_only: true }) {
        root.mount.set_flags(root.mount.flags() | MountFlags::RDONLY);
    }
    Ok(root)
}

fn mount_root(kernel: &Arc<Kernel>, handle: OwnedFd, root: Root) -> Result<Path, Errno> {
    let options = hostfs::Options {
        read_only: root == Root::Layered,
        shared: root != Root::Layered,
    };
    let host = hostfs::mount(handle, options)?;
    let inode = match root {
        Root::Direct { .. } => host,
        Root::Layered => {
            let memory = kernel.vfs.filesystem_type(b"tmpfs")?;
            let upper = memory.mount(kernel, b"upper", MountFlags::empty(), b"mode=0755")?;
            fs::overlay::mount(vec![host], upper)?
        }
    };
    // The flag of a read-only root is set once everything is mounted: mount points may have to be made in it.
    Ok(kernel.vfs.mount_root(inode, b"overlay", MountFlags::empty()))
}

fn mount_one(
    kernel: &Arc<Kernel>,
    walker: &Walker<'_>,
    trees: &mut [Option<OwnedFd>],
    mount: &Mount,
) -> Result<(), Errno> {
    let flags = MountFlags::from_bits_truncate(mount.flags);
    let inode = match &mount.source {
        Source::Kernel(kind) => {
            let kind = kernel.vfs.filesystem_type(kind.as_bytes())?;
            kind.mount(kernel, &mount.name, flags, &mount.options)?
        }
        Source::Tree { index, read_only } => {
            let handle = trees.get_mut(*index).and_then(Option::take).ok_or(Errno::EBADF)?;
            let options = hostfs::Options {
                read_only: *read_only,
                shared: true,
            };
            hostfs::mount(handle, options)?
        }
    };
    let place = if inode.kind == kernel::vfs::FileKind::Directory {
        directory(walker, &mount.at)?
    } else {
        file(walker, &mount.at)?
    };
    kernel.vfs.mount_at(&place, inode, &mount.name, flags).map(drop)
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
