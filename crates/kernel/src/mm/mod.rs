//! Memory management: the bookkeeping of what a guest mapped. The host does the memory itself.
//!
//! [`Mm`] holds the areas and the engine's address space; each change is decided on the areas and commanded to the
//! engine as one batch, both under one lock, so that they never differ. Page faults are the host's.

mod advise;
mod area;
mod area_map;
mod layout;
mod limits;
mod lock;
mod map;
mod protect;
mod remap;
mod residency;
mod shared;
mod stack;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use abi::{Errno, UserAddr};
use platform::{AddressSpace, MapOp, Prot, UserRange};
use sync::{Mutex, rank};

pub use area::{Area, AreaFlags, AreaName, Backing, SharedObject};
pub use area_map::{AreaMap, MAX_AREAS};
pub use layout::{Layout, Totals};
pub use limits::{Limits, RLIMIT_STACK};
pub use map::{MapRequest, Place};
pub use shared::memory_pieces;

use crate::file::FileDescription;
use crate::file::aio::AioContexts;

/// Linux's TASK_SIZE with four-level page tables.
pub const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// The range of a space whose engine was not asked (tests).
const WIDEST: UserRange = UserRange {
    start: UserAddr(0x10000),
    end: UserAddr(TASK_SIZE),
};

/// What prctl(2) asks for of an address space.
pub mod wish {
    /// PR_SET_THP_DISABLE.
    pub const NO_HUGE_PAGES: u32 = 1;
    /// PR_SET_MEMORY_MERGE.
    pub const MERGE: u32 = 2;
    /// PR_MDWE_REFUSE_EXEC_GAIN.
    pub const NO_EXEC_GAIN: u32 = 4;
    /// PR_MDWE_NO_INHERIT.
    pub const NOT_FOR_CHILDREN: u32 = 8;
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A guest address space (Linux's mm_struct): shared by threads and by vfork(2) children.
pub struct Mm {
    /// The engine's side.
    pub space: Arc<dyn AddressSpace>,
    /// Unique among all address spaces of the sandbox's life (the key of private futexes).
    pub id: u64,
    range: UserRange,
    state: Mutex<MmState>,
    /// MEMBARRIER_STATE_*: which commands were registered for.
    pub(crate) membarrier: AtomicU32,
    /// What prctl(2) asked for: bits of [`wish`].
    pub(crate) wishes: AtomicU32,
    /// Contexts of asynchronous I/O.
    pub(crate) aio: AioContexts,
    /// The last count of resident pages, and when it was made.
    residency: Mutex<Option<(Instant, (u64, u64))>>,
}

/// What the lock guards.
pub(crate) struct MmState {
    pub areas: AreaMap,
    pub layout: Layout,
    /// The program file.
    pub exe: Option<Arc<FileDescription>>,
    /// mlockall(MCL_FUTURE).
    pub lock_future: bool,
}

impl Mm {
    /// An empty address space in the widest range; for tests.
    pub fn new(space: Arc<dyn AddressSpace>) -> Arc<Mm> {
        Self::with_range(space, WIDEST)
    }

    /// An empty address space in the range that the engine allows.
    pub fn with_range(space: Arc<dyn AddressSpace>, range: UserRange) -> Arc<Mm> {
        let layout = Layout {
            mmap_base: range.end.0,
            ..Layout::default()
        };
        Self::with_state(space, range, AreaMap::default(), layout, None)
    }

    fn with_state(
        space: Arc<dyn AddressSpace>,
        range: UserRange,
        areas: AreaMap,
        layout: Layout,
        exe: Option<Arc<FileDescription>>,
    ) -> Arc<Mm> {
        let state = MmState {
            areas,
            layout,
            exe,
            lock_future: false,
        };
        Arc::new(Mm {
            space,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            range,
            state: Mutex::new(rank::MM, state),
            membarrier: AtomicU32::new(0),
            wishes: AtomicU32::new(0),
            aio: AioContexts::default(),
            residency: Mutex::new(rank::LEAF, None),
        })
    }

    /// Where the guest may map.
    pub fn range(&self) -> UserRange {
        self.range
    }

    /// Copies from guest memory; all of `buf` or `EFAULT`.
    pub fn read(&self, addr: UserAddr, buf: &mut [u8]) -> Result<(), Errno> {
        if buf.is_empty() || self.space.read(addr, buf)? == buf.len() {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// Copies to guest memory; all of `data` or `EFAULT` (a part may have been written).
    pub fn write(&self, addr: UserAddr, data: &[u8]) -> Result<(), Errno> {
        if data.is_empty() || self.space.write(addr, data)? == data.len() {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// Commands the engine; after a failure the ranges of `ops` are in an unknown state.
    fn apply(&self, ops: &[MapOp]) -> Result<(), Errno> {
        self.space.apply(ops).map_err(|(_, errno)| errno)
    }

    /// fork(2): a copy-on-write copy. What was advised MADV_DONTFORK is left out, locks are not inherited.
    pub fn fork(&self) -> Result<Arc<Mm>, Errno> {
        let state = self.state.lock();
        let space = self.space.fork()?;
        let mut areas = AreaMap::default();
        for area in state.areas.iter() {
            if !area.flags.contains(AreaFlags::DONTFORK) {
                let mut area = area.clone();
                area.flags.remove(AreaFlags::LOCKED);
                areas.insert(area);
            }
        }
        let child = Self::with_state(space, self.range, areas, state.layout.clone(), state.exe.clone());
        child
            .membarrier
            .store(self.membarrier.load(Ordering::SeqCst), Ordering::SeqCst);
        child.inherit_wishes(self);
        Ok(child)
    }

    /// Takes over what prctl(2) asked for of the address space before (fork, execve).
    pub(crate) fn inherit_wishes(&self, before: &Mm) {
        let mut wishes = before.wishes.load(Ordering::SeqCst);
        if wishes & wish::NOT_FOR_CHILDREN != 0 {
            wishes &= !(wish::NO_EXEC_GAIN | wish::NOT_FOR_CHILDREN);
        }
        self.wishes.store(wishes, Ordering::SeqCst);
    }

    /// Whether prctl(PR_SET_THP_DISABLE) has not been called.
    pub fn wants_huge_pages(&self) -> bool {
        self.wishes.load(Ordering::SeqCst) & wish::NO_HUGE_PAGES == 0
    }

    /// Memory-deny-write-execute: `EACCES` for memory that is written and executed, or that comes to be executed.
    pub(super) fn check_exec_gain(&self, old: Prot, new: Prot) -> Result<(), Errno> {
        let refused = self.wishes.load(Ordering::SeqCst) & wish::NO_EXEC_GAIN != 0
            && new.contains(Prot::EXEC)
            && (new.contains(Prot::WRITE) || !old.contains(Prot::EXEC));
        if refused { Err(Errno::EACCES) } else { Ok(()) }
    }
}

impl Drop for Mm {
    fn drop(&mut self) {
        self.space.kill();
    }
}
