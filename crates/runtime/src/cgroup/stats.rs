//! Figures of a control group in the JSON of `runc events --stats`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{Cgroup, file};

/// All figures; zeroes are left out where runc leaves them out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// Processors.
    pub cpuset: CpuSet,
    /// Memory.
    pub memory: Memory,
    /// Tasks of the host.
    pub pids: Pids,
    /// Disks.
    pub blkio: Blkio,
    /// Huge pages by size.
    pub hugetlb: BTreeMap<String, HugePages>,
    /// Never any here.
    pub intel_rdt: Empty,
    /// Interfaces of a joined network namespace are not counted.
    pub network_interfaces: Option<()>,
}

/// An object without members.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Empty {}

/// Processor time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cpu {
    /// Used.
    pub usage: CpuUsage,
    /// Withheld.
    pub throttling: Throttling,
}

/// Nanoseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CpuUsage {
    /// Altogether.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// By processor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// In the host's kernel.
    pub kernel: u64,
    /// In user mode.
    pub user: u64,
}

/// Periods and nanoseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Throttling {
    /// Periods that have passed.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Those in which the quota was used up.
    #[serde(rename = "throttledPeriods", skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// Time without processor.
    #[serde(rename = "throttledTime", skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// Processors and memory nodes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CpuSet {
    /// Numbers of processors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u64>,
    /// Whether they are nobody else's.
    pub cpu_exclusive: u64,
    /// Numbers of memory nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u64>,
    /// Whether memory follows its process.
    pub memory_migrate: u64,
    /// Whether only those nodes are used.
    pub mem_hardwall: u64,
    /// Whether the nodes are nobody else's.
    pub mem_exclusive: u64,
    /// Whether pressure is counted.
    pub memory_pressure: u64,
    /// Whether pages are spread.
    pub memory_spread_page: u64,
    /// Whether slabs are spread.
    pub memory_spread_slab: u64,
    /// Whether load is balanced.
    pub sched_load_balance: u64,
    /// How far balancing looks.
    pub sched_relax_domain_level: i64,
}

/// Bytes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Memory {
    /// Page cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// Memory.
    pub usage: MemoryEntry,
    /// Memory and swap.
    pub swap: MemoryEntry,
    /// Of the host's kernel.
    pub kernel: MemoryEntry,
    /// Of its sockets.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// memory.stat.
    pub raw: BTreeMap<String, u64>,
}

/// One count of bytes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MemoryEntry {
    /// Most that may be used.
    pub limit: u64,
    /// Used.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// Most that was used.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Tasks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Pids {
    /// Now.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// At most.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// By device and operation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Blkio {
    /// Bytes.
    #[serde(rename = "ioServiceBytesRecursive", skip_serializing_if = "Vec::is_empty")]
    pub bytes: Vec<BlkioEntry>,
    /// Operations.
    #[serde(rename = "ioServicedRecursive", skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<BlkioEntry>,
}

/// One figure of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// Major number.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// Minor number.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// "Read", "Write" …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The figure.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of a size, bytes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HugePages {
    /// Used.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// Most that was used.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Nanoseconds in a tick of cpuacct.stat (USER_HZ is 100).
const TICK: u64 = 10_000_000;

/// Reads what there is.
pub fn read(group: &Cgroup) -> Stats {
    let two = group.version_2().is_some();
    let mut stats = Stats::default();
    if let Some(dir) = group.version_2() {
        cpu_v2(dir, &mut stats.cpu);
        memory_v2(dir, &mut stats.memory);
        blkio_v2(dir, &mut stats.blkio);
    } else {
        if let Some(dir) = group.dir("cpuacct") {
            cpu_v1(dir, &mut stats.cpu.usage);
        }
        if let Some(dir) = group.dir("cpu") {
            let all = file::keyed(dir, "cpu.stat");
            let get = |key: &str| all.get(key).copied().unwrap_or(0);
            stats.cpu.throttling.periods = get("nr_periods");
            stats.cpu.throttling.throttled_periods = get("nr_throttled");
            stats.cpu.throttling.throttled_time = get("throttled_time");
        }
        if let Some(dir) = group.dir("memory") {
            memory_v1(dir, &mut stats.memory);
        }
        if let Some(dir) = group.dir("blkio") {
            stats.blkio.bytes = blkio_v1(&file::text(dir, "blkio.throttle.io_service_bytes_recursive"));
            stats.blkio.operations = blkio_v1(&file::text(dir, "blkio.throttle.io_serviced_recursive"));
        }
    }
    if let Some(dir) = group.dir("cpuset") {
        let effective = |name: &str| match two {
            true => list(&file::text(dir, &format!("{name}.effective"))),
            false => list(&file::text(dir, name)),
        };
        stats.cpuset.cpus = effective("cpuset.cpus");
        stats.cpuset.mems = effective("cpuset.mems");
    }
    if let Some(dir) = group.dir("pids") {
        stats.pids.current = file::value(dir, "pids.current").unwrap_or(0);
        stats.pids.limit = file::value(dir, "pids.max").unwrap_or(0);
    }
    stats
}

