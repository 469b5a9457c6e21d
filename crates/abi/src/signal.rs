//! Signal numbers and the flags and codes that go with them (signal(7), sigaction(2)) on x86-64.

macro_rules! numbers {
    ($t:ty; $($name:ident = $value:expr;)*) => { $(#[doc = stringify!($name)] pub const $name: $t = $value;)* };
}

numbers! { u32;
    SIGHUP = 1;
    SIGINT = 2;
    SIGQUIT = 3;
    SIGILL = 4;
    SIGTRAP = 5;
    SIGABRT = 6;
    SIGBUS = 7;
    SIGFPE = 8;
    SIGKILL = 9;
    SIGUSR1 = 10;
    SIGSEGV = 11;
    SIGUSR2 = 12;
    SIGPIPE = 13;
    SIGALRM = 14;
    SIGTERM = 15;
    SIGSTKFLT = 16;
    SIGCHLD = 17;
    SIGCONT = 18;
    SIGSTOP = 19;
    SIGTSTP = 20;
    SIGTTIN = 21;
    SIGTTOU = 22;
    SIGURG = 23;
    SIGXCPU = 24;
    SIGXFSZ = 25;
    SIGVTALRM = 26;
    SIGPROF = 27;
    SIGWINCH = 28;
    SIGIO = 29;
    SIGPWR = 30;
    SIGSYS = 31;
    SIGRTMIN = 32;
    SIGRTMAX = 64;
}

numbers! { u64;
    SIG_DFL = 0;
    SIG_IGN = 1;
    SA_NOCLDSTOP = 1;
    SA_NOCLDWAIT = 2;
    SA_SIGINFO = 4;
    SA_UNSUPPORTED = 0x400;
    SA_EXPOSE_TAGBITS = 0x800;
    SA_RESTORER = 0x0400_0000;
    SA_ONSTACK = 0x0800_0000;
    SA_RESTART = 0x1000_0000;
    SA_NODEFER = 0x4000_0000;
    SA_RESETHAND = 0x8000_0000;
}

numbers! { i32;
    SI_USER = 0;
    SI_KERNEL = 0x80;
    SI_QUEUE = -1;
    SI_TIMER = -2;
    SI_MESGQ = -3;
    SI_ASYNCIO = -4;
    SI_SIGIO = -5;
    SI_TKILL = -6;
    ILL_ILLOPN = 2;
    SEGV_MAPERR = 1;
    SEGV_ACCERR = 2;
    SYS_SECCOMP = 1;
    SYS_USER_DISPATCH = 2;
    CLD_EXITED = 1;
    CLD_KILLED = 2;
    CLD_DUMPED = 3;
    CLD_TRAPPED = 4;
    CLD_STOPPED = 5;
    CLD_CONTINUED = 6;
}

numbers! { u32;
    SS_ONSTACK = 1;
    SS_DISABLE = 2;
    SS_AUTODISARM = 1 << 31;
    SIG_BLOCK = 0;
    SIG_UNBLOCK = 1;
    SIG_SETMASK = 2;
}

/// Smallest alternate stack (MINSIGSTKSZ).
pub const MINSIGSTKSZ: u64 = 2048;
