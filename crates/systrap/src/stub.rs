//! The stub blob: the code of `stub.s` plus a data page with filters and constants, in a sealed file.

use std::arch::global_asm;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use abi::Errno;
use host::mem;
use host::seccomp::Insn;

use crate::filter;
use crate::layout::{self as l, area, command, data, hint, kind, state, uc};

/// CLONE_PARENT | CLONE_FILES: the sentry is the parent of every guest process and shares its descriptors
/// with the memory helpers.
const FORK_FLAGS: u32 = 0x8400;
/// CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID.
const THREAD_FLAGS: u32 = 0x0025_0f00;
/// Value that marks, in a register, the one instruction of the helper that may fault.
const FAULT_MARK: u64 = 0x7465_676d_656e_2121;
/// Signals with the stub's handler.
const HANDLED: [i32; 7] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
    l::KICK_SIGNAL,
];

const fn handled_mask() -> u64 {
    let (mut mask, mut i) = (0u64, 0);
    while i < HANDLED.len() {
        mask |= 1 << HANDLED[i];
        i += 1;
    }
    mask
}

global_asm!(
    include_str!("stub.s"),
    STUB_ADDR = const l::STUB_ADDR,
    STUB_CODE = const l::STUB_CODE,
    STUB_LEN = const l::STUB_LEN,
    TASK_END = const l::TASK_END,
    COMMAND_ADDR = const l::COMMAND_ADDR,
    COMMAND_LEN = const l::COMMAND_LEN,
    HINT_LEN = const l::HINT_LEN,
    HELPER_STACK = const l::HELPER_STACK,
    HELPER_STACK_LEN = const l::HELPER_STACK_LEN,
    AREA_LEN = const l::AREA_LEN,
    HANDLED = const handled_mask(),
    FAULT_MARK = const FAULT_MARK,
    FORK_FLAGS = const FORK_FLAGS,
    THREAD_FLAGS = const THREAD_FLAGS,
    KICK_SIGNAL = const l::KICK_SIGNAL,
    SIG_STUB_FAULT = const l::SIG_STUB_FAULT,
    RESUME_FS = const l::RESUME_FS,
    RESUME_GS = const l::RESUME_GS,
    OP_CAS = const l::OP_CAS,
    OP_CAS64 = const l::OP_CAS64,
    OP_FORK = const l::OP_FORK,
    OP_THREAD = const l::OP_THREAD,
    C_SEQ = const command::SEQ,
    C_COUNT = const command::COUNT,
    C_WAITING = const command::WAITING,
    C_LOOKS = const command::LOOKS,
    H_DONE = const hint::DONE,
    H_ASLEEP = const hint::ASLEEP,
    C_OPS = const command::OPS,
    C_OP_LEN = const command::OP_LEN,
    RUN = const state::RUN,
    EVENT = const state::EVENT,
    EXIT = const state::EXIT,
    SAVE = const state::SAVE,
    RSEQ = const state::RSEQ,
    RESUME_RSEQ = const l::RESUME_RSEQ,
    RESUME_LIVE = const l::RESUME_LIVE,
    RESUME_SIMPLE = const l::RESUME_SIMPLE,
    SIG_FAST = const l::SIG_FAST,
    AREA_TOP = const l::AREA_BASE >> 32,
    A_FAST = const area::FAST,
    A_FAST_XSTATE = const area::FAST_XSTATE,
    A_WINDOW = const area::WINDOW,
    A_WINDOW_LEN = const area::WINDOW_LEN,
    WINDOW_MAX = const area::WINDOW_MAX,
    KINDS = const data::KINDS,
    KINDS_LEN = const data::KINDS_LEN,
    K_FIRST = const kind::FIRST,
    K_SECOND = const kind::SECOND,
    K_THIRD = const kind::THIRD,
    K_FOURTH = const kind::FOURTH,
    K_VECTOR = const kind::VECTOR,
    K_MESSAGE = const kind::MESSAGE,
    K_HEADER = const kind::HEADER,
    A_GATHERED = const area::GATHERED,
    HEADER_LEN = const l::HEADER_LEN,
    HEADER_VECTOR = const l::HEADER_VECTOR,
    VECTOR_AT = const area::VECTOR - area::WINDOW,
    VECTOR_MAX = const area::VECTOR_MAX,
    K_BUFFER = const kind::BUFFER,
    K_ANY = const kind::ANY,
    A_BULK = const area::BULK,
    BULK_MAX = const area::BULK_MAX,
    A_OUT_LEN = const area::OUT_LEN,
    A_OUT_TABLE = const area::OUT_TABLE,
    OUT_ENTRY = const area::OUT_ENTRY,
    SIG_OUT_FAILED = const l::SIG_OUT_FAILED,
    A_LOCAL = const area::LOCAL,
    A_LOCAL_CALLS = const area::LOCAL_CALLS,
    A_PID = const area::PID,
    A_TID = const area::TID,
    A_PPID = const area::PPID,
    A_UID = const area::UID,
    A_EUID = const area::EUID,
    A_GID = const area::GID,
    A_EGID = const area::EGID,
    SLEEP = const state::SLEEP,
    A_STATE = const area::STATE,
    A_KICK = const area::KICK,
    A_SIG = const area::SIG,
    A_RESUME = const area::RESUME,
    A_UC = const area::UC,
    A_FS_BASE = const area::FS_BASE,
    A_GS_BASE = const area::GS_BASE,
    A_TSC = const area::TSC,
    A_CPU = const area::CPU,
    A_RSEQ = const area::RSEQ,
    A_RSEQ_LEN = const area::RSEQ_LEN,
    A_RSEQ_FLAGS = const area::RSEQ_FLAGS,
    A_RSEQ_SIG = const area::RSEQ_SIG,
    A_RSEQ_RESULT = const area::RSEQ_RESULT,
    A_SPINS = const area::SPINS,
    A_YIELDS = const area::YIELDS,
    A_STACK_T = const area::STACK_T,
    UC_R8 = const uc::R8,
    UC_RDI = const uc::RDI,
    UC_RSI = const uc::RSI,
    UC_RBP = const uc::RBP,
    UC_RBX = const uc::RBX,
    UC_RDX = const uc::RDX,
    UC_RAX = const uc::RAX,
    UC_RCX = const uc::RCX,
    UC_RSP = const uc::RSP,
    UC_RIP = const uc::RIP,
    UC_EFLAGS = const uc::EFLAGS,
    UC_FPSTATE = const uc::FPSTATE,
    HELPER_PROG = const data::HELPER_PROG,
    GUEST_PROG = const data::GUEST_PROG,
    NO_SIGNALS = const data::NO_SIGNALS,
    HELPER_SIGNALS = const data::HELPER_SIGNALS,
    CAP_HEADER = const data::CAP_HEADER,
    CAP_DATA = const data::CAP_DATA,
    HELPER_STACK_T = const data::HELPER_STACK_T,
    ACTION = const data::ACTION,
    DEFAULT_ACTION = const data::DEFAULT_ACTION,
);

