//! A read-only cgroup2 tree of one group: all of the sandbox, as cgroups(7) shows a container its own root.
//!
//! Limits are enforced by the host's cgroup that the sandbox is in; guests cannot make groups of their own.

pub mod figures;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use kernel::Kernel;
use kernel::limits::Limits;
use kernel::vfs::{FilesystemType, Inode, MountFlags};

use crate::kernfs::table::text;
use crate::kernfs::{Entry, KernSuper, StaticDir, root_inode};
use crate::procfs::meminfo::Usage;
use crate::procfs::pid_stat::cpu_list;
use crate::procfs::stat::busy_ns;
use crate::procfs::system::System;
use figures::Figure;

/// CGROUP2_SUPER_MAGIC.
const MAGIC: u64 = 0x6367_7270;

/// The type `cgroup2`.
pub struct CgroupFs;

impl FilesystemType for CgroupFs {
    fn name(&self) -> &'static str {
        "cgroup2"
    }

    fn for_user_namespaces(&self) -> bool {
        true
    }

    fn mount(
        &self,
        kernel: &Arc<Kernel>,
        _source: &[u8],
        _flags: MountFlags,
        _data: &[u8],
    ) -> Result<Arc<Inode>, Errno> {
        let sb = KernSuper::superblock("cgroup2", MAGIC, true);
        Ok(root_inode(
            &sb,
            Arc::new(StaticDir::new(System::new(kernel), ENTRIES)),
        ))
    }
}

fn line(text: impl std::fmt::Display) -> Result<Vec<u8>, Errno> {
    Ok(format!("{text}\n").into_bytes())
}

fn limits(at: &System) -> Result<Limits, Errno> {
    Ok(at.kernel()?.limits.read().clone())
}

/// A limit, or "max".
fn most(limit: Option<u64>) -> String {
    limit.map_or_else(|| "max".into(), |limit| limit.to_string())
}

fn cpu_max(at: &System) -> Result<Vec<u8>, Errno> {
    let limits = limits(at)?;
    line(format!("{} {}", most(limits.cpu_quota), limits.cpu_period))
}

static ENTRIES: &[Entry<System>] = &[
    text("cgroup.controllers", 0o444, |_| line("cpuset cpu io memory pids")),
    text("cgroup.events", 0o444, |_| line("populated 1\nfrozen 0")),
    text("cgroup.freeze", 0o444, |_| line(0)),
    text("cgroup.max.depth", 0o444, |_| line("max")),
    text("cgroup.max.descendants", 0o444, |_| line("max")),
    text("cgroup.procs", 0o444, processes),
    text("cgroup.stat", 0o444, |_| {
        line("nr_descendants 0\nnr_dying_descendants 0")
    }),
    text("cgroup.subtree_control", 0o444, |_| Ok(b"\n".to_vec())),
    text("cgroup.threads", 0o444, threads),
    text("cgroup.type", 0o444, |_| line("domain")),
    text("cpu.idle", 0o444, |_| line(0)),
    text("cpu.max", 0o444, cpu_max),
    text("cpu.max.burst", 0o444, |_| line(0)),
    text("cpu.stat", 0o444, cpu_stat),
    text("cpu.weight", 0o444, |at| line(limits(at)?.cpu_weight)),
    text("cpu.weight.nice", 0o444, |_| line(0)),
    text("cpuset.cpus", 0o444, |at| line(limits(at)?.cpus)),
    text("cpuset.cpus.effective", 0o444, cpus),
    text("cpuset.mems", 0o444, |at| line(limits(at)?.mems)),
    text("cpuset.mems.effective", 0o444, |_| line(0)),
    text("io.max", 0o444, |_| Ok(Vec::new())),
    text("io.stat", 0o444, |_| Ok(Vec::new())),
    text("io.weight", 0o444, |_| line("default 100")),
    text("memory.current", 0o444, memory_current),
    text("memory.events", 0o444, |_| memory_events()),
    text("memory.high", 0o444, |_| line("max")),
    text("memory.low", 0o444, |at| line(limits(at)?.reservation)),
    text("memory.max", 0o444, |at| line(most(limits(at)?.memory))),
    text("memory.min", 0o444, |_| line(0)),
    text("memory.oom.group", 0o444, |_| line(0)),
    text("memory.peak", 0o444, memory_peak),
    text("memory.stat", 0o444, memory_stat),
    text("memory.swap.current", 0o444, |_| line(0)),
    text("memory.swap.max", 0o444, |at| line(most(limits(at)?.swap))),
    text("pids.current", 0o444, |at| line(at.kernel()?.pids.read().count())),
    text("pids.events", 0o444, |at| {
        let refused = &at.kernel()?.tasks_refused;
        line(format!("max {}", refused.load(Ordering::Relaxed)))
    }),
    text("pids.max", 0o444, |at| line(most(limits(at)?.pids))),
];

