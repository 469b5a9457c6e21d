//! cachestat(2).

use abi::{Errno, PAGE_SIZE, UserAddr, abi_struct};

use super::arg::{Fd, Flags};
use crate::file::memory_file::OpenMemoryFile;
use crate::task::CurrentTask;
use crate::vfs::FileKind;

abi_struct! {
    /// `struct cachestat_range`.
    struct Range { off: u64, len: u64 }
}

abi_struct! {
    /// `struct cachestat`, in pages.
    struct CacheStat { cache: u64, dirty: u64, writeback: u64, evicted: u64, recently_evicted: u64 }
}

/// cachestat(2). What the host keeps of its files is not told: all pages of theirs count.
pub fn cachestat(
    task: &CurrentTask,
    fd: Fd,
    range: UserAddr,
    out: UserAddr,
    flags: Flags,
) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    let range: Range = task.read_struct(range)?;
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let attr = file.path().inode()?.attr()?;
    let first = range.off / PAGE_SIZE;
    let last = match range.len {
        0 => u64::MAX,
        len => range.off.wrapping_add(len).wrapping_sub(1) / PAGE_SIZE + 1,
    };
    let pages = first..last.min(attr.size.div_ceil(PAGE_SIZE));
    let cache = if attr.kind != FileKind::Regular || pages.is_empty() {
        0
    } else if let Some(memory) = file.ops_as::<OpenMemoryFile>() {
        memory.0.pages_in(pages)
    } else {
        pages.end - pages.start
    };
    let stat = CacheStat {
        cache,
        dirty: 0,
        writeback: 0,
        evicted: 0,
        recently_evicted: 0,
    };
    task.write_struct(out, &stat)
}
