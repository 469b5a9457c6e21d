//! Signals of the command process: blocked, and taken one at a time.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi::Errno;

use crate::call::check;

/// SIGTSTP and friends as numbers, for callers without libc.
pub use libc::{
    SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGSTOP, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH,
};

/// A set of signals.
#[derive(Clone, Copy)]
pub struct SignalSet(libc::sigset_t);

impl SignalSet {
    /// No signal.
    pub fn empty() -> SignalSet {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set.
        SignalSet(unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            set.assume_init()
        })
    }

    /// Every signal but those that a fault of the program itself raises.
    pub fn all_but_faults() -> SignalSet {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the set.
        let mut set = unsafe {
            libc::sigfillset(set.as_mut_ptr());
            set.assume_init()
        };
        for fault in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGTRAP,
            libc::SIGABRT,
            libc::SIGSYS,
        ] {
            // SAFETY: the set is initialised and the number is a signal.
            unsafe { libc::sigdelset(&mut set, fault) };
        }
        SignalSet(set)
    }

    /// Makes the set the calling thread's mask and returns the old one.
    pub fn block_exactly(&self) -> Result<SignalSet, Errno> {
        let mut old = SignalSet::empty();
        // SAFETY: both sets are initialised.
        let ret = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, &mut old.0) };
        if ret == 0 {
            Ok(old)
        } else {
            Err(Errno::from_raw(ret))
        }
    }

    /// Takes the next pending signal of the set (all of which must be blocked), waiting for one.
    pub fn wait(&self) -> Result<i32, Errno> {
        loop {
            // SAFETY: the set is initialised; a null siginfo is allowed.
            match check(unsafe { libc::sigwaitinfo(&self.0, std::ptr::null_mut()) }.into()) {
                Ok(signal) => return Ok(signal as i32),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Gives every signal its default action, but leaves `SIGPIPE` ignored as Rust programs have it.
pub fn reset_actions() {
    for signal in 1..=64 {
        if matches!(signal, libc::SIGKILL | libc::SIGSTOP | libc::SIGPIPE) || (32..34).contains(&signal) {
            continue;
        }
        // SAFETY: SIG_DFL is always a valid action. Numbers that the C library keeps for itself are refused without effect.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Stops the calling process, as the default action of SIGTSTP does.
pub fn stop_self() {
    // SAFETY: no memory is passed.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Ends the calling process by `signal`, so that its parent sees that and no exit status; without a core dump.
/// Exits with 128 + `signal` where that cannot be done, as with signals that stop.
pub fn die_by(signal: i32) -> ! {
    if matches!(
        signal,
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU
    ) {
        // SAFETY: ends the process.
        unsafe { libc::_exit(128 + signal) }
    }
    let no_core = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is valid for reading, the set is initialised before use, SIG_DFL is a valid action.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &no_core);
        libc::signal(signal, libc::SIG_DFL);
        let mut set = MaybeUninit::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut());
        libc::kill(libc::getpid(), signal);
        libc::_exit(128 + signal)
    }
}

/// Calls `body` with the call's number when a seccomp filter of this process traps a call (SIGSYS).
///
/// `body` runs in a signal handler: it may use plain host calls only.
pub fn on_denied_call(body: fn(i32) -> !) -> Result<(), Errno> {
    DENIED.store(body as usize, Ordering::SeqCst);
    // SAFETY: an all-zero sigaction is valid; the fields that matter are set below.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = denied as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    // SAFETY: the action is initialised and its handler has the type that SA_SIGINFO asks for.
    check(unsafe { libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut()) }.into()).map(drop)
}

static DENIED: AtomicUsize = AtomicUsize::new(0);

/// Offset of `si_syscall` in a SIGSYS siginfo: after signo, errno, code, padding and the call's address.
const SI_SYSCALL: usize = 24;

extern "C" fn denied(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a siginfo of 128 bytes.
    let nr = unsafe { info.cast::<u8>().add(SI_SYSCALL).cast::<i32>().read() };
    let body = DENIED.load(Ordering::SeqCst);
    if body != 0 {
        // SAFETY: only `on_denied_call` stores there, and only functions of this type.
        let body: fn(i32) -> ! = unsafe { std::mem::transmute(body) };
        body(nr)
    }
}

/// Writes to standard error and ends the process; for signal handlers.
pub fn write_error_and_exit(line: &[u8], status: i32) -> ! {
    // SAFETY: pointer and length describe `line`; the process ends here.
    unsafe {
        libc::write(2, line.as_ptr().cast(), line.len());
        libc::_exit(status)
    }
}
