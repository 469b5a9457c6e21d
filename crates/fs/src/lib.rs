//! File systems above the kernel: what guests can mount, and what the sandbox mounts for them.
#![forbid(unsafe_code)]

pub mod hostfs;
pub mod kernfs;
pub mod memory;
pub mod overlay;
pub mod procfs;
pub mod stdio;
pub mod tmpfs;

use std::sync::Arc;

use kernel::vfs::FilesystemType;

/// Every type that guests can mount.
pub fn types() -> Vec<Arc<dyn FilesystemType>> {
    vec![Arc::new(procfs::ProcFs), Arc::new(tmpfs::TmpFs)]
}
