//! tmpfs(5): a file system in memory. File bytes come from the kernel's [`kernel::file::MemoryProvider`];
//! names, attributes and extended attributes live on the sentry's heap, bounded by the number of inodes.

mod directory;
mod node;
mod options;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::{Errno, PAGE_SIZE};
use kernel::Kernel;
use kernel::file::MemoryProvider;
use kernel::file::page_quota::PageQuota;
use kernel::vfs::{FileKind, FilesystemType, Inode, MountFlags, NewInode, StatFs, Superblock, SuperblockOps};

use node::Node;
pub use options::Options;

/// f_type (TMPFS_MAGIC).
const MAGIC: u64 = 0x0102_1994;
/// Inodes of an instance when nr_inodes is not given: each costs about a kilobyte of the sentry's heap.
const DEFAULT_INODES: u64 = 512 << 10;
/// Inodes of all instances of a sandbox together, whatever their options say.
const ALL_INODES: u64 = 2 << 20;
/// Bytes of link texts and extended attributes, of all instances together: they live on the sentry's heap.
const ALL_TEXT: u64 = 256 << 20;

static INODES: AtomicU64 = AtomicU64::new(0);
static TEXT: AtomicU64 = AtomicU64::new(0);

/// Adds to a counter within a limit. `ENOSPC` beyond it.
fn charge(counter: &AtomicU64, count: u64, limit: u64) -> Result<(), Errno> {
    let take = |used: u64| used.checked_add(count).filter(|used| *used <= limit);
    let result = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
    result.map(|_| ()).map_err(|_| Errno::ENOSPC)
}

/// Counts bytes kept on the sentry's heap.
fn charge_text(bytes: usize) -> Result<(), Errno> {
    charge(&TEXT, bytes as u64, ALL_TEXT)
}

/// Gives such bytes back.
fn release_text(bytes: usize) {
    TEXT.fetch_sub(bytes as u64, Ordering::Relaxed);
}

/// The file system type `tmpfs`.
pub struct TmpFs;

impl FilesystemType for TmpFs {
    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn for_user_namespaces(&self) -> bool {
        true
    }

    fn mount(
        &self,
        kernel: &Arc<Kernel>,
        _source: &[u8],
        _flags: MountFlags,
        data: &[u8],
    ) -> Result<Arc<Inode>, Errno> {
        let options = Options::parse(data, kernel.total_memory())?;
        new_root(kernel, &options)
    }
}

/// A fresh instance; returns its root inode.
pub fn new_root(kernel: &Kernel, options: &Options) -> Result<Arc<Inode>, Errno> {
    let size = options.size.unwrap_or(kernel.total_memory() / 2);
    let limit = if size == 0 {
        u64::MAX / PAGE_SIZE
    } else {
        size.div_ceil(PAGE_SIZE)
    };
    let instance = Arc::new(Instance {
        memory: kernel.memory.clone(),
        quota: Arc::new(PageQuota::new(limit)),
        inode_limit: match options.inodes {
            Some(0) => u64::MAX,
            Some(limit) => limit,
            None => DEFAULT_INODES,
        },
        inodes: AtomicU64::new(0),
        next_ino: AtomicU64::new(1),
        options: options.clone(),
    });
    let sb = Superblock::new(Box::new(TmpfsSuperblock(instance.clone())));
    let new = NewInode {
        kind: FileKind::Directory,
        perm: options.mode,
        uid: options.uid,
        gid: options.gid,
        rdev: 0,
    };
    Node::create(&instance, &sb, &new, None)
}

/// What all nodes of an instance share.
struct Instance {
    memory: Arc<dyn MemoryProvider>,
    quota: Arc<PageQuota>,
    inode_limit: u64,
    inodes: AtomicU64,
    next_ino: AtomicU64,
    options: Options,
}

impl Instance {
    /// Counts one more inode and gives its number. `ENOSPC` at the limit.
    fn new_ino(&self) -> Result<u64, Errno> {
        charge(&self.inodes, 1, self.inode_limit)?;
        charge(&INODES, 1, ALL_INODES).inspect_err(|_| {
            self.inodes.fetch_sub(1, Ordering::Relaxed);
        })?;
        Ok(self.next_ino.fetch_add(1, Ordering::Relaxed))
    }

    fn inode_gone(&self) {
        self.inodes.fetch_sub(1, Ordering::Relaxed);
        INODES.fetch_sub(1, Ordering::Relaxed);
    }
}

struct TmpfsSuperblock(Arc<Instance>);

impl SuperblockOps for TmpfsSuperblock {
    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn statfs(&self) -> Result<StatFs, Errno> {
        let instance = &self.0;
        let bounded = instance.quota.limit() < u64::MAX / PAGE_SIZE;
        let blocks = if bounded { instance.quota.limit() } else { 0 };
        let free = blocks.saturating_sub(instance.quota.used());
        let files = if instance.inode_limit == u64::MAX {
            0
        } else {
            instance.inode_limit
        };
        Ok(StatFs {
            magic: MAGIC,
            block_size: PAGE_SIZE,
            blocks,
            blocks_free: free,
            blocks_available: free,
            files,
            files_free: files.saturating_sub(instance.inodes.load(Ordering::Relaxed)),
            name_max: 255,
        })
    }

    fn options(&self) -> String {
        self.0.options.show()
    }
}
