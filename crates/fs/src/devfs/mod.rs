//! /dev: a tmpfs with the nodes that every program expects, links into /proc/self/fd, and the places for devpts, shm
//! and mqueue. Drivers are in `mem` (null, zero, full, random) and in [`crate::tty`].

mod mem;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use abi::Errno;
use kernel::Kernel;
use kernel::vfs::{AttrChange, FileKind, FilesystemType, Inode, MountFlags, NewInode, make_dev};

use crate::kernfs::{Meta, Node};
use crate::tmpfs::{self, Options};
use crate::tty::Terminals;

/// The type `devtmpfs`.
pub struct DevFs;

/// Registers the drivers of all nodes; `ptmx`, `tty` and `console` open these terminals.
pub fn register(kernel: &Arc<Kernel>, terminals: &Arc<Terminals>) {
    mem::register(kernel);
    crate::tty::register(kernel, terminals);
}

impl FilesystemType for DevFs {
    fn name(&self) -> &'static str {
        "devtmpfs"
    }

    fn mount(
        &self,
        kernel: &Arc<Kernel>,
        _source: &[u8],
        _flags: MountFlags,
        data: &[u8],
    ) -> Result<Arc<Inode>, Errno> {
        let options = Options::parse(data, kernel.total_memory())?;
        let root = tmpfs::new_root(kernel, &options)?;
        root.ops.set_attr(&AttrChange {
            perm: Some(0o755),
            ..AttrChange::default()
        })?;
        populate(&root)?;
        Ok(root)
    }
}

/// Makes the usual names in an empty directory.
fn populate(root: &Arc<Inode>) -> Result<(), Errno> {
    let new = |kind, perm, rdev| NewInode {
        kind,
        perm,
        uid: 0,
        gid: 0,
        rdev,
    };
    for (name, perm, major, minor) in DEVICES {
        let node = new(FileKind::CharDevice, *perm, make_dev(*major, *minor));
        root.ops.create(name.as_bytes(), &node)?;
    }
    for (name, perm) in PLACES {
        root.ops
            .create(name.as_bytes(), &new(FileKind::Directory, *perm, 0))?;
    }
    for (name, target) in LINKS {
        let link = new(FileKind::Symlink, 0o777, 0);
        root.ops.symlink(name.as_bytes(), target.as_bytes(), &link)?;
    }
    Ok(())
}

/// Names, permission bits, major and minor numbers.
const DEVICES: &[(&str, u32, u32, u32)] = &[
    ("console", 0o600, 5, 1),
    ("full", 0o666, 1, 7),
    ("null", 0o666, 1, 3),
    ("ptmx", 0o666, 5, 2),
    ("random", 0o666, 1, 8),
    ("tty", 0o666, 5, 0),
    ("urandom", 0o666, 1, 9),
    ("zero", 0o666, 1, 5),
];

/// Directories for other mounts, and their permission bits.
const PLACES: &[(&str, u32)] = &[("mqueue", 0o1777), ("pts", 0o755), ("shm", 0o1777)];

/// Symbolic links.
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];

/// A device node.
pub struct DeviceNode {
    /// Permission bits.
    pub perm: u32,
    /// Major and minor number.
    pub number: (u32, u32),
}

impl Node for DeviceNode {
    fn kind(&self) -> FileKind {
        FileKind::CharDevice
    }
    fn meta(&self) -> Result<Meta, Errno> {
        Ok(Meta {
            rdev: make_dev(self.number.0, self.number.1),
            ..Meta::root(self.perm)
        })
    }
}
