//! Inodes: what a file system says of a file, and the operations it offers on it.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use sync::{Mutex, rank};

use super::Path;
use crate::file::FileOps;

/// A file's type; the numbers are those of `st_mode >> 12` and `d_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FileKind {
    /// No type bits: event files and other anonymous inodes.
    Anonymous = 0,
    /// S_IFIFO.
    Fifo = 1,
    /// S_IFCHR.
    CharDevice = 2,
    /// S_IFDIR.
    Directory = 4,
    /// S_IFBLK.
    BlockDevice = 6,
    /// S_IFREG.
    Regular = 8,
    /// S_IFLNK.
    Symlink = 10,
    /// S_IFSOCK.
    Socket = 12,
}

impl FileKind {
    /// From the S_IFMT bits of a mode.
    pub fn from_mode(mode: u32) -> Option<FileKind> {
        Some(match (mode >> 12) & 0xf {
            1 => FileKind::Fifo,
            2 => FileKind::CharDevice,
            4 => FileKind::Directory,
            6 => FileKind::BlockDevice,
            8 => FileKind::Regular,
            10 => FileKind::Symlink,
            12 => FileKind::Socket,
            _ => return None,
        })
    }

    /// The S_IFMT bits.
    pub fn mode_bits(self) -> u32 {
        (self as u32) << 12
    }
}

/// Attributes (stat(2)). Times are nanoseconds since the epoch, CLOCK_REALTIME.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: u64,
    /// Type.
    pub kind: FileKind,
    /// Permission bits, setuid, setgid, sticky (07777).
    pub perm: u32,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node (Linux's encoded dev_t).
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// 512-byte blocks in use.
    pub blocks: u64,
    /// Preferred I/O size.
    pub blksize: u32,
    /// Last access.
    pub atime: i64,
    /// Last change of content.
    pub mtime: i64,
    /// Last change of the inode.
    pub ctime: i64,
    /// Creation, when known.
    pub btime: Option<i64>,
}

impl Attr {
    /// `st_mode`.
    pub fn mode(&self) -> u32 {
        self.kind.mode_bits() | self.perm
    }
}

/// A new time for utimensat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeChange {
    /// The current time.
    Now,
    /// This time, in nanoseconds since the epoch.
    At(i64),
}

/// What to change; the VFS has checked permissions and cleared setuid bits as Linux does. The file system sets ctime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttrChange {
    /// New permission bits (07777).
    pub perm: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New size (truncate).
    pub size: Option<u64>,
    /// New access time.
    pub atime: Option<TimeChange>,
    /// New modification time.
    pub mtime: Option<TimeChange>,
}

/// A file to create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewInode {
    /// Type.
    pub kind: FileKind,
    /// Permission bits, umask applied.
    pub perm: u32,
    /// Owner.
    pub uid: u32,
    /// Group (setgid directories considered).
    pub gid: u32,
    /// Device number for device nodes.
    pub rdev: u64,
}

/// Where a symbolic link leads.
pub enum Follow {
    /// A path text to walk.
    Text(Vec<u8>),
    /// Straight to a place (magic links of /proc).
    Path(Path),
}

/// statfs(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFs {
    /// f_type.
    pub magic: u64,
    /// f_bsize.
    pub block_size: u64,
    /// f_blocks.
    pub blocks: u64,
    /// f_bfree.
    pub blocks_free: u64,
    /// f_bavail.
    pub blocks_available: u64,
    /// f_files.
    pub files: u64,
    /// f_ffree.
    pub files_free: u64,
    /// f_namelen.
    pub name_max: u64,
}

/// Operations on a mounted file system as a whole.
pub trait SuperblockOps: Any + Send + Sync {
    /// The type's name, as in /proc/mounts.
    fn name(&self) -> &'static str;
    /// statfs(2).
    fn statfs(&self) -> Result<StatFs, Errno>;
    /// syncfs(2).
    fn sync(&self) -> Result<(), Errno> {
        Ok(())
    }
    /// Whether names may be cached as dentries until they are changed through this kernel. False: every walk
    /// asks [`InodeOps::lookup`] again (procfs, shared host directories).
    fn cacheable(&self) -> bool {
        true
    }
    /// Options as /proc/mounts shows them, without the generic ones.
    fn options(&self) -> String {
        String::new()
    }
}

