//! What a container is made from: plain data, as the control protocol carries it.
//!
//! A sandbox is started with one container; the protocol names containers by their ids, so that there can be more.

use kernel::Kernel;
use serde::{Deserialize, Serialize};

use crate::seccomp::RawInstruction;

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name in the control protocol; empty for `tegmen do`.
    pub id: String,
    /// Its first process.
    pub process: Process,
    /// How its root directory is served.
    pub root: Root,
    /// What is mounted in it, in this order.
    pub mounts: Vec<Mount>,
    /// What else is arranged in it.
    pub setup: Setup,
    /// What it may use, as it sees it. The tasks are counted by the sandbox's kernel, the rest by the host.
    pub limits: Limits,
}

/// Limits, in the terms of control groups version 2; `None`: without limit or as usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of swap.
    pub swap: Option<u64>,
    /// Bytes kept for it when memory is short.
    pub reservation: Option<u64>,
    /// Microseconds of processor time in a period.
    pub cpu_quota: Option<u64>,
    /// Microseconds of that period.
    pub cpu_period: Option<u64>,
    /// Relative share of the processors, 1 to 10,000.
    pub cpu_weight: Option<u64>,
    /// Processors, as a list.
    pub cpus: Option<String>,
    /// The same as a mask.
    pub processors: Option<u64>,
    /// Memory nodes, as a list.
    pub mems: Option<String>,
    /// Tasks.
    pub pids: Option<u64>,
}

impl Limits {
    /// Has them hold in a kernel.
    pub(crate) fn hold_for(self, kernel: &Kernel) {
        let processors = self.processors.unwrap_or(u64::MAX);
        kernel.limit(self.in_kernel(), processors);
    }

    fn in_kernel(self) -> kernel::limits::Limits {
        let usual = kernel::limits::Limits::default();
        kernel::limits::Limits {
            memory: self.memory,
            swap: self.swap,
            reservation: self.reservation.unwrap_or(usual.reservation),
            cpu_quota: self.cpu_quota,
            cpu_period: self.cpu_period.unwrap_or(usual.cpu_period),
            cpu_weight: self.cpu_weight.unwrap_or(usual.cpu_weight),
            cpus: self.cpus.unwrap_or_default(),
            mems: self.mems.unwrap_or_default(),
            pids: self.pids,
        }
    }
}

/// What is arranged in a container after its mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Make the usual nodes and links in /dev, and `devices`.
    pub populate_dev: bool,
    /// Further devices. Those without a driver (see [`Device::has_driver`]) are there, and opening them answers `ENXIO`.
    pub devices: Vec<Device>,
    /// Make /dev/console: there is a terminal.
    pub console: bool,
    /// Values of /proc/sys: key, as sysctl(8) takes it, and value.
    pub sysctls: Vec<(String, String)>,
    /// Files that the sandbox finds in its layer in memory in place of the image's: absolute path, content.
    pub files: Vec<(Vec<u8>, Vec<u8>)>,
    /// Paths that become read-only; those that do not exist are passed over.
    pub read_only: Vec<Vec<u8>>,
    /// Paths that are hidden; those that do not exist are passed over.
    pub masked: Vec<Vec<u8>>,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute path inside.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: DeviceKind,
    /// Major and minor number.
    pub number: (u32, u32),
    /// Permission bits.
    pub perm: u32,
    /// User and group id.
    pub owner: (u32, u32),
}

/// Kinds of nodes that a configuration lists as devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Pipe,
}

impl Device {
    /// Whether the kernel of a sandbox can open it: pipes, null, zero, full, random, urandom, the terminals.
    pub fn has_driver(&self) -> bool {
        match self.kind {
            DeviceKind::Pipe => true,
            DeviceKind::Block => false,
            DeviceKind::Character => {
                matches!(self.number, (1, 3 | 5 | 7 | 8 | 9) | (5, 0..=2) | (136, _))
            }
        }
    }
}

/// How a container's root is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// The host's tree, never changed, under a private layer in memory.
    Layered,
    /// The host's tree itself: what the container writes is in the host's directory. Others may change it, too.
    Direct {
        /// Whether the container may not write.
        read_only: bool,
    },
}