unsafe extern "C" {
    static tegmen_stub_start: u8;
    static tegmen_stub_zygote: u8;
    static tegmen_stub_handler: u8;
    static tegmen_stub_restorer: u8;
    static tegmen_stub_code_end: u8;
    static tegmen_stub_fast_begin: u8;
    static tegmen_stub_fast_commit: u8;
    static tegmen_stub_fast: u8;
    static tegmen_stub_fast_first: u8;
    static tegmen_stub_fast_second: u8;
    static tegmen_stub_fast_third: u8;
    static tegmen_stub_fast_fourth: u8;
    static tegmen_stub_fast_vector: u8;
    static tegmen_stub_fast_message: u8;
    static tegmen_stub_fast_header: u8;
    static tegmen_stub_fast_buffer: u8;
    static tegmen_stub_fast_any: u8;
    static tegmen_stub_getpid: u8;
    static tegmen_stub_gettid: u8;
    static tegmen_stub_getppid: u8;
    static tegmen_stub_getuid: u8;
    static tegmen_stub_geteuid: u8;
    static tegmen_stub_getgid: u8;
    static tegmen_stub_getegid: u8;
}

fn offset_of(symbol: &u8) -> u64 {
    // SAFETY: the symbol is the address of the blob's first byte; nothing is read.
    let start = std::ptr::from_ref(unsafe { &tegmen_stub_start }) as u64;
    std::ptr::from_ref(symbol) as u64 - start
}

/// An argument of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// In rdi.
    First,
    /// In rsi.
    Second,
    /// In rdx.
    Third,
    /// In r10.
    Fourth,
    /// In rsi, as many bytes as rdx says.
    Buffer,
    /// In rsi, an array of as many buffers as rdx says, with what is in them.
    Vector,
    /// In rsi, the header of a message, its array of buffers, and what is in them.
    Message,
    /// Likewise, without what is in them.
    Header,
}

