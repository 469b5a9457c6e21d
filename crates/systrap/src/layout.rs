//! Where the engine's own mappings lie in a guest process, and what a thread area and the command page hold.
//!
//! Everything here is outside [`USER_END`]: the kernel never maps guest memory there.

/// Lowest guest address (Linux's default `vm.mmap_min_addr`).
pub const USER_START: u64 = 0x1_0000;
/// One past the highest guest address.
pub const USER_END: u64 = 0x7fff_0000_0000;
/// One past the highest address the host gives a process.
pub const TASK_END: u64 = 0x7fff_ffff_f000;

/// The stub: code pages, then one data page; read and execute only.
pub const STUB_ADDR: u64 = USER_END;
/// Bytes of stub code.
pub const STUB_CODE: usize = 0x3000;
/// Bytes of the stub in all.
pub const STUB_LEN: usize = STUB_CODE + 0x1000;

/// The command page: written by the sentry, read-only in the guest process.
pub const COMMAND_ADDR: u64 = 0x7fff_0010_0000;
/// Bytes of it.
pub const COMMAND_LEN: usize = 0x4000;
/// The hint page behind it (writable by the guest, so never believed).
pub const HINT_LEN: usize = 0x1000;
/// Bytes of the command file.
pub const CHANNEL_LEN: usize = COMMAND_LEN + HINT_LEN;

/// Where the host writes signal frames of the memory helper; nothing is ever read from it.
pub const HELPER_STACK: u64 = 0x7fff_0020_0000;
/// Bytes of it; also its alignment.
pub const HELPER_STACK_LEN: u64 = AREA_LEN as u64;

/// First thread area.
pub const AREA_BASE: u64 = 0x7fff_1000_0000;
/// One past the last thread area.
pub const AREA_END: u64 = 0x7fff_f000_0000;
/// Bytes of a thread area; also its alignment, by which the stub finds it from its stack pointer.
pub const AREA_LEN: usize = 0x4_0000;
/// Most guest threads of all address spaces together.
pub const MAX_AREAS: usize = ((AREA_END - AREA_BASE) / AREA_LEN as u64) as usize;

/// Offsets in a thread area.
pub mod area {
    /// Who owns the thread: see [`super::state`]. Also the word the host clears when the thread exits.
    pub const STATE: usize = 0x00;
    /// Non-zero: an interrupt was requested.
    pub const KICK: usize = 0x04;
    /// The signal that made the event; 0: ready; [`super::SIG_STUB_FAULT`].
    pub const SIG: usize = 0x08;
    /// What to load besides the frame when continuing: [`super::RESUME_FS`], [`super::RESUME_GS`].
    pub const RESUME: usize = 0x0c;
    /// Guest address of the frame's `ucontext`.
    pub const UC: usize = 0x10;
    /// FS base.
    pub const FS_BASE: usize = 0x18;
    /// GS base.
    pub const GS_BASE: usize = 0x20;
    /// Time stamp counter when the event was taken.
    pub const TSC: usize = 0x28;
    /// The processor on which it was taken.
    pub const CPU: usize = 0x30;
    /// How often the stub polls before each yield.
    pub const SPINS: usize = 0x40;
    /// How often the stub yields before it sleeps.
    pub const YIELDS: usize = 0x44;
    /// Bytes in the window; 0: none.
    pub const WINDOW_LEN: usize = 0x48;
    /// Bytes of [`OUT_TABLE`] that the stub is to serve before guest code continues.
    pub const OUT_LEN: usize = 0x4c;
    /// Restartable sequences: what the stub is to hand to the host's rseq(2), see [`super::RESUME_RSEQ`]. The address.
    pub const RSEQ: usize = 0x50;
    /// The length.
    pub const RSEQ_LEN: usize = 0x58;
    /// The flags.
    pub const RSEQ_FLAGS: usize = 0x5c;
    /// The signature.
    pub const RSEQ_SIG: usize = 0x60;
    /// What the call returned.
    pub const RSEQ_RESULT: usize = 0x64;
    /// Bytes in [`BULK`] that were gathered from the buffers of an array; 0: none.
    pub const GATHERED: usize = 0x50;
    /// `stack_t` for sigaltstack(2).
    pub const STACK_T: usize = 0x80;
    /// Non-zero: the stub answers calls from the values that follow.
    pub const LOCAL: usize = 0xc0;
    /// getpid(2).
    pub const PID: usize = 0xc4;
    /// gettid(2).
    pub const TID: usize = 0xc8;
    /// getppid(2); 0: ask the sentry.
    pub const PPID: usize = 0xcc;
    /// getuid(2).
    pub const UID: usize = 0xd0;
    /// geteuid(2).
    pub const EUID: usize = 0xd4;
    /// getgid(2).
    pub const GID: usize = 0xd8;
    /// getegid(2).
    pub const EGID: usize = 0xdc;
    /// How many calls the stub answered.
    pub const LOCAL_CALLS: usize = 0xe0;
    /// What is to be copied out: entries of an address (64 bits), a length and an offset in the area (32 bits each).
    pub const OUT_TABLE: usize = 0x100;
    /// Bytes of an entry.
    pub const OUT_ENTRY: usize = 16;
    /// Most entries.
    pub const OUT_CHUNKS: usize = 32;
    /// The alternate signal stack.
    pub const STACK: usize = 0x1000;
    /// One past its end.
    pub const STACK_END: usize = 0x9000;
    /// Registers of a call that came through a patched site, laid out as a `ucontext`. The stub's stack is below.
    pub const FAST: usize = 0xa000;
    /// Its extended state, saved on order.
    pub const FAST_XSTATE: usize = 0xa400;
    /// What the stub copied for the sentry from the memory that the call points to.
    pub const WINDOW: usize = 0xf000;
    /// Bytes of it: the kernel reads strings in steps of as many.
    pub const WINDOW_MAX: usize = 0x100;
    /// An array of buffers (`struct iovec`) in it, behind the header of a message if there is one.
    pub const VECTOR: usize = WINDOW + 0x40;
    /// Most buffers in the array.
    pub const VECTOR_MAX: usize = (WINDOW + WINDOW_MAX - VECTOR) / 16;
    /// What the stub is to copy to guest memory; its start shares a page with the window.
    pub const OUT: usize = 0xf100;
    /// Bytes of it. They end where [`BULK`] does, for what was copied in is read no more once something is on its way out.
    pub const OUT_MAX: usize = super::AREA_LEN - OUT;
    /// Likewise as [`WINDOW`], for longer buffers of calls that write: 192 KiB, since two copies through here cost half of one by
    /// the host from process to process. Only memory that was used is there.
    pub const BULK: usize = 0x1_0000;
    /// Bytes of it.
    pub const BULK_MAX: usize = super::AREA_LEN - BULK;
}

