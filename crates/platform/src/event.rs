//! Why a context stopped running guest code.

use abi::UserAddr;

/// What ended a [`crate::Context::run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A system call. The registers are as at the instruction: `rax` holds the number, `rip` is after it,
    /// and `orig_rax` has been set to the number. Arguments are rdi, rsi, rdx, r10, r8, r9.
    Syscall,
    /// A hardware exception, to become a guest signal.
    Fault(Fault),
    /// An interrupt was requested; the guest is between two instructions.
    Interrupted,
    /// The guest thread is gone.
    Died(Death),
}

/// A hardware exception in guest code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The signal Linux sends for it: SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP.
    pub signal: u32,
    /// Its `si_code`.
    pub code: i32,
    /// Its `si_addr`.
    pub addr: UserAddr,
    /// x86 trap number and error code, as the signal frame shows them.
    pub trap: u64,
    /// x86 error code.
    pub error: u64,
}

/// How a guest thread came to its end without the kernel asking for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The host ended it with this signal (SIGKILL of the host's memory killer, SIGSYS of a filter …).
    Signal(u32),
    /// It broke the protocol between stub and sentry: a hostile guest.
    Protocol,
    /// The address space was killed by the kernel.
    Killed,
}
