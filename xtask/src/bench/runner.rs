//! The ways to run a command: natively, under Tegmen, and under the peers that are on the machine.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::data::Data;
use super::rows::Argument;

/// How long an idle sandbox is left alone before it is looked at, and watched.
const SETTLE: Duration = Duration::from_millis(1500);
const WATCH: Duration = Duration::from_secs(2);

/// A way to run a command.
pub struct Runner {
    name: String,
    kind: Kind,
}

enum Kind {
    Native,
    Tegmen(PathBuf),
    Runsc(Runsc),
    Runc(Bundle),
}

/// The network of a command.
#[derive(Clone, Copy)]
pub(super) enum Link<'a> {
    /// Whatever the runner does by itself.
    Own,
    /// The interfaces of this namespace, as `ip netns` names it.
    Namespace(&'a str),
}

/// A runsc with the platform that works on this machine.
struct Runsc {
    program: PathBuf,
    platform: &'static str,
}

impl Runsc {
    /// Platforms in the order of preference; older versions have the last one only.
    const PLATFORMS: [&'static str; 2] = ["systrap", "ptrace"];

    fn find(program: PathBuf) -> Result<Runsc> {
        let mut last = String::new();
        for platform in Self::PLATFORMS {
            let runsc = Runsc {
                program: program.clone(),
                platform,
            };
            let mut command = runsc.command();
            command.arg("/bin/true");
            match finish(command, Duration::from_secs(20)) {
                Ok(_) => return Ok(runsc),
                Err(error) => last = format!("{error:#}"),
            }
        }
        bail!("{}: {last}", program.display())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--network=none", "--platform", self.platform, "do"]);
        command
    }
}

/// What an idle sandbox costs.
pub struct Idle {
    pub memory_bytes: f64,
    pub processor_ns: f64,
}

impl Runner {
    /// Native, Tegmen (built here, or what `TEGMEN_BENCH_TEGMEN` names), and each of runc and runsc that is found in PATH (`TEGMEN_BENCH_RUNSC` names another runsc).
    pub fn all(root: &Path, data: &Data, only: Option<&str>) -> Result<Vec<Runner>> {
        let wanted = |name: &str| only.is_none_or(|list| list.split(',').any(|one| one == name));
        let mut runners = Vec::new();
        let mut add = |name: &str, kind| {
            runners.push(Runner {
                name: name.into(),
                kind,
            })
        };
        if wanted("native") {
            add("native", Kind::Native);
        }
        if wanted("tegmen") {
            add("tegmen", Kind::Tegmen(tegmen(root)?));
        }
        if let Some(runc) = in_path("runc").filter(|_| wanted("runc")) {
            match Bundle::make(runc, data) {
                Ok(bundle) => add("runc", Kind::Runc(bundle)),
                Err(error) => eprintln!("runc is left out: {error:#}"),
            }
        }
        let runsc = std::env::var_os("TEGMEN_BENCH_RUNSC")
            .map(PathBuf::from)
            .or_else(|| in_path("runsc"));
        if let Some(runsc) = runsc.filter(|_| wanted("runsc")) {
            match Runsc::find(runsc) {
                Ok(runsc) => add("runsc", Kind::Runsc(runsc)),
                Err(error) => eprintln!("runsc is left out: {error:#}"),
            }
        }
        Ok(runners)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The runner's version in one line.
    pub fn version(&self) -> String {
        let program: &Path = match &self.kind {
            Kind::Native => return String::from("no sandbox"),
            Kind::Tegmen(path) => path,
            Kind::Runsc(runsc) => &runsc.program,
            Kind::Runc(bundle) => &bundle.runc,
        };
        let output = Command::new(program).arg("--version").output();
        let text = output
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        let version = text.lines().next().unwrap_or("unknown").to_string();
        match &self.kind {
            Kind::Runsc(runsc) => format!("{version}, platform {}", runsc.platform),
            _ => version,
        }
    }

    pub(super) fn command(&self, argv: &[String], env: &[(&str, String)]) -> Result<Command> {
        let mut command = match &self.kind {
            Kind::Native => Command::new(&argv[0]),
            Kind::Tegmen(path) => {
                let mut command = Command::new(path);
                command.args(["do", "--", &argv[0]]);
                command
            }
            Kind::Runsc(runsc) => {
                let mut command = runsc.command();
                command.arg(&argv[0]);
                command
            }
            Kind::Runc(bundle) => return bundle.command(argv, env, Link::Own),
        };
        command
            .args(&argv[1..])
            .envs(env.iter().map(|(name, value)| (*name, value)));
        Ok(command)
    }

    /// A command with the interfaces of a namespace.
    pub(super) fn connected(&self, argv: &[String], namespace: &str) -> Result<Command> {
        let mut command = match &self.kind {
            Kind::Tegmen(path) => {
                let mut command = Command::new(path);
                command
                    .args(["do", "--netns"])
                    .arg(Path::new("/run/netns").join(namespace));
                command.arg("--");
                command
            }
            Kind::Native => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]);
                command
            }
            Kind::Runsc(runsc) => {
                // Its `do` takes the namespace in which it is started.
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(&runsc.program);
                command.args(["--network=sandbox", "--platform", runsc.platform, "do"]);
                command
            }
            Kind::Runc(bundle) => return bundle.command(argv, &[], Link::Namespace(namespace)),
        };
        command.args(argv);
        Ok(command)
    }

    /// Whether commands of this runner see the machine's own network.
    pub(super) fn is_native(&self) -> bool {
        matches!(self.kind, Kind::Native)
    }

    /// Ends a command that serves, with all that it started.
    pub(super) fn stop(&self, child: &mut Child) {
        let pids = family(child.id());
        for pid in pids.iter().rev() {
            let _ = Command::new("kill")
                .arg(pid.to_string())
                .stderr(Stdio::null())
                .status();
        }
        thread::sleep(Duration::from_millis(300));
        self.end(child, &pids);
    }

    /// Runs `micro` inside; the number it prints.
    pub fn micro(
        &self,
        data: &Data,
        name: &str,
        argument: Argument,
        batches: u32,
        limit: Duration,
    ) -> Result<f64> {
        let mut argv = vec![data.micro().display().to_string(), name.to_string()];
        argv.extend(data.arguments(argument));
        let mut env = Vec::new();
        if batches > 0 {
            env.push(("MICRO_BATCHES", batches.to_string()));
        }
        let text = finish(self.command(&argv, &env)?, limit)?;
        text.trim()
            .parse()
            .with_context(|| format!("no number: {text:?}"))
    }

    /// Nanoseconds from the start of the runner with `true` to its end.
    pub fn start(&self, limit: Duration) -> Result<f64> {
        let command = self.command(&["/bin/true".into()], &[])?;
        let begin = Instant::now();
        finish(command, limit)?;
        Ok(begin.elapsed().as_nanos() as f64)
    }

    /// What the walls add, in nanoseconds: processes with and without, in turns; then the least of the ones less the least of the others,
    /// and so on upwards. The upper quarter is left out: those that had to wait for a processor. Only Tegmen's walls are known.
    pub fn walls(&self, count: usize, limit: Duration) -> Result<Vec<f64>> {
        let Kind::Tegmen(_) = self.kind else {
            return Ok(Vec::new());
        };
        let mut command = Command::new(walls()?);
        command.arg(count.to_string());
        let text = finish(command, limit)?;
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let (one, other) = line.split_once(' ').context("two numbers")?;
            with.push(one.parse::<f64>()?);
            without.push(other.parse::<f64>()?);
        }
        with.sort_by(f64::total_cmp);
        without.sort_by(f64::total_cmp);
        Ok(with
            .iter()
            .zip(&without)
            .map(|(one, other)| one - other)
            .collect())
    }

    /// What a sandbox with nothing but a sleeping process costs.
    pub fn idle(&self) -> Result<Idle> {
        let argv = ["/bin/sleep".into(), "1000".into()];
        let mut child = self
            .command(&argv, &[])?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        thread::sleep(SETTLE);
        let pids = family(child.id());
        let before = processor_time(&pids);
        thread::sleep(WATCH);
        let after = processor_time(&pids);
        let memory = pids.iter().map(|pid| proportional_memory(*pid)).sum::<f64>();
        let ended = child.try_wait()?;
        self.end(&mut child, &pids);
        ensure!(ended.is_none(), "ended early: {ended:?}");
        ensure!(memory > 0.0, "no memory figures");
        Ok(Idle {
            memory_bytes: memory,
            processor_ns: (after - before) / WATCH.as_secs_f64(),
        })
    }

    /// Ends a sandbox that this runner started, and nothing else.
    fn end(&self, child: &mut Child, pids: &BTreeSet<u32>) {
        let _ = child.kill();
        let _ = child.wait();
        match &self.kind {
            Kind::Runc(bundle) => bundle.delete(),
            Kind::Runsc(_) => {
                for pid in pids.iter().skip(1) {
                    let _ = Command::new("kill")
                        .args(["-KILL", &pid.to_string()])
                        .stderr(Stdio::null())
                        .status();
                }
            }
            Kind::Native | Kind::Tegmen(_) => {}
        }
    }
}