/// The argument of call `nr` that points to what the kernel reads first: a path, a structure, bytes to write.
pub fn prefetched(nr: u64) -> Option<Argument> {
    match nr as i64 {
        libc::SYS_open
        | libc::SYS_stat
        | libc::SYS_lstat
        | libc::SYS_access
        | libc::SYS_execve
        | libc::SYS_chdir
        | libc::SYS_rename
        | libc::SYS_mkdir
        | libc::SYS_rmdir
        | libc::SYS_unlink
        | libc::SYS_symlink
        | libc::SYS_readlink
        | libc::SYS_chmod
        | libc::SYS_statfs
        | libc::SYS_nanosleep
        | libc::SYS_sigaltstack
        | libc::SYS_clone3
        | libc::SYS_poll
        | libc::SYS_ppoll => Some(Argument::First),
        libc::SYS_openat
        | libc::SYS_newfstatat
        | libc::SYS_statx
        | libc::SYS_faccessat
        | libc::SYS_faccessat2
        | libc::SYS_readlinkat
        | libc::SYS_unlinkat
        | libc::SYS_mkdirat
        | libc::SYS_readv
        | libc::SYS_setitimer
        | libc::SYS_bind
        | libc::SYS_connect
        | libc::SYS_rt_sigaction
        | libc::SYS_rt_sigprocmask => Some(Argument::Second),
        libc::SYS_clock_nanosleep
        | libc::SYS_timerfd_settime
        | libc::SYS_prlimit64
        | libc::SYS_sched_setaffinity
        | libc::SYS_ioctl
        | libc::SYS_sendfile
        | libc::SYS_accept
        | libc::SYS_accept4
        | libc::SYS_getsockname
        | libc::SYS_getpeername => Some(Argument::Third),
        libc::SYS_epoll_ctl | libc::SYS_setsockopt => Some(Argument::Fourth),
        libc::SYS_writev | libc::SYS_pwritev => Some(Argument::Vector),
        libc::SYS_sendmsg => Some(Argument::Message),
        libc::SYS_recvmsg => Some(Argument::Header),
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_sendto => Some(Argument::Buffer),
        _ => None,
    }
}

/// Where a patched site goes, in guest processes: the answer to this call if the stub can have one, else the event.
pub fn fast_entry(nr: u32) -> u64 {
    // SAFETY: addresses of symbols in the blob; nothing is read.
    let symbol = unsafe {
        match i64::from(nr) {
            libc::SYS_getpid => &tegmen_stub_getpid,
            libc::SYS_gettid => &tegmen_stub_gettid,
            libc::SYS_getppid => &tegmen_stub_getppid,
            libc::SYS_getuid => &tegmen_stub_getuid,
            libc::SYS_geteuid => &tegmen_stub_geteuid,
            libc::SYS_getgid => &tegmen_stub_getgid,
            libc::SYS_getegid => &tegmen_stub_getegid,
            _ => match prefetched(u64::from(nr)) {
                Some(Argument::First) => &tegmen_stub_fast_first,
                Some(Argument::Second) => &tegmen_stub_fast_second,
                Some(Argument::Third) => &tegmen_stub_fast_third,
                Some(Argument::Fourth) => &tegmen_stub_fast_fourth,
                Some(Argument::Buffer) => &tegmen_stub_fast_buffer,
                Some(Argument::Vector) => &tegmen_stub_fast_vector,
                Some(Argument::Message) => &tegmen_stub_fast_message,
                Some(Argument::Header) => &tegmen_stub_fast_header,
                None => &tegmen_stub_fast,
            },
        }
    };
    l::STUB_ADDR + offset_of(symbol)
}

/// Where a patched site goes whose call is known only when it is made.
pub fn any_entry() -> u64 {
    // SAFETY: the address of a symbol in the blob; nothing is read.
    l::STUB_ADDR + offset_of(unsafe { &tegmen_stub_fast_any })
}

/// Whether an interrupted guest thread was on its way from a patched site to the stub: the call is to be made anew.
pub fn on_the_way(rip: u64) -> bool {
    // SAFETY: addresses of symbols in the blob; nothing is read.
    let (begin, end) = unsafe {
        (
            offset_of(&tegmen_stub_fast_begin),
            offset_of(&tegmen_stub_fast_commit),
        )
    };
    (l::STUB_ADDR + begin..l::STUB_ADDR + end).contains(&rip)
}

