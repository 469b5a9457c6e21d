//! Files without a place in any directory: pipes, event files, sockets, memory files.

use std::sync::Arc;

use abi::Errno;
use sync::{Mutex, rank};

use super::{
    Attr, AttrChange, Dentry, FileKind, Inode, InodeOps, Mount, MountFlags, Path, StatFs, Superblock,
    SuperblockOps, TimeChange, now_ns,
};
use crate::Kernel;
use crate::file::{FileDescription, FileOps};

/// f_type of anonymous inodes (ANON_INODE_FS_MAGIC).
const ANON_INODE_MAGIC: u64 = 0x0904_1934;

/// The name of the file system of inodes without a place in the tree: pipes, eventfds and the like.
pub const ANONYMOUS_FS: &str = "anon_inodefs";

struct AnonymousFs;

impl SuperblockOps for AnonymousFs {
    fn name(&self) -> &'static str {
        ANONYMOUS_FS
    }
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs {
            magic: ANON_INODE_MAGIC,
            block_size: 4096,
            name_max: 255,
            ..StatFs::default()
        })
    }
}

/// The inode of an object that has attributes and nothing else.
struct AnonymousInode(Mutex<Attr>);

impl InodeOps for AnonymousInode {
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(*self.0.lock())
    }

    fn set_attr(&self, change: &AttrChange) -> Result<(), Errno> {
        if change.size.is_some() {
            return Err(Errno::EINVAL);
        }
        let mut attr = self.0.lock();
        attr.apply(change, now_ns());
        Ok(())
    }

    fn open(&self, _: &Path, _: u32) -> Result<Box<dyn FileOps>, Errno> {
        // Reopening through /proc/PID/fd: a pipe is opened as a fifo before this is asked.
        Err(Errno::ENXIO)
    }
}

impl Attr {
    /// Changes what `change` names, except the size.
    pub fn apply(&mut self, change: &AttrChange, now: i64) {
        let time = |change: TimeChange| match change {
            TimeChange::Now => now,
            TimeChange::At(at) => at,
        };
        self.perm = change.perm.unwrap_or(self.perm);
        self.uid = change.uid.unwrap_or(self.uid);
        self.gid = change.gid.unwrap_or(self.gid);
        self.atime = change.atime.map_or(self.atime, time);
        self.mtime = change.mtime.map_or(self.mtime, time);
        self.ctime = now;
    }
}

fn anonymous_mount(kernel: &Kernel) -> &Arc<Mount> {
    kernel.vfs.anonymous.get_or_init(|| {
        let sb = Superblock::new(Box::new(AnonymousFs));
        let inode = anonymous_inode(&sb, 0, FileKind::Directory, 0o700, (0, 0));
        Mount::new(Dentry::root(b"/", inode), b"none", MountFlags::empty())
    })
}

fn anonymous_inode(
    sb: &Arc<Superblock>,
    ino: u64,
    kind: FileKind,
    perm: u32,
    (uid, gid): (u32, u32),
) -> Arc<Inode> {
    let now = now_ns();
    let attr = Attr {
        ino,
        kind,
        perm,
        nlink: 1,
        uid,
        gid,
        rdev: 0,
        size: 0,
        blocks: 0,
        blksize: 4096,
        atime: now,
        mtime: now,
        ctime: now,
        btime: None,
    };
    let ops = AnonymousInode(Mutex::new(rank::FS, attr));
    Inode::new(sb.clone(), kind, Box::new(ops))
}

/// A place outside every directory for one object, owned by the current task's user. `name` is shown as it is
/// (`pipe:[123]`); several open files may share the place (both ends of a pipe).
pub fn anon_path(kernel: &Kernel, name: &str, ino: u64, kind: FileKind, perm: u32) -> Path {
    let owner = crate::task::current().map_or((0, 0), |task| {
        let cred = task.cred();
        (cred.fsuid, cred.fsgid)
    });
    let sb = anonymous_superblock(kernel);
    let inode = anonymous_inode(&sb, ino, kind, perm, owner);
    anon_path_of(kernel, name, inode)
}

/// The file system that files without a place belong to.
pub fn anonymous_superblock(kernel: &Kernel) -> Arc<Superblock> {
    match anonymous_mount(kernel).root.inode_ref() {
        Ok(inode) => inode.sb.clone(),
        // The root is made positive; this is never reached.
        Err(_) => Superblock::new(Box::new(AnonymousFs)),
    }
}

/// A place outside every directory for an inode of the caller's own making (memfd, sockets).
pub fn anon_path_of(kernel: &Kernel, name: &str, inode: Arc<Inode>) -> Path {
    Path {
        mount: anonymous_mount(kernel).clone(),
        dentry: Dentry::root(name.as_bytes(), inode),
    }
}

/// An open file outside every directory (`anon_inode:[eventfd]`); `flags` are open(2)'s access mode and status flags.
pub fn anon_file(kernel: &Kernel, name: &str, ops: Box<dyn FileOps>, flags: u32) -> Arc<FileDescription> {
    let path = anon_path(kernel, name, kernel.next_ino(), FileKind::Anonymous, 0o600);
    FileDescription::new(path, ops, flags)
}