/// Runs to the end and returns the standard output; an error for any status but 0.
pub(super) fn finish(mut command: Command, limit: Duration) -> Result<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().context("stdout")?;
    let mut stderr = child.stderr.take().context("stderr")?;
    let out = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let err = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    // A thread that only sleeps ends a hung child; the wait itself is not polled, so that it adds nothing to what is measured.
    let (done, watch) = std::sync::mpsc::channel::<()>();
    let pid = child.id();
    let guard = thread::spawn(move || {
        let late = watch.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        if late {
            // With all that it started: a sandbox may outlive its command.
            for pid in family(pid) {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
        }
        late
    });
    let status = child.wait()?;
    drop(done);
    let late = guard.join().unwrap_or(false);
    let text = out.join().map_err(|_| anyhow::anyhow!("reader"))??;
    let errors = err
        .join()
        .map_err(|_| anyhow::anyhow!("reader"))?
        .unwrap_or_default();
    if late {
        bail!("time limit");
    }
    if !status.success() {
        bail!("{status}: {}", errors.lines().last().unwrap_or_default());
    }
    Ok(text)
}

/// The release build; or what `TEGMEN_BENCH_TEGMEN` names.
fn tegmen(root: &Path) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("TEGMEN_BENCH_TEGMEN") {
        return Ok(given.into());
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "-p", "runtime"])
        .current_dir(root)
        .status()?;
    ensure!(built.success(), "cargo build --release");
    Ok(root.join("target/release/tegmen"))
}

