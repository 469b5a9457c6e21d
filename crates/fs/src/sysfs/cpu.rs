//! /sys/devices/system/cpu: one package, one thread per core, all online.

use std::sync::Arc;

use abi::Errno;
use kernel::vfs::FileKind;

use super::line;
use crate::kernfs::table::{dir, text};
use crate::kernfs::{Context, Entry, Listed, Meta, Node, StaticDir};
use crate::procfs::pid_stat::cpu_list;
use crate::procfs::system::System;

/// Processors shown at most: as many as affinity masks have bits.
const CPUS_MAX: u32 = 64;

/// How many processors there are.
fn count(at: &System) -> Result<u32, Errno> {
    Ok(at.kernel()?.config.cpus.clamp(1, CPUS_MAX))
}

fn mask(at: &System) -> Result<u64, Errno> {
    Ok(u64::MAX >> (CPUS_MAX - count(at)?))
}

/// All processors as a list: `0-3`.
pub fn all(at: &System) -> Result<Vec<u8>, Errno> {
    line(cpu_list(mask(at)?))
}

/// All processors as a mask.
pub fn all_mask(at: &System) -> Result<Vec<u8>, Errno> {
    line(hex(mask(at)?))
}

fn hex(mask: u64) -> String {
    match mask >> 32 {
        0 => format!("{mask:x}"),
        high => format!("{high:x},{:08x}", mask & 0xffff_ffff),
    }
}

static ENTRIES: &[Entry<System>] = &[
    text("isolated", 0o444, |_| line("")),
    text("kernel_max", 0o444, |_| line(CPUS_MAX - 1)),
    text("modalias", 0o444, |_| line("cpu:type:x86")),
    text("nohz_full", 0o444, |_| line("")),
    text("offline", 0o444, |_| line("")),
    text("online", 0o444, all),
    text("possible", 0o444, all),
    text("present", 0o444, all),
    dir("smt", SMT),
    dir("vulnerabilities", &[]),
];

static SMT: &[Entry<System>] = &[
    text("active", 0o444, |_| line(0)),
    text("control", 0o444, |_| line("notsupported")),
];

/// The directory: fixed names and one directory per processor.
pub struct Cpus {
    system: System,
    names: StaticDir<System>,
}

impl Cpus {
    /// Of a kernel.
    pub fn new(system: System) -> Cpus {
        Cpus {
            names: StaticDir::new(system.clone(), ENTRIES),
            system,
        }
    }
}

impl Node for Cpus {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }
    fn meta(&self) -> Result<Meta, Errno> {
        Ok(Meta::root(0o555))
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>, Errno> {
        let number = |name: &[u8]| -> Option<u32> {
            let digits = std::str::from_utf8(name.strip_prefix(b"cpu")?).ok()?;
            let number: u32 = digits.parse().ok()?;
            (number.to_string() == digits).then_some(number)
        };
        match number(name) {
            Some(number) if number < count(&self.system)? => {
                let system = self.system.clone();
                Ok(Arc::new(StaticDir::new(Cpu { system, number }, CPU)))
            }
            _ => self.names.lookup(name),
        }
    }
    fn list(&self) -> Result<Vec<Listed>, Errno> {
        let mut names = self.names.list()?;
        let cpus = 0..count(&self.system)?;
        names.extend(cpus.map(|cpu| Listed::new(format!("cpu{cpu}"), FileKind::Directory)));
        Ok(names)
    }
}

/// One processor.
#[derive(Clone)]
struct Cpu {
    system: System,
    number: u32,
}

impl Context for Cpu {}

static CPU: &[Entry<Cpu>] = &[text("online", 0o444, |_| line(1)), dir("topology", TOPOLOGY)];

fn own_mask(cpu: &Cpu) -> Result<Vec<u8>, Errno> {
    line(hex(1 << cpu.number))
}

fn own_list(cpu: &Cpu) -> Result<Vec<u8>, Errno> {
    line(cpu.number)
}

static TOPOLOGY: &[Entry<Cpu>] = &[
    text("cluster_id", 0o444, |_| line(65535)),
    text("core_cpus", 0o444, own_mask),
    text("core_cpus_list", 0o444, own_list),
    text("core_id", 0o444, own_list),
    text("core_siblings", 0o444, |cpu| all_mask(&cpu.system)),
    text("core_siblings_list", 0o444, |cpu| all(&cpu.system)),
    text("die_cpus", 0o444, |cpu| all_mask(&cpu.system)),
    text("die_cpus_list", 0o444, |cpu| all(&cpu.system)),
    text("die_id", 0o444, |_| line(0)),
    text("package_cpus", 0o444, |cpu| all_mask(&cpu.system)),
    text("package_cpus_list", 0o444, |cpu| all(&cpu.system)),
    text("physical_package_id", 0o444, |_| line(0)),
    text("thread_siblings", 0o444, own_mask),
    text("thread_siblings_list", 0o444, own_list),
];
