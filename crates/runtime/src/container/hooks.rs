//! Hooks of config.json: programs of the host that are run at points of a container's life, with its state on their input.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use host::ns;
use oci_spec::runtime::Hook;

use crate::failure::{Failure, While};

/// How often a hook with a time limit is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Runs hooks one after the other; the first failure ends it. `state` is what they read.
pub fn run(kind: &str, hooks: &[Hook], state: &str) -> Result<(), Failure> {
    for (index, hook) in hooks.iter().enumerate() {
        let failed = |why: String| Failure::own(format!("error running {kind} hook #{index}: {why}"));
        run_one(hook, state).map_err(|failure| failed(failure.message))?;
    }
    Ok(())
}

/// Likewise in the network namespace of process `pid`: that of the container's namespaces which the host's programs can
/// be in.
pub fn run_inside(kind: &str, hooks: &[Hook], state: &str, pid: i32) -> Result<(), Failure> {
    if hooks.is_empty() {
        return Ok(());
    }
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).while_doing(&path)?;
    // Namespaces are a thread's own, and what it starts is in its.
    let inside = || {
        ns::enter(namespace.as_fd(), ns::NETWORK).while_doing("network namespace of a hook")?;
        run(kind, hooks, state)
    };
    std::thread::scope(|scope| {
        let ended = scope.spawn(inside).join();
        ended.unwrap_or_else(|_| Err(Failure::own(format!("{kind} hooks: a thread failed"))))
    })
}

/// Runs hooks one after the other; failures are told to `warn` only.
pub fn run_all(kind: &str, hooks: &[Hook], state: &str, warn: impl Fn(&str)) {
    for (index, hook) in hooks.iter().enumerate() {
        if let Err(failure) = run_one(hook, state) {
            warn(&format!(
                "error running {kind} hook #{index}: {}",
                failure.message
            ));
        }
    }
}

fn run_one(hook: &Hook, state: &str) -> Result<(), Failure> {
    let mut command = Command::new(hook.path());
    let mut args = hook.args().iter().flatten();
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args).env_clear();
    for variable in hook.env().iter().flatten() {
        if let Some((name, value)) = variable.split_once('=') {
            command.env(name, value);
        }
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .while_doing(&hook.path().display().to_string())?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read is free not to.
        let _ = input.write_all(state.as_bytes());
    }
    let limit = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok());
    if let Some(seconds) = limit.filter(|seconds| *seconds > 0) {
        wait_until(&mut child, Instant::now() + Duration::from_secs(seconds))?;
    }
    let output = child.wait_with_output().while_doing("waiting for it")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::own(format!(
        "{}, stderr: {}",
        output.status,
        said.trim()
    )))
}

/// Waits for the end of a hook; kills it at `end`.
fn wait_until(child: &mut Child, end: Instant) -> Result<(), Failure> {
    while child.try_wait().while_doing("waiting for it")?.is_none() {
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Failure::own("it took longer than its time limit"));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