/// The example of that name; or what `TEGMEN_BENCH_WALLS` names.
fn walls() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("TEGMEN_BENCH_WALLS") {
        return Ok(given.into());
    }
    let root = crate::workspace_root()?;
    let args = [
        "build",
        "--release",
        "-q",
        "-p",
        "runtime",
        "--features",
        "testing",
        "--example",
        "walls",
    ];
    let built = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(&root)
        .status()?;
    ensure!(built.success(), "cargo build --example walls");
    Ok(root.join("target/release/examples/walls"))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A process and all below it.
fn family(pid: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([pid]);
    let mut todo = vec![pid];
    while let Some(pid) = todo.pop() {
        for task in fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
                if found.insert(child) {
                    todo.push(child);
                }
            }
        }
    }
    found
}

fn proportional_memory(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) * 1024.0
}

/// User and system time of processes, in nanoseconds, from the scheduler's own count.
fn processor_time(pids: &BTreeSet<u32>) -> f64 {
    let threads = pids.iter().flat_map(|pid| {
        fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
    });
    threads
        .map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            text.split_whitespace()
                .next()
                .and_then(|ns| ns.parse::<f64>().ok())
                .unwrap_or(0.0)
        })
        .sum()
}

/// A runc bundle over the machine's own root, with a private writable layer.
struct Bundle {
    runc: PathBuf,
    dir: PathBuf,
}

impl Bundle {
    fn make(runc: PathBuf, data: &Data) -> Result<Bundle> {
        let dir = std::env::temp_dir().join(format!("tegmen-bench-{}", std::process::id()));
        for sub in ["root", "upper", "work"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        let bundle = Bundle { runc, dir };
        let shown = bundle.dir.display();
        let options = format!("lowerdir=/,upperdir={shown}/upper,workdir={shown}/work");
        let mounted = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(bundle.dir.join("root"))
            .output()?;
        ensure!(
            mounted.status.success(),
            "mount: {}",
            String::from_utf8_lossy(&mounted.stderr).trim()
        );
        let tried = finish(
            bundle.command(&["/bin/true".into()], &[], Link::Own)?,
            Duration::from_secs(20),
        );
        let _ = data;
        tried.map(|_| bundle)
    }

    fn id(&self) -> String {
        format!("tegmen-bench-{}", std::process::id())
    }

    fn command(&self, argv: &[String], env: &[(&str, String)], link: Link<'_>) -> Result<Command> {
        let mut network = json!({"type": "network"});
        if let Link::Namespace(name) = link {
            network["path"] = json!(format!("/run/netns/{name}"));
        }
        let mut variables = vec![
            format!("PATH={}", std::env::var("PATH").unwrap_or_default()),
            "HOME=/root".to_string(),
        ];
        variables.extend(env.iter().map(|(name, value)| format!("{name}={value}")));
        let capabilities = json!([
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_FOWNER",
            "CAP_SETUID",
            "CAP_SETGID",
            "CAP_KILL"
        ]);
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false, "user": {"uid": 0, "gid": 0}, "args": argv, "env": variables, "cwd": "/",
                "noNewPrivileges": true,
                "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities}
            },
            "root": {"path": "root", "readonly": false},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "shm"}
            ],
            "linux": {"namespaces": [
                {"type": "pid"}, network, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}
            ]}
        });
        fs::write(self.dir.join("config.json"), config.to_string())?;
        let mut command = Command::new(&self.runc);
        command.args(["run", "--bundle"]).arg(&self.dir).arg(self.id());
        Ok(command)
    }

    fn delete(&self) {
        let _ = Command::new(&self.runc)
            .args(["delete", "--force", &self.id()])
            .output();
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.delete();
        let unmounted = Command::new("umount").arg(self.dir.join("root")).status();
        // Never remove through a mount that is still there.
        if unmounted.is_ok_and(|status| status.success()) {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