/// Bytes of `struct msghdr`.
pub const HEADER_LEN: usize = 56;
/// In it, where the array of buffers is, followed by how many there are.
pub const HEADER_VECTOR: usize = 16;

/// Values of the state word.
pub mod state {
    /// The thread has exited (the host clears the word).
    pub const DEAD: u32 = 0;
    /// The guest thread owns the area.
    pub const RUN: u32 = 1;
    /// The sentry owns the area.
    pub const EVENT: u32 = 2;
    /// Order: exit(2).
    pub const EXIT: u32 = 3;
    /// Order: save the extended state, which is live in the processor, and report again.
    pub const SAVE: u32 = 4;
    /// Order: call rseq(2), and report again.
    pub const RSEQ: u32 = 5;
    /// The side that waits sleeps on the word.
    pub const SLEEP: u32 = 0x100;
}

/// Load FS_BASE.
pub const RESUME_FS: u32 = 1;
/// Load GS_BASE.
pub const RESUME_GS: u32 = 2;
/// The extended state is live in the processor: do not load it.
pub const RESUME_LIVE: u32 = 4;
/// Leave as `syscall` returns: no flags, no selectors.
pub const RESUME_SIMPLE: u32 = 8;
/// Call rseq(2) first.
pub const RESUME_RSEQ: u32 = 16;
/// In `SIG`: a system call through a patched site.
pub const SIG_FAST: u32 = 0x100;
/// In `SIG`: the stub could not copy out what it was to.
pub const SIG_OUT_FAILED: u32 = 0x101;
/// In `SIG`: the stub itself faulted.
pub const SIG_STUB_FAULT: u32 = 0xff;
/// The host signal that interrupts guest code.
pub const KICK_SIGNAL: i32 = libc::SIGUSR2;

/// Offsets in the command page.
pub mod command {
    /// Sequence number of the newest batch (futex word).
    pub const SEQ: usize = 0;
    /// Ops in the batch.
    pub const COUNT: usize = 4;
    /// Non-zero: the sentry sleeps on the hint.
    pub const WAITING: usize = 8;
    /// How often the helper looks for the next batch, with a yield each, before it sleeps.
    pub const LOOKS: usize = 12;
    /// First op.
    pub const OPS: usize = 64;
    /// Bytes of an op: number and six arguments, padded.
    pub const OP_LEN: usize = 64;
    /// What ops point to.
    pub const DATA: usize = super::COMMAND_LEN - DATA_LEN;
    /// Bytes of it.
    pub const DATA_LEN: usize = 128;
    /// Most ops in a batch.
    pub const MAX_OPS: usize = (DATA - OPS) / OP_LEN;
}

/// Op: compare and exchange a word of guest memory (addr, old, new).
pub const OP_CAS: u64 = 0x1_0000;
/// Op: compare and exchange an aligned 64-bit word of guest memory (addr, old, new); `EAGAIN` if it differs.
pub const OP_CAS64: u64 = 0x1_0003;
/// Op: fork the process (command file of the child).
pub const OP_FORK: u64 = 0x1_0001;
/// Op: start a guest thread (area, stack pointer).
pub const OP_THREAD: u64 = 0x1_0002;