/// Something mounted inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside; made where it is missing.
    pub at: Vec<u8>,
    /// What is mounted.
    pub source: Source,
    /// Its name in /proc/mounts.
    pub name: Vec<u8>,
    /// MS_* numbers of the mount's own flags.
    pub flags: u64,
    /// Options of the file system, as mount(2) takes them.
    pub options: Vec<u8>,
    /// A directory in memory starts with what it covers (tmpcopyup).
    pub copy_up: bool,
}

/// Where a mounted file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A tree of the host: the index in [`crate::Handles::volumes`].
    Tree {
        /// Which.
        index: usize,
        /// The handle itself cannot be written through.
        read_only: bool,
    },
    /// A file system type of the sandbox's kernel.
    Kernel(String),
    /// A device node of the sandbox's kernel, in place of the host's.
    Device(Device),
}

/// A process to be started in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments; not empty.
    pub argv: Vec<Vec<u8>>,
    /// The environment, as `NAME=VALUE`.
    pub env: Vec<Vec<u8>>,
    /// First directory; `None` means the root.
    pub cwd: Option<Vec<u8>>,
    /// Who it is.
    pub user: User,
    /// Resource limits, soft and hard, by RLIMIT_ number.
    pub rlimits: [(u64, u64); 16],
    /// What it may do, and how it is treated.
    pub privileges: Privileges,
}

/// What a process may do, and how it is treated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privileges {
    /// Capabilities; `None`: all for root, none for others.
    pub capabilities: Option<Capabilities>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// A system call filter, as [`crate::seccomp::compile`] makes it.
    pub seccomp: Option<Vec<RawInstruction>>,
    /// What the filter does not allow is logged.
    pub seccomp_log: bool,
    /// /proc/PID/oom_score_adj; the host's, too, of the sandbox. `None`: the caller's.
    pub oom_score_adj: Option<i32>,
    /// personality(2).
    pub personality: u32,
    /// Nice value, scheduling policy, real-time priority.
    pub scheduler: (i32, u32, u32),
    /// ioprio_set(2).
    pub ioprio: u32,
}

/// Capability sets; bit n is capability n of capabilities(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The limit of what programs can gain.
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// Kept by programs that have them, too.
    pub inheritable: u64,
    /// Can be put in force.
    pub permitted: u64,
    /// Kept by all programs.
    pub ambient: u64,
}

/// Who a process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode mask.
    pub umask: u32,
}

/// MS_* numbers for [`Mount::flags`].
pub mod flags {
    /// MS_RDONLY.
    pub const RDONLY: u64 = 1;
    /// MS_NOSUID.
    pub const NOSUID: u64 = 2;
    /// MS_NODEV.
    pub const NODEV: u64 = 4;
    /// MS_NOEXEC.
    pub const NOEXEC: u64 = 8;
    /// MS_NOATIME.
    pub const NOATIME: u64 = 1024;
    /// MS_NODIRATIME.
    pub const NODIRATIME: u64 = 2048;
    /// MS_RELATIME.
    pub const RELATIME: u64 = 1 << 21;
}

/// The mounts of a container that asks for nothing in particular, as container engines make them.
pub fn usual_mounts() -> Vec<Mount> {
    use flags::{NODEV, NOEXEC, NOSUID, RDONLY};
    const SAFE: u64 = NOSUID | NODEV | NOEXEC;
    [
        ("proc", "/proc", "", SAFE),
        ("sysfs", "/sys", "", SAFE | RDONLY),
        ("cgroup2", "/sys/fs/cgroup", "", SAFE | RDONLY),
        ("devtmpfs", "/dev", "mode=0755", NOSUID),
        (
            "devpts",
            "/dev/pts",
            "mode=0620,ptmxmode=0666,gid=5",
            NOSUID | NOEXEC,
        ),
        ("mqueue", "/dev/mqueue", "", SAFE),
        ("tmpfs", "/dev/shm", "mode=1777", NOSUID | NODEV),
    ]
    .into_iter()
    .map(|(kind, at, options, flags)| Mount {
        at: at.into(),
        source: Source::Kernel(kind.into()),
        name: kind.into(),
        flags,
        options: options.into(),
        copy_up: false,
    })
    .collect()
}
