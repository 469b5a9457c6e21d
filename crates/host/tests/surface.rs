//! The table of host calls against the code: every function of the C library and every raw call that the crates with host calls
//! make is listed here with what it asks of the host and when; the table has a row for each that a running sentry makes, and no
//! row that nobody needs. A new call fails this test until it is listed.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use host::surface::{FORWARD, Needs, RELAY, SENTRY, Scope, WAITING, Waits};

/// When a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// By a running sentry, under its filter: these host calls.
    Sentry(&'static [&'static str]),
    /// Only by the command, or before the filter is closed, or in a test; and it would be denied later.
    Before,
    /// By the relay of a sandbox's network, under its own table.
    Relay,
    /// By a sentry in the host's network only.
    HostNetwork,
    /// Never reaches the host's kernel (or through the vDSO or the auxiliary vector).
    Local,
}

use When::{Before, HostNetwork, Local, Relay, Sentry};

/// What each `libc::NAME(` and `libc::SYS_NAME` of the crates is.
const FUNCTIONS: &[(&str, When)] = &[
    ("_exit", Sentry(&["exit_group"])),
    ("accept4", Sentry(&["accept4"])),
    ("bind", Before),
    ("cfmakeraw", Local),
    ("chdir", Before),
    ("clock_gettime", Sentry(&["clock_gettime"])),
    ("connect", Before),
    ("dup3", Before),
    ("epoll_create1", Sentry(&["epoll_create1"])),
    ("epoll_ctl", Sentry(&["epoll_ctl"])),
    ("epoll_wait", Sentry(&["epoll_wait"])),
    ("fallocate", Sentry(&["fallocate"])),
    ("fanotify_init", Before),
    ("fanotify_mark", Sentry(&["fanotify_mark"])),
    ("fchdir", Before),
    ("fchownat", Sentry(&["fchownat"])),
    ("fcntl", Sentry(&["fcntl"])),
    ("fdatasync", Sentry(&["fdatasync"])),
    ("fgetxattr", Sentry(&["fgetxattr"])),
    ("flistxattr", Sentry(&["flistxattr"])),
    ("fremovexattr", Sentry(&["fremovexattr"])),
    ("fsetxattr", Sentry(&["fsetxattr"])),
    ("fstatfs", Sentry(&["fstatfs"])),
    ("fsync", Sentry(&["fsync"])),
    ("ftruncate", Sentry(&["ftruncate"])),
    ("getauxval", Local),
    ("getgid", Before),
    ("getgroups", Before),
    ("getpeername", HostNetwork),
    ("getpgrp", Before),
    ("getpid", Before),
    ("getrandom", Sentry(&["getrandom"])),
    ("getrlimit", Before),
    ("getsockname", HostNetwork),
    ("getsockopt", Relay),
    ("getuid", Before),
    ("ioctl", Before),
    ("kill", Before),
    ("linkat", Sentry(&["linkat"])),
    ("listen", Before),
    ("lseek", Sentry(&["lseek"])),
    ("madvise", Sentry(&["madvise"])),
    ("memcpy", Local),
    ("memfd_create", Sentry(&["memfd_create"])),
    ("mkdirat", Sentry(&["mkdirat"])),
    ("mknodat", Sentry(&["mknodat"])),
    ("mmap", Sentry(&["mmap"])),
    ("mount", Before),
    ("munmap", Sentry(&["munmap"])),
    ("open", Before),
    ("openat", Sentry(&["openat"])),
    ("poll", Sentry(&["poll"])),
    ("prctl", Sentry(&["prctl"])),
    ("pread64", Sentry(&["pread64"])),
    ("preadv2", Sentry(&["preadv2"])),
    ("process_vm_readv", Sentry(&["process_vm_readv"])),
    ("process_vm_writev", Sentry(&["process_vm_writev"])),
    ("pthread_sigmask", Sentry(&["rt_sigprocmask"])),
    ("pwrite64", Sentry(&["pwrite64"])),
    ("pwritev2", Sentry(&["pwritev2"])),
    ("raise", Before),
    ("read", Sentry(&["read"])),
    ("readlinkat", Sentry(&["readlinkat"])),
    ("recv", Before),
    ("recvfrom", HostNetwork),
    ("recvmsg", Sentry(&["recvmsg"])),
    ("sched_getaffinity", Sentry(&["sched_getaffinity"])),
    ("sched_getcpu", Local),
    ("sched_setaffinity", Sentry(&["sched_setaffinity"])),
    ("sched_yield", Sentry(&["sched_yield"])),
    ("send", Before),
    ("sendmsg", Before),
    ("sendto", HostNetwork),
    ("sethostname", Before),
    ("setns", Before),
    ("setrlimit", Before),
    ("setsid", Before),
    ("shutdown", Relay),
    ("setsockopt", Before),
    ("sigaction", Before),
    ("sigaddset", Local),
    ("sigdelset", Local),
    ("sigemptyset", Local),
    ("sigfillset", Local),
    ("signal", Before),
    ("sigprocmask", Before),
    ("sigwaitinfo", Before),
    ("socket", Before),
    ("socketpair", Before),
    ("statx", Sentry(&["statx"])),
    ("symlinkat", Sentry(&["symlinkat"])),
    ("syncfs", Sentry(&["syncfs"])),
    ("sysinfo", Before),
    ("tcgetattr", Before),
    ("tcgetpgrp", Before),
    ("tcsetattr", Before),
    ("umask", Before),
    ("umount2", Before),
    ("unlinkat", Sentry(&["unlinkat"])),
    ("unshare", Before),
    ("utimensat", Sentry(&["utimensat"])),
    ("waitid", Sentry(&["waitid"])),
    ("waitpid", Before),
    ("write", Sentry(&["write"])),
    ("SYS_capget", Before),
    ("SYS_capset", Before),
    ("SYS_clone3", Before),
    ("SYS_close_range", Before),
    ("SYS_fsconfig", Before),
    ("SYS_fsmount", Before),
    ("SYS_fsopen", Before),
    ("SYS_futex", Sentry(&["futex"])),
    ("SYS_getdents64", Sentry(&["getdents64"])),
    ("SYS_mount_setattr", Before),
    ("SYS_setgroups", Before),
    ("SYS_setresgid", Before),
    ("SYS_setresuid", Before),
    ("SYS_move_mount", Before),
    ("SYS_open_tree", Before),
    ("SYS_pidfd_open", Sentry(&["pidfd_open"])),
    ("SYS_pidfd_send_signal", Sentry(&["pidfd_send_signal"])),
    ("SYS_pivot_root", Before),
    ("SYS_renameat2", Sentry(&["renameat2"])),
    ("SYS_rseq", Before),
    ("SYS_sched_getattr", Before),
    ("SYS_sched_setattr", Before),
    ("SYS_openat2", Before),
    ("SYS_seccomp", Before),
    ("SYS_tgkill", Sentry(&["tgkill"])),
    ("SYS_FCHMODAT2", Sentry(&["fchmodat2"])),
];

