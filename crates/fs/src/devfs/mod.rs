//! /dev: the nodes that every program expects, links into /proc/self/fd, and the places for devpts, shm and mqueue.
//!
//! The names are fixed: a guest that wants more mounts a file system of its own. Drivers are in `mem` (null, zero,
//! full, random) and in [`crate::tty`].

mod mem;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use abi::Errno;
use kernel::Kernel;
use kernel::vfs::{FileKind, FilesystemType, Inode, MountFlags, make_dev};

use crate::kernfs::table::{link, node};
use crate::kernfs::{Context, Entry, KernSuper, Meta, Node, StaticDir, root_inode};
use crate::tty::Terminals;

/// TMPFS_MAGIC: programs look whether /dev is a devtmpfs by its name, and by this number.
const MAGIC: u64 = 0x0102_1994;

/// The type `devtmpfs`.
pub struct DevFs {
    terminals: Arc<Terminals>,
}

impl DevFs {
    /// The type, with the terminals that `ptmx`, `tty` and `console` open.
    pub fn new(terminals: Arc<Terminals>) -> DevFs {
        DevFs { terminals }
    }
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
        _data: &[u8],
    ) -> Result<Arc<Inode>, Errno> {
        mem::register(kernel);
        crate::tty::register(kernel, &self.terminals);
        let sb = KernSuper::new("devtmpfs", MAGIC, true);
        let root = StaticDir {
            context: Dev,
            entries: ENTRIES,
            perm: 0o755,
        };
        Ok(root_inode(&sb, Arc::new(root)))
    }
}

/// Nothing: the nodes are the same for every kernel.
#[derive(Clone)]
struct Dev;

impl Context for Dev {}

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

macro_rules! device {
    ($name:literal, $perm:literal, $major:literal, $minor:literal) => {
        node($name, FileKind::CharDevice, |_| {
            Arc::new(DeviceNode {
                perm: $perm,
                number: ($major, $minor),
            })
        })
    };
}

macro_rules! place {
    ($name:literal, $perm:literal) => {
        node($name, FileKind::Directory, |_| {
            Arc::new(StaticDir {
                context: Dev,
                entries: &[],
                perm: $perm,
            })
        })
    };
}

static ENTRIES: &[Entry<Dev>] = &[
    device!("console", 0o600, 5, 1),
    link("fd", |_| Ok(b"/proc/self/fd".to_vec())),
    device!("full", 0o666, 1, 7),
    place!("mqueue", 0o1777),
    device!("null", 0o666, 1, 3),
    device!("ptmx", 0o666, 5, 2),
    place!("pts", 0o755),
    device!("random", 0o666, 1, 8),
    place!("shm", 0o1777),
    link("stderr", |_| Ok(b"/proc/self/fd/2".to_vec())),
    link("stdin", |_| Ok(b"/proc/self/fd/0".to_vec())),
    link("stdout", |_| Ok(b"/proc/self/fd/1".to_vec())),
    device!("tty", 0o666, 5, 0),
    device!("urandom", 0o666, 1, 9),
    device!("zero", 0o666, 1, 5),
];
