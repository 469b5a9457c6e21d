//! A guest thread as the sentry thread that serves it sees it.

use std::sync::Arc;
use std::time::Duration;

use abi::{Errno, UserAddr};

use crate::{Event, HostFile, Registers, XState};

/// A guest thread. Owned by exactly one sentry thread; dropping it ends the guest thread.
pub trait Context: Send {
    /// Loads the registers, runs guest code until its next event, and stores the registers.
    ///
    /// Returns [`Event::Interrupted`] at once if an interrupt was requested since the last run returned.
    fn run(&mut self) -> Event;

    /// The registers as of the last event (or as set since).
    fn regs(&self) -> &Registers;

    /// The registers to continue with. Touching them makes the next `run` restore all of them;
    /// use [`Context::set_return`] for a plain system call result.
    fn regs_mut(&mut self) -> &mut Registers;

    /// Sets the result of the system call that was the last event: `rax` and nothing else.
    fn set_return(&mut self, value: u64);

    /// The extended state (x87, SSE, AVX …) as of the last event, in the standard XSAVE format.
    fn xstate(&mut self) -> Result<XState, Errno>;

    /// Sets the extended state; unknown or reserved bits are refused with `EINVAL`.
    fn set_xstate(&mut self, state: &XState) -> Result<(), Errno>;

    /// Copies from guest memory, by the cheapest way this thread has; see [`crate::AddressSpace::read`].
    /// `ENOSYS`: this context has no way of its own, use the address space. Likewise for what follows when it gives fewer bytes.
    fn read(&mut self, addr: UserAddr, buf: &mut [u8]) -> Result<usize, Errno>;

    /// Copies to guest memory, by the cheapest way this thread has; see [`crate::AddressSpace::write`].
    /// The bytes are visible to the guest at the latest when `run` continues it; to other threads of the
    /// sentry at the latest after [`Context::flush`].
    fn write(&mut self, addr: UserAddr, data: &[u8]) -> Result<usize, Errno>;

    /// Like [`Context::write`] with up to `len` bytes of the host file from `offset` on, read to where the guest thread
    /// takes them from: no copy in between. Returns how many there were (less than `len` at the end of the file only).
    /// `ENOSYS`: not here and now, read them into a buffer.
    fn write_from_file(
        &mut self,
        addr: UserAddr,
        len: usize,
        file: &HostFile,
        offset: u64,
    ) -> Result<usize, Errno> {
        let _ = (addr, len, file, offset);
        Err(Errno::ENOSYS)
    }

    /// Makes earlier `write`s visible to every reader of the address space, and later `read`s see what it holds then.
    fn flush(&mut self) -> Result<(), Errno>;

    /// The call that the context stopped at is about to wait for something: a hint on where to run its threads.
    fn will_sleep(&mut self) {}

    /// What the engine may answer in the guest thread without an event.
    fn set_local_answers(&mut self, answers: &LocalAnswers);

    /// rseq(2): from the next `run` on, the area at that address is kept and its critical sections are restarted;
    /// `None`: no longer, at once. For engines with [`crate::Platform::rseq`].
    fn set_rseq(&mut self, rseq: Option<Rseq>) {
        let _ = rseq;
    }

    /// The guest thread runs on these processors only, by the numbers of [`crate::Platform::processors`].
    fn set_processors(&mut self, mask: u64) {
        let _ = mask;
    }

    /// The processor on which the last event came; the guest may have forged it. `None`: not known.
    fn processor(&self) -> Option<u32> {
        None
    }

    /// A handle with which other sentry threads end this context's current or next `run`.
    fn interrupter(&self) -> Arc<dyn Interrupter>;

    /// Time this thread spent in guest code.
    fn cpu_time(&self) -> Duration;

    /// Calls answered in the guest thread since the start (for statistics).
    fn local_calls(&self) -> u64 {
        0
    }
}

/// An area of restartable sequences (rseq(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rseq {
    /// `struct rseq` in guest memory; null: none.
    pub addr: UserAddr,
    /// Its length.
    pub len: u32,
    /// What stands before each abort handler.
    pub signature: u32,
}

/// What an engine has of rseq(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RseqFeatures {
    /// Bytes of the area that are used (AT_RSEQ_FEATURE_SIZE); 0: those of the first version, without saying so.
    pub size: u32,
    /// How the area is to be aligned (AT_RSEQ_ALIGN).
    pub align: u32,
}

/// Ends a [`Context::run`] from another thread.
pub trait Interrupter: Send + Sync {
    /// Makes the current `run`, or the next one, return [`Event::Interrupted`] (unless another event comes first,
    /// in which case the run after that one returns it). Cheap when the context is not running guest code. Never blocks.
    fn interrupt(&self);
}

/// Answers that depend only on the thread's own state. The kernel sets them whenever one changes;
/// the engine may ignore any of them and report the call as an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalAnswers {
    /// False while the thread is traced, filtered or logged: every call must be an event.
    pub enabled: bool,
    /// getpid(2).
    pub pid: u32,
    /// gettid(2).
    pub tid: u32,
    /// getppid(2); 0 when it is to be asked of the kernel each time.
    pub ppid: u32,
    /// getuid(2), geteuid(2), getgid(2), getegid(2).
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Whether private FUTEX_WAIT/WAKE/REQUEUE may use the host's futex in the guest thread.
    pub private_futex: bool,
}
