//! Mapping commands: what mmap(2) and its kin become on the host.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use abi::UserAddr;
use bitflags::bitflags;

bitflags! {
    /// Access that a mapping gives the guest; the numbers of PROT_*.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Prot: u32 {
        /// PROT_READ.
        const READ = 1;
        /// PROT_WRITE.
        const WRITE = 2;
        /// PROT_EXEC.
        const EXEC = 4;
    }
}

bitflags! {
    /// How a range is mapped.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct MapFlags: u32 {
        /// Changes are seen by others that map the same object (MAP_SHARED), else copy-on-write.
        const SHARED = 1;
        /// Prefault (MAP_POPULATE).
        const POPULATE = 2;
        /// Lock into memory where the host allows it.
        const LOCKED = 4;
        /// Prefer transparent huge pages (the engine rounds as it sees fit).
        const HUGE = 8;
    }
}

/// An open host file that can be mapped into guests. The descriptor's access mode bounds what may be mapped.
///
/// The number is closed when the last handle is dropped, which the engine delays until no command can name it.
#[derive(Clone, Debug)]
pub struct HostFile(pub Arc<OwnedFd>);

/// What a range shows.
#[derive(Clone, Debug)]
pub enum MapSource {
    /// Zero-filled memory.
    Anonymous,
    /// Bytes of a host file from `offset` (page aligned) on.
    File {
        /// The file.
        file: HostFile,
        /// Offset in bytes.
        offset: u64,
    },
    /// The engine's vDSO image, from its start; `len` must be [`crate::Vdso::len`].
    Vdso,
}

/// One change of an address space. Addresses and lengths are page aligned, lie inside
/// [`crate::UserRange`], and replace what was there (MAP_FIXED).
#[derive(Clone, Debug)]
pub enum MapOp {
    /// mmap(2).
    Map {
        /// Start.
        addr: UserAddr,
        /// Bytes.
        len: u64,
        /// Access.
        prot: Prot,
        /// Kind.
        flags: MapFlags,
        /// Content.
        source: MapSource,
    },
    /// munmap(2).
    Unmap {
        /// Start.
        addr: UserAddr,
        /// Bytes.
        len: u64,
    },
    /// mprotect(2).
    Protect {
        /// Start.
        addr: UserAddr,
        /// Bytes.
        len: u64,
        /// New access.
        prot: Prot,
    },
    /// mremap(2) from one place to another (`new == old` grows or shrinks in place).
    Remap {
        /// Old start.
        old: UserAddr,
        /// Old bytes; 0 duplicates a shared mapping.
        old_len: u64,
        /// New start.
        new: UserAddr,
        /// New bytes.
        new_len: u64,
        /// MREMAP_DONTUNMAP: the old range stays, empty.
        keep_old: bool,
    },
    /// madvise(2).
    Advise {
        /// Start.
        addr: UserAddr,
        /// Bytes.
        len: u64,
        /// Advice.
        advice: Advice,
    },
    /// msync(2) with MS_SYNC of a shared file mapping.
    Sync {
        /// Start.
        addr: UserAddr,
        /// Bytes.
        len: u64,
    },
}

/// The advice that has an effect on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// MADV_DONTNEED.
    DontNeed,
    /// MADV_FREE.
    Free,
    /// MADV_REMOVE.
    Remove,
    /// MADV_WILLNEED.
    WillNeed,
    /// MADV_HUGEPAGE.
    HugePage,
    /// MADV_NOHUGEPAGE.
    NoHugePage,
    /// MADV_DONTFORK.
    DontFork,
    /// MADV_DOFORK.
    DoFork,
    /// MADV_WIPEONFORK.
    WipeOnFork,
    /// MADV_KEEPONFORK.
    KeepOnFork,
    /// MADV_POPULATE_READ.
    PopulateRead,
    /// MADV_POPULATE_WRITE.
    PopulateWrite,
}
