//! Every host call that a running sentry may make: the table, and the filter made from it.
//!
//! A call that is not here, or not with these arguments, ends the sandbox with a line that names it. The table is ordered by how
//! often a call is made, because a filter is a list that the host walks.

use std::sync::OnceLock;

use abi::Errno;

use crate::seccomp::{self, Insn};

/// A condition on an argument.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    /// The low 32 bits are one of these (and the high ones are zero).
    OneOf(&'static [u32]),
    /// None of these bits is set in the low 32 bits.
    Without(u32),
    /// All of these bits are set in the low 32 bits.
    With(u32),
}

/// A condition on one argument, and how `tegmen surface` words it.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    index: u32,
    test: Test,
    words: &'static str,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    /// Allowed if all conditions hold.
    Allow(&'static [Arg]),
    /// Answered with this error, without ending the sandbox: the C library then takes another way.
    Refuse(i32),
}

/// Which sandboxes have a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one.
    Always,
    /// Those with a tree that the host changes too.
    Volume,
    /// Those with a volume that they may write.
    WritableVolume,
    /// Those without.
    ReadOnly,
    /// Containers, which are controlled through a socket.
    Controlled,
}

/// What a sandbox needs of the host beyond the minimum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It has a tree that the host changes too: a volume.
    pub volume: bool,
    /// It has a volume that it may write.
    pub writable_volume: bool,
    /// It listens on a control socket.
    pub control: bool,
}

impl Needs {
    /// The rows of such a sandbox.
    pub fn rows(self) -> impl Iterator<Item = &'static Row> {
        SENTRY.iter().filter(move |row| match row.scope {
            Scope::Always => true,
            Scope::Volume => self.volume,
            Scope::WritableVolume => self.writable_volume,
            Scope::ReadOnly => !self.writable_volume,
            Scope::Controlled => self.control,
        })
    }
}

/// A host call of the sentry.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its number on x86-64.
    pub nr: i64,
    /// Its name.
    pub name: &'static str,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why the sentry makes it.
    pub reason: &'static str,
    /// Who may.
    pub scope: Scope,
}

impl Row {
    /// The same for sandboxes with a volume only.
    const fn on_any_volume(self) -> Row {
        Row {
            scope: Scope::Volume,
            ..self
        }
    }

    /// The same for sandboxes with a writable volume only.
    const fn on_volumes(self) -> Row {
        Row {
            scope: Scope::WritableVolume,
            ..self
        }
    }

    /// The same for containers with a control socket only.
    const fn controlled(self) -> Row {
        Row {
            scope: Scope::Controlled,
            ..self
        }
    }

    /// The same for sandboxes without a writable volume only.
    const fn read_only(self) -> Row {
        Row {
            scope: Scope::ReadOnly,
            ..self
        }
    }
}

impl Row {
    /// The conditions in words; empty when there are none.
    pub fn conditions(&self) -> String {
        match self.verdict {
            Verdict::Allow(args) => args.iter().map(|arg| arg.words).collect::<Vec<_>>().join(", "),
            Verdict::Refuse(errno) => format!("refused with {}", Errno::from_raw(errno)),
        }
    }

    /// Whether the host carries the call out (and does not just refuse it).
    pub fn is_allowed(&self) -> bool {
        matches!(self.verdict, Verdict::Allow(_))
    }
}

macro_rules! call {
    ($name:ident, $nr:expr, $reason:literal) => {
        Row { nr: $nr, name: stringify!($name), verdict: Verdict::Allow(&[]), reason: $reason, scope: Scope::Always }
    };
    ($name:ident, $nr:expr, [$($arg:expr),+], $reason:literal) => {
        Row { nr: $nr, name: stringify!($name), verdict: Verdict::Allow(&[$($arg),+]), reason: $reason, scope: Scope::Always }
    };
}

const fn one_of(index: u32, values: &'static [u32], words: &'static str) -> Arg {
    Arg {
        index,
        test: Test::OneOf(values),
        words,
    }
}

const fn without(index: u32, bits: i32, words: &'static str) -> Arg {
    Arg {
        index,
        test: Test::Without(bits as u32),
        words,
    }
}

const fn with(index: u32, bits: i32, words: &'static str) -> Arg {
    Arg {
        index,
        test: Test::With(bits as u32),
        words,
    }
}

const NO_EXEC: Arg = without(2, libc::PROT_EXEC, "not executable");
const BY_HANDLE: Arg = with(4, libc::AT_EMPTY_PATH, "of a handle");
/// What pthread_create(3) asks of clone(2): a thread of this process, and nothing else.
const THREAD_FLAGS: u32 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID) as u32;

