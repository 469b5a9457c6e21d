//! The state directory: one directory for each container, with its state and its control socket.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Hooks;
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroup;
use crate::failure::{Failure, While};
use crate::network::Kind;

/// Longest container id: it is a file name.
const MAX_ID: usize = 255;

/// A process of the host that cannot come to mean another: its id and when it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostProcess {
    /// Its id.
    pub pid: i32,
    /// Start, in ticks since the host's (field 22 of /proc/PID/stat).
    pub start: u64,
}

/// What state.json keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// Version of the specification in config.json.
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// The root directory on the host.
    pub rootfs: PathBuf,
    /// When it was created (RFC 3339).
    pub created: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Who created it.
    pub owner: u32,
    /// The process that stands for the container.
    pub monitor: Option<HostProcess>,
    /// The sentry.
    pub sentry: Option<HostProcess>,
    /// Whether it was created completely.
    pub complete: bool,
    /// Whether it was started.
    pub started: bool,
    /// Whether the first process has a terminal.
    pub terminal: bool,
    /// Its hooks.
    pub hooks: Option<Hooks>,
    /// Its control group.
    pub cgroup: Option<Cgroup>,
    /// Which network it has.
    #[serde(default)]
    pub network: Kind,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is being made.
    Creating,
    /// Its first process waits.
    Created,
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It has ended.
    Stopped,
}

impl Status {
    /// As `state` and `list` write it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// What `tegmen state` prints, and what hooks read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    oci_version: &'a str,
    id: &'a str,
    pid: i32,
    status: &'a str,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    owner: String,
}

/// A container's directory.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    directory: File,
}

/// Held while a container's state is changed.
pub struct Lock(#[expect(dead_code, reason = "closing it gives the lock back")] File);

/// Whether the caller is not the host's root: another user, or root of a user namespace only (rootless engines).
pub fn rootless() -> bool {
    let root = host::prctl::ids().is_ok_and(|(uid, _, _)| uid == 0);
    !root || fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !maps_everyone(&map))
}

/// Whether an id map has every id of the host as itself.
fn maps_everyone(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The usual root of state directories.
pub fn default_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        // Root of a user namespace may be named so to make programs believe that it is root altogether.
        Some(dir) if rootless() && std::env::var_os("USER").is_none_or(|user| user != "root") => {
            PathBuf::from(dir).join("tegmen")
        }
        _ => PathBuf::from("/run/tegmen"),
    }
}

/// Refuses ids that are no plain file names.
pub fn check_id(id: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id.len() > MAX_ID || id == "." || id == ".." || !id.chars().all(plain) {
        return Err(Failure::own(format!("invalid container ID format: {id:?}")));
    }
    Ok(())
}

impl StateDir {
    /// Makes the directory of a new container.
    pub fn create(root: &Path, id: &str) -> Result<StateDir, Failure> {
        check_id(id)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .while_doing(&format!("state directory '{}'", root.display()))?;
        let path = root.join(id);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(Failure::own("container with given ID already exists"));
            }
            made => made.while_doing(&format!("state directory '{}'", path.display()))?,
        }
        StateDir::at(path)
    }

    /// The directory of a container that exists.
    pub fn open(root: &Path, id: &str) -> Result<StateDir, Failure> {
        check_id(id)?;
        let path = root.join(id);
        match path.metadata() {
            Ok(found) if found.is_dir() => StateDir::at(path),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(error).while_doing(&format!("state directory '{}'", path.display()))
            }
            _ => Err(Failure::own("container does not exist")),
        }
    }

    fn at(path: PathBuf) -> Result<StateDir, Failure> {
        let directory = File::open(&path).while_doing(&format!("state directory '{}'", path.display()))?;
        Ok(StateDir { path, directory })
    }

    /// The ids that have a directory below `root`.
    pub fn ids(root: &Path) -> Result<Vec<String>, Failure> {
        let entries = match fs::read_dir(root) {
            // Nothing was ever created here.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.while_doing(&format!("state directory '{}'", root.display()))?,
        };
        let mut ids: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|id| check_id(id).is_ok())
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// Keeps others from changing the state.
    pub fn lock(&self) -> Result<Lock, Failure> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.path.join("lock"))
            .while_doing("state lock")?;
        file.lock().while_doing("state lock")?;
        Ok(Lock(file))
    }

    /// What is kept. A container whose creation was broken off has nothing.
    pub fn load(&self) -> Result<Saved, Failure> {
        let text = match fs::read(self.path.join("state.json")) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Failure::own("container does not exist"));
            }
            read => read.while_doing("reading state.json")?,
        };
        serde_json::from_slice(&text).map_err(|error| Failure::own(format!("state.json: {error}")))
    }

    /// Keeps it, so that a reader sees the old or the new text.
    pub fn save(&self, saved: &Saved) -> Result<(), Failure> {
        let text = serde_json::to_vec(saved).map_err(|error| Failure::own(format!("state.json: {error}")))?;
        write_whole(&self.path.join("state.json"), &text).while_doing("writing state.json")
    }

    /// Keeps the configuration as it is now: changes of the bundle's do not reach the container.
    pub fn keep_config(&self, text: &[u8]) -> Result<(), Failure> {
        write_whole(&self.config(), text).while_doing("writing config.json to the state directory")
    }

    /// Where [`StateDir::keep_config`] keeps it.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.json")
    }

    /// The path of the control socket, short enough for an address whatever the directory's own path. Valid while `self` lives.
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/control.sock",
            self.directory.as_raw_fd()
        ))
    }

    /// A file for lines of the sentry.
    pub fn sentry_log(&self) -> Result<File, Failure> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.path.join("sentry.log"))
            .while_doing("sentry.log")
    }

    /// Removes it.
    pub fn remove(self) -> Result<(), Failure> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.while_doing(&format!("removing '{}'", self.path.display())),
        }
    }
}

