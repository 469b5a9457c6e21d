//! An open file (Linux's struct file; POSIX's open file description).

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use sync::{Mutex, Registrations, rank};

use super::FileOps;
use crate::vfs::Path;

/// What F_SETOWN set: who gets SIGIO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileOwner {
    /// Positive: a process or thread; negative: a process group; 0: nobody.
    pub pid: i32,
    /// Signal to send (F_SETSIG); 0 means SIGIO.
    pub signal: u32,
    /// Whether `pid` names one thread (F_OWNER_TID).
    pub thread: bool,
    /// Real user id of who set it.
    pub uid: u32,
    /// Effective user id of who set it.
    pub euid: u32,
}

/// An open file. Descriptors (also in several processes) share it.
pub struct FileDescription {
    path: Path,
    ops: Box<dyn FileOps>,
    /// O_ACCMODE and status flags as open(2) and F_SETFL gave them, without O_CLOEXEC and creation flags.
    flags: AtomicU32,
    /// The position of a seekable file; held over reads and writes.
    pub position: Mutex<u64>,
    /// SIGIO settings.
    pub owner: Mutex<FileOwner>,
    /// What O_ASYNC listens to.
    pub(super) asynchronous: Mutex<Option<Registrations>>,
    /// open(2) made the file.
    created: AtomicBool,
    id: u64,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl FileDescription {
    /// An open file at `path` with these operations. `flags` as in open(2).
    pub fn new(path: Path, ops: Box<dyn FileOps>, flags: u32) -> Arc<FileDescription> {
        const KEPT: u32 = !(abi::fcntl::O_CREAT
            | abi::fcntl::O_EXCL
            | abi::fcntl::O_NOCTTY
            | abi::fcntl::O_TRUNC
            | abi::fcntl::O_CLOEXEC);
        path.mount.used();
        Arc::new(FileDescription {
            path,
            ops,
            flags: AtomicU32::new(flags & KEPT),
            position: Mutex::new(rank::FILE_OFFSET, 0),
            owner: Mutex::new(rank::LEAF, FileOwner::default()),
            created: AtomicBool::new(false),
            asynchronous: Mutex::new(rank::LEAF, None),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its operations.
    pub fn ops(&self) -> &dyn FileOps {
        &*self.ops
    }

    /// Its operations as a certain kind, when it is of that kind.
    pub fn ops_as<T: FileOps>(&self) -> Option<&T> {
        (&*self.ops as &dyn Any).downcast_ref()
    }

    /// A number unique among all open files of the sandbox's life (lock owner, epoll key).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Status flags and access mode.
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Replaces the status flags (the access mode stays).
    pub fn set_flags(&self, flags: u32) {
        let keep = self.flags() & abi::fcntl::O_ACCMODE;
        self.flags
            .store(keep | (flags & !abi::fcntl::O_ACCMODE), Ordering::Relaxed);
    }

    /// Whether open(2) made the file (F_CREATED_QUERY).
    pub fn created(&self) -> bool {
        self.created.load(Ordering::Relaxed)
    }

    /// open(2) has made the file.
    pub fn set_created(&self) {
        self.created.store(true, Ordering::Relaxed);
    }

    /// Whether reads are allowed by the access mode.
    pub fn readable(&self) -> bool {
        self.flags() & abi::fcntl::O_PATH == 0
            && matches!(
                self.flags() & abi::fcntl::O_ACCMODE,
                abi::fcntl::O_RDONLY | abi::fcntl::O_RDWR
            )
    }

    /// Whether writes are allowed by the access mode.
    pub fn writable(&self) -> bool {
        self.flags() & abi::fcntl::O_PATH == 0
            && matches!(
                self.flags() & abi::fcntl::O_ACCMODE,
                abi::fcntl::O_WRONLY | abi::fcntl::O_RDWR
            )
    }

    /// Whether it was opened with O_NONBLOCK (or got it later).
    pub fn nonblocking(&self) -> bool {
        self.flags() & abi::fcntl::O_NONBLOCK != 0
    }
}

impl Drop for FileDescription {
    fn drop(&mut self) {
        self.ops.release(self);
        super::lock::release_all(self);
        super::lease::release(self);
    }
}
