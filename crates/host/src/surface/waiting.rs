//! Every host call that a process outside of the jail may make while it waits for a sandbox: the monitor of a container, and the
//! commands that read what a sentry sends (`do`, `exec`).

use super::{Arg, NO_EXEC, Row, Scope, Test, Verdict, one_of};

/// The caller's own process: what a taken-over process could end is itself.
const OWN: Arg = Arg {
    index: 0,
    test: Test::OwnProcess,
    words: "of itself",
};
/// TIOCGWINSZ.
const SIZE: &[u32] = &[0x5413];
/// TIOCGWINSZ, TIOCGPGRP; TCGETS, TCSETS, TCSETSW, TCSETSF, and the second versions of these: none of them types into a terminal.
const TERMINAL: &[u32] = &[
    0x5413,
    0x540f,
    0x5401,
    0x5402,
    0x5403,
    0x5404,
    0x802c_542a,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d,
];
const END_ONLY: &[u32] = &[libc::SIGKILL as u32, libc::SIGCHLD as u32];

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// The monitor of a container.
    Monitor,
    /// `tegmen do`, `tegmen exec`.
    Command,
}

impl Waits {
    /// Its rows.
    pub fn rows(self) -> impl Iterator<Item = &'static Row> {
        WAITING.iter().filter(move |row| match row.scope {
            Scope::Command => self == Waits::Command,
            Scope::Monitor => self == Waits::Monitor,
            _ => true,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Waits::Monitor => "monitor",
            Waits::Command => "command",
        }
    }
}

impl Row {
    /// The same for commands only, not for monitors.
    const fn of_commands(self) -> Row {
        Row {
            scope: Scope::Command,
            ..self
        }
    }

    /// The same for monitors only.
    const fn of_monitors(self) -> Row {
        Row {
            scope: Scope::Monitor,
            ..self
        }
    }
}

/// The calls of those who wait.
pub const WAITING: &[Row] = &[
    call!(
        rt_sigtimedwait,
        libc::SYS_rt_sigtimedwait,
        "wait for a signal, or for the sandbox's end"
    ),
    call!(wait4, libc::SYS_wait4, "how the sentry ended"),
    call!(
        read,
        libc::SYS_read,
        "reports of the sentry, the creating command's word to go on"
    ),
    call!(
        recvfrom,
        libc::SYS_recvfrom,
        "what the sentry reported before it ended"
    ),
    call!(
        recvmsg,
        libc::SYS_recvmsg,
        [one_of(2, &[libc::MSG_CMSG_CLOEXEC as u32], "MSG_CMSG_CLOEXEC")],
        "replies of the sandbox"
    )
    .of_commands(),
    call!(
        ioctl,
        libc::SYS_ioctl,
        [one_of(1, TERMINAL, "size, settings, foreground")],
        "the terminal's size, and its settings back"
    )
    .of_commands(),
    call!(
        ioctl,
        libc::SYS_ioctl,
        [one_of(1, SIZE, "TIOCGWINSZ")],
        "the terminal's size"
    )
    .of_monitors(),
    call!(
        write,
        libc::SYS_write,
        "signals and window sizes to the sentry; a last line on standard error"
    ),
    call!(
        pidfd_send_signal,
        libc::SYS_pidfd_send_signal,
        [one_of(1, END_ONLY, "SIGKILL, SIGCHLD")],
        "end a child; wake the own thread that waits"
    ),
    call!(pidfd_open, libc::SYS_pidfd_open, [OWN], "likewise").of_commands(),
    call!(kill, libc::SYS_kill, [OWN], "end as the container's process did"),
    call!(
        tgkill,
        libc::SYS_tgkill,
        [OWN],
        "stop as the caller's shell asked for"
    )
    .of_commands(),
    call!(
        prlimit64,
        libc::SYS_prlimit64,
        [one_of(0, &[0], "of itself")],
        "no core dump of this process"
    ),
    call!(
        rt_sigaction,
        libc::SYS_rt_sigaction,
        "the default action of that signal"
    ),
    call!(
        rt_sigprocmask,
        libc::SYS_rt_sigprocmask,
        "let it through; end of a thread"
    ),
    call!(getpid, libc::SYS_getpid, "the own process"),
    call!(gettid, libc::SYS_gettid, "likewise"),
    call!(getpgrp, libc::SYS_getpgrp, "whether it is in the foreground").of_commands(),
    call!(
        futex,
        libc::SYS_futex,
        "locks; the end of the thread that listens"
    ),
    call!(
        clock_gettime,
        libc::SYS_clock_gettime,
        "times for --timing, where there is no vDSO"
    ),
    call!(mmap, libc::SYS_mmap, [NO_EXEC], "its own memory"),
    call!(munmap, libc::SYS_munmap, "give memory back"),
    call!(mprotect, libc::SYS_mprotect, [NO_EXEC], "the heap of a thread").of_commands(),
    call!(mremap, libc::SYS_mremap, "grow large allocations"),
    call!(madvise, libc::SYS_madvise, "give memory back"),
    call!(brk, libc::SYS_brk, "the heap"),
    call!(close, libc::SYS_close, "close descriptors"),
    call!(
        fcntl,
        libc::SYS_fcntl,
        [one_of(1, &[libc::F_GETFD as u32], "F_GETFD")],
        "debug builds check each descriptor that they close"
    ),
    call!(rseq, libc::SYS_rseq, "start of a thread, by the C library").of_commands(),
    call!(set_robust_list, libc::SYS_set_robust_list, "likewise").of_commands(),
    call!(sigaltstack, libc::SYS_sigaltstack, "start and end of a thread"),
    call!(
        sched_getaffinity,
        libc::SYS_sched_getaffinity,
        "start of a thread, by the standard library"
    )
    .of_commands(),
    call!(
        restart_syscall,
        libc::SYS_restart_syscall,
        "continue a wait after a stop"
    ),
    call!(exit, libc::SYS_exit, "end of a thread").of_commands(),
    call!(exit_group, libc::SYS_exit_group, "end"),
];