/// Writes a file that readers see whole or not at all.
pub fn write_whole(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(name);
    fs::write(&new, text)?;
    fs::rename(&new, path).inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

impl HostProcess {
    /// The process that has this id now.
    pub fn of(pid: i32) -> Option<HostProcess> {
        stat(pid).map(|(_, start)| HostProcess { pid, start })
    }

    /// Whether it still runs (and is no zombie).
    pub fn lives(self) -> bool {
        matches!(stat(self.pid), Some((state, start)) if start == self.start && !matches!(state, 'Z' | 'X'))
    }

    /// A handle of it; `None` when it has ended.
    pub fn handle(self) -> Option<std::os::fd::OwnedFd> {
        let handle = host::process::pidfd_open(self.pid).ok()?;
        // Looked at afterwards, so that the handle is the right process's.
        self.lives().then_some(handle)
    }

    /// Sends it a signal; false when it has ended.
    pub fn signal(self, signal: i32) -> bool {
        self.handle()
            .is_some_and(|handle| host::process::pidfd_send_signal(&handle, signal).is_ok())
    }
}

/// State and start of a process.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

impl Saved {
    /// What the container does now.
    pub fn status(&self) -> Status {
        match self.monitor {
            Some(monitor) if !monitor.lives() => Status::Stopped,
            Some(_) if !self.complete => Status::Creating,
            Some(_) if self.cgroup.as_ref().is_some_and(Cgroup::is_frozen) => Status::Paused,
            Some(_) if self.started => Status::Running,
            Some(_) => Status::Created,
            None => Status::Creating,
        }
    }

    /// The container's process id; 0 when it has ended.
    pub fn pid(&self, status: Status) -> i32 {
        let monitor = self.monitor.filter(|_| status != Status::Stopped);
        monitor.map_or(0, |monitor| monitor.pid)
    }

    /// Who created it, by name as far as the host's list of users has one.
    pub fn owner_name(&self) -> String {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let id = self.owner.to_string();
        let name = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == id).then_some(name)
        });
        name.map_or_else(|| format!("#{id}"), str::to_string)
    }

    /// What is told of it.
    pub fn report(&self, status: Status) -> Report<'_> {
        Report {
            oci_version: &self.oci_version,
            id: &self.id,
            pid: self.pid(status),
            status: status.name(),
            bundle: &self.bundle,
            rootfs: &self.rootfs,
            created: &self.created,
            annotations: &self.annotations,
            owner: self.owner_name(),
        }
    }

    /// The same as JSON.
    pub fn report_json(&self, status: Status) -> String {
        // Strings and numbers only: it cannot fail.
        serde_json::to_string_pretty(&self.report(status)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_of_a_user_namespace_is_not_root() {
        assert!(maps_everyone("         0          0 4294967295\n"));
        assert!(!maps_everyone(
            "         0       1001          1\n         1     100000      65536\n"
        ));
    }

    #[test]
    fn ids_are_plain_names() {
        for id in ["a", "0123abc", "a_b+c-d.e"] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(300)] {
            assert!(check_id(id).is_err(), "{id}");
        }
    }

    #[test]
    fn processes_are_told_apart_by_their_start() {
        let own = HostProcess::of(std::process::id() as i32).unwrap();
        assert!(own.lives() && own.signal(0));
        let other = HostProcess {
            start: own.start + 1,
            ..own
        };
        assert!(!other.lives() && !other.signal(0));
    }
}
