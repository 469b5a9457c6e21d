//! What a sandbox left behind on the host, seen from outside.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Outcome, Scratch, shell_status, wait};

/// How long processes may take to be gone after the command has ended.
const LAST_BREATH: Duration = Duration::from_secs(20);
const CANARY: &str = "nobody inside may touch this\n";

/// A file of the host that attacks must leave alone, and the processes of the sandbox.
pub struct Witness {
    canary: PathBuf,
    times: (i64, i64, u64),
}

impl Witness {
    /// Lays out the canary in `scratch`.
    pub fn new(scratch: &Scratch) -> Witness {
        let canary = scratch.path().join("canary");
        fs::write(&canary, CANARY).unwrap();
        let times = times(&canary);
        Witness { canary, times }
    }

    /// The canary's path, for attacks to aim at.
    pub fn canary(&self) -> &str {
        self.canary.to_str().unwrap()
    }

    /// Runs a sandbox to its end and returns what it did, and every fault that shows outside.
    pub fn watch(&self, command: &mut Command, limit: Duration) -> (Outcome, Vec<String>) {
        let mut faults = Vec::new();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let namespace = pid_namespace(&child);
        let read = |stream: Option<Box<dyn std::io::Read + Send>>| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(mut stream) = stream {
                    let _ = stream.read_to_end(&mut bytes);
                }
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let stdout = read(child.stdout.take().map(|s| Box::new(s) as _));
        let stderr = read(child.stderr.take().map(|s| Box::new(s) as _));
        let status = wait(&mut child, limit);
        match namespace {
            Some(namespace) => faults.extend(await_end(&namespace)),
            // It ended before it could be looked at.
            None if status.is_none() => faults.push("the sentry was never seen".into()),
            None => {}
        }
        let outcome = Outcome {
            status: status.map(shell_status),
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        };
        if outcome.status.is_none() {
            faults.push("the time limit ended it".into());
        }
        for sign in ["panic", "outside of its profile", "RUST_BACKTRACE", "overflow"] {
            if outcome.stderr.contains(sign) {
                faults.push(format!("'{sign}' on standard error"));
            }
        }
        if outcome.stdout.contains("ESCAPED") || outcome.stderr.contains("ESCAPED") {
            faults.push("the attack had its effect".into());
        }
        if fs::read_to_string(&self.canary).ok().as_deref() != Some(CANARY)
            || times(&self.canary) != self.times
        {
            faults.push("the canary was touched".into());
        }
        (outcome, faults)
    }
}

/// Modification and status change times, and the mode.
fn times(path: &Path) -> (i64, i64, u64) {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path).unwrap();
    (meta.mtime_nsec(), meta.ctime_nsec(), u64::from(meta.mode()))
}

/// The pid namespace of the command's child, the sentry, once it is there.
pub fn pid_namespace(command: &Child) -> Option<PathBuf> {
    let own = fs::read_link("/proc/self/ns/pid").ok()?;
    let children = format!("/proc/{0}/task/{0}/children", command.id());
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        for pid in fs::read_to_string(&children).ok()?.split_whitespace() {
            if let Ok(link) = fs::read_link(format!("/proc/{pid}/ns/pid"))
                && link != own
            {
                return Some(link);
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}

/// The processes of a pid namespace.
pub fn members(namespace: &Path) -> HashSet<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashSet::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|link| link == namespace))
        .collect()
}

/// A fault if something of the sandbox lives on.
fn await_end(namespace: &Path) -> Option<String> {
    let end = Instant::now() + LAST_BREATH;
    loop {
        let left = members(namespace);
        if left.is_empty() {
            return None;
        }
        if Instant::now() > end {
            return Some(format!("processes live on: {left:?}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
}
