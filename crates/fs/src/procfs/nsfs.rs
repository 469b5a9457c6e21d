//! What /proc/PID/ns/* lead to (namespaces(7)).

use std::sync::{Arc, LazyLock};

use abi::Errno;
use kernel::file::FileOps;
use kernel::task::{Namespace, NsFile};
use kernel::vfs::{Attr, FileKind, Follow, Inode, InodeOps, Path, Superblock, anon_path_of};

use super::process::Process;
use crate::kernfs::KernSuper;

/// NSFS_MAGIC.
const MAGIC: u64 = 0x6e73_6673;

static SUPERBLOCK: LazyLock<Arc<Superblock>> = LazyLock::new(|| KernSuper::superblock("nsfs", MAGIC, true));

/// The namespace that a link of a process leads to.
fn namespace(at: &Process, kind: &'static str) -> Result<Namespace, Errno> {
    at.may_access()?;
    Ok(at.task()?.namespace(kind))
}

fn name_of(namespace: &Namespace) -> String {
    let (kind, _, number) = namespace.identity();
    format!("{kind}:[{number}]")
}

/// The text of a namespace link.
pub fn text(at: &Process, kind: &'static str) -> Result<Vec<u8>, Errno> {
    Ok(name_of(&namespace(at, kind)?).into_bytes())
}

/// The place of a namespace link.
pub fn follow(at: &Process, kind: &'static str) -> Result<Follow, Errno> {
    let namespace = namespace(at, kind)?;
    let kernel = at.view()?.kernel;
    let name = name_of(&namespace);
    let inode = Inode::new(
        SUPERBLOCK.clone(),
        FileKind::Regular,
        Box::new(NsInode(namespace)),
    );
    Ok(Follow::Path(anon_path_of(&kernel, &name, inode)))
}

/// A namespace as a file.
struct NsInode(Namespace);

impl InodeOps for NsInode {
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(Attr {
            ino: self.0.identity().2,
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
        Ok(Box::new(NsFile(self.0.clone())))
    }
}
