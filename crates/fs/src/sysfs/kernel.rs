//! /sys/kernel: huge pages, and empty places.

use super::line;
use crate::kernfs::Entry;
use crate::kernfs::table::{dir, text};
use crate::procfs::system::System;

/// Names in /sys/kernel.
pub static ENTRIES: &[Entry<System>] = &[
    dir("cgroup", CGROUP),
    dir("debug", &[]),
    text("fscaps", 0o444, |_| line(1)),
    dir("mm", MM),
    text("profiling", 0o444, |_| line(0)),
    dir("security", &[]),
    dir("tracing", &[]),
    text("uevent_seqnum", 0o444, |_| line(0)),
];

static CGROUP: &[Entry<System>] = &[
    text("delegate", 0o444, |_| {
        line("cgroup.procs\ncgroup.threads\ncgroup.subtree_control")
    }),
    text("features", 0o444, |_| line("nsdelegate")),
];

static MM: &[Entry<System>] = &[
    dir("hugepages", &[dir("hugepages-2048kB", HUGE)]),
    dir("ksm", &[text("run", 0o444, |_| line(0))]),
    dir("transparent_hugepage", THP),
];

static HUGE: &[Entry<System>] = &[
    text("free_hugepages", 0o444, |_| line(0)),
    text("nr_hugepages", 0o444, |_| line(0)),
    text("nr_overcommit_hugepages", 0o444, |_| line(0)),
    text("resv_hugepages", 0o444, |_| line(0)),
    text("surplus_hugepages", 0o444, |_| line(0)),
];

static THP: &[Entry<System>] = &[
    text("defrag", 0o444, |_| {
        line("always defer defer+madvise [madvise] never")
    }),
    text("enabled", 0o444, |_| line("always [madvise] never")),
    text("hpage_pmd_size", 0o444, |_| line(2 << 20)),
    text("shmem_enabled", 0o444, |_| {
        line("always within_size advise [never] deny force")
    }),
    text("use_zero_page", 0o444, |_| line(1)),
];
