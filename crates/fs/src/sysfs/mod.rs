//! sysfs: the machine as programs ask for it: processors, one memory node, the loopback interface. No other devices.

mod cpu;
mod kernel;
mod net;
mod node;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ::kernel::Kernel;
use ::kernel::vfs::{FileKind, FilesystemType, Inode, MountFlags};
use abi::Errno;

use crate::kernfs::table::{dir, link, node as custom};
use crate::kernfs::{Entry, KernSuper, StaticDir, root_inode};
use crate::procfs::system::System;

/// SYSFS_MAGIC.
const MAGIC: u64 = 0x6265_6572;

/// The type `sysfs`.
pub struct SysFs;

impl FilesystemType for SysFs {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn for_user_namespaces(&self) -> bool {
        true
    }

    fn mount(
        &self,
        kernel: &Arc<Kernel>,
        _source: &[u8],
        _flags: MountFlags,
        _data: &[u8],
    ) -> Result<Arc<Inode>, Errno> {
        let sb = KernSuper::superblock("sysfs", MAGIC, true);
        let root = StaticDir::new(System::new(kernel), ROOT);
        Ok(root_inode(&sb, Arc::new(root)))
    }
}

/// A line of text.
fn line(text: impl std::fmt::Display) -> Result<Vec<u8>, Errno> {
    Ok(format!("{text}\n").into_bytes())
}

static ROOT: &[Entry<System>] = &[
    dir("block", &[]),
    dir("bus", BUS),
    dir("class", CLASS),
    dir("dev", DEV),
    dir("devices", DEVICES),
    dir("firmware", &[]),
    dir("fs", FS),
    dir("hypervisor", &[]),
    dir("kernel", kernel::ENTRIES),
    dir("module", &[]),
    dir("power", &[]),
];

static BUS: &[Entry<System>] = &[
    dir("cpu", EMPTY_BUS),
    dir("node", EMPTY_BUS),
    dir("pci", EMPTY_BUS),
    dir("usb", EMPTY_BUS),
];

static EMPTY_BUS: &[Entry<System>] = &[dir("devices", &[]), dir("drivers", &[])];

static CLASS: &[Entry<System>] = &[
    dir("block", &[]),
    dir("dmi", &[]),
    dir("drm", &[]),
    dir("hwmon", &[]),
    dir("input", &[]),
    dir("mem", &[]),
    dir(
        "net",
        &[link("lo", |_| Ok(b"../../devices/virtual/net/lo".to_vec()))],
    ),
    dir("power_supply", &[]),
    dir("thermal", &[]),
    dir("tty", &[]),
];

static DEV: &[Entry<System>] = &[dir("block", &[]), dir("char", &[])];

static DEVICES: &[Entry<System>] = &[dir("system", SYSTEM), dir("virtual", VIRTUAL)];

static SYSTEM: &[Entry<System>] = &[
    custom("cpu", FileKind::Directory, |at| {
        Arc::new(cpu::Cpus::new(at.clone()))
    }),
    dir("node", node::ENTRIES),
];

static VIRTUAL: &[Entry<System>] = &[dir("net", &[dir("lo", net::LO)])];

static FS: &[Entry<System>] = &[dir("cgroup", &[]), dir("fuse", &[])];
