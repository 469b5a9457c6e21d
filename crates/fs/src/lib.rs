//! File systems above the kernel: what guests can mount, and what the sandbox mounts for them.
#![forbid(unsafe_code)]

pub mod cgroupfs;
pub mod devfs;
pub mod devpts;
pub mod hostfs;
pub mod kernfs;
mod listing;
pub mod memory;
pub mod mqueue;
pub mod overlay;
pub mod procfs;
pub mod stdio;
pub mod sysfs;
#[cfg(test)]
mod testing;
pub mod tmpfs;
pub mod tty;

use std::sync::Arc;

use kernel::Kernel;
use kernel::vfs::FilesystemType;

/// Makes every type that guests can mount known to a kernel, and the drivers of all device nodes. Once for each kernel.
pub fn register(kernel: &Arc<Kernel>) {
    let terminals = Arc::new(tty::Terminals::default());
    devfs::register(kernel, &terminals);
    for kind in types(terminals) {
        kernel.vfs.register_type(kind);
    }
}

fn types(terminals: Arc<tty::Terminals>) -> Vec<Arc<dyn FilesystemType>> {
    vec![
        Arc::new(procfs::ProcFs),
        Arc::new(sysfs::SysFs),
        Arc::new(cgroupfs::CgroupFs),
        Arc::new(mqueue::MqueueFs),
        Arc::new(tmpfs::TmpFs),
        Arc::new(devfs::DevFs),
        Arc::new(devpts::DevPts::new(terminals)),
    ]
}
