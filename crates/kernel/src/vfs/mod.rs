//! The virtual file system: inodes, dentries, mounts and the path walk. Concrete file systems live in crate `fs`.

mod anonymous;
mod dentry;
mod inode;
mod mount;
mod path;

pub use anonymous::{anon_file, anon_path};
pub use dentry::Dentry;
pub use inode::{
    Attr, AttrChange, FileKind, Follow, Inode, InodeOps, NewInode, StatFs, Superblock, SuperblockOps,
    TimeChange,
};
pub use mount::{FilesystemType, FsContext, Mount, MountFlags, Vfs};
pub use path::{Path, release_locks};
