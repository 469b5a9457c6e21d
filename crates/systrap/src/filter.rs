//! The filters of guest processes. They are the boundary: everything else in this crate is convenience.
//!
//! The helper's filter is installed in the zygote and inherited by everything; guest threads stack theirs on top.
//! Both trap what they do not allow: in a guest thread that is the event the engine lives on, in the helper, where
//! the signal is blocked, the host ends the process.

use abi::Errno;
use host::seccomp::{
    ALLOW, ARCH, ARCH_X86_64, Assembler, IP_HIGH, IP_LOW, Insn, NR, TRAP, To, arg_high, arg_low,
};

use crate::layout as l;

/// What the memory helper and starting threads may call, with any arguments. Each with its reason.
const HELPER_CALLS: [(i64, &str, &str); 17] = [
    (
        libc::SYS_futex,
        "futex",
        "wait for commands, wake the sentry, wake guest futexes",
    ),
    (libc::SYS_lseek, "lseek", "acknowledge"),
    (libc::SYS_mmap, "mmap", "map on the sentry's order"),
    (libc::SYS_munmap, "munmap", "likewise"),
    (libc::SYS_mprotect, "mprotect", "likewise"),
    (libc::SYS_madvise, "madvise", "likewise"),
    (libc::SYS_mremap, "mremap", "likewise"),
    (libc::SYS_msync, "msync", "likewise"),
    (libc::SYS_mincore, "mincore", "likewise"),
    (libc::SYS_sched_yield, "sched_yield", "hand-off of guest threads"),
    (
        libc::SYS_close_range,
        "close_range",
        "a starting thread gives up all descriptors",
    ),
    (
        libc::SYS_sigaltstack,
        "sigaltstack",
        "a starting thread sets its handler's stack",
    ),
    (
        libc::SYS_rt_sigprocmask,
        "rt_sigprocmask",
        "a starting thread unblocks signals",
    ),
    (
        libc::SYS_seccomp,
        "seccomp",
        "a starting thread installs the guest filter",
    ),
    (libc::SYS_exit, "exit", "end a thread on the sentry's order"),
    (
        libc::SYS_rseq,
        "rseq",
        "no call of the helper's: guest threads stack a narrower filter",
    ),
    (462, "mseal", "mseal on the sentry's order"),
];

/// A call that a guest process may make, for `tegmen surface`.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Its name.
    pub name: &'static str,
    /// Which arguments, in words; empty: any.
    pub conditions: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// The calls of [`HELPER_CALLS`] and those that `helper` checks further.
pub fn helper_calls() -> Vec<Allowed> {
    let plain = HELPER_CALLS.iter().map(|(_, name, reason)| Allowed {
        name,
        conditions: "",
        reason,
    });
    let checked = [
        Allowed {
            name: "clone",
            conditions: "two fixed sets of flags",
            reason: "fork, and new guest threads",
        },
        Allowed {
            name: "prctl",
            conditions: "PR_SET_PDEATHSIG, SIGKILL; PR_SET_NAME; PR_SET_MM_MAP",
            reason: "die with the sentry; have the guest's name in the host's lists",
        },
    ];
    plain.chain(checked).collect()
}

/// The calls of `guest`.
pub const GUEST_CALLS: [Allowed; 4] = [
    Allowed {
        name: "futex",
        conditions: "from the stub, WAIT or WAKE on a thread area",
        reason: "hand-off to the sentry",
    },
    Allowed {
        name: "sched_yield",
        conditions: "from the stub",
        reason: "hand-off on a shared processor",
    },
    Allowed {
        name: "exit",
        conditions: "from the stub",
        reason: "end of a thread",
    },
    Allowed {
        name: "rseq",
        conditions: "from the stub, no flags but UNREGISTER",
        reason: "restartable sequences of the guest's, which only the host's scheduler can keep",
    },
];

/// The filter of the memory helper.
pub fn helper(fork_flags: u32, thread_flags: u32) -> Result<Vec<Insn>, Errno> {
    let mut asm = Assembler::new();
    asm.load(ARCH)
        .equal(ARCH_X86_64, To::Next, To::Label("trap"))
        .load(NR);
    for (nr, ..) in HELPER_CALLS {
        asm.equal(nr as u32, To::Label("allow"), To::Next);
    }
    asm.equal(libc::SYS_clone as u32, To::Label("clone"), To::Next)
        .equal(libc::SYS_prctl as u32, To::Next, To::Label("trap"))
        .load(arg_low(0))
        .equal(libc::PR_SET_NAME as u32, To::Label("allow"), To::Next)
        .equal(libc::PR_SET_MM as u32, To::Label("mm"), To::Next)
        .equal(libc::PR_SET_PDEATHSIG as u32, To::Next, To::Label("trap"))
        .load(arg_low(1))
        .equal(libc::SIGKILL as u32, To::Label("allow"), To::Label("trap"))
        .label("mm")
        .load(arg_low(1))
        .equal(libc::PR_SET_MM_MAP as u32, To::Label("allow"), To::Label("trap"))
        .label("clone")
        .load(arg_high(0))
        .equal(0, To::Next, To::Label("trap"))
        .load(arg_low(0))
        .equal(fork_flags, To::Label("allow"), To::Next)
        .equal(thread_flags, To::Label("allow"), To::Next)
        .label("trap")
        .ret(TRAP)
        .label("allow")
        .ret(ALLOW);
    asm.finish()
}

/// The filter of guest threads: only the stub's own instructions, only what the hand-off needs.
///
/// A hostile guest can jump to those instructions; what they allow is harmless: futexes on thread areas of its own
/// process, yielding, ending its own thread (seen by the sentry), and having the host write processor numbers where
/// the guest may write, and continue the thread where the guest could have jumped itself (docs/decisions/0004).
pub fn guest() -> Result<Vec<Insn>, Errno> {
    let (area_low, area_high) = (l::AREA_BASE as u32, l::AREA_END as u32);
    let top = (l::AREA_BASE >> 32) as u32;
    let (stub_low, stub_high) = (l::STUB_ADDR as u32, (l::STUB_ADDR >> 32) as u32);
    let mut asm = Assembler::new();
    asm.load(ARCH)
        .equal(ARCH_X86_64, To::Next, To::Label("trap"))
        .load(IP_HIGH)
        .equal(stub_high, To::Next, To::Label("trap"))
        .load(IP_LOW)
        .at_least(stub_low, To::Next, To::Label("trap"))
        .at_least(stub_low + l::STUB_CODE as u32, To::Label("trap"), To::Next)
        .load(NR)
        .equal(libc::SYS_sched_yield as u32, To::Label("allow"), To::Next)
        .equal(libc::SYS_exit as u32, To::Label("allow"), To::Next)
        .equal(libc::SYS_rseq as u32, To::Label("rseq"), To::Next)
        .equal(libc::SYS_futex as u32, To::Next, To::Label("trap"))
        // FUTEX_WAIT (0) and FUTEX_WAKE (1), shared, on a thread area.
        .load(arg_low(1))
        .at_least(2, To::Label("trap"), To::Next)
        .load(arg_high(0))
        .equal(top, To::Next, To::Label("trap"))
        .load(arg_low(0))
        .at_least(area_low, To::Next, To::Label("trap"))
        .at_least(area_high, To::Label("trap"), To::Label("allow"))
        .label("rseq")
        .load(arg_low(2))
        .at_least(2, To::Label("trap"), To::Label("allow"))
        .label("trap")
        .ret(TRAP)
        .label("allow")
        .ret(ALLOW);
    asm.finish()
}