/// A mounted file system.
pub struct Superblock {
    /// st_dev of its files.
    pub dev: u64,
    /// Operations.
    pub ops: Box<dyn SuperblockOps>,
}

static NEXT_DEV: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

impl Superblock {
    /// A superblock with a fresh anonymous device number (major 0).
    pub fn new(ops: Box<dyn SuperblockOps>) -> Arc<Superblock> {
        let minor = NEXT_DEV.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // Linux's new_encode_dev for major 0.
        let dev = (minor & 0xff) | ((minor & !0xff) << 12);
        Arc::new(Superblock { dev, ops })
    }
}

/// What a file system can do with one of its files (Linux's struct inode_operations). Permissions were checked by
/// the VFS; names hold no slash, are not empty, not `.` or `..`, and at most 255 bytes long.
///
/// Concurrency: the VFS serialises changes of one directory; `lookup`, `attr`, reads and writes come at any time.
pub trait InodeOps: Any + Send + Sync {
    /// stat(2).
    fn attr(&self) -> Result<Attr, Errno>;

    /// chmod, chown, truncate, utimensat.
    fn set_attr(&self, change: &AttrChange) -> Result<(), Errno> {
        let _ = change;
        Err(Errno::EPERM)
    }

    /// The child called `name`. `ENOENT` when there is none.
    fn lookup(&self, name: &[u8]) -> Result<Arc<Inode>, Errno> {
        let _ = name;
        Err(Errno::ENOTDIR)
    }

    /// For a directory whose names change behind our back ([`SuperblockOps::cacheable`] is false): has changes heard of from
    /// now on, and returns the number (not 0) of the state that holds now. A name looked up after this call may be
    /// remembered until the number changes. `None`: it may not be remembered.
    fn watch(&self) -> Option<u64> {
        None
    }

    /// Creates a regular file, directory, device node, fifo or socket.
    fn create(&self, name: &[u8], new: &NewInode) -> Result<Arc<Inode>, Errno> {
        let _ = (name, new);
        Err(Errno::EPERM)
    }

    /// symlink(2).
    fn symlink(&self, name: &[u8], target: &[u8], new: &NewInode) -> Result<Arc<Inode>, Errno> {
        let _ = (name, target, new);
        Err(Errno::EPERM)
    }

    /// link(2): `target` is of the same superblock.
    fn link(&self, name: &[u8], target: &Arc<Inode>) -> Result<(), Errno> {
        let _ = (name, target);
        Err(Errno::EPERM)
    }

    /// unlink(2) of a name that is not a directory.
    fn unlink(&self, name: &[u8], victim: &Arc<Inode>) -> Result<(), Errno> {
        let _ = (name, victim);
        Err(Errno::EPERM)
    }

    /// rmdir(2); `ENOTEMPTY` when it has entries.
    fn rmdir(&self, name: &[u8], victim: &Arc<Inode>) -> Result<(), Errno> {
        let _ = (name, victim);
        Err(Errno::EPERM)
    }

    /// renameat2(2) from this directory to `new_dir` of the same superblock; `flags` are RENAME_NOREPLACE (1),
    /// RENAME_EXCHANGE (2), RENAME_WHITEOUT (4).
    fn rename(&self, name: &[u8], new_dir: &Arc<Inode>, new_name: &[u8], flags: u32) -> Result<(), Errno> {
        let _ = (name, new_dir, new_name, flags);
        Err(Errno::EPERM)
    }

    /// A file without a name in this directory (O_TMPFILE).
    fn tmpfile(&self, new: &NewInode) -> Result<Arc<Inode>, Errno> {
        let _ = new;
        Err(Errno::EOPNOTSUPP)
    }

    /// readlink(2).
    fn readlink(&self) -> Result<Vec<u8>, Errno> {
        Err(Errno::EINVAL)
    }

