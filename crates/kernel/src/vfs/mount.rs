//! Mounts, file system types and a task's root and working directory.

use std::sync::{Arc, Weak};

use abi::Errno;
use bitflags::bitflags;
use sync::{Mutex, RwLock, rank};

use super::{Dentry, Inode, Path};

bitflags! {
    /// Per-mount flags; the numbers of MS_*.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct MountFlags: u64 {
        /// MS_RDONLY.
        const RDONLY = 1;
        /// MS_NOSUID.
        const NOSUID = 2;
        /// MS_NODEV.
        const NODEV = 4;
        /// MS_NOEXEC.
        const NOEXEC = 8;
        /// MS_NOATIME.
        const NOATIME = 1024;
        /// MS_NODIRATIME.
        const NODIRATIME = 2048;
        /// MS_RELATIME.
        const RELATIME = 1 << 21;
    }
}

/// A file system type that mount(2) knows.
pub trait FilesystemType: Send + Sync {
    /// Its name in /proc/filesystems.
    fn name(&self) -> &'static str;
    /// Makes an instance and returns its root inode. `data` is mount(2)'s option string.
    fn mount(
        &self,
        kernel: &Arc<crate::Kernel>,
        source: &[u8],
        flags: MountFlags,
        data: &[u8],
    ) -> Result<Arc<Inode>, Errno>;
    /// Whether it needs no block device (`nodev` in /proc/filesystems).
    fn nodev(&self) -> bool {
        true
    }
}

/// A file system attached somewhere in the tree. The vfs developer completes it (tree, propagation, namespaces).
pub struct Mount {
    /// mount id as in /proc/self/mountinfo.
    pub id: u32,
    /// Root dentry of this mount.
    pub root: Arc<Dentry>,
    /// Device column of /proc/mounts.
    pub source: Vec<u8>,
    /// Where it is attached: parent mount and the dentry there. `None` for a root mount.
    pub(crate) at: Mutex<Option<(Weak<Mount>, Arc<Dentry>)>>,
    /// Per-mount flags.
    pub flags: Mutex<MountFlags>,
}

/// The VFS state of a kernel: registered types and the initial mount tree. Completed by the vfs developer.
pub struct Vfs {
    /// Registered types.
    pub types: RwLock<Vec<Arc<dyn FilesystemType>>>,
}

impl Default for Vfs {
    fn default() -> Self {
        Vfs {
            types: RwLock::new(rank::LEAF, Vec::new()),
        }
    }
}

/// A task's root, working directory and umask (Linux's fs_struct), shared with CLONE_FS.
pub struct FsContext {
    /// Guarded together.
    pub state: Mutex<FsState>,
}

/// The content of [`FsContext`].
#[derive(Clone)]
pub struct FsState {
    /// chroot(2).
    pub root: Path,
    /// chdir(2).
    pub cwd: Path,
    /// umask(2).
    pub umask: u32,
}
