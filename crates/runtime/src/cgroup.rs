//! The host's control group that a whole sandbox sits in: monitor, sentry and guest processes.
//!
//! Versions 1 and 2 (`v1`, `v2`), made by this module itself or by systemd (`systemd`). Why there is no crate under it:
//! docs/decisions/0012-control-groups.md. Device rules are not applied: no device of the host is inside the jail.

mod dbus;
mod file;
mod hierarchy;
mod limits;
mod stats;
mod systemd;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sandbox::Figure;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, While};

use hierarchy::Hierarchy;
pub use limits::{Device, IoLimit, Limits, weight_of_shares};
pub use stats::{Stats, list as number_list};
use systemd::Unit;

/// Longest wait for the end of killed processes before a group is given up.
const EMPTY_TIME: Duration = Duration::from_secs(5);

/// A control group; what state.json keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Its directories, by controller; version 2 has one, under the empty name.
    paths: BTreeMap<String, PathBuf>,
    /// The limits in force.
    limits: Limits,
    /// Nothing could be made, and nothing was asked for: a rootless caller without a group of their own.
    absent: bool,
    /// The scope of systemd that it is.
    #[serde(default)]
    unit: Option<Unit>,
}

/// Who makes the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// This module.
    Files,
    /// systemd: paths are "SLICE:PREFIX:NAME".
    Systemd,
}

impl Cgroup {
    /// Makes the group of a container with its limits. `path` is the configuration's cgroupsPath; without one it is
    /// the container's id below the caller's own group. `lenient`: a caller who may make no groups, and asks for no limit,
    /// gets none.
    pub fn make(
        path: Option<&Path>,
        id: &str,
        limits: Limits,
        lenient: bool,
        driver: Driver,
    ) -> Result<Cgroup, Failure> {
        if driver == Driver::Systemd {
            // systemd makes it for a process, which `begin` names.
            let mut group = Cgroup::of_unit(Unit::parse(path, id, lenient)?)?;
            group.limits = limits;
            return Ok(group);
        }
        let path = path.filter(|path| names_a_group(path)).unwrap_or(Path::new(id));
        let forgive = lenient && !limits.any();
        let hierarchy = match Hierarchy::of_host() {
            Err(_) if forgive => return Ok(Cgroup::none(limits)),
            found => found?,
        };
        let mut group = Cgroup {
            paths: places(&hierarchy, path),
            limits: Limits::default(),
            absent: false,
            unit: None,
        };
        let made = match group.version_2() {
            Some(dir) => v2::make(&hierarchy, dir),
            None => v1::make(&mut group.paths, forgive),
        };
        let made = made.and_then(|()| group.apply(limits.clone()));
        match made {
            Ok(()) => {
                group.limits = limits;
                Ok(group)
            }
            Err(failure) => {
                group.remove_directories();
                if forgive {
                    Ok(Cgroup::none(limits))
                } else {
                    Err(failure)
                }
            }
        }
    }

    /// The group that [`Cgroup::make`] would make, for who has to take back a creation that was broken off.
    pub fn planned(path: Option<&Path>, id: &str, driver: Driver) -> Option<Cgroup> {
        if driver == Driver::Systemd {
            return Cgroup::of_unit(Unit::parse(path, id, false).ok()?).ok();
        }
        let path = path.filter(|path| names_a_group(path)).unwrap_or(Path::new(id));
        let hierarchy = Hierarchy::of_host().ok()?;
        Some(Cgroup {
            paths: places(&hierarchy, path),
            limits: Limits::default(),
            absent: false,
            unit: None,
        })
    }

    fn of_unit(unit: Unit) -> Result<Cgroup, Failure> {
        let hierarchy = Hierarchy::of_host()?;
        let path = match &hierarchy {
            Hierarchy::V2 { own, .. } => unit.place(own, real_user()),
            Hierarchy::V1(_) => unit.path(),
        };
        Ok(Cgroup {
            paths: places(&hierarchy, &path),
            limits: Limits::default(),
            absent: false,
            unit: Some(unit),
        })
    }

