//! The virtual file system: inodes, dentries, mounts and the path walk. Concrete file systems live in crate `fs`.
//!
//! Start at [`Walker`]: it carries a caller's root, working directory and credentials, and its methods are the
//! operations on paths (`resolve`, `open`, `mkdir`, `rename` …). [`Vfs`] holds mounts, caches and drivers.

mod anonymous;
mod attr_change;
mod create;
mod dcache;
mod dentry;
pub mod device;
mod fs_context;
mod handle;
mod inode;
mod lookup;
mod mount;
mod namespace;
pub mod notify;
mod open;
mod path;
pub mod permission;
mod propagation;
mod remove;
mod rename;
mod walk;
pub(crate) mod xattr;

pub use anonymous::{ANONYMOUS_FS, anon_file, anon_path, anon_path_of, anonymous_superblock};
pub use attr_change::perm_after_write;
pub use dcache::DentryCache;
pub use dentry::Dentry;
pub use device::{DeviceOpener, DeviceTable, make_dev};
pub use fs_context::{FsContext, FsState};
pub use handle::{Handle, Handles};
pub use inode::{
    Attr, AttrChange, FileKind, Follow, Inode, InodeOps, NewInode, StatFs, Superblock, SuperblockOps,
    TimeChange,
};
pub use lookup::NAME_MAX;
pub use mount::{FilesystemType, Mount, MountFlags};
pub use namespace::{Vfs, new_mount_namespace};
pub use open::OpenHow;
pub use path::Path;
pub use permission::{may_execute, permission};
pub use propagation::{Propagation, PropagationType};
pub use rename::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};
pub use walk::{LookupFlags, Walker};

/// The present in nanoseconds since the epoch (CLOCK_REALTIME), for file times.
pub fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