/// The file with the stub, ready to be mapped into guest processes.
#[derive(Debug)]
pub struct Stub {
    /// The sealed file.
    pub file: OwnedFd,
    /// Offset of the zygote's first instruction.
    pub zygote: u64,
}

impl Stub {
    /// Builds it.
    pub fn build() -> Result<Stub, Errno> {
        // Written, not mapped: a mapping that another thread's fork copied would keep the file from being sealed.
        let file = File::from(mem::memfd(c"tegmen-stub", l::STUB_LEN as u64)?);
        file.write_all_at(&blob()?, 0)?;
        let file = OwnedFd::from(file);
        mem::seal(&file, true)?;
        // SAFETY: the address of a symbol in the blob; nothing is read.
        let zygote = offset_of(unsafe { &tegmen_stub_zygote });
        Ok(Stub { file, zygote })
    }
}

fn put(blob: &mut [u8], at: usize, words: &[u64]) {
    for (slot, word) in blob[l::STUB_CODE + at..].chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
}

fn put_filter(blob: &mut [u8], prog: usize, at: usize, room: usize, filter: &[Insn]) -> Result<(), Errno> {
    if filter.len() * 8 > room {
        return Err(Errno::E2BIG);
    }
    let words: Vec<u64> = filter
        .iter()
        .map(|i| u64::from(i.code) | u64::from(i.jt) << 16 | u64::from(i.jf) << 24 | u64::from(i.k) << 32)
        .collect();
    put(blob, at, &words);
    let address = l::STUB_ADDR + (l::STUB_CODE + at) as u64;
    put(blob, prog, &[filter.len() as u64, address]);
    Ok(())
}

fn blob() -> Result<Vec<u8>, Errno> {
    let mut blob = vec![0u8; l::STUB_LEN];
    // SAFETY: addresses of symbols in the blob; nothing is read.
    let (handler, restorer, end) = unsafe {
        (
            offset_of(&tegmen_stub_handler),
            offset_of(&tegmen_stub_restorer),
            offset_of(&tegmen_stub_code_end),
        )
    };
    // SAFETY: the code from its first byte to its end lies in this program's text.
    let code = unsafe { std::slice::from_raw_parts(&raw const tegmen_stub_start, end as usize) };
    blob[..code.len()].copy_from_slice(code);
    let fault_signals = 1u64 << (libc::SIGSEGV - 1) | 1 << (libc::SIGBUS - 1);
    put(&mut blob, data::NO_SIGNALS, &[0, !fault_signals]);
    put(&mut blob, data::CAP_HEADER, &[0x2008_0522]);
    put(
        &mut blob,
        data::HELPER_STACK_T,
        &[l::HELPER_STACK, 0, l::HELPER_STACK_LEN],
    );
    let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER | libc::SA_RESTART | 0x0400_0000;
    put(
        &mut blob,
        data::ACTION,
        &[l::STUB_ADDR + handler, flags as u64, l::STUB_ADDR + restorer, 0],
    );
    for (nr, slot) in blob[l::STUB_CODE + data::KINDS..][..data::KINDS_LEN]
        .iter_mut()
        .enumerate()
    {
        *slot = match prefetched(nr as u64) {
            None => kind::NONE,
            Some(Argument::First) => kind::FIRST,
            Some(Argument::Second) => kind::SECOND,
            Some(Argument::Third) => kind::THIRD,
            Some(Argument::Fourth) => kind::FOURTH,
            Some(Argument::Buffer) => kind::BUFFER,
            Some(Argument::Vector) => kind::VECTOR,
            Some(Argument::Message) => kind::MESSAGE,
            Some(Argument::Header) => kind::HEADER,
        } as u8;
    }
    let room = (data::KINDS - data::GUEST_FILTER).min(data::GUEST_FILTER - data::HELPER_FILTER);
    put_filter(
        &mut blob,
        data::HELPER_PROG,
        data::HELPER_FILTER,
        room,
        &filter::helper(FORK_FLAGS, THREAD_FLAGS)?,
    )?;
    put_filter(
        &mut blob,
        data::GUEST_PROG,
        data::GUEST_FILTER,
        room,
        &filter::guest()?,
    )?;
    Ok(blob)
}
