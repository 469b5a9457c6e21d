//! What the kernel asks of an execution engine: address spaces, mapping commands, contexts and events.
//!
//! Two kinds of implementation: `systrap` (guest threads are host threads that trap) and
//! [`scripted`] (plain memory and a list of events, for tests of the kernel in one process).
//! Architecture invariant: nothing here makes a host call; the types are plain data and traits.
#![forbid(unsafe_code)]

mod context;
mod event;
mod map;
mod regs;
pub mod scripted;

pub use context::{Context, Interrupter, LocalAnswers, Rseq, RseqFeatures};
pub use event::{Death, Event, Fault};
pub use map::{Advice, HostFile, MapFlags, MapOp, MapSource, Prot};
pub use regs::{Registers, XState};

use std::sync::Arc;
use std::time::Duration;

use abi::{Errno, UserAddr};

/// The range of addresses that a guest may use, as the engine allows it.
///
/// Everything outside (null pages, the stub, thread areas) is refused by the kernel before any command is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRange {
    /// Lowest mappable address.
    pub start: UserAddr,
    /// One past the highest address (Linux's TASK_SIZE for the guest).
    pub end: UserAddr,
}

/// An execution engine.
pub trait Platform: Send + Sync {
    /// Makes an empty address space: nothing of the guest is mapped in it.
    fn new_address_space(&self) -> Result<Arc<dyn AddressSpace>, Errno>;

    /// Where guests may map memory; the same for every address space.
    fn user_range(&self) -> UserRange;

    /// Size in bytes of an XSAVE area on this machine, and the XCR0 mask it is for.
    fn xstate_layout(&self) -> (usize, u64);

    /// The vDSO image that the loader maps (text plus data, a multiple of the page size), if the engine has one.
    ///
    /// It is an ELF shared object; the kernel maps it with [`MapSource::Vdso`].
    fn vdso(&self) -> Option<Vdso>;

    /// The processors that guest threads run on, by the numbers that guest code itself can read; bit n is processor n.
    /// `None`: the engine does not tell, or has some beyond the first 64.
    fn processors(&self) -> Option<u64> {
        None
    }

    /// What it has of rseq(2); `None`: nothing.
    fn rseq(&self) -> Option<RseqFeatures> {
        None
    }
}

/// The engine's vDSO.
#[derive(Clone, Copy, Debug)]
pub struct Vdso {
    /// Bytes to map, page aligned: data pages first (`[vvar]`), then the ELF image.
    pub len: u64,
    /// Offset of the ELF image (the AT_SYSINFO_EHDR address) from the start of the mapping.
    pub elf_offset: u64,
}

/// A guest address space: host memory that the kernel commands but takes no page faults for.
///
/// All methods may be called from any sentry thread, several at once.
/// After [`AddressSpace::kill`], or when its host process has died, every call fails with `ESRCH` and no call hangs.
pub trait AddressSpace: Send + Sync {
    /// Carries out the mapping changes in order, as one batch.
    ///
    /// On an error the ops before the failed one have been carried out; the error names its index.
    fn apply(&self, ops: &[MapOp]) -> Result<(), (usize, Errno)>;

    /// Copies guest bytes at `addr` into `buf` and returns how many came before an unreadable page
    /// (`buf.len()` when all did). `Err(EFAULT)` only when not even the first byte is readable.
    fn read(&self, addr: UserAddr, buf: &mut [u8]) -> Result<usize, Errno>;

    /// Copies `data` to guest memory at `addr`; returns like [`AddressSpace::read`].
    fn write(&self, addr: UserAddr, data: &[u8]) -> Result<usize, Errno>;

    /// Like `write`, but also to pages the guest itself may not write (ptrace's POKEDATA, `/proc/PID/mem`, the loader).
    fn write_force(&self, addr: UserAddr, data: &[u8]) -> Result<usize, Errno>;

    /// Atomically loads the aligned 32-bit word at `addr`; `EFAULT` when unreadable.
    fn load_u32(&self, addr: UserAddr) -> Result<u32, Errno>;

    /// Atomic compare-and-exchange of the aligned 32-bit word at `addr`: returns the old value
    /// (equal to `old` when it was exchanged). `EFAULT` when not writable.
    fn compare_exchange_u32(&self, addr: UserAddr, old: u32, new: u32) -> Result<u32, Errno>;

    /// A copy-on-write copy (fork(2)) of all memory but areas advised [`Advice::DontFork`].
    fn fork(&self) -> Result<Arc<dyn AddressSpace>, Errno>;

    /// Makes a guest thread that will start with these registers and this XSAVE state.
    fn new_context(&self, regs: &Registers, xstate: &XState) -> Result<Box<dyn Context>, Errno>;

    /// Wakes up to `count` threads that wait with a private futex at `addr` on the engine's own futex
    /// (see [`LocalAnswers::private_futex`]); returns how many. Engines without local futexes return 0.
    fn futex_wake(&self, addr: UserAddr, count: u32, bitset: u32) -> Result<u32, Errno>;

    /// Host memory resident for this address space, in bytes.
    fn resident_bytes(&self) -> u64;

    /// Which pages of the range are resident: one byte per page, bit 0 (mincore(2)).
    fn mincore(&self, addr: UserAddr, len: u64) -> Result<Vec<u8>, Errno>;

    /// User time the address space's threads spent so far, as far as the engine can tell.
    fn cpu_time(&self) -> Duration;

    /// Has the host's own tools show the address space's process under this name, and returns its host process id as the
    /// sentry sees it; `None` for an engine without one.
    fn show_as(&self, title: &Title) -> Option<i32>;

    /// Ends every thread and frees the memory; contexts report [`Event::Died`]. Idempotent; also done on drop.
    fn kill(&self);
}

/// How a process is called where the host's processes are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Title {
    /// Its short name, at most 15 bytes.
    pub name: Vec<u8>,
    /// Where the strings of its arguments lie: start and end.
    pub arguments: (u64, u64),
    /// Where those of its environment lie.
    pub environment: (u64, u64),
}