/// fchmodat2(2), which the C library does not name yet.
const SYS_FCHMODAT2: i64 = 452;

/// The sentry's calls.
pub const SENTRY: &[Row] = &[
    call!(
        futex,
        libc::SYS_futex,
        "hand-offs to guest threads; locks and waits of the sentry's threads"
    ),
    call!(
        sched_yield,
        libc::SYS_sched_yield,
        "hand-off on a shared processor"
    ),
    call!(
        process_vm_readv,
        libc::SYS_process_vm_readv,
        "copy from guest memory"
    ),
    call!(
        process_vm_writev,
        libc::SYS_process_vm_writev,
        "copy to guest memory"
    ),
    call!(pread64, libc::SYS_pread64, "read files"),
    call!(pwrite64, libc::SYS_pwrite64, "write files"),
    call!(preadv2, libc::SYS_preadv2, "read without waiting"),
    call!(
        pwritev2,
        libc::SYS_pwritev2,
        "write without waiting, append; frames to a network interface"
    ),
    call!(
        read,
        libc::SYS_read,
        "standard input, directory handles' lists, frames of a network interface"
    ),
    call!(write, libc::SYS_write, "standard output, logs"),
    call!(
        lseek,
        libc::SYS_lseek,
        "acknowledgements of memory helpers; data and holes of files"
    ),
    call!(statx, libc::SYS_statx, "attributes of files"),
    call!(
        openat,
        libc::SYS_openat,
        [
            with(2, libc::O_CLOEXEC, "close-on-exec"),
            without(2, libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC, "for reading")
        ],
        "open one name in a directory handle"
    )
    .read_only(),
    call!(
        openat,
        libc::SYS_openat,
        [with(2, libc::O_CLOEXEC, "close-on-exec")],
        "open one name in a directory handle"
    )
    .on_volumes(),
    call!(close, libc::SYS_close, "close descriptors"),
    call!(
        fanotify_mark,
        libc::SYS_fanotify_mark,
        [one_of(
            1,
            &[libc::FAN_MARK_ADD | libc::FAN_MARK_ONLYDIR, libc::FAN_MARK_FLUSH],
            "mark a directory, take all marks off"
        )],
        "hear of changes that others make to volumes"
    )
    .on_any_volume(),
    call!(getdents64, libc::SYS_getdents64, "list directories"),
    call!(readlinkat, libc::SYS_readlinkat, "text of a link"),
    call!(
        mmap,
        libc::SYS_mmap,
        [NO_EXEC],
        "the sentry's own memory; areas shared with guest threads"
    ),
    call!(munmap, libc::SYS_munmap, "give memory back"),
    call!(
        mprotect,
        libc::SYS_mprotect,
        [NO_EXEC],
        "guard pages of thread stacks; the heap"
    ),
    call!(madvise, libc::SYS_madvise, "give memory back"),
    call!(mremap, libc::SYS_mremap, "grow large allocations"),
    call!(brk, libc::SYS_brk, "the heap"),
    call!(tgkill, libc::SYS_tgkill, "interrupt a guest thread"),
    call!(
        getrandom,
        libc::SYS_getrandom,
        "random bytes for guests and hash tables"
    ),
    call!(
        clock_gettime,
        libc::SYS_clock_gettime,
        "processor time of guest processes"
    ),
    call!(clock_nanosleep, libc::SYS_clock_nanosleep, "timers"),
    call!(
        poll,
        libc::SYS_poll,
        "wait for standard descriptors and the command"
    ),
    call!(
        epoll_wait,
        libc::SYS_epoll_wait,
        "wait for the end of guest processes"
    ),
    call!(epoll_ctl, libc::SYS_epoll_ctl, "likewise"),
    call!(
        epoll_create1,
        libc::SYS_epoll_create1,
        "wait for standard descriptors"
    ),
    call!(waitid, libc::SYS_waitid, "reap guest processes"),
    call!(pidfd_open, libc::SYS_pidfd_open, "handles of guest processes"),
    call!(
        pidfd_send_signal,
        libc::SYS_pidfd_send_signal,
        "end guest processes"
    ),
    call!(
        memfd_create,
        libc::SYS_memfd_create,
        "memory shared with guest processes"
    ),
    call!(ftruncate, libc::SYS_ftruncate, "sizes of files"),
    call!(fallocate, libc::SYS_fallocate, "space of files, holes"),
    call!(
        fcntl,
        libc::SYS_fcntl,
        [one_of(
            1,
            FCNTL,
            "F_GETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_ADD_SEALS"
        )],
        "flags and copies of descriptors"
    ),
    call!(mkdirat, libc::SYS_mkdirat, "directories on volumes").on_volumes(),
    call!(mknodat, libc::SYS_mknodat, "fifos and sockets on volumes").on_volumes(),
    call!(unlinkat, libc::SYS_unlinkat, "names on volumes").on_volumes(),
    call!(renameat2, libc::SYS_renameat2, "names on volumes").on_volumes(),
    call!(
        linkat,
        libc::SYS_linkat,
        [one_of(4, &[0, libc::AT_EMPTY_PATH as u32], "no link followed")],
        "names on volumes"
    )
    .on_volumes(),
    call!(symlinkat, libc::SYS_symlinkat, "links on volumes").on_volumes(),
    call!(
        fchownat,
        libc::SYS_fchownat,
        [BY_HANDLE],
        "owners of files on volumes"
    )
    .on_volumes(),
    call!(
        fchmodat2,
        SYS_FCHMODAT2,
        [with(3, libc::AT_EMPTY_PATH, "of a handle")],
        "modes of files on volumes"
    )
    .on_volumes(),
    call!(
        utimensat,
        libc::SYS_utimensat,
        [with(3, libc::AT_EMPTY_PATH, "of a handle")],
        "times of files on volumes"
    )
    .on_volumes(),
    call!(fsync, libc::SYS_fsync, "files to disk"),
    call!(fdatasync, libc::SYS_fdatasync, "likewise"),
    call!(syncfs, libc::SYS_syncfs, "volumes to disk").on_volumes(),
    call!(fstatfs, libc::SYS_fstatfs, "sizes of file systems"),
    call!(fgetxattr, libc::SYS_fgetxattr, "attributes of files"),
    call!(flistxattr, libc::SYS_flistxattr, "likewise"),
    call!(fsetxattr, libc::SYS_fsetxattr, "attributes of files on volumes").on_volumes(),
    call!(fremovexattr, libc::SYS_fremovexattr, "likewise").on_volumes(),
    call!(
        recvfrom,
        libc::SYS_recvfrom,
        "signals and window sizes from the command"
    ),
    call!(sendto, libc::SYS_sendto, "the outcome to the command"),
    call!(
        accept4,
        libc::SYS_accept4,
        [one_of(3, &[libc::SOCK_CLOEXEC as u32], "close-on-exec")],
        "connections to the control socket"
    )
    .controlled(),
    call!(
        recvmsg,
        libc::SYS_recvmsg,
        [one_of(2, &[libc::MSG_CMSG_CLOEXEC as u32], "MSG_CMSG_CLOEXEC")],
        "requests, and the descriptors of processes that are brought in"
    )
    .controlled(),
    call!(
        clone,
        libc::SYS_clone,
        [one_of(0, &[THREAD_FLAGS], "a thread")],
        "the sentry's threads"
    ),
    Row {
        nr: libc::SYS_clone3,
        name: "clone3",
        verdict: Verdict::Refuse(libc::ENOSYS),
        reason: "its arguments cannot be checked; the C library then uses clone",
        scope: Scope::Always,
    },
    call!(gettid, libc::SYS_gettid, "name a thread of the sentry"),
    call!(rseq, libc::SYS_rseq, "start of a thread, by the C library"),
    call!(set_robust_list, libc::SYS_set_robust_list, "likewise"),
    call!(
        prctl,
        libc::SYS_prctl,
        [one_of(0, &[libc::PR_SET_NAME as u32], "PR_SET_NAME")],
        "names of threads"
    ),
    call!(
        rt_sigprocmask,
        libc::SYS_rt_sigprocmask,
        "start and end of a thread"
    ),
    call!(sigaltstack, libc::SYS_sigaltstack, "likewise"),
    call!(
        sched_setaffinity,
        libc::SYS_sched_setaffinity,
        "keep a pair of threads on one processor"
    ),
    call!(sched_getaffinity, libc::SYS_sched_getaffinity, "likewise"),
    call!(
        rt_sigreturn,
        libc::SYS_rt_sigreturn,
        "return from a signal handler"
    ),
    call!(
        restart_syscall,
        libc::SYS_restart_syscall,
        "continue a wait after a stop"
    ),
    call!(exit, libc::SYS_exit, "end of a thread"),
    call!(exit_group, libc::SYS_exit_group, "end of the sandbox"),
];

