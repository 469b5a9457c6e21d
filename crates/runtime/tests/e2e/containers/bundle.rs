//! A bundle with a state directory of its own, and what tests do with it. Dropping it removes the container.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{LIMIT, Outcome, run, tegmen};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A bundle, and the only container of a state directory.
pub struct Bundle {
    /// Everything is below.
    pub dir: PathBuf,
    /// The container's id, which no other test has.
    pub id: String,
    /// config.json.
    pub config: Value,
    /// Options before each verb.
    pub globals: Vec<&'static str>,
}

impl Bundle {
    /// A bundle whose first process is `/bin/sh -c SCRIPT`.
    pub fn new(script: &str) -> Bundle {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("tegmen-test-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(&id);
        let root = dir.join("rootfs");
        for name in ["usr", "etc", "proc", "dev", "sys", "tmp"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), root.join(name)).unwrap();
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nu:x:77:77::/home/u:/bin/sh\n",
        )
        .unwrap();
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": ["/bin/sh", "-c", script],
                "env": ["PATH=/usr/bin:/bin"],
                "cwd": "/",
            },
            "root": { "path": "rootfs" },
            "hostname": "tested",
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "ptmxmode=0666"] },
                { "destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"] },
            ],
            "linux": {
                "cgroupsPath": format!("/{id}"),
                "namespaces": [ { "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }, { "type": "network" } ],
            },
        });
        let bundle = Bundle {
            dir,
            id,
            config,
            globals: Vec::new(),
        };
        bundle.write();
        bundle
    }

    /// Writes config.json again after a change.
    pub fn write(&self) {
        fs::write(self.dir.join("config.json"), self.config.to_string()).unwrap();
    }

    /// A path on the host of a file in the container's root.
    pub fn root(&self, name: &str) -> PathBuf {
        self.dir.join("rootfs").join(name)
    }

    /// Where state is kept.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// `tegmen VERB ARGS`, with errors in the log.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = tegmen();
        command
            .arg("--root")
            .arg(self.state_dir())
            .arg("--log")
            .arg(self.dir.join("log.json"))
            .args(["--log-format", "json", "--debug-log"])
            .arg(self.dir.join("sandbox.log"))
            .args(&self.globals)
            .args(args)
            .current_dir(&self.dir);
        command
    }

    /// Runs `tegmen VERB ARGS ID`.
    pub fn verb(&self, args: &[&str]) -> Outcome {
        let args: Vec<&str> = args.iter().copied().chain([self.id.as_str()]).collect();
        run(&mut self.command(&args), LIMIT)
    }

    /// Runs `tegmen VERB ARGS ID`, which must succeed without a word.
    pub fn quiet(&self, args: &[&str]) {
        let outcome = self.verb(args);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()),
            (Some(0), "", ""),
            "{args:?}\n{}",
            self.sandbox_log()
        );
    }

    /// Creates the container, with its output in the file `output`. (A pipe would be held open by the container.)
    pub fn create(&self) -> Outcome {
        let output = fs::File::create(self.dir.join("output")).unwrap();
        let status = self
            .command(&["create", "--pid-file", "pid", &self.id])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .status()
            .unwrap();
        Outcome {
            status: status.code(),
            stdout: self.output(),
            stderr: String::new(),
        }
    }

    /// Creates the container, which must succeed.
    pub fn created(&self) {
        let outcome = self.create();
        assert_eq!(
            outcome.status,
            Some(0),
            "{}\n{}",
            outcome.stdout,
            self.sandbox_log()
        );
    }

    /// Creates and starts the container.
    pub fn started(&self) {
        self.created();
        self.quiet(&["start"]);
    }

    /// What the container has written so far.
    pub fn output(&self) -> String {
        fs::read_to_string(self.dir.join("output")).unwrap_or_default()
    }

    fn sandbox_log(&self) -> String {
        fs::read_to_string(self.dir.join("sandbox.log")).unwrap_or_default()
    }

    /// The last error in the log.
    pub fn logged(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log.json")).unwrap_or_default();
        let line: Value = serde_json::from_str(log.lines().last().unwrap_or("null")).unwrap();
        assert_eq!(line["level"], "error");
        line["msg"].as_str().unwrap().to_string()
    }

    /// The container's state.
    pub fn state(&self) -> Value {
        let outcome = self.verb(&["state"]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        serde_json::from_str(&outcome.stdout).unwrap()
    }

    /// Waits until the container's status is this.
    pub fn until(&self, status: &str) {
        wait_for(&format!("status {status}"), || self.state()["status"] == status);
    }

    /// Waits until the container has written this.
    pub fn until_written(&self, text: &str) {
        wait_for(&format!("output {text:?}"), || self.output().contains(text));
    }

    /// The host's processes of the container: all that are in its control group, and those that state.json names.
    pub fn processes(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        for dir in cgroup_dirs(&self.id) {
            let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        let saved = fs::read_to_string(self.state_dir().join(&self.id).join("state.json"));
        let saved: Value = serde_json::from_str(&saved.unwrap_or_default()).unwrap_or_default();
        for who in ["monitor", "sentry"] {
            pids.extend(saved[who]["pid"].as_i64().map(|pid| pid as i32));
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// The sentry's process id.
    pub fn sentry(&self) -> i32 {
        let saved = fs::read_to_string(self.state_dir().join(&self.id).join("state.json")).unwrap();
        let saved: Value = serde_json::from_str(&saved).unwrap();
        saved["sentry"]["pid"].as_i64().unwrap() as i32
    }

    /// Removes the container by force, and checks that nothing of it is left.
    pub fn removed_without_trace(&self) {
        let pids = self.processes();
        self.quiet(&["delete", "--force"]);
        assert!(!self.state_dir().join(&self.id).exists());
        assert_eq!(cgroup_dirs(&self.id), Vec::<PathBuf>::new());
        for pid in pids {
            // The host takes a process that is ending out of its group before it is quite gone.
            wait_for(&format!("the end of process {pid}"), || !is_alive(pid));
        }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = self.verb(&["delete", "--force"]);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Directories of the host's control groups with this name at the top of a hierarchy.
fn cgroup_dirs(name: &str) -> Vec<PathBuf> {
    let base = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(base).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = hierarchies.map(|entry| entry.path().join(name)).collect();
    found.push(base.join(name));
    found.retain(|dir| dir.is_dir());
    found.sort();
    found
}

/// Whether a process runs (a zombie does not).
pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Waits until something holds.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal to a process of the host.
pub fn signal(pid: i32, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .stderr(Stdio::null())
        .status();
    let _ = sent.unwrap();
}
