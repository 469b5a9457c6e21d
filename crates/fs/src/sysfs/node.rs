//! /sys/devices/system/node: one memory node with everything.

use std::fmt::Write;

use abi::Errno;

use super::{cpu, line};
use crate::kernfs::Entry;
use crate::kernfs::table::{dir, text};
use crate::procfs::meminfo::Usage;
use crate::procfs::system::System;

/// Names in the directory.
pub static ENTRIES: &[Entry<System>] = &[
    text("has_cpu", 0o444, |_| line(0)),
    text("has_memory", 0o444, |_| line(0)),
    text("has_normal_memory", 0o444, |_| line(0)),
    dir("node0", NODE),
    text("online", 0o444, |_| line(0)),
    text("possible", 0o444, |_| line(0)),
];

static NODE: &[Entry<System>] = &[
    text("cpulist", 0o444, cpu::all),
    text("cpumap", 0o444, cpu::all_mask),
    text("distance", 0o444, |_| line(10)),
    text("meminfo", 0o444, meminfo),
    text("numastat", 0o444, |_| {
        line("numa_hit 0\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\nlocal_node 0\nother_node 0")
    }),
];

fn meminfo(at: &System) -> Result<Vec<u8>, Errno> {
    let usage = Usage::now(&*at.kernel()?);
    let mut out = String::new();
    for (name, bytes) in [
        ("MemTotal", usage.total),
        ("MemFree", usage.free),
        ("MemUsed", usage.total - usage.free),
        ("AnonPages", usage.anonymous),
    ] {
        let _ = writeln!(out, "Node 0 {:<15}{:>8} kB", format!("{name}:"), bytes / 1024);
    }
    Ok(out.into_bytes())
}
