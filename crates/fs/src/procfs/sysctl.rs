//! /proc/sys: one table of rows, each a path with its first value and the rule for new ones.
//!
//! Values live in [`kernel::sysctl::Sysctls`], where the code that they govern reads them.

use std::sync::Arc;

use abi::Errno;
use kernel::Kernel;
use kernel::cred::{Caps, IdKind, UserNs};
use kernel::socket::NetNs;
use kernel::syscall::{RELEASE, VERSION};
use kernel::task::{PID_MAX, TASKS_MAX, current};
use kernel::vfs::FileKind;

use super::system::System;
use crate::kernfs::{Listed, Meta, Node, parse_i64, trimmed};

/// What a sysctl takes.
enum Rule {
    /// Nothing: it is read-only.
    Fixed,
    /// One number in this range.
    Int(i64, i64),
    /// This many numbers.
    Ints(usize),
    /// A line of at most this many bytes.
    Text(usize),
    /// Made at each read.
    Made(fn(&Kernel) -> String),
    /// The host name or domain name.
    Uts(bool),
}

struct Row {
    path: &'static str,
    value: &'static str,
    rule: Rule,
}

const fn row(path: &'static str, value: &'static str, rule: Rule) -> Row {
    Row { path, value, rule }
}

use Rule::{Fixed, Int, Ints, Made, Text, Uts};

const MAX: i64 = i32::MAX as i64;
/// Longest name of uname(2).
const UTS_MAX: usize = 64;

