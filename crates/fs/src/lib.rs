//! File systems above the kernel: what guests can mount, and what the sandbox mounts for them.
#![forbid(unsafe_code)]

pub mod cgroupfs;
pub mod devfs;
pub mod devpts;
pub mod hostfs;
pub mod kernfs;
pub mod memory;
pub mod mqueue;
pub mod overlay;
pub mod procfs;
mod snapshot;
pub mod stdio;
pub mod sysfs;
#[cfg(test)]
mod testing;
pub mod tmpfs;
pub mod tty;

use std::sync::Arc;

use kernel::vfs::FilesystemType;

/// Every type that guests can mount.
pub fn types() -> Vec<Arc<dyn FilesystemType>> {
    let terminals = Arc::new(tty::Terminals::default());
    vec![
        Arc::new(procfs::ProcFs),
        Arc::new(sysfs::SysFs),
        Arc::new(cgroupfs::CgroupFs),
        Arc::new(mqueue::MqueueFs),
        Arc::new(tmpfs::TmpFs),
        Arc::new(devfs::DevFs::new(terminals.clone())),
        Arc::new(devpts::DevPts::new(terminals)),
    ]
}