/// Calls that the C library tries and does without.
const REFUSED: &[&str] = &["clone3", "mremap", "set_robust_list", "sigaltstack"];

/// What those who wait outside of the jail ask for, beyond what the standard library and the C library do with threads and memory.
const WAITERS: &[(&str, &[&str])] = &[
    ("sigwaitinfo", &["rt_sigtimedwait"]),
    ("waitpid", &["wait4"]),
    ("read", &["read"]),
    ("write", &["write"]),
    ("recv", &["recvfrom"]),
    ("recvmsg", &["recvmsg"]),
    ("ioctl", &["ioctl"]),
    ("tcsetattr", &["ioctl"]),
    ("SYS_pidfd_send_signal", &["pidfd_send_signal"]),
    ("SYS_pidfd_open", &["pidfd_open"]),
    ("kill", &["kill", "getpid"]),
    ("raise", &["tgkill", "gettid"]),
    ("getpgrp", &["getpgrp"]),
    ("setrlimit", &["prlimit64"]),
    ("signal", &["rt_sigaction"]),
    ("sigprocmask", &["rt_sigprocmask"]),
    ("clock_gettime", &["clock_gettime"]),
    ("fcntl", &["fcntl"]),
    ("_exit", &["exit_group"]),
];
/// The rest.
const THREADS_AND_MEMORY: &[&str] = &[
    "futex",
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "brk",
    "close",
    "rseq",
    "set_robust_list",
    "sigaltstack",
    "sched_getaffinity",
    "restart_syscall",
    "exit",
];

/// What the standard library, the C library and the host's kernel itself do for a running sentry, beyond the functions above.
const RUNTIME: &[(&str, &str)] = &[
    ("brk", "malloc"),
    ("mprotect", "stacks of threads, malloc's arenas"),
    ("close", "OwnedFd"),
    ("clone", "std::thread"),
    ("gettid", "pthread_setname_np, panics' reports"),
    ("rseq", "start of a thread"),
    ("clock_nanosleep", "std::thread::sleep"),
    ("restart_syscall", "by the host's kernel, after a stop"),
    ("exit", "end of a thread"),
];