static ROWS: &[Row] = &[
    row("fs/aio-max-nr", "65536", Int(0, i64::MAX)),
    row("fs/aio-nr", "0", Fixed),
    row("fs/dentry-state", "0\t0\t45\t0\t0\t0", Fixed),
    row("fs/epoll/max_user_watches", "1048576", Int(0, i64::MAX)),
    row("fs/file-max", "9223372036854775807", Int(0, i64::MAX)),
    row("fs/file-nr", "0\t0\t9223372036854775807", Fixed),
    row("fs/inode-nr", "0\t0", Fixed),
    row("fs/inotify/max_queued_events", "16384", Int(0, MAX)),
    row("fs/inotify/max_user_instances", "128", Int(0, MAX)),
    row("fs/inotify/max_user_watches", "65536", Int(0, MAX)),
    row("fs/lease-break-time", "45", Int(0, MAX)),
    row("fs/leases-enable", "1", Int(0, 1)),
    row("fs/mount-max", "100000", Int(0, MAX)),
    row("fs/lease-break-time", "45", Int(0, MAX)),
    row("fs/mqueue/msg_default", "10", Int(1, 65536)),
    row("fs/mqueue/msg_max", "10", Int(1, 65536)),
    row("fs/mqueue/msgsize_default", "8192", Int(128, 16 << 20)),
    row("fs/mqueue/msgsize_max", "8192", Int(128, 16 << 20)),
    row("fs/mqueue/queues_max", "256", Int(0, MAX)),
    row("fs/nr_open", "1048576", Int(64, MAX)),
    row("fs/overflowgid", "65534", Int(0, 65535)),
    row("fs/overflowuid", "65534", Int(0, 65535)),
    row("fs/pipe-max-size", "1048576", Int(4096, 1 << 31)),
    row("fs/pipe-user-pages-hard", "0", Int(0, MAX)),
    row("fs/pipe-user-pages-soft", "16384", Int(0, MAX)),
    row("fs/protected_fifos", "1", Int(0, 2)),
    row("fs/protected_hardlinks", "1", Int(0, 1)),
    row("fs/protected_regular", "2", Int(0, 2)),
    row("fs/protected_symlinks", "1", Int(0, 1)),
    row("fs/suid_dumpable", "0", Int(0, 2)),
    row("kernel/acct", "4\t2\t30", Ints(3)),
    row("kernel/auto_msgmni", "0", Int(0, 1)),
    row("kernel/bootloader_type", "0", Fixed),
    row("kernel/cap_last_cap", "40", Fixed),
    row("kernel/core_pattern", "core", Text(127)),
    row("kernel/core_pipe_limit", "0", Int(0, MAX)),
    row("kernel/core_uses_pid", "0", Int(0, 1)),
    row("kernel/ctrl-alt-del", "0", Int(0, 1)),
    row("kernel/dmesg_restrict", "1", Int(0, 1)),
    row("kernel/domainname", "", Uts(true)),
    row("kernel/hostname", "", Uts(false)),
    row("kernel/io_uring_disabled", "2", Int(0, 2)),
    row("kernel/keys/maxbytes", "20000", Int(0, MAX)),
    row("kernel/keys/maxkeys", "200", Int(0, MAX)),
    row("kernel/kptr_restrict", "1", Int(0, 2)),
    row("kernel/modules_disabled", "1", Fixed),
    row("kernel/msgmax", "8192", Int(0, MAX)),
    row("kernel/msgmnb", "16384", Int(0, MAX)),
    row("kernel/msgmni", "32000", Int(0, 32768)),
    row("kernel/ngroups_max", "65536", Fixed),
    row("kernel/numa_balancing", "0", Int(0, 2)),
    row("kernel/osrelease", RELEASE, Fixed),
    row("kernel/ostype", "Linux", Fixed),
    row("kernel/overflowgid", "65534", Int(0, 65535)),
    row("kernel/overflowuid", "65534", Int(0, 65535)),
    row("kernel/panic", "0", Int(i32::MIN as i64, MAX)),
    row("kernel/panic_on_oops", "0", Int(0, 1)),
    row("kernel/perf_event_paranoid", "4", Int(-1, 4)),
    row("kernel/pid_max", "", Made(|_| PID_MAX.to_string())),
    row("kernel/print-fatal-signals", "0", Int(0, 1)),
    row("kernel/printk", "4\t4\t1\t7", Ints(4)),
    row("kernel/pty/max", "4096", Int(0, MAX)),
    row("kernel/pty/nr", "0", Fixed),
    row("kernel/pty/reserve", "1024", Int(0, MAX)),
    row("kernel/random/boot_id", "", Made(boot_id)),
    row("kernel/random/entropy_avail", "256", Fixed),
    row("kernel/random/poolsize", "256", Fixed),
    row("kernel/random/urandom_min_reseed_secs", "60", Int(0, MAX)),
    row("kernel/random/uuid", "", Made(|_| uuid())),
    row("kernel/random/write_wakeup_threshold", "256", Int(0, MAX)),
    row("kernel/randomize_va_space", "2", Int(0, 2)),
    row("kernel/sched_autogroup_enabled", "0", Int(0, 1)),
    row("kernel/sched_child_runs_first", "0", Int(0, 1)),
    row("kernel/sched_rr_timeslice_ms", "100", Int(0, MAX)),
    row("kernel/sched_rt_period_us", "1000000", Int(1, MAX)),
    row("kernel/sched_rt_runtime_us", "950000", Int(-1, MAX)),
    row(
        "kernel/seccomp/actions_avail",
        "kill_process kill_thread trap errno user_notif trace log allow",
        Fixed,
    ),
    row("kernel/sem", "32000\t1024000000\t500\t32000", Ints(4)),
    row("kernel/shm_next_id", "-1", Int(-1, MAX)),
    row("kernel/shm_rmid_forced", "0", Int(0, 1)),
    row("kernel/shmall", "18446744073692774399", Text(20)),
    row("kernel/shmmax", "18446744073692774399", Text(20)),
    row("kernel/shmmni", "4096", Int(0, 32768)),
    row("kernel/sysrq", "0", Int(0, 511)),
    row("kernel/tainted", "0", Fixed),
    row("kernel/threads-max", "", Made(|_| TASKS_MAX.to_string())),
    row("kernel/timer_migration", "1", Int(0, 1)),
    row("kernel/unprivileged_bpf_disabled", "2", Int(0, 2)),
    row("kernel/version", VERSION, Fixed),
    row("kernel/yama/ptrace_scope", "0", Int(0, 3)),
    row("net/core/default_qdisc", "noqueue", Text(15)),
    row("net/core/netdev_max_backlog", "1000", Int(0, MAX)),
    row("net/core/optmem_max", "131072", Int(0, MAX)),
    row("net/core/rmem_default", "212992", Int(2304, MAX)),
    row("net/core/rmem_max", "212992", Int(2304, MAX)),
    row("net/core/somaxconn", "4096", Int(0, 65535)),
    row("net/core/wmem_default", "212992", Int(4608, MAX)),
    row("net/core/wmem_max", "212992", Int(4608, MAX)),
    row("net/ipv4/conf/all/forwarding", "0", Int(0, 1)),
    row("net/ipv4/conf/all/rp_filter", "0", Int(0, 2)),
    row("net/ipv4/conf/default/forwarding", "0", Int(0, 1)),
    row("net/ipv4/conf/default/rp_filter", "0", Int(0, 2)),
    row("net/ipv4/conf/lo/forwarding", "0", Int(0, 1)),
    row("net/ipv4/conf/lo/rp_filter", "0", Int(0, 2)),
    row("net/ipv4/ip_default_ttl", "64", Int(1, 255)),
    row("net/ipv4/ip_forward", "0", Int(0, 1)),
    row("net/ipv4/ip_local_port_range", "32768\t60999", Ints(2)),
    row("net/ipv4/ip_local_reserved_ports", "", Text(1024)),
    row("net/ipv4/ip_nonlocal_bind", "0", Int(0, 1)),
    row("net/ipv4/ip_unprivileged_port_start", "1024", Int(0, 65535)),
    row("net/ipv4/ping_group_range", "1\t0", Ints(2)),
    row("net/ipv4/tcp_available_congestion_control", "reno cubic", Fixed),
    row("net/ipv4/tcp_congestion_control", "cubic", Text(15)),
    row("net/ipv4/tcp_ecn", "2", Int(0, 2)),
    row("net/ipv4/tcp_fastopen", "1", Int(0, MAX)),
    row("net/ipv4/tcp_fin_timeout", "60", Int(0, MAX)),
    row("net/ipv4/tcp_keepalive_intvl", "75", Int(0, MAX)),
    row("net/ipv4/tcp_keepalive_probes", "9", Int(0, 255)),
    row("net/ipv4/tcp_keepalive_time", "7200", Int(0, MAX)),
    row("net/ipv4/tcp_max_syn_backlog", "256", Int(0, MAX)),
    row("net/ipv4/tcp_max_tw_buckets", "16384", Int(0, MAX)),
    row("net/ipv4/tcp_mem", "22401\t29869\t44802", Ints(3)),
    row("net/ipv4/tcp_moderate_rcvbuf", "1", Int(0, 1)),
    row("net/ipv4/tcp_rmem", "4096\t131072\t6291456", Ints(3)),
    row("net/ipv4/tcp_sack", "1", Int(0, 1)),
    row("net/ipv4/tcp_syn_retries", "6", Int(1, 127)),
    row("net/ipv4/tcp_syncookies", "1", Int(0, 2)),
    row("net/ipv4/tcp_timestamps", "1", Int(0, 2)),
    row("net/ipv4/tcp_tw_reuse", "2", Int(0, 2)),
    row("net/ipv4/tcp_window_scaling", "1", Int(0, 1)),
    row("net/ipv4/tcp_wmem", "4096\t16384\t4194304", Ints(3)),
    row("net/ipv6/bindv6only", "0", Int(0, 1)),
    row("net/ipv6/conf/all/disable_ipv6", "0", Int(0, 1)),
    row("net/ipv6/conf/all/forwarding", "0", Int(0, 1)),
    row("net/ipv6/conf/default/disable_ipv6", "0", Int(0, 1)),
    row("net/ipv6/conf/lo/disable_ipv6", "0", Int(0, 1)),
    row("net/unix/max_dgram_qlen", "512", Int(0, MAX)),
    row("user/max_cgroup_namespaces", "1024", Int(0, MAX)),
    row("user/max_inotify_instances", "128", Int(0, MAX)),
    row("user/max_inotify_watches", "65536", Int(0, MAX)),
    row("user/max_mnt_namespaces", "1000", Int(0, MAX)),
    row("user/max_user_namespaces", "1024", Int(0, MAX)),
    row("vm/admin_reserve_kbytes", "8192", Int(0, MAX)),
    row("vm/compaction_proactiveness", "20", Int(0, 100)),
    row("vm/dirty_background_bytes", "0", Int(0, MAX)),
    row("vm/dirty_background_ratio", "10", Int(0, 100)),
    row("vm/dirty_bytes", "0", Int(0, MAX)),
    row("vm/dirty_expire_centisecs", "3000", Int(0, MAX)),
    row("vm/dirty_ratio", "20", Int(0, 100)),
    row("vm/dirty_writeback_centisecs", "500", Int(0, MAX)),
    row("vm/drop_caches", "0", Int(1, 4)),
    row("vm/legacy_va_layout", "0", Int(0, 1)),
    row("vm/max_map_count", "65530", Int(0, MAX)),
    row("vm/memfd_noexec", "0", Int(0, 2)),
    row("vm/min_free_kbytes", "67584", Int(0, MAX)),
    row("vm/mmap_min_addr", "65536", Int(0, MAX)),
    row("vm/mmap_rnd_bits", "28", Int(28, 32)),
    row("vm/nr_hugepages", "0", Int(0, MAX)),
    row("vm/nr_overcommit_hugepages", "0", Int(0, MAX)),
    row("vm/oom_dump_tasks", "1", Int(0, 1)),
    row("vm/oom_kill_allocating_task", "0", Int(0, 1)),
    row("vm/overcommit_kbytes", "0", Int(0, MAX)),
    row("vm/overcommit_memory", "0", Int(0, 2)),
    row("vm/overcommit_ratio", "50", Int(0, MAX)),
    row("vm/page-cluster", "3", Int(0, 31)),
    row("vm/panic_on_oom", "0", Int(0, 2)),
    row("vm/swappiness", "60", Int(0, 200)),
    row("vm/unprivileged_userfaultfd", "0", Int(0, 1)),
    row("vm/user_reserve_kbytes", "131072", Int(0, MAX)),
    row("vm/vfs_cache_pressure", "100", Int(0, MAX)),
    row("vm/zone_reclaim_mode", "0", Int(0, 7)),
];

