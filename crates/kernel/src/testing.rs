//! A guest for tests: a kernel on the scripted platform with one task whose memory and calls the test drives.
//!
//! ```ignore
//! let guest = Guest::new();
//! let fd = guest.call("eventfd2", &[0, 0])?;
//! ```

use std::cell::Cell;
use std::sync::Arc;

use abi::{Errno, PAGE_SIZE, UserAddr};
use platform::scripted::Scripted;
use platform::{Context, Platform, Prot, Registers, XState};

use crate::cred::Credentials;
use crate::file::{FdTable, FileOps, HeapMemory};
use crate::kernel::NoLog;
use crate::mm::{Limits, MapRequest, Mm, Place};
use crate::signal::Flow;
use crate::task::{CurrentTask, InitTask, create_entered, create_init, default_rlimits};
use crate::vfs::{
    Attr, FileKind, FsContext, Inode, InodeOps, MountFlags, Path, StatFs, Superblock, SuperblockOps, Walker,
};
use crate::{Kernel, KernelConfig};

/// Where the test's guest memory starts.
const MEMORY_START: u64 = 0x10_0000;
/// Its size.
const MEMORY_LEN: u64 = 4 << 20;

/// A kernel with one running task.
pub struct Guest {
    /// The task.
    pub task: CurrentTask,
    /// Its kernel.
    pub kernel: Arc<Kernel>,
    next: Cell<u64>,
}

/// What a process is made of.
struct Parts {
    mm: Arc<Mm>,
    context: Box<dyn Context>,
}

impl Parts {
    fn new(platform: &Arc<Scripted>) -> Parts {
        let space = platform
            .new_address_space()
            .expect("scripted spaces are always made");
        let context = space
            .new_context(&Registers::default(), &XState::default())
            .expect("scripted contexts are always made");
        let mm = Mm::new(space);
        let memory = MapRequest::anonymous(Place::Fixed(MEMORY_START), MEMORY_LEN, Prot::READ | Prot::WRITE);
        mm.map(memory, &Limits::NONE)
            .expect("the scripted space takes every mapping");
        Parts { mm, context }
    }

    fn described(&self, root: Path) -> InitTask {
        InitTask {
            mm: self.mm.clone(),
            files: Arc::new(FdTable::default()),
            fs: FsContext::new(root),
            cred: Arc::new(Credentials::for_user(0, 0, Vec::new())),
            comm: b"test".to_vec(),
            rlimits: default_rlimits(),
            protected: false,
        }
    }
}

impl Default for Guest {
    fn default() -> Self {
        Self::new()
    }
}

impl Guest {
    /// A guest as root (uid 0) whose root directory is empty and unchangeable.
    pub fn new() -> Guest {
        Self::with_root(|_| {
            let sb = Superblock::new(Box::new(EmptyFs));
            Inode::new(sb, FileKind::Directory, Box::new(EmptyDirectory))
        })
    }

    /// A guest as root (uid 0) whose root directory is the given one.
    pub fn with_root(root: impl FnOnce(&Arc<Kernel>) -> Arc<Inode>) -> Guest {
        let platform = Arc::new(Scripted);
        let config = KernelConfig::default();
        let kernel = Kernel::new(platform.clone(), Arc::new(HeapMemory), Box::new(NoLog), config);
        let inode = root(&kernel);
        let root = kernel.vfs.mount_root(inode, b"none", MountFlags::empty());
        let parts = Parts::new(&platform);
        let task = create_init(&kernel, parts.described(root)).expect("a new kernel has no first process");
        Guest {
            task: CurrentTask::new(task, parts.context, parts.mm),
            kernel,
            next: Cell::new(MEMORY_START),
        }
    }

    /// Another process of the same kernel, for the thread that calls this.
    pub fn beside(kernel: &Arc<Kernel>, root: Path) -> CurrentTask {
        let parts = Parts::new(&Arc::new(Scripted));
        let task = create_entered(kernel, parts.described(root)).expect("the first process lives");
        CurrentTask::new(task, parts.context, parts.mm)
    }

    /// Fresh zeroed guest memory of `len` bytes, aligned to 16.
    pub fn room(&self, len: usize) -> UserAddr {
        let at = self.next.get();
        let end = (at + len as u64).next_multiple_of(16);
        assert!(
            end <= MEMORY_START + MEMORY_LEN,
            "the test's guest memory is used up"
        );
        self.next.set(end);
        UserAddr(at)
    }

    /// `data` in fresh guest memory.
    pub fn bytes(&self, data: &[u8]) -> UserAddr {
        let at = self.room(data.len());
        self.task.copy_out(at, data).expect("fresh memory is writable");
        at
    }

    /// A NUL-terminated string in fresh guest memory.
    pub fn string(&self, text: &str) -> UserAddr {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(&bytes)
    }

    /// A string that ends at an unmapped page, without a NUL.
    pub fn unterminated(&self) -> UserAddr {
        UserAddr(MEMORY_START + MEMORY_LEN - 1)
    }

    /// An address that is not mapped.
    pub fn bad(&self) -> UserAddr {
        UserAddr(MEMORY_START + MEMORY_LEN + 16 * PAGE_SIZE)
    }

    /// Guest memory as it is now.
    pub fn read(&self, at: UserAddr, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.task
            .copy_in(at, &mut bytes)
            .expect("the test reads mapped memory");
        bytes
    }

    /// A little-endian number in guest memory.
    pub fn read_u32(&self, at: UserAddr) -> u32 {
        u32::from_le_bytes(self.read(at, 4).try_into().expect("four bytes were read"))
    }

    /// A little-endian number in guest memory.
    pub fn read_u64(&self, at: UserAddr) -> u64 {
        u64::from_le_bytes(self.read(at, 8).try_into().expect("eight bytes were read"))
    }

    /// Makes a system call by name through the table.
    pub fn call(&self, name: &str, args: &[u64]) -> Result<u64, Errno> {
        let row = crate::syscall::rows().find(|row| row.name == name);
        let row = row.unwrap_or_else(|| panic!("no system call {name}"));
        let mut six = [0; 6];
        six[..args.len()].copy_from_slice(args);
        (row.call)(&self.task, &six)
    }

    /// What happens before guest code continues: signals are taken.
    pub fn attend(&self) -> Flow {
        crate::signal::attend(&self.task, None)
    }

    /// Continues as another user, without capabilities unless it is 0.
    pub fn become_user(&self, uid: u32, gid: u32) {
        *self.task.cred.write() = Arc::new(Credentials::for_user(uid, gid, Vec::new()));
    }

    /// The task as a walker.
    pub fn walker(&self) -> Walker<'_> {
        Walker::of(&self.task)
    }
}

struct EmptyFs;

impl SuperblockOps for EmptyFs {
    fn name(&self) -> &'static str {
        "empty"
    }
    fn statfs(&self) -> Result<StatFs, Errno> {
        Ok(StatFs::default())
    }
}

struct EmptyDirectory;

impl InodeOps for EmptyDirectory {
    fn attr(&self) -> Result<Attr, Errno> {
        Ok(Attr {
            ino: 1,
            kind: FileKind::Directory,
            perm: 0o755,
            nlink: 2,
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
    fn lookup(&self, _: &[u8]) -> Result<Arc<Inode>, Errno> {
        Err(Errno::ENOENT)
    }
    fn open(&self, _: &Path, _: u32) -> Result<Box<dyn FileOps>, Errno> {
        Ok(Box::new(EmptyDirectoryFile))
    }
}

/// An open empty directory.
struct EmptyDirectoryFile;

impl FileOps for EmptyDirectoryFile {
    fn seekable(&self) -> bool {
        true
    }
}
