//! What the auxiliary vector says of the processor.

/// AT_HWCAP2: nothing. FSGSBASE (bit 1) is not offered: the engine uses GS itself.
pub const HWCAP2: u64 = 0;

/// Bytes of a signal frame beside the extended state: siginfo, ucontext, padding and red zone, rounded up.
const FRAME_BYTES: u64 = 936;

/// AT_HWCAP: CPUID leaf 1, EDX.
pub fn hwcap() -> u64 {
    u64::from(std::arch::x86_64::__cpuid(1).edx)
}

/// AT_MINSIGSTKSZ for an extended state of `xstate` bytes.
pub fn min_signal_stack(xstate: usize) -> u64 {
    (xstate as u64 + FRAME_BYTES).next_multiple_of(16)
}