/// Why a value was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such sysctl.
    Unknown,
    /// It takes no such value.
    Value(Errno),
}

/// Sets a value from outside of the guest. `key`: as sysctl(8) takes it, with dots or slashes.
pub fn set(kernel: &Arc<Kernel>, key: &str, value: &str) -> Result<(), Refused> {
    // As sysctl(8): the first separator tells which one is meant, the other one is part of names then.
    let path = match key.find(['.', '/']) {
        Some(at) if key.as_bytes().get(at) == Some(&b'.') => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => key.to_string(),
    };
    let row = ROWS.iter().find(|row| row.path == path).ok_or(Refused::Unknown)?;
    let file = SysctlFile {
        system: System::new(kernel),
        row,
    };
    file.store(value.as_bytes()).map_err(Refused::Value)
}

/// Sixteen random bytes as a version 4 UUID.
fn uuid() -> String {
    let mut bytes = [0u8; 16];
    kernel::random::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range: std::ops::Range<usize>| hex[range].concat();
    [part(0..4), part(4..6), part(6..8), part(8..10), part(10..16)].join("-")
}

/// The same UUID for the sandbox's life.
fn boot_id(kernel: &Kernel) -> String {
    const NAME: &str = "kernel/random/boot_id";
    if kernel.sysctls.get(NAME).is_none() {
        kernel.sysctls.set(NAME, uuid());
    }
    kernel.sysctls.get(NAME).unwrap_or_default()
}