    fn none(limits: Limits) -> Cgroup {
        Cgroup {
            paths: BTreeMap::new(),
            limits,
            absent: true,
            unit: None,
        }
    }

    /// The only directory, when the host has version 2.
    fn version_2(&self) -> Option<&Path> {
        self.paths.get("").map(PathBuf::as_path)
    }

    /// The directory of a controller.
    fn dir(&self, controller: &str) -> Option<&Path> {
        self.paths
            .get("")
            .or_else(|| self.paths.get(controller))
            .map(PathBuf::as_path)
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Directories by controller, as runc's state has them.
    pub fn paths(&self) -> &BTreeMap<String, PathBuf> {
        &self.paths
    }

    /// Puts the caller, and what it starts from now on, into the group as its first process: one of systemd's is made around it.
    pub fn begin(&self) -> Result<(), Failure> {
        if let Some(unit) = &self.unit {
            self.start_unit(unit, host::ns::own_pid())?;
        }
        self.join()
    }

    /// Puts the caller, and what it starts from now on, into the group that is there.
    pub fn join(&self) -> Result<(), Failure> {
        for dir in self.paths.values() {
            file::write(dir, "cgroup.procs", "0")?;
        }
        Ok(())
    }

    /// Has systemd make the group around a process, and makes what systemd leaves out.
    fn start_unit(&self, unit: &Unit, pid: i32) -> Result<(), Failure> {
        let path = unit.path().display().to_string();
        let arrived = || {
            let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            text.lines().any(|line| line.ends_with(&path))
        };
        unit.start(pid, &self.limits, self.version_2().is_some(), arrived)?;
        if self.version_2().is_none() {
            // Controllers that systemd does not use.
            v1::make(&mut self.paths.clone(), false)?;
        }
        self.apply(self.limits.clone())
    }

    /// Writes limits.
    fn apply(&self, limits: Limits) -> Result<(), Failure> {
        match self.version_2() {
            Some(dir) => v2::apply(dir, &limits),
            None if self.absent && limits.any() => Err(Failure::own(
                "limits need a control group, and this caller may not make one",
            )),
            None => v1::apply(&self.paths, &limits),
        }
    }

    /// Changes limits; what is not named stays.
    pub fn update(&mut self, change: Limits) -> Result<(), Failure> {
        if let Some(unit) = &self.unit {
            unit.set(&change, self.version_2().is_some())?;
        }
        self.apply(change.clone())?;
        self.limits.update(change);
        Ok(())
    }

    /// Stops every process of the group; returns when they stand still.
    pub fn freeze(&self) -> Result<(), Failure> {
        match (self.version_2(), self.dir("freezer")) {
            (Some(dir), _) => v2::freeze(dir, true),
            (None, Some(dir)) => v1::freeze(dir),
            (None, None) => Err(Failure::own("pausing needs a control group with a freezer")),
        }
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<(), Failure> {
        match (self.version_2(), self.dir("freezer")) {
            (Some(dir), _) => v2::freeze(dir, false),
            (None, Some(dir)) => v1::thaw(dir),
            (None, None) => Ok(()),
        }
    }

    /// Whether they stand still.
    pub fn is_frozen(&self) -> bool {
        match (self.version_2(), self.dir("freezer")) {
            (Some(dir), _) => file::value(dir, "cgroup.freeze") == Some(1),
            (None, Some(dir)) => v1::is_frozen(dir),
            (None, None) => false,
        }
    }

    /// Whether the host killed a process of the group because its memory was out.
    pub fn out_of_memory_kills(&self) -> u64 {
        let Some(dir) = self.dir("memory") else {
            return 0;
        };
        let name = if self.version_2().is_some() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        file::keyed(dir, name).get("oom_kill").copied().unwrap_or(0)
    }

    /// The host's processes in the group and below.
    pub fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        if let Some(dir) = self
            .dir("freezer")
            .or_else(|| self.paths.values().next().map(PathBuf::as_path))
        {
            processes_below(dir, &mut found);
        }
        found
    }

    /// Figures of now.
    pub fn stats(&self) -> Stats {
        stats::read(self)
    }

    /// Removes the group; its processes must be gone or going. An error when some stay.
    pub fn remove(&self) -> Result<(), Failure> {
        if let Some(unit) = &self.unit {
            unit.stop();
        }
        let deadline = Instant::now() + EMPTY_TIME;
        let mut pause = Duration::from_millis(1);
        while !self.remove_directories() {
            if Instant::now() > deadline {
                return Err(Failure::own(format!(
                    "control group {} still has processes",
                    self.paths
                        .values()
                        .next()
                        .map_or_else(String::new, |dir| dir.display().to_string())
                )));
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Removes what can be removed; tells whether nothing is left.
    fn remove_directories(&self) -> bool {
        // No shortcut: each controller's is tried.
        self.paths.values().filter(|dir| !remove_tree(dir)).count() == 0
    }

    /// Open files that show the use of memory and processor time, for the view inside.
    pub fn figures(&self) -> Vec<(Figure, OwnedFd)> {
        let named: &[(&str, Figure, &str)] = if self.version_2().is_some() {
            &[
                ("memory", Figure::Memory, "memory.current"),
                ("memory", Figure::MemoryPeak, "memory.peak"),
                ("memory", Figure::MemoryStat, "memory.stat"),
                ("memory", Figure::MemoryEvents, "memory.events"),
                ("cpu", Figure::CpuStat, "cpu.stat"),
            ]
        } else {
            &[
                ("memory", Figure::Memory, "memory.usage_in_bytes"),
                ("memory", Figure::MemoryPeak, "memory.max_usage_in_bytes"),
                ("memory", Figure::MemoryStat, "memory.stat"),
                ("memory", Figure::MemoryEvents, "memory.oom_control"),
                ("cpu", Figure::CpuStat, "cpu.stat"),
                ("cpuacct", Figure::CpuUsage, "cpuacct.usage"),
            ]
        };
        let open = |(controller, figure, name): &(&str, Figure, &str)| {
            let file = fs::File::open(self.dir(controller)?.join(name)).ok()?;
            Some((*figure, OwnedFd::from(file)))
        };
        named.iter().filter_map(open).collect()
    }
}

/// The caller's user id on the host, which root of a user namespace does not have by its own name.
fn real_user() -> u32 {
    let own = host::prctl::ids().map_or(0, |(uid, _, _)| uid);
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    systemd::mapped(&map, own)
}

/// Whether a path names a group below the top, and not the top itself.
fn names_a_group(path: &Path) -> bool {
    path.components()
        .any(|part| matches!(part, std::path::Component::Normal(_)))
}

/// The directory of each controller.
fn places(hierarchy: &Hierarchy, path: &Path) -> BTreeMap<String, PathBuf> {
    match hierarchy {
        Hierarchy::V2 { mount, own } => {
            BTreeMap::from([(String::new(), hierarchy::place(mount, Path::new("/"), own, path))])
        }
        Hierarchy::V1(trees) => trees
            .iter()
            .map(|(name, tree)| {
                let dir = hierarchy::place(&tree.mount, &tree.root, &tree.own, path);
                (name.clone(), dir)
            })
            .collect(),
    }
}

/// Groups nest no deeper than this for the two functions below; only tools on the host could make more.
const DEPTH: usize = 16;

fn processes_below(dir: &Path, found: &mut Vec<i32>) {
    fn walk(dir: &Path, depth: usize, found: &mut Vec<i32>) {
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        if depth < DEPTH {
            for below in directories(dir) {
                walk(&below, depth + 1, found);
            }
        }
    }
    walk(dir, 0, found);
}

fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|entry| entry.path()).collect()
}

/// Removes a group and those below it; true when it is gone.
fn remove_tree(dir: &Path) -> bool {
    fn walk(dir: &Path, depth: usize) -> bool {
        match fs::remove_dir(dir) {
            Ok(()) => return true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return true,
            Err(_) if depth >= DEPTH => return false,
            Err(_) => {}
        }
        let below = directories(dir);
        !below.is_empty() && below.iter().all(|dir| walk(dir, depth + 1)) && fs::remove_dir(dir).is_ok()
    }
    walk(dir, 0)
}