fn sources(of: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(of)
        .join("src");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

/// `libc::name(` and `libc::SYS_name` of the text, without its tests.
fn calls(text: &str) -> BTreeSet<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let mut found = BTreeSet::new();
    for part in text.split("libc::").skip(1) {
        let end = part
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        let function =
            rest.starts_with('(') && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let carries_a_number = name == "syscall";
        if name.starts_with("SYS_") || function && !carries_a_number {
            found.insert(name.to_string());
        }
    }
    if text.contains("const SYS_FCHMODAT2") {
        found.insert("SYS_FCHMODAT2".into());
    }
    found
}

#[test]
fn the_table_and_the_code_agree_call_for_call() {
    let known: BTreeMap<&str, When> = FUNCTIONS.iter().copied().collect();
    assert_eq!(known.len(), FUNCTIONS.len(), "a function is listed twice");
    let mut used = BTreeSet::new();
    for file in sources("host").into_iter().chain(sources("systrap")) {
        // The tables name calls without making them; the filter and orders are for guest processes, whose table is `filter`.
        let name = file.file_name().unwrap().to_str().unwrap().to_string();
        let engine = file.components().any(|part| part.as_os_str() == "systrap");
        for call in calls(&std::fs::read_to_string(&file).unwrap()) {
            let ordered = engine && call.starts_with("SYS_");
            let table = name == "surface.rs" || file.components().any(|part| part.as_os_str() == "surface");
            if !(table || ordered) {
                assert!(
                    known.contains_key(call.as_str()),
                    "{name} uses libc::{call}, which is not listed in this test"
                );
                used.insert(call);
            }
        }
    }
    for (function, _) in FUNCTIONS {
        assert!(
            used.contains(*function),
            "libc::{function} is listed here, but nobody uses it"
        );
    }
    let names = |shared: bool| -> BTreeSet<&str> {
        let rows = SENTRY
            .iter()
            .filter(|row| (row.scope == Scope::HostNetwork) == shared);
        rows.map(|row| row.name).collect()
    };
    let (shared, rows) = (names(true), names(false));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/inet_socket.rs");
    let mut asked = calls(&std::fs::read_to_string(file).unwrap());
    // Which containers make, too.
    assert!(asked.remove("accept4"));
    assert!(
        asked.iter().map(String::as_str).eq(shared.iter().copied()),
        "{asked:?}"
    );
    let mut explained: BTreeSet<&str> = RUNTIME.iter().map(|(name, _)| *name).collect();
    for (function, when) in FUNCTIONS {
        if let Sentry(calls) = when {
            for call in *calls {
                assert!(
                    rows.contains(call),
                    "{function} makes the call {call}, which has no row"
                );
                explained.insert(call);
            }
        }
    }
    explained.extend(REFUSED);
    for row in &rows {
        assert!(
            explained.contains(row),
            "nobody makes the call {row} of the table"
        );
    }
    for call in &explained {
        assert!(rows.contains(call), "{call} has no row");
    }
    let refused: Vec<&str> = SENTRY
        .iter()
        .filter(|row| !row.is_allowed())
        .map(|row| row.name)
        .collect();
    assert_eq!(refused.iter().collect::<BTreeSet<_>>(), REFUSED.iter().collect());
    for (function, when) in FUNCTIONS {
        if *when == Relay {
            assert!(
                RELAY.iter().any(|row| row.name == *function),
                "{function} has no row"
            );
        }
    }
    // What only the command and the way into the jail do must be denied to a running sentry.
    let denied = [
        "mount",
        "socket",
        "connect",
        "bind",
        "kill",
        "setns",
        "prctl with PR_SET_SECCOMP",
        "execve",
        "ptrace",
        "setuid",
    ];
    for call in denied {
        assert!(!rows.contains(call), "{call} has a row");
    }
}

#[test]
fn the_table_of_those_who_wait_and_the_code_agree() {
    let known: BTreeSet<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
    let mut explained: BTreeSet<&str> = THREADS_AND_MEMORY.iter().copied().collect();
    for (function, calls) in WAITERS {
        assert!(known.contains(function), "nobody uses libc::{function}");
        explained.extend(*calls);
    }
    let rows: BTreeSet<&str> = WAITING.iter().map(|row| row.name).collect();
    assert_eq!(rows, explained);
    for denied in [
        "execve",
        "clone",
        "openat",
        "socket",
        "connect",
        "ptrace",
        "process_vm_writev",
        "mount",
    ] {
        assert!(!rows.contains(denied), "{denied} has a row");
    }
}