/// The node of /proc/sys.
pub fn root(system: &System) -> Arc<dyn Node> {
    Arc::new(SysctlDir {
        system: system.clone(),
        prefix: String::new(),
    })
}

/// A directory of sysctls: all rows under a prefix (empty, or ending in a slash).
struct SysctlDir {
    system: System,
    prefix: String,
}

impl Node for SysctlDir {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }
    fn meta(&self) -> Result<Meta, Errno> {
        Ok(Meta::root(0o555))
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>, Errno> {
        let name = std::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
        let path = format!("{}{name}", self.prefix);
        if let Some(row) = ROWS.iter().find(|row| row.path == path) {
            return Ok(Arc::new(SysctlFile {
                system: self.system.clone(),
                row,
            }));
        }
        let prefix = path + "/";
        if ROWS.iter().any(|row| row.path.starts_with(&prefix)) {
            let system = self.system.clone();
            return Ok(Arc::new(SysctlDir { system, prefix }));
        }
        Err(Errno::ENOENT)
    }
    fn list(&self) -> Result<Vec<Listed>, Errno> {
        let mut names: Vec<Listed> = Vec::new();
        for row in ROWS {
            let Some(rest) = row.path.strip_prefix(&self.prefix) else {
                continue;
            };
            let listed = match rest.split_once('/') {
                Some((dir, _)) => Listed::new(dir, FileKind::Directory),
                None => Listed::new(rest, FileKind::Regular),
            };
            if names.last() != Some(&listed) {
                names.push(listed);
            }
        }
        Ok(names)
    }
}

