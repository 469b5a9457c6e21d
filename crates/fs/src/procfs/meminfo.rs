//! Memory as the guest sees it: /proc/{meminfo,vmstat,zoneinfo}, and the sums over one address space.

use std::fmt::Write;
use std::sync::Arc;

use abi::{Errno, PAGE_SIZE};
use kernel::Kernel;
use kernel::mm::Mm;

use super::system::System;

/// Sums over an address space in bytes, and where its parts lie.
#[derive(Clone, Debug, Default)]
pub struct MmTotals {
    /// Mapped.
    pub size: u64,
    /// Resident.
    pub resident: u64,
    /// Of that, pages of files and shared memory.
    pub shared_resident: u64,
    /// Locked.
    pub locked: u64,
    /// Code of the program.
    pub text: u64,
    /// Code of libraries.
    pub library: u64,
    /// Private writable areas.
    pub data_bytes: u64,
    /// Stack areas.
    pub stack: u64,
    /// Start and end of the code.
    pub code: (u64, u64),
    /// Start and end of the data.
    pub data: (u64, u64),
    /// Start of the heap.
    pub brk: u64,
    /// Stack pointer at the start.
    pub start_stack: u64,
    /// Start and end of the arguments.
    pub args: (u64, u64),
    /// Start and end of the environment.
    pub env: (u64, u64),
    /// The auxiliary vector.
    pub auxv: Vec<u8>,
}

impl MmTotals {
    /// Of an address space; all zero for a process without one.
    pub fn of(mm: Option<&Mm>) -> MmTotals {
        let Some(mm) = mm else {
            return MmTotals::default();
        };
        let totals = mm.totals();
        let layout = mm.layout();
        MmTotals {
            size: totals.size,
            resident: totals.resident,
            shared_resident: totals.resident_files,
            locked: totals.locked,
            text: totals.exe,
            library: totals.lib,
            data_bytes: totals.data,
            stack: totals.stack,
            code: (layout.start_code, layout.end_code),
            data: (layout.start_data, layout.end_data),
            brk: layout.start_brk,
            start_stack: layout.start_stack,
            args: (layout.arg_start, layout.arg_end),
            env: (layout.env_start, layout.env_end),
            auxv: layout.auxv,
        }
    }
}

/// Memory use of the sandbox in bytes.
pub struct Usage {
    /// What guests have.
    pub total: u64,
    /// Not in use.
    pub free: u64,
    /// Memory of processes.
    pub anonymous: u64,
}

impl Usage {
    /// Now: the resident private memory of all address spaces, each counted once.
    pub fn now(kernel: &Kernel) -> Usage {
        let tasks: Vec<_> = kernel.pids.read().tasks.values().cloned().collect();
        let mut spaces: Vec<Arc<Mm>> = tasks.iter().filter_map(|task| task.mm()).collect();
        spaces.sort_by_key(|mm| Arc::as_ptr(mm).addr());
        spaces.dedup_by(|one, two| Arc::ptr_eq(one, two));
        let used: u64 = spaces.iter().map(|mm| mm.resident().0).sum();
        let total = kernel.total_memory();
        Usage {
            total,
            free: total.saturating_sub(used),
            anonymous: used.min(total),
        }
    }
}

/// /proc/meminfo.
pub fn show(at: &System) -> Result<Vec<u8>, Errno> {
    let usage = Usage::now(&*at.kernel()?);
    let commit_limit = usage.total / 2;
    let rows = [
        ("MemTotal", usage.total),
        ("MemFree", usage.free),
        ("MemAvailable", usage.free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", usage.anonymous),
        ("Inactive", 0),
        ("Active(anon)", usage.anonymous),
        ("Inactive(anon)", 0),
        ("Active(file)", 0),
        ("Inactive(file)", 0),
        ("Unevictable", 0),
        ("Mlocked", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Zswap", 0),
        ("Zswapped", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", usage.anonymous),
        ("Mapped", 0),
        ("Shmem", 0),
        ("KReclaimable", 0),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("SUnreclaim", 0),
        ("KernelStack", 0),
        ("PageTables", usage.anonymous / 512),
        ("SecPageTables", 0),
        ("NFS_Unstable", 0),
        ("Bounce", 0),
        ("WritebackTmp", 0),
        ("CommitLimit", commit_limit),
        ("Committed_AS", usage.anonymous),
        ("VmallocTotal", 35_184_372_087_808),
        ("VmallocUsed", 0),
        ("VmallocChunk", 0),
        ("Percpu", 0),
        ("HardwareCorrupted", 0),
        ("AnonHugePages", 0),
        ("ShmemHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FileHugePages", 0),
        ("FilePmdMapped", 0),
    ];
    let mut out = String::new();
    for (name, bytes) in rows {
        let _ = writeln!(out, "{:<15} {:>8} kB", format!("{name}:"), bytes / 1024);
    }
    out.push_str("HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\n");
    out.push_str("Hugepagesize:       2048 kB\nHugetlb:               0 kB\n");
    Ok(out.into_bytes())
}

/// /proc/vmstat: the counters that programs look for; those that are not counted are 0.
pub fn vmstat(at: &System) -> Result<Vec<u8>, Errno> {
    let usage = Usage::now(&*at.kernel()?);
    let anonymous = usage.anonymous / PAGE_SIZE;
    let rows = [
        ("nr_free_pages", usage.free / PAGE_SIZE),
        ("nr_zone_active_anon", anonymous),
        ("nr_active_anon", anonymous),
        ("nr_inactive_file", 0),
        ("nr_anon_pages", anonymous),
        ("nr_mapped", 0),
        ("nr_file_pages", 0),
        ("nr_dirty", 0),
        ("nr_writeback", 0),
        ("nr_shmem", 0),
        ("pgpgin", 0),
        ("pgpgout", 0),
        ("pswpin", 0),
        ("pswpout", 0),
        ("pgalloc_normal", 0),
        ("pgfree", 0),
        ("pgfault", 0),
        ("pgmajfault", 0),
        ("pgscan_kswapd", 0),
        ("pgscan_direct", 0),
        ("pgsteal_kswapd", 0),
        ("pgsteal_direct", 0),
        ("oom_kill", 0),
    ];
    let mut out = String::new();
    for (name, value) in rows {
        let _ = writeln!(out, "{name} {value}");
    }
    Ok(out.into_bytes())
}

/// /proc/zoneinfo: one zone.
pub fn zoneinfo(at: &System) -> Result<Vec<u8>, Errno> {
    let usage = Usage::now(&*at.kernel()?);
    let (free, all) = (usage.free / PAGE_SIZE, usage.total / PAGE_SIZE);
    Ok(format!(
        "Node 0, zone   Normal\n  pages free     {free}\n        boost    0\n        min      0\n        low      0\n        high     0\n        spanned  {all}\n        present  {all}\n        managed  {all}\n"
    )
    .into_bytes())
}