/// Offsets in the hint page.
pub mod hint {
    /// Sequence number of the newest batch that was carried out (futex word).
    pub const DONE: usize = super::COMMAND_LEN;
    /// Non-zero: the helper sleeps, or is about to.
    pub const ASLEEP: usize = DONE + 4;
}

/// Offsets in the stub's data page.
pub mod data {
    /// `sock_fprog` of the helper's filter.
    pub const HELPER_PROG: usize = 0x00;
    /// `sock_fprog` of the guest threads' filter.
    pub const GUEST_PROG: usize = 0x10;
    /// Empty signal set.
    pub const NO_SIGNALS: usize = 0x20;
    /// What the helper blocks.
    pub const HELPER_SIGNALS: usize = 0x28;
    /// `__user_cap_header_struct`, followed by empty sets.
    pub const CAP_HEADER: usize = 0x30;
    /// Empty capability sets.
    pub const CAP_DATA: usize = 0x38;
    /// `stack_t` of the helper.
    pub const HELPER_STACK_T: usize = 0x50;
    /// `sigaction` of the handled signals.
    pub const ACTION: usize = 0x80;
    /// `sigaction` of the rest: default.
    pub const DEFAULT_ACTION: usize = 0xa0;
    /// The helper's filter.
    pub const HELPER_FILTER: usize = 0x100;
    /// The guest threads' filter.
    pub const GUEST_FILTER: usize = 0x800;
    /// What the stub copies in for each call: a byte by call number, see [`super::kind`].
    pub const KINDS: usize = 0xe00;
    /// How many calls it lists.
    pub const KINDS_LEN: usize = 0x200;
}

/// What the stub copies in for a call.
pub mod kind {
    /// Nothing.
    pub const NONE: u32 = 0;
    /// What the first argument points to.
    pub const FIRST: u32 = 1;
    /// What the second one points to.
    pub const SECOND: u32 = 2;
    /// The buffer of the second and third argument.
    pub const BUFFER: u32 = 3;
    /// To be looked up by the number of the call.
    pub const ANY: u32 = 4;
    /// What the third argument points to.
    pub const THIRD: u32 = 5;
    /// What the fourth one points to.
    pub const FOURTH: u32 = 6;
    /// The buffers of the array of the second and third argument, and all kinds from here on an array.
    pub const VECTOR: u32 = 7;
    /// The message of the second argument: header, array and buffers.
    pub const MESSAGE: u32 = 8;
    /// Likewise, without the buffers.
    pub const HEADER: u32 = 9;
}

/// Offsets in `ucontext` as the host writes it (include/uapi/asm/sigcontext.h).
pub mod uc {
    /// r8 to r15.
    pub const R8: usize = 40;
    pub const RDI: usize = 104;
    pub const RSI: usize = 112;
    pub const RBP: usize = 120;
    pub const RBX: usize = 128;
    pub const RDX: usize = 136;
    pub const RAX: usize = 144;
    pub const RCX: usize = 152;
    pub const RSP: usize = 160;
    pub const RIP: usize = 168;
    pub const EFLAGS: usize = 176;
    pub const SEGMENTS: usize = 184;
    pub const ERR: usize = 192;
    pub const TRAPNO: usize = 200;
    pub const FPSTATE: usize = 224;
    /// `siginfo` follows the `ucontext` in the frame.
    pub const SIGINFO: usize = 304;
    /// Bytes of both.
    pub const LEN: usize = 304 + 128;
}

#[cfg(test)]
mod tests {
    /// The attacks of tests/escape aim at these addresses: with others they would hit nothing.
    #[test]
    fn the_attacks_aim_at_what_is_there() {
        let header = include_str!("../../../tests/escape/escape.h");
        let value = |name: &str| {
            let mut lines = header.lines();
            let line = lines.find_map(|line| line.strip_prefix(&format!("#define {name} ")));
            let text = line.map(|line| line.trim_end_matches("UL"));
            text.and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok())
        };
        for (name, ours) in [
            ("STUB", super::STUB_ADDR),
            ("STUB_CODE", super::STUB_CODE as u64),
            ("STUB_LEN", super::STUB_LEN as u64),
            ("COMMAND", super::COMMAND_ADDR),
            ("COMMAND_LEN", super::COMMAND_LEN as u64),
            ("HELPER_STACK", super::HELPER_STACK),
            ("AREA_LEN", super::AREA_LEN as u64),
            ("A_STATE", super::area::STATE as u64),
            ("A_KICK", super::area::KICK as u64),
            ("A_SIG", super::area::SIG as u64),
            ("A_UC", super::area::UC as u64),
            ("A_FAST", super::area::FAST as u64),
        ] {
            assert_eq!(value(name), Some(ours), "{name}");
        }
    }
}
