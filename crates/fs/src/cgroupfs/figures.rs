//! What the host's control group says of the sandbox: open files that came through the wall, of either version.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

/// Most bytes of such a file.
const FILE_MAX: usize = 8192;

/// A file of a control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// memory.current, memory.usage_in_bytes: a number.
    Memory,
    /// memory.peak, memory.max_usage_in_bytes: a number.
    MemoryPeak,
    /// memory.stat, with the keys of the version.
    MemoryStat,
    /// memory.events, memory.oom_control.
    MemoryEvents,
    /// cpu.stat, with the keys of the version.
    CpuStat,
    /// cpuacct.usage of version 1: nanoseconds.
    CpuUsage,
}

/// The sandbox's files: a process has one sandbox.
static FILES: OnceLock<BTreeMap<Figure, OwnedFd>> = OnceLock::new();

/// Has the group of the sandbox show the host's figures. The first call counts.
pub fn take(files: Vec<(Figure, OwnedFd)>) {
    let _ = FILES.set(files.into_iter().collect());
}

/// The text of a file; `None`: the host has no such, or cannot read it any more.
pub(super) fn text(figure: Figure) -> Option<String> {
    let file = FILES.get()?.get(&figure)?;
    let mut bytes = vec![0; FILE_MAX];
    let len = host::file::read_at(file.as_fd(), &mut bytes, 0).ok()?;
    bytes.truncate(len);
    String::from_utf8(bytes).ok()
}

/// The number in a file.
pub(super) fn number(figure: Figure) -> Option<u64> {
    text(figure)?.trim().parse().ok()
}

/// Lines of a key and a number.
pub(super) fn keyed(figure: Figure) -> Option<BTreeMap<String, u64>> {
    text(figure).map(|text| parse(&text))
}

fn parse(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_string(), value.trim().parse().ok()?))
    });
    lines.collect()
}

/// memory.stat with the keys of version 2: those that programs look for.
pub(super) fn memory_stat(of_host: &BTreeMap<String, u64>) -> Vec<(&'static str, u64)> {
    /// Keys of version 2 and those of version 1 that mean the same, of the group and those below it.
    const KEYS: &[(&str, &str)] = &[
        ("anon", "total_rss"),
        ("file", "total_cache"),
        ("kernel", ""),
        ("kernel_stack", ""),
        ("pagetables", ""),
        ("sock", ""),
        ("shmem", "total_shmem"),
        ("file_mapped", "total_mapped_file"),
        ("file_dirty", "total_dirty"),
        ("file_writeback", "total_writeback"),
        ("swapcached", "total_swapcached"),
        ("anon_thp", "total_rss_huge"),
        ("inactive_anon", "total_inactive_anon"),
        ("active_anon", "total_active_anon"),
        ("inactive_file", "total_inactive_file"),
        ("active_file", "total_active_file"),
        ("unevictable", "total_unevictable"),
        ("slab_reclaimable", ""),
        ("slab_unreclaimable", ""),
        ("slab", ""),
        ("pgfault", "total_pgfault"),
        ("pgmajfault", "total_pgmajfault"),
    ];
    let value = |(new, old): &(&'static str, &str)| {
        let found = of_host.get(*new).filter(|_| of_host.contains_key("anon"));
        (*new, found.or_else(|| of_host.get(*old)).copied().unwrap_or(0))
    };
    KEYS.iter().map(value).collect()
}

/// Periods, throttled periods, throttled microseconds.
pub(super) fn throttling(of_host: &BTreeMap<String, u64>) -> [u64; 3] {
    let of = |key: &str| of_host.get(key).copied();
    let time = of("throttled_usec").or_else(|| of("throttled_time").map(|nanoseconds| nanoseconds / 1000));
    [
        of("nr_periods").unwrap_or(0),
        of("nr_throttled").unwrap_or(0),
        time.unwrap_or(0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_show_the_keys_of_version_2() {
        let old = parse("cache 1\nrss 2\ntotal_cache 4096\ntotal_rss 8192\ntotal_pgfault 7\n");
        let stat: BTreeMap<_, _> = memory_stat(&old).into_iter().collect();
        assert_eq!((stat["anon"], stat["file"], stat["pgfault"]), (8192, 4096, 7));
        let new = parse("anon 5\nfile 6\npgfault 8\n");
        let stat: BTreeMap<_, _> = memory_stat(&new).into_iter().collect();
        assert_eq!((stat["anon"], stat["file"], stat["pgfault"]), (5, 6, 8));
        let old = parse("nr_periods 3\nnr_throttled 2\nthrottled_time 5000\n");
        assert_eq!(throttling(&old), [3, 2, 5]);
        let new = parse("usage_usec 9\nnr_periods 3\nnr_throttled 2\nthrottled_usec 5\n");
        assert_eq!(throttling(&new), [3, 2, 5]);
    }
}
