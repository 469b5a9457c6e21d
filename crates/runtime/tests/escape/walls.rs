//! Both walls as the host's /proc shows them while a sandbox runs: the sentry's, and those of guest processes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::harness::tegmen_do;
use crate::witness::{members, pid_namespace};

/// For things that take no time on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The fields of a process's (or thread's) /proc status.
fn status(path: &str) -> BTreeMap<String, String> {
    fs::read_to_string(format!("{path}/status"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_string(), value.trim().to_string()))
        .collect()
}

fn names(dir: &str) -> Vec<String> {
    // What is listed may end meanwhile.
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

struct Running {
    command: Child,
    sentry: u32,
    guests: Vec<u32>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

/// A sandbox with several guest processes, running.
#[expect(
    clippy::zombie_processes,
    reason = "waited for when dropped; a panic ends the test"
)]
fn start() -> Running {
    let mut command = tegmen_do(&[], &["sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(command.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    let namespace = pid_namespace(&command).unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        let all = members(&namespace);
        let sentry = all.iter().copied().find(|pid| {
            let status = status(&format!("/proc/{pid}"));
            status.get("NSpid").is_some_and(|ids| ids.ends_with("\t1"))
        });
        // The engine's first process, which has no guest thread, the shell, and two that sleep.
        let with_threads = all
            .iter()
            .filter(|pid| names(&format!("/proc/{pid}/task")).len() >= 2 && Some(**pid) != sentry)
            .count();
        if let (Some(sentry), true) = (sentry, with_threads >= 3) {
            let guests = all.into_iter().filter(|pid| *pid != sentry).collect();
            return Running {
                command,
                sentry,
                guests,
            };
        }
        assert!(Instant::now() < end, "{all:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_sentry_has_nothing_but_what_it_needs() {
    let running = start();
    let path = format!("/proc/{}", running.sentry);
    let status = status(&path);
    for (field, want) in [
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("CapEff", "000000008000001f"),
        ("CapPrm", "000000008000001f"),
        ("CapBnd", "000000008000001f"),
    ] {
        assert_eq!(status.get(field).map(String::as_str), Some(want), "{field}");
    }
    for name in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        assert_ne!(of(&running.sentry.to_string()), of("self"), "{name}");
    }
    // Descriptors: standard ones, its memory, its guests, the command, and places in its trees; nothing else of the host.
    for name in names(&format!("{path}/fd")) {
        let Ok(target) = fs::read_link(format!("{path}/fd/{name}")) else {
            continue;
        };
        let target = target.to_str().unwrap_or_default().to_string();
        let number: u32 = name.parse().unwrap();
        let ours = [
            "/memfd:tegmen-",
            "anon_inode:[eventpoll]",
            "anon_inode:[pidfd]",
            "socket:[",
        ]
        .iter()
        .any(|kind| target.starts_with(kind));
        let standard = number <= 2 || (0..3).any(|n| same_file(&path, n, number));
        // The jail's root holds the trees by number.
        let tree = target == "/0" || target.starts_with("/0/");
        assert!(ours || standard || tree, "descriptor {name} is {target}");
    }
    let limits = fs::read_to_string(format!("{path}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let core: Vec<&str> = core.split_whitespace().collect();
    assert!(matches!(core[4..6], ["0" | "1", "0" | "1"]), "{core:?}");
    assert_eq!(
        fs::read_link(format!("{path}/root")).unwrap(),
        Path::new("/"),
        "the root of its own mount namespace"
    );
}

#[test]
fn the_command_that_waits_has_given_up_what_it_does_not_need() {
    let running = start();
    let path = format!("/proc/{}", running.command.id());
    // The sandbox may run before the command has done so.
    let end = Instant::now() + PATIENCE;
    while status(&path).get("Seccomp").map(String::as_str) != Some("2") {
        assert!(Instant::now() < end, "{:?}", status(&path));
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = status(&path);
    for (field, want) in [
        ("NoNewPrivs", "1"),
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
    ] {
        assert_eq!(status.get(field).map(String::as_str), Some(want), "{field}");
    }
}

fn same_file(path: &str, a: u32, b: u32) -> bool {
    let of = |n: u32| fs::read_link(format!("{path}/fd/{n}")).ok();
    of(a).is_some() && of(a) == of(b)
}

#[test]
fn guest_threads_have_no_descriptor_no_capability_and_both_filters() {
    let mut running = start();
    let namespace = pid_namespace(&running.command).unwrap();
    let end = Instant::now() + PATIENCE;
    // A program that is executed meanwhile gets a new host process: looked for again.
    while check_guests(&running.guests) < 3 {
        assert!(Instant::now() < end, "{:?}", running.guests);
        let sentry = running.sentry;
        running.guests = members(&namespace)
            .into_iter()
            .filter(|pid| *pid != sentry)
            .collect();
    }
}

/// Checks the guest processes and returns how many guest threads they have.
fn check_guests(guests: &[u32]) -> usize {
    let mut guest_threads = 0;
    for pid in guests {
        for thread in names(&format!("/proc/{pid}/task")) {
            let path = format!("/proc/{pid}/task/{thread}");
            let status = status(&path);
            if status.is_empty() {
                continue;
            }
            for (field, want) in [
                ("NoNewPrivs", "1"),
                ("Seccomp", "2"),
                ("CapEff", "0000000000000000"),
                ("CapPrm", "0000000000000000"),
                ("CapInh", "0000000000000000"),
                ("CapAmb", "0000000000000000"),
            ] {
                assert_eq!(
                    status.get(field).map(String::as_str),
                    Some(want),
                    "{field} of thread {thread} of {pid}"
                );
            }
            // The first thread is the memory helper, which no guest code runs in.
            if thread == pid.to_string() {
                continue;
            }
            guest_threads += 1;
            // A thread that starts gives up its descriptors, then takes the second filter, then runs guest code.
            let end = Instant::now() + PATIENCE;
            while self::status(&path)
                .get("Seccomp_filters")
                .is_some_and(|count| count != "2")
            {
                assert!(Instant::now() < end, "{path} has one filter");
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(names(&format!("{path}/fd")), Vec::<String>::new(), "{path}");
        }
        // Nothing of the sentry's memory or of the host's programs is mapped.
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        assert!(!maps.contains("/target/") && !maps.contains("[heap]"), "{maps}");
        for line in maps.lines().filter(|line| line.contains("7fff")) {
            let engine = line.split_whitespace().next().unwrap_or_default() >= "7fff0000";
            let writable_code = line.contains("rwx") || line.contains("-wx");
            assert!(!(engine && writable_code), "{line}");
        }
    }
    guest_threads
}
