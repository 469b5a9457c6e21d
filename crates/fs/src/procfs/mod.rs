//! procfs (proc(5)): processes and the kernel as files.
//!
//! `root` and `process` hold the tables of names; each other module makes the text of the files it is named after.
//! Numbers come from the kernel's objects at the moment of the read; nothing is kept here but load averages.

mod config;
mod cpuinfo;
mod fd;
mod id_map;
mod identity;
mod loadavg;
mod maps;
pub(crate) mod meminfo;
mod mounts;
mod net;
mod nsfs;
pub(crate) mod pid_stat;
mod process;
mod process_text;
mod root;
pub(crate) mod stat;
mod sysctl;
pub(crate) mod system;
mod sysvipc;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use abi::Errno;
use kernel::Kernel;
use kernel::task::{PidNs, current};
use kernel::vfs::{FilesystemType, Inode, MountFlags};

use crate::kernfs::{KernSuper, root_inode};
pub use sysctl::{Refused, set as set_sysctl};
use system::System;

/// PROC_SUPER_MAGIC.
const MAGIC: u64 = 0x9fa0;

/// The type `proc`.
pub struct ProcFs;

impl FilesystemType for ProcFs {
    fn name(&self) -> &'static str {
        "proc"
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
        let sb = KernSuper::superblock("proc", MAGIC, false);
        let pid_ns = current().map(|task| task.namespaces.lock().pid_for_children.clone());
        let pid_ns = pid_ns.unwrap_or_else(PidNs::first);
        Ok(root_inode(
            &sb,
            Arc::new(root::Root::new(System::of(kernel, pid_ns))),
        ))
    }
}
