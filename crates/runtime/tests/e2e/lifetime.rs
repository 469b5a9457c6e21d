//! Nothing of a sandbox survives: however the command, the sentry or a guest process comes to its end.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{LIMIT, run, sh, spawn_ready, tegmen_do, wait};

/// All processes below `pid`.
fn descendants(pid: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut todo = vec![pid];
    while let Some(pid) = todo.pop() {
        for task in fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            todo.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok())
                    .filter(|child| found.insert(*child)),
            );
        }
    }
    found
}

fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn all_gone_soon(pids: &BTreeSet<u32>) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if !pids.iter().any(|pid| alive(*pid)) {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    false
}

/// A sandbox with several busy and sleeping processes, once they all run.
fn busy_sandbox() -> (Child, BTreeSet<u32>) {
    let script = "sleep 1000 & (while :; do :; done) & cat /dev/zero >/dev/null & echo ready; wait";
    let child = spawn_ready(&mut tegmen_do(&[], &["sh", "-c", script]));
    let below = descendants(child.id());
    assert!(below.len() >= 2, "{below:?}");
    (child, below)
}

fn kill(signal: &str, pid: u32) {
    assert!(
        Command::new("kill")
            .args([signal, &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn killing_the_command_ends_everything() {
    let (mut child, below) = busy_sandbox();
    kill("-KILL", child.id());
    assert!(wait(&mut child, LIMIT).is_some());
    assert!(all_gone_soon(&below), "{below:?}");
}

#[test]
fn killing_the_sentry_ends_everything_and_is_told() {
    let (mut child, below) = busy_sandbox();
    let sentry = *below
        .iter()
        .find(|pid| parent_of(**pid) == Some(child.id()))
        .unwrap();
    kill("-KILL", sentry);
    let status = wait(&mut child, LIMIT).unwrap();
    assert_eq!(status.code(), Some(125));
    assert!(all_gone_soon(&below), "{below:?}");
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()
}

#[test]
fn killing_a_guest_process_from_outside_does_not_hang_the_sandbox() {
    let (mut child, below) = busy_sandbox();
    // All but the sentry: each is a guest process or a helper of the engine.
    for pid in below.iter().filter(|pid| parent_of(**pid) != Some(child.id())) {
        let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    }
    assert!(wait(&mut child, LIMIT).is_some(), "hangs");
    assert!(all_gone_soon(&below), "{below:?}");
}

#[test]
fn processes_that_the_command_left_behind_end_with_it() {
    let started = Instant::now();
    let outcome = sh("sleep 1000 >/dev/null 2>&1 & setsid sleep 1000 >/dev/null 2>&1 & exit 3");
    assert_eq!(outcome.status, Some(3), "{outcome:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_early_kill_leaves_nothing() {
    for delay in [0, 1, 2, 3, 4, 5, 7, 10, 20] {
        let mut child = tegmen_do(&[], &["sleep", "1000"]).spawn().unwrap();
        thread::sleep(Duration::from_millis(delay));
        let below = descendants(child.id());
        kill("-KILL", child.id());
        assert!(wait(&mut child, LIMIT).is_some());
        assert!(all_gone_soon(&below), "after {delay} ms: {below:?}");
    }
}

#[test]
fn two_sandboxes_do_not_see_each_other() {
    let first = thread::spawn(|| {
        sh(
            "echo one > /tmp/tegmen-two-sandboxes; sleep 0.3; cat /tmp/tegmen-two-sandboxes; ls /proc | grep -c '^[0-9]'",
        )
    });
    let second = thread::spawn(|| {
        sh(
            "echo two > /tmp/tegmen-two-sandboxes; sleep 0.3; cat /tmp/tegmen-two-sandboxes; ls /proc | grep -c '^[0-9]'",
        )
    });
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    assert!(
        first.stdout.starts_with("one\n") && second.stdout.starts_with("two\n"),
        "{first:?} {second:?}"
    );
    let processes = |text: &str| text.lines().nth(1).and_then(|n| n.parse::<u32>().ok()).unwrap();
    assert!(
        processes(&first.stdout) <= 4 && processes(&second.stdout) <= 4,
        "{first:?} {second:?}"
    );
}

#[test]
fn many_runs_leave_no_process() {
    let before = descendants(std::process::id());
    for turn in 0..20 {
        let outcome = run(
            &mut tegmen_do(&[], &["sh", "-c", "echo a | cat | tr a b; (exit 3) || :"]),
            LIMIT,
        );
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (Some(0), "b\n"),
            "{turn}: {outcome:?}"
        );
    }
    // Other tests run their own sandboxes meanwhile: what counts is that our finished children are not among ours.
    let zombies = descendants(std::process::id())
        .difference(&before)
        .filter(|pid| !alive(**pid))
        .count();
    assert!(zombies <= 4, "{zombies} zombies");
}
