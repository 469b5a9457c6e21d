//! Whatever is killed at whatever moment: `delete --force` leaves nothing.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use super::bundle::{Bundle, is_alive, signal, wait_for};

const FOREVER: &str = "echo up; sleep 1000 & sleep 1000";

#[test]
fn with_the_monitor_everything_ends() {
    let bundle = Bundle::new(FOREVER);
    bundle.started();
    bundle.until_written("up");
    let pids = bundle.processes();
    signal(bundle.state()["pid"].as_i64().unwrap() as i32, "KILL");
    bundle.until("stopped");
    wait_for("the end of all processes", || {
        !pids.iter().any(|pid| is_alive(*pid))
    });
    bundle.removed_without_trace();
}

#[test]
fn with_the_sentry_everything_ends() {
    let bundle = Bundle::new(FOREVER);
    bundle.started();
    bundle.until_written("up");
    signal(bundle.sentry(), "KILL");
    bundle.until("stopped");
    bundle.removed_without_trace();
}

#[test]
fn a_creation_that_is_killed_at_any_moment_leaves_nothing() {
    for round in 0..24 {
        let bundle = Bundle::new(FOREVER);
        let mut create = bundle
            .command(&["create", &bundle.id])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(round * 3));
        let _ = create.kill();
        let _ = create.wait();
        bundle.removed_without_trace();
        assert_eq!(titled(&bundle.id), Vec::<i32>::new(), "round {round}");
    }
}

#[test]
fn a_start_and_a_removal_that_are_killed_can_be_finished() {
    for verb in ["start", "delete"] {
        for round in 0..4 {
            let bundle = Bundle::new(FOREVER);
            bundle.created();
            let mut command = bundle
                .command(&[verb, &bundle.id])
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            sleep(Duration::from_millis(round * 2));
            let _ = command.kill();
            let _ = command.wait();
            bundle.removed_without_trace();
        }
    }
}

/// Processes that were started with this word among their arguments.
pub fn titled(word: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.windows(word.len()).any(|part| part == word.as_bytes()) && is_alive(pid) {
            found.push(pid);
        }
    }
    found
}
