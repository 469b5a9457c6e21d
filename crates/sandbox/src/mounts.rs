//! The mount tree that a container finds: its root, the kernel's own file systems, trees of the host.

mod cover;
mod dev;
pub mod place;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use abi::Errno;
use fs::hostfs;
use fs::procfs::Refused;
use kernel::Kernel;
use kernel::vfs::{FileKind, MountFlags, Path, Walker};

use crate::container::{Container, Mount, Root, Source};
use crate::etc::Layer;

/// What could not be set up, and why.
#[derive(Debug)]
pub struct SetupError {
    /// What was being done.
    pub doing: String,
    /// Why it was not.
    pub errno: Errno,
}

/// For `map_err`: what is being done with a path inside.
fn doing(what: &str, at: &[u8]) -> impl FnOnce(Errno) -> SetupError {
    let doing = format!("{what} {}", String::from_utf8_lossy(at));
    move |errno| SetupError { doing, errno }
}

/// Builds the tree of a container, in the order that runc keeps to, and returns its root.
pub fn build(
    kernel: &Arc<Kernel>,
    root: OwnedFd,
    trees: Vec<OwnedFd>,
    container: &Container,
) -> Result<Path, SetupError> {
    fs::register(kernel);
    let root = mount_root(kernel, root, container.root).map_err(doing("mounting", b"/"))?;
    let walker = Walker::as_root(kernel, root.clone());
    let mut trees: Vec<Option<OwnedFd>> = trees.into_iter().map(Some).collect();
    // Memory that is to be read-only becomes so at the end: other mounts may need places in it.
    let mut later = Vec::new();
    for mount in &container.mounts {
        let made = mount_one(kernel, &walker, &mut trees, mount).map_err(doing("mounting", &mount.at))?;
        later.extend(made);
    }
    let setup = &container.setup;
    if setup.populate_dev {
        dev::populate(&walker, &setup.devices, setup.console)
            .map_err(|(path, errno)| doing("making", &path)(errno))?;
    }
    if container.root == Root::Layered {
        let layer = Layer::new(&walker, &container.mounts);
        for (path, content) in &setup.files {
            layer.write(path, content).map_err(doing("writing", path))?;
        }
        // A layer that is full or an odd root leaves the name unknown, nothing worse.
        let _ = layer.name_self(kernel.config.hostname.as_bytes());
    }
    for (key, value) in &setup.sysctls {
        set_sysctl(kernel, key, value)?;
    }
    for mount in later {
        mount.set_flags(mount.flags() | MountFlags::RDONLY);
    }
    if container.root == (Root::Direct { read_only: true }) {
        root.mount.set_flags(root.mount.flags() | MountFlags::RDONLY);
    }
    for path in &setup.read_only {
        cover::read_only(&walker, path).map_err(doing("making read-only", path))?;
    }
    for path in &setup.masked {
        cover::mask(&walker, path).map_err(doing("masking", path))?;
    }
    Ok(root)
}

/// Shows the terminal of the first process as /dev/console, as runc does it.
pub fn console(kernel: &Arc<Kernel>, root: &Path, terminal: &Path) -> Result<(), SetupError> {
    const AT: &[u8] = b"/dev/console";
    let walker = Walker::as_root(kernel, root.clone());
    let at = place::file(&walker, AT).map_err(doing("making", AT))?;
    let bound = kernel.vfs.bind_at(&at, terminal, false);
    bound.map(drop).map_err(doing("mounting", AT))
}

fn set_sysctl(kernel: &Arc<Kernel>, key: &str, value: &str) -> Result<(), SetupError> {
    fs::procfs::set_sysctl(kernel, key, value).map_err(|refused| match refused {
        Refused::Unknown => SetupError {
            doing: format!("sysctl '{key}', which this kernel does not have"),
            errno: Errno::ENOENT,
        },
        Refused::Value(errno) => SetupError {
            doing: format!("sysctl '{key}' = '{value}'"),
            errno,
        },
    })
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

/// Mounts one; returns it if it is to become read-only later.
fn mount_one(
    kernel: &Arc<Kernel>,
    walker: &Walker<'_>,
    trees: &mut [Option<OwnedFd>],
    mount: &Mount,
) -> Result<Option<Arc<kernel::vfs::Mount>>, Errno> {
    let mut flags = MountFlags::from_bits_truncate(mount.flags);
    // As mount(2) has it where nothing else is asked for.
    flags.set(MountFlags::RELATIME, !flags.contains(MountFlags::NOATIME));
    let mut later = false;
    let inode = match &mount.source {
        Source::Kernel(kind) => {
            later = kind == "tmpfs" && flags.contains(MountFlags::RDONLY);
            flags.set(MountFlags::RDONLY, flags.contains(MountFlags::RDONLY) && !later);
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
        Source::Device(device) => dev::node(kernel, device)?,
    };
    let place = if inode.kind == FileKind::Directory {
        place::directory(walker, &mount.at)?
    } else {
        place::file(walker, &mount.at)?
    };
    if mount.copy_up && inode.kind == FileKind::Directory {
        fs::overlay::copy_tree(&place.inode()?, &inode)?;
    }
    let mounted = kernel.vfs.mount_at(&place, inode, &mount.name, flags)?;
    Ok(later.then_some(mounted))
}