/// F_ADD_SEALS is 1024 + 9, F_DUPFD_CLOEXEC 1024 + 6.
/// F_GETFD: debug builds check each descriptor that they close.
const FCNTL: &[u32] = &[
    libc::F_GETFD as u32,
    libc::F_GETFL as u32,
    libc::F_SETFL as u32,
    libc::F_DUPFD_CLOEXEC as u32,
    libc::F_ADD_SEALS as u32,
];

/// The filter of a sentry with these needs.
pub fn sentry_filter(needs: Needs) -> Result<Vec<Insn>, Errno> {
    let mut program = vec![
        load(seccomp::ARCH),
        jump_equal(seccomp::ARCH_X86_64, 1, 0),
        ret(seccomp::KILL),
        load(seccomp::NR),
    ];
    for row in needs.rows() {
        let body = body(row);
        let skip = u8::try_from(body.len()).map_err(|_| Errno::EINVAL)?;
        program.push(jump_equal(row.nr as u32, 0, skip));
        program.extend(body);
    }
    program.push(ret(seccomp::TRAP));
    Ok(program)
}

/// What follows a matched number; every way through it ends with an action.
fn body(row: &Row) -> Vec<Insn> {
    let args = match row.verdict {
        Verdict::Refuse(errno) => return vec![ret(libc::SECCOMP_RET_ERRNO | errno as u32)],
        Verdict::Allow(args) => args,
    };
    let mut code = Vec::new();
    for arg in args {
        match arg.test {
            Test::OneOf(values) => {
                code.extend([
                    load(seccomp::arg_high(arg.index)),
                    jump_equal(0, 1, 0),
                    ret(seccomp::TRAP),
                ]);
                code.push(load(seccomp::arg_low(arg.index)));
                for (at, value) in values.iter().enumerate() {
                    // Past the values that follow, and the refusal after them.
                    code.push(jump_equal(*value, (values.len() - at) as u8, 0));
                }
            }
            Test::Without(bits) => {
                code.extend([load(seccomp::arg_low(arg.index)), jump_any(bits, 0, 1)]);
            }
            Test::With(bits) => {
                code.extend([
                    load(seccomp::arg_low(arg.index)),
                    and(bits),
                    jump_equal(bits, 1, 0),
                ]);
            }
        }
        code.push(ret(seccomp::TRAP));
    }
    code.push(ret(seccomp::ALLOW));
    code
}

