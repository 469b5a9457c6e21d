//! Version 1: a directory for each controller (Documentation/admin-guide/cgroup-v1).

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::file::{self, try_write, write};
use super::limits::{IoLimit, Limits};
use crate::failure::{Failure, While};

/// Longest wait until every process of a group stands still.
const FREEZE_TIME: Duration = Duration::from_secs(2);

/// Makes the directories. `forgive`: those that the caller may not make are left out.
pub fn make(paths: &mut BTreeMap<String, PathBuf>, forgive: bool) -> Result<(), Failure> {
    let mut refused = Vec::new();
    for (controller, dir) in paths.iter() {
        match fs::create_dir_all(dir) {
            Ok(()) if controller == "cpuset" => inherit_cpuset(dir)?,
            Ok(()) => {}
            // A tree that the caller's surroundings do not share; the others matter.
            Err(_) if forgive || controller == "name=systemd" => refused.push(controller.clone()),
            Err(error) => {
                return Err(error).while_doing(&format!("control group {}", dir.display()));
            }
        }
    }
    for controller in refused {
        paths.remove(&controller);
    }
    Ok(())
}

/// A new group has no processors and no memory nodes; it, and those above it, get their parents'.
fn inherit_cpuset(dir: &Path) -> Result<(), Failure> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let mut without = Vec::new();
        let mut at = dir;
        let value = loop {
            let value = file::text(at, name);
            if !value.is_empty() {
                break value;
            }
            without.push(at);
            match at.parent() {
                Some(parent) if parent.join(name).exists() => at = parent,
                _ => break String::new(),
            }
        };
        for below in without.into_iter().rev().filter(|_| !value.is_empty()) {
            write(below, name, &value)?;
        }
    }
    Ok(())
}

/// Writes limits.
pub fn apply(paths: &BTreeMap<String, PathBuf>, limits: &Limits) -> Result<(), Failure> {
    let dir = |controller: &str, wanted: bool| match paths.get(controller) {
        Some(dir) if wanted => Ok(Some(dir.as_path())),
        None if wanted => Err(Failure::own(format!(
            "the host has no control group '{controller}' for a limit that was asked for"
        ))),
        _ => Ok(None),
    };
    if let Some(dir) = dir("memory", wants_memory(limits))? {
        memory(dir, limits)?;
    }
    let cpu_wanted = limits.shares.is_some_and(|shares| shares > 0)
        || limits.quota.is_some_and(|quota| quota != 0)
        || limits.period.is_some_and(|period| period > 0)
        || limits.burst.is_some()
        || limits.idle.is_some()
        || limits.realtime_runtime.is_some_and(|time| time != 0);
    if let Some(dir) = dir("cpu", cpu_wanted)? {
        cpu(dir, limits)?;
    }
    if let Some(dir) = dir("cpuset", limits.cpus.is_some() || limits.mems.is_some())? {
        for (name, value) in [("cpuset.cpus", &limits.cpus), ("cpuset.mems", &limits.mems)] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                write(dir, name, value)?;
            }
        }
    }
    if let (Some(dir), Some(tasks)) = (
        dir("pids", limits.pids.is_some_and(|pids| pids != 0))?,
        limits.host_tasks(),
    ) {
        write(dir, "pids.max", &unlimited(tasks, "max"))?;
    }
    let io_wanted =
        limits.io_weight.is_some() || !limits.io_weight_of.is_empty() || !limits.io_limits.is_empty();
    if let Some(dir) = dir("blkio", io_wanted)? {
        blkio(dir, limits)?;
    }
    if let Some(dir) = dir("hugetlb", !limits.huge_pages.is_empty())? {
        for (size, bytes) in &limits.huge_pages {
            write(dir, &format!("hugetlb.{size}.limit_in_bytes"), &bytes.to_string())?;
        }
    }
    match limits.unified.keys().next() {
        Some(name) => Err(Failure::own(format!(
            "'{name}' is a setting of control groups version 2, and the host has version 1"
        ))),
        None => Ok(()),
    }
}

fn unlimited(value: i64, without: &str) -> String {
    if value < 0 {
        without.to_string()
    } else {
        value.to_string()
    }
}

fn wants_memory(limits: &Limits) -> bool {
    limits.memory.is_some()
        || limits.memory_and_swap.is_some()
        || limits.reservation.is_some()
        || limits.swappiness.is_some()
        || limits.no_oom_killer.is_some()
}

