//! What a test of an engine needs: the programs, a directory, a daemon that ends with the test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::transcript;

/// Longest start or end of a daemon.
const DAEMON: Duration = Duration::from_secs(60);
/// Longest run of a whole list.
const LIST: Duration = Duration::from_secs(420);

/// A directory that goes with the test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("tegmen-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether the test can run: as root, with these programs. Else says why not.
pub fn ready(programs: &[&str]) -> bool {
    let root = fs::read_to_string("/proc/self/status")
        .is_ok_and(|text| text.lines().any(|line| line.starts_with("Uid:\t0\t0")));
    if !root {
        eprintln!("skipped: container engines need root");
        return false;
    }
    let missing: Vec<&&str> = programs
        .iter()
        .filter(|program| find(program).is_none())
        .collect();
    if !missing.is_empty() {
        eprintln!("skipped: not installed: {missing:?}");
        return false;
    }
    true
}

/// A program in PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| {
            file.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

/// The runtime that is tested.
pub fn tegmen() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tegmen"))
}

/// A daemon of the test's own. It gets SIGTERM at the end.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` (a shell's, which ends in `exec`) in its own network and mount namespaces, and waits for `ready`.
    pub fn start(command: &str, log: PathBuf, ready: impl Fn() -> bool) -> Daemon {
        let output = File::create(&log).unwrap();
        let child = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                command,
            ])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut daemon = Daemon { child, log };
        let limit = Instant::now() + DAEMON;
        while !ready() {
            let ended = daemon.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < limit,
                "the daemon did not start ({ended:?}):\n{}",
                daemon.tail()
            );
            sleep(Duration::from_millis(100));
        }
        daemon
    }

    fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let limit = Instant::now() + DAEMON;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > limit {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            sleep(Duration::from_millis(50));
        }
    }
}

/// Runs a list of sections under a runtime; returns what it printed.
pub fn list(script: &str, runtime: &str, env: &[(&str, &OsStr)]) -> String {
    let mut child = Command::new("timeout")
        .args([
            "-k",
            "5",
            &LIST.as_secs().to_string(),
            "sh",
            "-c",
            script,
            "sh",
            runtime,
        ])
        .envs(env.iter().copied())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut text).unwrap();
    let status = child.wait().unwrap();
    assert!(
        status.signal().is_none() && status.code() != Some(124),
        "the list did not end under {runtime}; it printed:\n{}",
        String::from_utf8_lossy(&text)
    );
    String::from_utf8_lossy(&text).into_owned()
}

/// Runs a list under runc and under tegmen, and compares them section by section.
pub fn compare(script: &str, runtimes: (&str, &str), env: &[(&str, &OsStr)]) {
    let oracle = list(script, runtimes.0, env);
    let ours = list(script, runtimes.1, env);
    transcript::compare(&oracle, &ours);
}

/// Runs a command that must succeed; returns its standard output.
pub fn must(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