struct SysctlFile {
    system: System,
    row: &'static Row,
}

impl SysctlFile {
    /// The network namespace that the value belongs to: the caller's.
    fn net(&self) -> Result<Option<Arc<NetNs>>, Errno> {
        if !self.row.path.starts_with("net/") {
            return Ok(None);
        }
        Ok(Some(self.system.kernel()?.current_net()))
    }

    fn checked(&self, data: &[u8]) -> Result<String, Errno> {
        let text = std::str::from_utf8(trimmed(data)).map_err(|_| Errno::EINVAL)?;
        match self.row.rule {
            Fixed | Made(_) => Err(Errno::EPERM),
            Int(min, max) => match parse_i64(data)? {
                value if (min..=max).contains(&value) => Ok(value.to_string()),
                _ => Err(Errno::EINVAL),
            },
            Ints(count) => {
                let numbers: Vec<&str> = text.split_ascii_whitespace().collect();
                let fine = numbers.len() == count && numbers.iter().all(|n| n.parse::<i64>().is_ok());
                if fine {
                    Ok(numbers.join("\t"))
                } else {
                    Err(Errno::EINVAL)
                }
            }
            Text(max) if text.len() <= max => Ok(text.to_string()),
            Uts(_) if text.len() <= UTS_MAX => Ok(text.to_string()),
            Text(_) | Uts(_) => Err(Errno::EINVAL),
        }
    }
}

impl Node for SysctlFile {
    fn kind(&self) -> FileKind {
        FileKind::Regular
    }
    fn meta(&self) -> Result<Meta, Errno> {
        let fixed = matches!(self.row.rule, Fixed | Made(_));
        let mut meta = Meta::root(if fixed { 0o444 } else { 0o644 });
        if let Some(net) = self.net()? {
            let root = |kind| net.user_ns.to_kernel(kind, 0).unwrap_or(0);
            (meta.uid, meta.gid) = (root(IdKind::User), root(IdKind::Group));
        }
        Ok(meta)
    }
    fn text(&self) -> Result<Vec<u8>, Errno> {
        let kernel = self.system.kernel()?;
        let value = match self.row.rule {
            Made(make) => make(&kernel),
            Uts(domain) => {
                let uts = kernel.current_uts();
                let names = uts.lock();
                if domain {
                    names.domainname.clone()
                } else {
                    names.nodename.clone()
                }
            }
            _ => {
                let changed = match self.net()? {
                    Some(net) => net.sysctls.get(self.row.path),
                    None => kernel.sysctls.get(self.row.path),
                };
                changed.unwrap_or_else(|| self.row.value.to_string())
            }
        };
        Ok((value + "\n").into_bytes())
    }
    fn store(&self, data: &[u8]) -> Result<(), Errno> {
        let value = self.checked(data);
        let kernel = self.system.kernel()?;
        let net = self.net()?;
        let (owner, cap) = match (&self.row.rule, &net) {
            (Uts(_), _) => (kernel.current_uts().user_ns.clone(), Caps::SYS_ADMIN),
            (_, Some(net)) => (net.user_ns.clone(), Caps::NET_ADMIN),
            _ => (UserNs::first(), Caps::SYS_ADMIN),
        };
        if current().is_some_and(|me| !me.cred().has_in(&owner, cap)) {
            return Err(Errno::EPERM);
        }
        let value = value?;
        if let Some(net) = net {
            net.sysctls.set(self.row.path, value);
            return Ok(());
        }
        match self.row.rule {
            Uts(true) => kernel.current_uts().lock().domainname = value,
            Uts(false) => kernel.current_uts().lock().nodename = value,
            _ => kernel.sysctls.set(self.row.path, value),
        }
        Ok(())
    }
}