fn memory(dir: &Path, limits: &Limits) -> Result<(), Failure> {
    const MEMORY: &str = "memory.limit_in_bytes";
    const BOTH: &str = "memory.memsw.limit_in_bytes";
    let memory = limits.memory.filter(|bytes| *bytes != 0);
    // Without a limit on memory there can be none on memory and swap.
    let both = match (memory, limits.memory_and_swap.filter(|bytes| *bytes != 0)) {
        (Some(-1), None) => Some(-1),
        (_, both) => both,
    };
    let set_both = |both: i64| match try_write(dir, BOTH, &both.to_string()) {
        // A host that does not count swap.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.while_doing(&format!(
            "control group: limit of {both} bytes of memory and swap"
        )),
    };
    let set_memory = |memory: i64| {
        try_write(dir, MEMORY, &memory.to_string()).map_err(|error| {
            if error.kind() == ErrorKind::ResourceBusy {
                let used = file::value(dir, "memory.usage_in_bytes").unwrap_or(0);
                return Failure::own(format!(
                    "the limit of {memory} bytes of memory is below what is in use ({used} bytes)"
                ));
            }
            Failure::own(format!(
                "control group: limit of {memory} bytes of memory: {error}"
            ))
        })
    };
    // The limit on both is never below that on memory: which goes first depends on what is there.
    match (memory, both) {
        (Some(memory), Some(both)) => {
            let now = file::value(dir, BOTH).unwrap_or(u64::MAX);
            if both < 0 || u64::try_from(memory).is_ok_and(|memory| memory > now) || memory < 0 {
                set_both(both)?;
                set_memory(memory)?;
            } else {
                set_memory(memory)?;
                set_both(both)?;
            }
        }
        (Some(memory), None) => set_memory(memory)?,
        (None, Some(both)) => set_both(both)?,
        (None, None) => {}
    }
    if let Some(bytes) = limits.reservation.filter(|bytes| *bytes != 0) {
        write(dir, "memory.soft_limit_in_bytes", &bytes.to_string())?;
    }
    if let Some(swappiness) = limits.swappiness.filter(|value| *value <= 100) {
        write(dir, "memory.swappiness", &swappiness.to_string())?;
    }
    if limits.no_oom_killer == Some(true) {
        write(dir, "memory.oom_control", "1")?;
    }
    Ok(())
}

fn cpu(dir: &Path, limits: &Limits) -> Result<(), Failure> {
    if let Some(shares) = limits.shares.filter(|shares| *shares > 0) {
        write(dir, "cpu.shares", &shares.to_string())?;
    }
    let quota = limits
        .quota
        .filter(|quota| *quota != 0)
        .map(|quota| quota.to_string());
    let period = limits
        .period
        .filter(|period| *period > 0)
        .map(|period| period.to_string());
    // The burst may not be above the quota: what lowers one goes first.
    if let Some(burst) = limits.burst {
        write(dir, "cpu.cfs_burst_us", &burst.to_string())?;
    }
    match (quota, period) {
        (Some(quota), Some(period)) => {
            // A shorter period may need the smaller quota first, and the other way round.
            if try_write(dir, "cpu.cfs_period_us", &period).is_err() {
                write(dir, "cpu.cfs_quota_us", &quota)?;
                return write(dir, "cpu.cfs_period_us", &period);
            }
            write(dir, "cpu.cfs_quota_us", &quota)?;
        }
        (Some(quota), None) => write(dir, "cpu.cfs_quota_us", &quota)?,
        (None, Some(period)) => write(dir, "cpu.cfs_period_us", &period)?,
        (None, None) => {}
    }
    if let Some(period) = limits.realtime_period.filter(|period| *period > 0) {
        write(dir, "cpu.rt_period_us", &period.to_string())?;
    }
    if let Some(runtime) = limits.realtime_runtime.filter(|runtime| *runtime != 0) {
        write(dir, "cpu.rt_runtime_us", &runtime.to_string())?;
    }
    match limits.idle {
        Some(idle) => write(dir, "cpu.idle", &idle.to_string()),
        None => Ok(()),
    }
}

fn blkio(dir: &Path, limits: &Limits) -> Result<(), Failure> {
    // By the name of the scheduler that the host has.
    let first_of = |names: [&'static str; 2]| {
        names
            .into_iter()
            .find(|name| dir.join(name).exists())
            .unwrap_or(names[0])
    };
    if let Some(weight) = limits.io_weight.filter(|weight| *weight > 0) {
        write(
            dir,
            first_of(["blkio.weight", "blkio.bfq.weight"]),
            &weight.to_string(),
        )?;
    }
    for ((major, minor), weight) in &limits.io_weight_of {
        let name = first_of(["blkio.weight_device", "blkio.bfq.weight_device"]);
        write(dir, name, &format!("{major}:{minor} {weight}"))?;
    }
    for (kind, (major, minor), rate) in &limits.io_limits {
        let name = match kind {
            IoLimit::ReadBytes => "blkio.throttle.read_bps_device",
            IoLimit::WriteBytes => "blkio.throttle.write_bps_device",
            IoLimit::Reads => "blkio.throttle.read_iops_device",
            IoLimit::Writes => "blkio.throttle.write_iops_device",
        };
        write(dir, name, &format!("{major}:{minor} {rate}"))?;
    }
    Ok(())
}

/// Freezes, and waits until it has happened: new processes may delay it.
pub fn freeze(dir: &Path) -> Result<(), Failure> {
    let deadline = Instant::now() + FREEZE_TIME;
    loop {
        write(dir, "freezer.state", "FROZEN")?;
        if is_frozen(dir) {
            return Ok(());
        }
        if Instant::now() > deadline {
            thaw(dir)?;
            return Err(Failure::own("the container's processes do not stand still"));
        }
        sleep(Duration::from_millis(1));
    }
}

/// Lets the processes go on.
pub fn thaw(dir: &Path) -> Result<(), Failure> {
    write(dir, "freezer.state", "THAWED")
}

/// Whether they stand still.
pub fn is_frozen(dir: &Path) -> bool {
    file::text(dir, "freezer.state") == "FROZEN"
}
