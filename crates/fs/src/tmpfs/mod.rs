//! tmpfs(5): files that live in memory until they are removed.
//!
//! `node` holds what a file is, `inode` the operations on it, `data` open regular files, `directory` open directories. The bytes are in the
//! sandbox's memory file ([`crate::memory`]), so they can be mapped.

mod data;
mod directory;
mod inode;
mod node;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use abi::{Errno, PAGE_SIZE};
use kernel::Kernel;
use kernel::file::MemoryProvider;
use kernel::vfs::{FileKind, FilesystemType, Inode, MountFlags, NewInode, StatFs, Superblock, SuperblockOps};

use inode::TmpInode;
use node::Node;

/// TMPFS_MAGIC.
const MAGIC: u64 = 0x0102_1994;
/// Files and directories of one mount: each costs the sentry about a kilobyte.
const MAX_INODES: u64 = 1 << 20;
/// Longest name.
const NAME_MAX: u64 = 255;

/// The type `tmpfs`.
pub struct TmpFs;

impl FilesystemType for TmpFs {
    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn mount(
        &self,
        kernel: &Arc<Kernel>,
        _source: &[u8],
        _flags: MountFlags,
        data: &[u8],
    ) -> Result<Arc<Inode>, Errno> {
        let options = Options::parse(data)?;
        let size = options.size.unwrap_or(kernel.config.total_memory / 2);
        mount(kernel.memory.clone(), size, &options)
    }
}

/// Mount options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Options {
    perm: u32,
    uid: u32,
    gid: u32,
    /// Bytes; `None`: half of the memory.
    size: Option<u64>,
}

impl Options {
    /// From mount(2)'s string. Options that only matter to the host's memory management are taken without effect.
    fn parse(data: &[u8]) -> Result<Options, Errno> {
        let mut options = Options {
            perm: 0o1777,
            uid: 0,
            gid: 0,
            size: None,
        };
        let text = std::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let number = || value.parse::<u32>().map_err(|_| Errno::EINVAL);
            match name {
                "mode" => options.perm = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777,
                "uid" => options.uid = number()?,
                "gid" => options.gid = number()?,
                "size" => options.size = Some(bytes(value)?),
                "nr_blocks" => options.size = Some(bytes(value)?.saturating_mul(PAGE_SIZE)),
                "nr_inodes" | "huge" | "mpol" | "inode32" | "inode64" | "noswap" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }
}

/// A number with a suffix k, m or g. A share of the memory (`50%`) counts as no limit of its own.
fn bytes(text: &str) -> Result<u64, Errno> {
    if text.ends_with('%') {
        return Ok(u64::MAX);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return Err(Errno::EINVAL),
    };
    let number: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    number.checked_mul(1 << shift).ok_or(Errno::EINVAL)
}

/// A mounted tmpfs.
pub(crate) struct Shared {
    memory: Arc<dyn MemoryProvider>,
    /// Largest size of a file, and what statfs(2) shows; the sandbox's memory as a whole is bounded by its memory file.
    size: u64,
    sb: OnceLock<Weak<Superblock>>,
    next_ino: AtomicU64,
    inodes: AtomicU64,
}

fn mount(memory: Arc<dyn MemoryProvider>, size: u64, options: &Options) -> Result<Arc<Inode>, Errno> {
    let fs = Arc::new(Shared {
        memory,
        size,
        sb: OnceLock::new(),
        next_ino: AtomicU64::new(1),
        inodes: AtomicU64::new(0),
    });
    let sb = Superblock::new(Box::new(TmpSuper(fs.clone())));
    let _ = fs.sb.set(Arc::downgrade(&sb));
    let new = NewInode {
        kind: FileKind::Directory,
        perm: options.perm,
        uid: options.uid,
        gid: options.gid,
        rdev: 0,
    };
    fs.new_inode(&new, None)
}

impl Shared {
    fn sb(&self) -> Result<Arc<Superblock>, Errno> {
        self.sb.get().and_then(Weak::upgrade).ok_or(Errno::ESTALE)
    }

    /// A new file without a name; `link` is a symbolic link's text. `ENOSPC` when there are too many.
    fn new_inode(self: &Arc<Self>, new: &NewInode, link: Option<&[u8]>) -> Result<Arc<Inode>, Errno> {
        let sb = self.sb()?;
        if self.inodes.fetch_add(1, Ordering::Relaxed) >= MAX_INODES {
            self.inodes.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        // From here on the node's drop counts back.
        let ino = self.next_ino.fetch_add(1, Ordering::Relaxed);
        let node = Node::new(self, ino, new, link)?;
        Ok(Inode::new(sb, new.kind, Box::new(TmpInode(Arc::new(node)))))
    }
}

struct TmpSuper(Arc<Shared>);

impl SuperblockOps for TmpSuper {
    fn name(&self) -> &'static str {
        "tmpfs"
    }

    fn statfs(&self) -> Result<StatFs, Errno> {
        let blocks = self.0.size / PAGE_SIZE;
        let inodes = self.0.inodes.load(Ordering::Relaxed);
        Ok(StatFs {
            magic: MAGIC,
            block_size: PAGE_SIZE,
            blocks,
            blocks_free: blocks,
            blocks_available: blocks,
            files: MAX_INODES,
            files_free: MAX_INODES.saturating_sub(inodes),
            name_max: NAME_MAX,
        })
    }

    fn options(&self) -> String {
        format!("size={}k", self.0.size >> 10)
    }
}