fn processes(at: &System) -> Result<Vec<u8>, Errno> {
    let kernel = at.kernel()?;
    let mut out = String::new();
    let reader = kernel::task::current();
    for pid in kernel.pids.read().groups.keys() {
        let shown = reader.as_ref().map_or(*pid, |reader| reader.own_pid(*pid));
        let _ = writeln!(out, "{shown}");
    }
    Ok(out.into_bytes())
}

fn threads(at: &System) -> Result<Vec<u8>, Errno> {
    let kernel = at.kernel()?;
    let mut out = String::new();
    let reader = kernel::task::current();
    for tid in kernel.pids.read().tasks.keys() {
        let shown = reader.as_ref().map_or(*tid, |reader| reader.own_pid(*tid));
        let _ = writeln!(out, "{shown}");
    }
    Ok(out.into_bytes())
}

fn cpus(at: &System) -> Result<Vec<u8>, Errno> {
    line(cpu_list(at.kernel()?.allowed_processors()))
}

fn cpu_stat(at: &System) -> Result<Vec<u8>, Errno> {
    let (user, system) = busy_ns(&*at.kernel()?);
    let (user, system) = (user / 1000, system / 1000);
    let host = figures::keyed(Figure::CpuStat).unwrap_or_default();
    // The host's sum counts the sandbox's own work, too: that is what a quota takes away from.
    let usage = host.get("usage_usec").copied();
    let usage = usage.or_else(|| figures::number(Figure::CpuUsage).map(|nanoseconds| nanoseconds / 1000));
    let user = host.get("user_usec").copied().unwrap_or(user);
    let system = host.get("system_usec").copied().unwrap_or(system);
    let [periods, throttled, time] = figures::throttling(&host);
    line(format!(
        "usage_usec {}\nuser_usec {user}\nsystem_usec {system}\nnr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec {time}\nnr_bursts 0\nburst_usec 0",
        usage.unwrap_or(user + system),
    ))
}

fn memory_current(at: &System) -> Result<Vec<u8>, Errno> {
    match figures::number(Figure::Memory) {
        Some(bytes) => line(bytes),
        None => line(Usage::now(&*at.kernel()?).anonymous),
    }
}

fn memory_peak(at: &System) -> Result<Vec<u8>, Errno> {
    figures::number(Figure::MemoryPeak).map_or_else(|| memory_current(at), line)
}

fn memory_events() -> Result<Vec<u8>, Errno> {
    const KEYS: [&str; 6] = ["low", "high", "max", "oom", "oom_kill", "oom_group_kill"];
    let host = figures::keyed(Figure::MemoryEvents).unwrap_or_default();
    let lines = KEYS.map(|key| format!("{key} {}", host.get(key).copied().unwrap_or(0)));
    line(lines.join("\n"))
}

fn memory_stat(at: &System) -> Result<Vec<u8>, Errno> {
    let host = match figures::keyed(Figure::MemoryStat) {
        Some(host) => host,
        None => {
            let anonymous = Usage::now(&*at.kernel()?).anonymous;
            let keys = ["anon", "active_anon"].map(|key| (key.to_string(), anonymous));
            keys.into_iter().collect()
        }
    };
    let mut text = String::new();
    for (key, value) in figures::memory_stat(&host) {
        let _ = writeln!(text, "{key} {value}");
    }
    Ok(text.into_bytes())
}