const fn insn(code: u32, k: u32, jt: u8, jf: u8) -> Insn {
    Insn {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

const fn load(offset: u32) -> Insn {
    insn(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

const fn and(bits: u32) -> Insn {
    insn(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits, 0, 0)
}

const fn jump_equal(value: u32, yes: u8, no: u8) -> Insn {
    insn(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, yes, no)
}

const fn jump_any(bits: u32, yes: u8, no: u8) -> Insn {
    insn(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits, yes, no)
}

const fn ret(action: u32) -> Insn {
    insn(libc::BPF_RET | libc::BPF_K, action, 0, 0)
}

/// What a call is called. Runs in a signal handler.
pub type NameOf = fn(i64) -> Option<&'static str>;

static NAME_OF: OnceLock<NameOf> = OnceLock::new();

/// Closes the sentry under its filter; all threads of the process. A denied call ends the process after a line on
/// standard error, which names the call: those of the table by themselves, others as `name_of` does.
pub fn close_sentry(needs: Needs, name_of: NameOf) -> Result<(), Errno> {
    let _ = NAME_OF.set(name_of);
    crate::signal::on_denied_call(name_and_exit)?;
    seccomp::install(&sentry_filter(needs)?, true)
}

/// Runs in a signal handler: writes with plain calls only.
fn name_and_exit(nr: i32) -> ! {
    let mut line = [0; 160];
    let mut len = 0;
    let mut put = |text: &[u8]| {
        for byte in text {
            if let Some(slot) = line.get_mut(len) {
                *slot = *byte;
                len += 1;
            }
        }
    };
    put(b"tegmen: the sentry made a host call outside of its profile: ");
    let mut digits = [0; 10];
    let mut rest = nr.unsigned_abs();
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    put(&digits[at..]);
    let nr = i64::from(nr);
    if let Some(row) = SENTRY.iter().find(|row| row.nr == nr) {
        put(b" (");
        put(row.name.as_bytes());
        put(b", with other arguments or in another kind of sandbox)");
    } else if let Some(name) = NAME_OF.get().and_then(|name_of| name_of(nr)) {
        put(b" (");
        put(name.as_bytes());
        put(b")");
    }
    put(b"\n");
    crate::signal::write_error_and_exit(&line[..len], 125)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a filter as the host would; the last instruction is always a return.
    fn judge(program: &[Insn], nr: i64, args: [u64; 6]) -> u32 {
        let mut data = [0u8; 64];
        data[..4].copy_from_slice(&(nr as u32).to_le_bytes());
        data[4..8].copy_from_slice(&seccomp::ARCH_X86_64.to_le_bytes());
        for (index, arg) in args.iter().enumerate() {
            data[16 + 8 * index..24 + 8 * index].copy_from_slice(&arg.to_le_bytes());
        }
        let (mut at, mut acc) = (0usize, 0u32);
        loop {
            let insn = program[at];
            let take = |yes: bool| usize::from(if yes { insn.jt } else { insn.jf });
            match insn.code {
                0x20 => acc = u32::from_le_bytes(data[insn.k as usize..][..4].try_into().unwrap()),
                0x54 => acc &= insn.k,
                0x15 => at += take(acc == insn.k),
                0x45 => at += take(acc & insn.k != 0),
                0x06 => return insn.k,
                other => panic!("instruction {other:#x}"),
            }
            at += 1;
        }
    }

    #[test]
    fn the_filter_does_what_the_table_says() {
        let program = sentry_filter(Needs {
            volume: true,
            writable_volume: true,
            control: true,
        })
        .unwrap();
        let verdict = |nr, args| judge(&program, nr, args);
        assert_eq!(verdict(libc::SYS_futex, [u64::MAX; 6]), seccomp::ALLOW);
        assert_eq!(verdict(libc::SYS_execve, [0; 6]), seccomp::TRAP);
        assert_eq!(
            verdict(libc::SYS_clone3, [0; 6]),
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32
        );
        let exec = (libc::PROT_READ | libc::PROT_EXEC) as u64;
        assert_eq!(verdict(libc::SYS_mmap, [0, 1, exec, 0, 0, 0]), seccomp::TRAP);
        assert_eq!(verdict(libc::SYS_mmap, [0, 1, 3, 0, 0, 0]), seccomp::ALLOW);
        assert_eq!(verdict(libc::SYS_openat, [0, 0, 0, 0, 0, 0]), seccomp::TRAP);
        assert_eq!(
            verdict(libc::SYS_openat, [0, 0, libc::O_CLOEXEC as u64 | 2, 0, 0, 0]),
            seccomp::ALLOW
        );
        for command in FCNTL {
            assert_eq!(
                verdict(libc::SYS_fcntl, [0, u64::from(*command), 0, 0, 0, 0]),
                seccomp::ALLOW
            );
        }
        assert_eq!(verdict(libc::SYS_fcntl, [0, 8, 0, 0, 0, 0]), seccomp::TRAP);
        assert_eq!(
            verdict(libc::SYS_fcntl, [0, 3 | 1 << 32, 0, 0, 0, 0]),
            seccomp::TRAP
        );
        assert_eq!(
            verdict(libc::SYS_clone, [u64::from(THREAD_FLAGS), 0, 0, 0, 0, 0]),
            seccomp::ALLOW
        );
        assert_eq!(
            verdict(libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]),
            seccomp::TRAP
        );
    }

    #[test]
    fn without_volumes_nothing_is_opened_for_writing() {
        let program = sentry_filter(Needs::default()).unwrap();
        let open = |flags: i32| {
            judge(
                &program,
                libc::SYS_openat,
                [0, 0, (libc::O_CLOEXEC | flags) as u64, 0, 0, 0],
            )
        };
        assert_eq!(open(libc::O_RDONLY | libc::O_NOFOLLOW), seccomp::ALLOW);
        for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_CREAT, libc::O_TRUNC] {
            assert_eq!(open(flags), seccomp::TRAP);
        }
        assert_eq!(judge(&program, libc::SYS_mkdirat, [0; 6]), seccomp::TRAP);
    }

    #[test]
    fn other_architectures_end_the_process() {
        let program = sentry_filter(Needs {
            volume: true,
            writable_volume: true,
            control: true,
        })
        .unwrap();
        assert_eq!((program[0].k, program[2].k), (seccomp::ARCH, seccomp::KILL));
    }

    #[test]
    fn each_call_stands_once() {
        for writable_volume in [false, true] {
            let needs = Needs {
                volume: true,
                writable_volume,
                control: writable_volume,
            };
            let mut numbers: Vec<i64> = needs.rows().map(|row| row.nr).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), needs.rows().count());
        }
    }
}
