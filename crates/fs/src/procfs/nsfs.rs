//! What /proc/PID/ns/* lead to (namespaces(7)): files that only tell namespaces apart. A sandbox has one of each kind.

use std::sync::{Arc, LazyLock};

use abi::Errno;
use kernel::file::FileOps;
use kernel::vfs::{Attr, FileKind, Follow, Inode, InodeOps, Path, Superblock, anon_path_of};

use super::process::Process;
use crate::kernfs::KernSuper;

/// NSFS_MAGIC.
const MAGIC: u64 = 0x6e73_6673;

static SUPERBLOCK: LazyLock<Arc<Superblock>> = LazyLock::new(|| KernSuper::superblock("nsfs", MAGIC, true));

/// Inode number of the namespace of a kind; those of Linux's initial namespaces.
fn number(kind: &str) -> u64 {
    match kind {
        "time" => 4_026_531_834,
        "cgroup" => 4_026_531_835,
        "pid" => 4_026_531_836,
        "user" => 4_026_531_837,
        "uts" => 4_026_531_838,
        "ipc" => 4_026_531_839,
        "net" => 4_026_531_840,
        _ => 4_026_531_841,
    }
}

/// The text of a namespace link.
pub fn text(at: &Process, kind: &str) -> Result<Vec<u8>, Errno> {
    at.may_access()?;
    Ok(format!("{kind}:[{}]", number(kind)).into_bytes())
}

/// The place of a namespace link.
pub fn follow(at: &Process, kind: &str) -> Result<Follow, Errno> {
    at.may_access()?;
    let kernel = at.view()?.kernel;
    let name = format!("{kind}:[{}]", number(kind));
    let inode = NsInode(number(kind));
    let inode = Inode::new(SUPERBLOCK.clone(), FileKind::Regular, Box::new(inode));
    Ok(Follow::Path(anon_path_of(&kernel, &name, inode)))
}

/// A namespace by its number.
struct NsInode(u64);

impl InodeOps for NsInode {
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(Attr {
            ino: self.0,
            kind: FileKind::Regular,
            perm: 0o444,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            blocks: 0,
            blksize: 4096,
            atime: 0,
            mtime: 0,
            ctime: 0,
            btime: None,
        })
    }

    fn open(&self, _: &Path, _: u32) -> Result<Box<dyn FileOps>, Errno> {
        Ok(Box::new(NsFile))
    }
}

/// An open namespace: it can be held and compared.
struct NsFile;

impl FileOps for NsFile {
    fn pollable(&self) -> bool {
        false
    }
}
