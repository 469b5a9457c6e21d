//! The root of procfs: the table of its names, processes by number, `self` and `thread-self`.

use std::sync::Arc;

use abi::Errno;
use kernel::task::current;
use kernel::vfs::FileKind;

use super::process::{self, Process};
use super::system::System;
use super::{config, cpuinfo, identity, loadavg, meminfo, stat, sysctl, sysvipc};
use crate::kernfs::table::{dir, link, node, text};
use crate::kernfs::{Entry, Listed, Meta, Node, StaticDir};

static ENTRIES: &[Entry<System>] = &[
    text("buddyinfo", 0o444, |_| Ok(Vec::new())),
    text("cgroups", 0o444, identity::cgroups),
    text("cmdline", 0o444, identity::cmdline),
    text("config.gz", 0o444, |_| Ok(config::gzip())),
    text("consoles", 0o444, |_| Ok(Vec::new())),
    text("cpuinfo", 0o444, cpuinfo::show),
    text("crypto", 0o444, |_| Ok(Vec::new())),
    text("devices", 0o444, identity::devices),
    text("diskstats", 0o444, |_| Ok(Vec::new())),
    dir("driver", &[]),
    text("filesystems", 0o444, identity::filesystems),
    dir("fs", &[]),
    text("interrupts", 0o444, stat::interrupts),
    text("iomem", 0o400, |_| Ok(Vec::new())),
    text("ioports", 0o400, |_| Ok(Vec::new())),
    dir("irq", &[]),
    text("kallsyms", 0o444, |_| Ok(Vec::new())),
    text("key-users", 0o444, |_| Ok(Vec::new())),
    text("keys", 0o444, |_| Ok(Vec::new())),
    text("kmsg", 0o400, |_| Ok(Vec::new())),
    text("loadavg", 0o444, loadavg::show),
    text("locks", 0o444, |_| Ok(Vec::new())),
    text("mdstat", 0o444, |_| {
        Ok(b"Personalities : \nunused devices: <none>\n".to_vec())
    }),
    text("meminfo", 0o444, meminfo::show),
    text("misc", 0o444, |_| Ok(Vec::new())),
    text("modules", 0o444, |_| Ok(Vec::new())),
    link("mounts", |_| Ok(b"self/mounts".to_vec())),
    link("net", |_| Ok(b"self/net".to_vec())),
    text("partitions", 0o444, |_| {
        Ok(b"major minor  #blocks  name\n\n".to_vec())
    }),
    dir("pressure", PRESSURE),
    link("self", own_pid),
    text("schedstat", 0o444, stat::schedstat),
    text("slabinfo", 0o400, |_| Ok(b"slabinfo - version: 2.1\n".to_vec())),
    text("softirqs", 0o444, stat::softirqs),
    text("stat", 0o444, stat::show),
    text("swaps", 0o444, |_| {
        Ok(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_vec())
    }),
    node("sys", FileKind::Directory, sysctl::root),
    dir("sysvipc", SYSVIPC),
    link("thread-self", own_thread),
    text("timer_list", 0o400, |_| Ok(Vec::new())),
    dir("tty", TTY),
    text("uptime", 0o444, stat::uptime),
    text("version", 0o444, identity::version),
    text("version_signature", 0o444, identity::version),
    text("vmallocinfo", 0o400, |_| Ok(Vec::new())),
    text("vmstat", 0o444, meminfo::vmstat),
    text("zoneinfo", 0o444, meminfo::zoneinfo),
];

static PRESSURE: &[Entry<System>] = &[
    text("cpu", 0o444, stat::pressure),
    text("io", 0o444, stat::pressure),
    text("memory", 0o444, stat::pressure),
];

static SYSVIPC: &[Entry<System>] = &[
    text("msg", 0o444, sysvipc::msg),
    text("sem", 0o444, sysvipc::sem),
    text("shm", 0o444, sysvipc::shm),
];

static TTY: &[Entry<System>] = &[
    text("drivers", 0o444, identity::tty_drivers),
    dir("driver", &[]),
    dir("ldisc", &[]),
];

/// Target of /proc/self. `ENOENT` for a reader that is no task.
fn own_pid(system: &System) -> Result<Vec<u8>, Errno> {
    let task = current().ok_or(Errno::ENOENT)?;
    match system.pid_ns.own(task.tgid()) {
        0 => Err(Errno::ENOENT),
        pid => Ok(pid.to_string().into_bytes()),
    }
}

fn own_thread(system: &System) -> Result<Vec<u8>, Errno> {
    let task = current().ok_or(Errno::ENOENT)?;
    match (system.pid_ns.own(task.tgid()), system.pid_ns.own(task.tid)) {
        (0, _) | (_, 0) => Err(Errno::ENOENT),
        (pid, tid) => Ok(format!("{pid}/task/{tid}").into_bytes()),
    }
}

/// The root directory.
pub struct Root {
    system: System,
    names: StaticDir<System>,
}

impl Root {
    /// The root of a mount of procfs.
    pub fn new(system: System) -> Root {
        Root {
            names: StaticDir::new(system.clone(), ENTRIES),
            system,
        }
    }
}

/// A process or thread id as a name: decimal, no sign, no leading zero.
pub fn parse_id(name: &[u8]) -> Option<u32> {
    let plain = name.iter().all(u8::is_ascii_digit) && !name.starts_with(b"0");
    if !plain {
        return None;
    }
    std::str::from_utf8(name).ok()?.parse().ok()
}

impl Node for Root {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }

    fn meta(&self) -> Result<Meta, Errno> {
        Ok(Meta::root(0o555))
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>, Errno> {
        match parse_id(name) {
            Some(id) => Ok(Arc::new(process::directory(Process::find(&self.system, id)?))),
            None => self.names.lookup(name),
        }
    }

    fn list(&self) -> Result<Vec<Listed>, Errno> {
        let kernel = self.system.kernel()?;
        let mut names = self.names.list()?;
        let pids = kernel.pids.read();
        let seen = pids.groups.keys().map(|pid| self.system.pid_ns.own(*pid));
        let mut seen: Vec<u32> = seen.filter(|pid| *pid != 0).collect();
        seen.sort_unstable();
        names.extend(
            seen.iter()
                .map(|pid| Listed::new(pid.to_string(), FileKind::Directory)),
        );
        Ok(names)
    }
}
