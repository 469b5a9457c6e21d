//! The processes outside of the jail that wait for a container: what they have given up.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use super::bundle::{Bundle, wait_for};

fn status(pid: i64) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| (name.to_string(), value.trim().to_string()))
        .collect()
}

fn has_given_up(pid: i64, who: &str) {
    // It begins to wait when the container may run already.
    wait_for(&format!("the filter of {who}"), || {
        status(pid).get("Seccomp").is_some_and(|mode| mode == "2")
    });
    let status = status(pid);
    for (field, want) in [
        ("NoNewPrivs", "1"),
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
    ] {
        assert_eq!(
            status.get(field).map(String::as_str),
            Some(want),
            "{field} of {who}"
        );
    }
}

#[test]
fn monitor_and_exec_wait_under_a_filter_without_capabilities() {
    let bundle = Bundle::new("echo up; sleep 1000");
    bundle.started();
    bundle.until_written("up");
    let monitor = bundle.state()["pid"].as_i64().unwrap();
    has_given_up(monitor, "the monitor");
    for entry in fs::read_dir(format!("/proc/{monitor}/fd")).unwrap().flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        // The null device is of a mount that is not in its namespace.
        let kinds = ["socket:[", "anon_inode:[pidfd]", "/null"];
        let log = target.ends_with("/sandbox.log");
        assert!(
            log || kinds.iter().any(|kind| target.starts_with(kind)),
            "the monitor holds {target}"
        );
    }
    let id = bundle.id.as_str();
    let mut exec = bundle
        .command(&["exec", id, "/bin/sleep", "1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    has_given_up(i64::from(exec.id()), "exec");
    bundle.removed_without_trace();
    exec.wait().unwrap();
}
