//! The kernel object: what all tasks of a sandbox share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use platform::Platform;
use sync::{Mutex, RwLock, rank};

use crate::task::PidTable;
use crate::vfs::Vfs;

/// How a kernel is set up.
#[derive(Clone, Debug)]
pub struct KernelConfig {
    /// uname(2)'s nodename.
    pub hostname: String,
    /// uname(2)'s domainname.
    pub domainname: String,
    /// Processors that guests see.
    pub cpus: u32,
    /// Their model.
    pub cpu: crate::CpuModel,
    /// Bytes of memory that guests see.
    pub total_memory: u64,
    /// What /proc/PID/uid_map and gid_map show of the first user namespace, where the host maps its ids; `None`: each is itself.
    pub id_maps: Option<(String, String)>,
    /// Write every system call to `log` (see [`crate::syscall::strace`]).
    pub strace: bool,
}

impl Default for KernelConfig {
    fn default() -> Self {
        KernelConfig {
            hostname: "tegmen".into(),
            domainname: "(none)".into(),
            cpus: 1,
            cpu: crate::CpuModel::default(),
            total_memory: 1 << 30,
            id_maps: None,
            strace: false,
        }
    }
}

/// uname(2)'s changeable names.
#[derive(Clone, Debug)]
pub struct UtsNames {
    /// Host name.
    pub nodename: String,
    /// NIS domain name.
    pub domainname: String,
}

/// One sandbox's kernel. Shared by all its tasks as `Arc<Kernel>`.
pub struct Kernel {
    /// The execution engine.
    pub platform: Arc<dyn Platform>,
    /// Set-up that does not change.
    pub config: KernelConfig,
    /// uname(2)'s names, of the first UTS namespace.
    pub uts: Arc<crate::task::Uts>,
    /// Tasks, thread groups, process groups, sessions.
    pub pids: RwLock<PidTable>,
    /// Whether the first process has ended.
    pub lifecycle: crate::task::Lifecycle,
    /// Woken each time a task has ended.
    pub task_ended: sync::WaitQueue,
    /// File system types, the first mount, anonymous inodes.
    pub vfs: Vfs,
    /// Futex queues.
    pub futexes: crate::futex::FutexTable,
    /// Clocks and kernel timers.
    pub time: crate::time::TimeKeeper,
    /// Frames between interfaces of the sandbox.
    pub softnet: Arc<crate::socket::network::Softnet>,
    /// Held over changes of interfaces.
    pub rtnl: Mutex<()>,
    /// The first network namespace.
    pub net: Arc<crate::socket::NetNs>,
    /// System V objects and message queues, of the first IPC namespace.
    pub ipc: Arc<crate::task::Ipc>,
    /// The first control group namespace.
    pub cgroup_ns: Arc<crate::task::CgroupNs>,
    /// Changed values of /proc/sys.
    pub sysctls: crate::sysctl::Sysctls,
    /// Where strace lines and warnings go.
    pub log: Box<dyn Log>,
    /// Files in memory get their bytes here.
    pub memory: Arc<dyn crate::file::MemoryProvider>,
    /// What the container may use.
    pub limits: RwLock<crate::limits::Limits>,
    /// Processors that the control group allows, as guests number them; see [`Kernel::allowed_processors`].
    pub(crate) cpuset: AtomicU64,
    /// How often a task was refused because of the limit on tasks.
    pub tasks_refused: AtomicU64,
    /// How often somebody logged in (/proc/PID/sessionid).
    pub logins: AtomicU32,
    /// The next inode number of anonymous objects.
    pub next_ino: AtomicU64,
}

/// A place for log lines.
pub trait Log: Send + Sync {
    /// Writes one line (without its newline).
    fn line(&self, line: &str);
}

/// A log that forgets everything.
pub struct NoLog;

impl Log for NoLog {
    fn line(&self, _: &str) {}
}

impl Kernel {
    /// Processors that guests see, as a mask. More than 64 are not shown.
    pub fn processors(&self) -> u64 {
        match self.config.cpus {
            cpus @ 1..=63 => (1 << cpus) - 1,
            0 => 1,
            _ => u64::MAX,
        }
    }

    /// Whether they are those of the engine, numbers and all: then affinity acts, and numbers that guest code reads are true.
    pub fn processors_are_the_engines(&self) -> bool {
        self.platform.processors() == Some(self.processors())
    }

    /// A kernel without tasks and with an empty mount tree.
    pub fn new(
        platform: Arc<dyn Platform>,
        memory: Arc<dyn crate::file::MemoryProvider>,
        log: Box<dyn Log>,
        config: KernelConfig,
    ) -> Arc<Kernel> {
        let uts = UtsNames {
            nodename: config.hostname.clone(),
            domainname: config.domainname.clone(),
        };
        Arc::new_cyclic(|kernel| Kernel {
            platform,
            uts: crate::task::Uts::new(uts),
            pids: RwLock::new(rank::PIDS, PidTable::default()),
            lifecycle: crate::task::Lifecycle::default(),
            task_ended: sync::WaitQueue::new(),
            vfs: Vfs::default(),
            futexes: crate::futex::FutexTable::default(),
            time: crate::time::TimeKeeper::default(),
            softnet: crate::socket::network::Softnet::new(kernel.clone()),
            rtnl: Mutex::new(rank::RTNL, ()),
            net: crate::socket::NetNs::first(kernel.clone()),
            ipc: crate::task::Ipc::new(),
            cgroup_ns: crate::task::CgroupNs::new(),
            sysctls: crate::sysctl::Sysctls::default(),
            limits: RwLock::new(rank::LEAF, crate::limits::Limits::default()),
            cpuset: AtomicU64::new(u64::MAX),
            tasks_refused: AtomicU64::new(0),
            logins: AtomicU32::new(0),
            log,
            memory,
            config,
            next_ino: AtomicU64::new(1),
        })
    }

    /// A fresh inode number for an anonymous object.
    pub fn next_ino(&self) -> u64 {
        self.next_ino.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}