fn cpu_v1(dir: &Path, usage: &mut CpuUsage) {
    usage.total = file::value(dir, "cpuacct.usage").unwrap_or(0);
    let each = file::text(dir, "cpuacct.usage_percpu");
    usage.percpu = each
        .split_whitespace()
        .filter_map(|value| value.parse().ok())
        .collect();
    let all = file::keyed(dir, "cpuacct.stat");
    usage.user = all.get("user").copied().unwrap_or(0).saturating_mul(TICK);
    usage.kernel = all.get("system").copied().unwrap_or(0).saturating_mul(TICK);
}

fn cpu_v2(dir: &Path, cpu: &mut Cpu) {
    let all = file::keyed(dir, "cpu.stat");
    let get = |key: &str| all.get(key).copied().unwrap_or(0);
    let nanoseconds = |key: &str| get(key).saturating_mul(1000);
    cpu.usage.total = nanoseconds("usage_usec");
    cpu.usage.user = nanoseconds("user_usec");
    cpu.usage.kernel = nanoseconds("system_usec");
    cpu.throttling.periods = get("nr_periods");
    cpu.throttling.throttled_periods = get("nr_throttled");
    cpu.throttling.throttled_time = nanoseconds("throttled_usec");
}

fn memory_v1(dir: &Path, memory: &mut Memory) {
    let entry = |name: &str| {
        let get = |what: &str| file::value(dir, &format!("memory.{name}{what}")).unwrap_or(0);
        MemoryEntry {
            limit: get("limit_in_bytes"),
            usage: get("usage_in_bytes"),
            max: get("max_usage_in_bytes"),
            failcnt: get("failcnt"),
        }
    };
    memory.usage = entry("");
    memory.swap = entry("memsw.");
    memory.kernel = entry("kmem.");
    memory.kernel_tcp = entry("kmem.tcp.");
    memory.raw = file::keyed(dir, "memory.stat");
    memory.cache = memory.raw.get("cache").copied().unwrap_or(0);
}

fn memory_v2(dir: &Path, memory: &mut Memory) {
    let get = |name: &str| file::limit(dir, name).unwrap_or(0);
    memory.usage = MemoryEntry {
        limit: get("memory.max"),
        usage: get("memory.current"),
        max: get("memory.peak"),
        failcnt: file::keyed(dir, "memory.events").get("max").copied().unwrap_or(0),
    };
    // As version 1 counts: memory and swap together.
    memory.swap = MemoryEntry {
        limit: get("memory.swap.max").saturating_add(memory.usage.limit),
        usage: get("memory.swap.current").saturating_add(memory.usage.usage),
        max: 0,
        failcnt: 0,
    };
    memory.raw = file::keyed(dir, "memory.stat");
    memory.cache = memory.raw.get("file").copied().unwrap_or(0);
}

/// Lines of "major:minor Operation value".
fn blkio_v1(text: &str) -> Vec<BlkioEntry> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (major, minor) = fields.next()?.split_once(':')?;
        Some(BlkioEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: fields.next()?.to_string(),
            value: fields.next()?.parse().ok()?,
        })
    });
    lines.collect()
}

/// Lines of "major:minor rbytes=1 wbytes=2 rios=3 …".
fn blkio_v2(dir: &Path, blkio: &mut Blkio) {
    for line in file::text(dir, "io.stat").lines() {
        let mut fields = line.split_whitespace();
        let Some((major, minor)) = fields.next().and_then(|device| device.split_once(':')) else {
            continue;
        };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut blkio.bytes, "Read"),
                "wbytes" => (&mut blkio.bytes, "Write"),
                "rios" => (&mut blkio.operations, "Read"),
                "wios" => (&mut blkio.operations, "Write"),
                _ => continue,
            };
            let number = |text: &str| text.parse().unwrap_or(0);
            list.push(BlkioEntry {
                major: number(major),
                minor: number(minor),
                op: op.to_string(),
                value: number(value),
            });
        }
    }
}

/// More numbers than a host has processors are not listed.
const LIST_MAX: u64 = 8192;

/// "0-2,5" as numbers.
pub fn list(text: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>()) {
            numbers.extend(first..=last.min(first.saturating_add(LIST_MAX)));
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_lines_are_read() {
        assert_eq!(list("0-2,5"), [0, 1, 2, 5]);
        assert!(list("").is_empty());
        let lines = blkio_v1("8:0 Read 12\n8:0 Total 13\nTotal 14\n");
        assert_eq!(
            (lines.len(), lines[0].value, lines[1].op.as_str()),
            (2, 12, "Total")
        );
    }

    #[test]
    fn the_json_has_the_names_of_runc() {
        let text = serde_json::to_string(&Stats::default()).unwrap();
        assert!(text.starts_with(
            r#"{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},"cpuset":{"cpu_exclusive":0"#
        ));
        assert!(
            text.contains(r#""memory":{"usage":{"limit":0,"failcnt":0}"#) && text.contains(r#""kernelTCP":"#)
        );
    }
}