    /// Where a walk continues at this symbolic link.
    fn follow(&self) -> Result<Follow, Errno> {
        self.readlink().map(Follow::Text)
    }

    /// open(2) of an existing file of this file system (fifos, sockets and device numbers are handled by the VFS).
    /// `flags` are open(2)'s; O_TRUNC was done by `set_attr`.
    fn open(&self, path: &Path, flags: u32) -> Result<Box<dyn FileOps>, Errno>;

    /// getxattr(2) with the full name. `ENODATA` when there is none.
    fn get_xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let _ = name;
        Err(Errno::EOPNOTSUPP)
    }

    /// setxattr(2); `flags` are XATTR_CREATE (1) and XATTR_REPLACE (2).
    fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        let _ = (name, value, flags);
        Err(Errno::EOPNOTSUPP)
    }

    /// removexattr(2).
    fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        let _ = name;
        Err(Errno::EOPNOTSUPP)
    }

    /// listxattr(2): the names.
    fn list_xattr(&self) -> Result<Vec<Vec<u8>>, Errno> {
        Ok(Vec::new())
    }

    /// Overrides the permission check of the VFS (procfs, hostfs): `mask` of 4 read, 2 write, 1 execute/search.
    /// `None`: check the attributes as usual.
    fn permission(&self, cred: &crate::cred::Credentials, mask: u32) -> Option<Result<(), Errno>> {
        let _ = (cred, mask);
        None
    }

    /// The process whose /proc directory this is: its id.
    fn process(&self) -> Option<u32> {
        None
    }

    /// statfs(2) when it differs from the superblock's.
    fn statfs(&self) -> Option<StatFs> {
        None
    }
}

/// An inode: the file system's operations plus what the VFS attaches to every file.
/// A file system hands out the same `Arc<Inode>` for the same file as long as anyone holds it.
pub struct Inode {
    /// The file system it is on.
    pub sb: Arc<Superblock>,
    /// The file system's operations.
    pub ops: Box<dyn InodeOps>,
    /// File type, which never changes.
    pub kind: FileKind,
    /// Locks, watches and bindings; filled in by the VFS.
    pub attached: Mutex<Attached>,
    /// Held while entries of this directory are changed.
    pub dir_lock: Mutex<()>,
}

/// What the VFS and the sockets attach to an inode.
#[derive(Default)]
pub struct Attached {
    /// The fifo's pipe, the bound unix socket, and other objects by kind (see each user).
    pub objects: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Inode {
    /// An inode of `sb`.
    pub fn new(sb: Arc<Superblock>, kind: FileKind, ops: Box<dyn InodeOps>) -> Arc<Inode> {
        Arc::new(Inode {
            sb,
            ops,
            kind,
            attached: Mutex::new(rank::INODE, Attached::default()),
            dir_lock: Mutex::new(rank::DIRECTORY, ()),
        })
    }

    /// stat(2).
    pub fn attr(&self) -> Result<Attr, Errno> {
        self.ops.attr()
    }

    /// The attached object of that type, if there is one.
    pub fn attached<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let attached = self.attached.lock();
        let mut objects = attached.objects.iter();
        objects.find_map(|object| object.clone().downcast::<T>().ok())
    }

    /// The attached object of that type; made and attached when there is none.
    pub fn attach<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut attached = self.attached.lock();
        let found = attached
            .objects
            .iter()
            .find_map(|object| object.clone().downcast::<T>().ok());
        found.unwrap_or_else(|| {
            let made = Arc::new(make());
            attached.objects.push(made.clone());
            made
        })
    }

    /// Takes the attached object of that type off.
    pub fn detach<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let mut attached = self.attached.lock();
        let at = attached.objects.iter().position(|object| (**object).is::<T>())?;
        attached.objects.swap_remove(at).downcast::<T>().ok()
    }

    /// The operations as a certain file system's, when they are.
    pub fn ops_as<T: InodeOps>(&self) -> Option<&T> {
        (&*self.ops as &dyn Any).downcast_ref()
    }
}