/// What the process that forwards ports asks for.
const FORWARDERS: &[(&str, &[&str])] = &[
    ("accept4", &["accept4"]),
    ("clock_gettime", &["clock_gettime"]),
    ("epoll_ctl", &["epoll_ctl"]),
    ("epoll_wait", &["epoll_wait"]),
    ("fcntl", &["fcntl"]),
    ("recv", &["recvfrom"]),
    ("send", &["sendto"]),
    ("sendmsg", &["sendmsg"]),
    ("setsockopt", &["setsockopt"]),
    ("shutdown", &["shutdown"]),
    ("socketpair", &["socketpair"]),
    ("write", &["write"]),
    ("_exit", &["exit_group"]),
];
/// Its heap, the descriptors that it closes, and what the host's kernel itself does.
const ITS_MEMORY: &[&str] = &[
    "mmap",
    "munmap",
    "mremap",
    "madvise",
    "brk",
    "close",
    "restart_syscall",
];

#[test]
fn the_table_of_the_forwarder_and_the_code_agree() {
    let known: BTreeSet<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
    let mut explained: BTreeSet<&str> = ITS_MEMORY.iter().copied().collect();
    for (function, calls) in FORWARDERS {
        assert!(known.contains(function), "nobody uses libc::{function}");
        explained.extend(*calls);
    }
    let rows: BTreeSet<&str> = FORWARD.iter().map(|row| row.name).collect();
    assert_eq!(rows, explained);
    // Nothing to reach anybody with but who comes, and the sandbox.
    for denied in [
        "socket", "connect", "bind", "listen", "openat", "execve", "clone", "kill", "ptrace", "recvmsg",
    ] {
        assert!(!rows.contains(denied), "{denied} has a row");
    }
}

/// Runs in a process of its own: see below.
#[test]
#[ignore = "ends its process"]
fn makes_a_call_that_is_denied() {
    if std::env::var("TEGMEN_DENIED").as_deref() == Ok("kill") {
        host::surface::close_waiting(Waits::Monitor, |_| None).unwrap();
        // Of another process, even to see whether it is there.
        host::process::pidfd_open(1).unwrap();
    }
    if std::env::var("TEGMEN_DENIED").as_deref() == Ok("connect") {
        host::surface::close_forwarder(|_| None).unwrap();
        // A pair of its own is allowed, a way to others not.
        drop(host::fd::stream_pair().unwrap());
        drop(host::socket::connect(Path::new("/nowhere")));
    }
    if std::env::var("TEGMEN_DENIED").as_deref() == Ok("stop") {
        host::surface::close_waiting(Waits::Monitor, |_| None).unwrap();
        host::signal::die_by(19);
    }
    if std::env::var("TEGMEN_DENIED").as_deref() == Ok("die") {
        host::surface::close_waiting(Waits::Monitor, |_| None).unwrap();
        host::signal::die_by(15);
    }
    let name_of = |nr: i64| (nr == 83).then_some("mkdir");
    host::surface::close_sentry(Needs::default(), name_of).unwrap();
    match std::env::var("TEGMEN_DENIED").as_deref() {
        Ok("mkdir") => drop(std::fs::create_dir("/nowhere")),
        Ok("openat") => drop(std::fs::OpenOptions::new().write(true).open("/dev/null")),
        _ => {}
    }
    std::process::exit(0);
}

#[test]
fn a_denied_call_ends_the_process_with_a_line_that_names_it() {
    let run = |what: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "makes_a_call_that_is_denied",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("TEGMEN_DENIED", what)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let line = "tegmen: the sentry made a host call outside of its profile:";
    let (status, text) = run("mkdir");
    assert_eq!(status, Some(125), "{text}");
    assert!(text.contains(&format!("{line} 83 (mkdir)\n")), "{text}");
    let (status, text) = run("kill");
    assert_eq!(status, Some(125), "{text}");
    let line_of_monitor = "tegmen: the monitor made a host call outside of its profile: 434 (pidfd_open,";
    assert!(text.contains(line_of_monitor), "{text}");
    let (status, text) = run("connect");
    assert_eq!(status, Some(125), "{text}");
    let line_of_forwarder = "tegmen: the forwarder made a host call outside of its profile: 41\n";
    assert!(text.contains(line_of_forwarder), "{text}");
    // A report that names a signal which stops must not leave the monitor standing; one that ends it does.
    assert_eq!(run("stop").0, Some(128 + 19));
    assert_eq!(run("die").0, None);
    let (status, text) = run("openat");
    assert_eq!(status, Some(125), "{text}");
    assert!(
        text.contains(&format!("{line} 257 (openat, with other arguments")),
        "{text}"
    );
}
