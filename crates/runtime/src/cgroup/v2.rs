//! Version 2: one directory (Documentation/admin-guide/cgroup-v2).

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::file::{self, try_write, write};
use super::hierarchy::Hierarchy;
use super::limits::{IoLimit, Limits, io_weight, weight_of_shares};
use crate::failure::{Failure, While};

/// Longest wait until every process of a group stands still.
const FREEZE_TIME: Duration = Duration::from_secs(2);

/// Makes the directory, with every controller that its parent can give.
pub fn make(hierarchy: &Hierarchy, dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).while_doing(&format!("control group {}", dir.display()))?;
    let Hierarchy::V2 { mount, .. } = hierarchy else {
        return Ok(());
    };
    let mut above: Vec<PathBuf> = dir.ancestors().skip(1).map(Path::to_path_buf).collect();
    above.retain(|parent| parent.starts_with(mount));
    for parent in above.iter().rev() {
        let there = file::text(parent, "cgroup.subtree_control");
        for controller in file::text(parent, "cgroup.controllers").split_whitespace() {
            if !there.split_whitespace().any(|name| name == controller) {
                // One at a time: one that cannot be had (processes in the parent, a threaded domain) does not cost the
                // others. A limit that needs it fails later, by name.
                let _ = try_write(parent, "cgroup.subtree_control", &format!("+{controller}"));
            }
        }
    }
    Ok(())
}

fn max(value: i64) -> String {
    if value < 0 {
        "max".into()
    } else {
        value.to_string()
    }
}

/// Writes limits.
pub fn apply(dir: &Path, limits: &Limits) -> Result<(), Failure> {
    memory(dir, limits)?;
    cpu(dir, limits)?;
    for (name, value) in [("cpuset.cpus", &limits.cpus), ("cpuset.mems", &limits.mems)] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            write(dir, name, value)?;
        }
    }
    if let Some(tasks) = limits.host_tasks().filter(|_| limits.pids != Some(0)) {
        write(dir, "pids.max", &max(tasks))?;
    }
    io(dir, limits)?;
    for (size, bytes) in &limits.huge_pages {
        write(dir, &format!("hugetlb.{size}.max"), &bytes.to_string())?;
    }
    for (name, value) in &limits.unified {
        if name.contains('/') {
            return Err(Failure::own(format!("'{name}' is no file of a control group")));
        }
        write(dir, name, value)?;
    }
    Ok(())
}

fn memory(dir: &Path, limits: &Limits) -> Result<(), Failure> {
    let memory = limits.memory.filter(|bytes| *bytes != 0);
    let both = limits.memory_and_swap.filter(|bytes| *bytes != 0);
    // Version 2 counts swap alone.
    let swap = match (both, memory) {
        (Some(-1), _) | (None, Some(-1)) => Some(-1),
        (None, _) => None,
        (Some(both), Some(memory)) if memory >= 0 && both >= memory => Some(both - memory),
        (Some(_), _) => {
            return Err(Failure::own(
                "a limit on memory and swap needs a smaller one on memory",
            ));
        }
    };
    if let Some(swap) = swap {
        let set = try_write(dir, "memory.swap.max", &max(swap));
        // A host without swap has no such file, and "no limit" is no loss there.
        if swap >= 0 || dir.join("memory.swap.max").exists() {
            set.while_doing("control group: memory.swap.max")?;
        }
    }
    if let Some(bytes) = memory {
        write(dir, "memory.max", &max(bytes))?;
    }
    if let Some(bytes) = limits.reservation.filter(|bytes| *bytes != 0) {
        write(dir, "memory.low", &max(bytes))?;
    }
    Ok(())
}

fn cpu(dir: &Path, limits: &Limits) -> Result<(), Failure> {
    if let Some(idle) = limits.idle {
        write(dir, "cpu.idle", &idle.to_string())?;
    }
    if let Some(shares) = limits.shares.filter(|shares| *shares > 0) {
        write(dir, "cpu.weight", &weight_of_shares(shares).to_string())?;
    }
    let quota = limits.quota.filter(|quota| *quota != 0);
    let period = limits.period.filter(|period| *period > 0);
    if quota.is_some() || period.is_some() {
        let mut value = quota.map_or_else(|| now(dir), max);
        if let Some(period) = period {
            value.push_str(&format!(" {period}"));
        }
        write(dir, "cpu.max", &value)?;
    }
    match limits.burst {
        Some(burst) => write(dir, "cpu.max.burst", &burst.to_string()),
        None => Ok(()),
    }
}

/// The quota in force.
fn now(dir: &Path) -> String {
    let text = file::text(dir, "cpu.max");
    text.split(' ')
        .next()
        .filter(|quota| !quota.is_empty())
        .unwrap_or("max")
        .to_string()
}

fn io(dir: &Path, limits: &Limits) -> Result<(), Failure> {
    let bfq = dir.join("io.bfq.weight").exists();
    let weight = |weight: u16| if bfq { u64::from(weight) } else { io_weight(weight) };
    let name = if bfq { "io.bfq.weight" } else { "io.weight" };
    if let Some(own) = limits.io_weight.filter(|weight| *weight > 0) {
        write(dir, name, &weight(own).to_string())?;
    }
    for ((major, minor), own) in &limits.io_weight_of {
        write(dir, name, &format!("{major}:{minor} {}", weight(*own)))?;
    }
    for (kind, (major, minor), rate) in &limits.io_limits {
        let key = match kind {
            IoLimit::ReadBytes => "rbps",
            IoLimit::WriteBytes => "wbps",
            IoLimit::Reads => "riops",
            IoLimit::Writes => "wiops",
        };
        write(dir, "io.max", &format!("{major}:{minor} {key}={rate}"))?;
    }
    Ok(())
}

/// Freezes or thaws, and waits until it has happened.
pub fn freeze(dir: &Path, stop: bool) -> Result<(), Failure> {
    write(dir, "cgroup.freeze", if stop { "1" } else { "0" })?;
    let deadline = Instant::now() + FREEZE_TIME;
    while file::keyed(dir, "cgroup.events").get("frozen") != Some(&u64::from(stop)) {
        if Instant::now() > deadline {
            let _ = try_write(dir, "cgroup.freeze", "0");
            return Err(Failure::own("the container's processes do not stand still"));
        }
        sleep(Duration::from_millis(1));
    }
    Ok(())
}
