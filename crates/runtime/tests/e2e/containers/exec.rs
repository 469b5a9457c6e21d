//! Processes brought into running containers.

use std::fs;

use serde_json::json;

use super::bundle::{Bundle, is_alive, signal, wait_for};
use crate::harness::{LIMIT, Outcome, run};

/// Runs `tegmen exec OPTIONS ID COMMAND`.
fn exec(bundle: &Bundle, options: &[&str], command: &[&str]) -> Outcome {
    let mut args = vec!["exec"];
    args.extend(options);
    args.push(&bundle.id);
    args.extend(command);
    run(&mut bundle.command(&args), LIMIT)
}

fn running() -> Bundle {
    let bundle = Bundle::new("echo up; exec sleep 1000");
    bundle.started();
    bundle.until_written("up");
    bundle
}

#[test]
fn a_process_runs_beside_the_first_with_its_own_options() {
    let bundle = running();
    let script = "id -u; pwd; echo $A; cat /proc/1/comm; exit 9";
    let outcome = exec(
        &bundle,
        &["--user", "77:77", "--cwd", "/tmp", "--env", "A=b"],
        &["/bin/sh", "-c", script],
    );
    assert_eq!(
        (outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()),
        (Some(9), "77\n/tmp\nb\nsleep\n", "")
    );
    assert_eq!(
        exec(&bundle, &[], &["/bin/sh", "-c", "kill -9 $$"]).status,
        Some(137)
    );
}

#[test]
fn a_process_can_come_from_a_file() {
    let bundle = running();
    let process = json!({
        "user": { "uid": 77, "gid": 0 },
        "args": ["/bin/sh", "-c", "id -u; echo $HOME; exit 3"],
        "cwd": "/",
        "env": ["PATH=/bin"],
    });
    fs::write(bundle.dir.join("process.json"), process.to_string()).unwrap();
    let outcome = bundle.verb(&["exec", "--process", "process.json"]);
    assert_eq!(
        (outcome.status, outcome.stdout.as_str()),
        (Some(3), "77\n/home/u\n")
    );
}

#[test]
fn a_detached_process_is_stood_for_and_dies_with_who_stands_for_it() {
    let bundle = running();
    let options = ["--detach", "--pid-file", "exec-pid"];
    // Its output must not be the test's pipe, which it would hold open.
    let outcome = bundle
        .command(&["exec"])
        .args(options)
        .args([bundle.id.as_str(), "/bin/sleep", "2000"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(outcome.success());
    let pid: i32 = fs::read_to_string(bundle.dir.join("exec-pid"))
        .unwrap()
        .parse()
        .unwrap();
    assert!(is_alive(pid));
    let count = |bundle: &Bundle| bundle.verb(&["ps"]).stdout.matches("sleep").count();
    assert_eq!(count(&bundle), 2);
    let pids = bundle.verb(&["ps", "--format", "json"]).stdout;
    let pids: Vec<i32> = serde_json::from_str(&pids).unwrap();
    let titles = pids
        .iter()
        .map(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default());
    assert_eq!(titles.filter(|title| title.contains("sleep\x002000")).count(), 1);
    signal(pid, "KILL");
    wait_for("the guest process's end", || count(&bundle) == 1);
}

#[test]
fn signals_are_passed_on_to_the_process() {
    let bundle = running();
    let script = "trap 'echo got; exit 6' USR1; echo on; while :; do sleep 0.05; done";
    let output = fs::File::create(bundle.dir.join("exec-output")).unwrap();
    let mut child = bundle
        .command(&["exec", &bundle.id, "/bin/sh", "-c", script])
        .stdin(std::process::Stdio::null())
        .stdout(output)
        .spawn()
        .unwrap();
    let written = || fs::read_to_string(bundle.dir.join("exec-output")).unwrap_or_default();
    wait_for("a start", || written().contains("on"));
    signal(i32::try_from(child.id()).unwrap(), "USR1");
    assert_eq!(child.wait().unwrap().code(), Some(6));
    assert_eq!(written(), "on\ngot\n");
}

#[test]
fn what_cannot_be_run_is_told() {
    let bundle = running();
    let outcome = exec(&bundle, &[], &["no-such"]);
    assert_eq!(outcome.status, Some(255));
    assert!(
        bundle
            .logged()
            .contains("exec: \"no-such\": executable file not found in $PATH")
    );
    assert_eq!(exec(&bundle, &[], &["/etc/passwd"]).status, Some(255));
    bundle.quiet_kill("KILL");
    bundle.until("stopped");
    assert_ne!(exec(&bundle, &[], &["true"]).status, Some(0));
    assert_eq!(bundle.logged(), "cannot exec in a stopped container");
}

#[test]
fn many_processes_at_once() {
    let bundle = running();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let bundle = &bundle;
            scope.spawn(move || {
                let text = format!("echo {number}; exit {number}");
                let outcome = exec(bundle, &[], &["/bin/sh", "-c", &text]);
                assert_eq!(outcome.status, Some(number));
                assert_eq!(outcome.stdout, format!("{number}\n"));
            });
        }
    });
}

#[test]
fn the_end_of_the_first_process_ends_the_others() {
    let bundle = running();
    let mut child = bundle
        .command(&["exec", &bundle.id, "/bin/sleep", "1000"])
        .stdin(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("a second process", || {
        bundle.verb(&["ps"]).stdout.matches("sleep").count() == 2
    });
    bundle.quiet_kill("KILL");
    let ended = crate::harness::wait(&mut child, LIMIT).unwrap();
    assert_eq!(crate::harness::shell_status(ended), 137);
}

#[test]
fn changes_of_the_bundle_do_not_reach_a_container_that_exists() {
    let mut bundle = running();
    bundle.config["process"]["env"] = serde_json::json!(["PATH=/usr/bin:/bin", "CHANGED=1"]);
    bundle.write();
    let shown = exec(&bundle, &[], &["sh", "-c", "echo x$CHANGED"]).stdout;
    assert_eq!(shown, "x\n");
    fs::remove_file(bundle.dir.join("config.json")).unwrap();
    let shown = exec(&bundle, &[], &["echo", "still"]).stdout;
    assert_eq!(shown, "still\n");
}
