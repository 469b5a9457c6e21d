//! Namespaces that a task is in (namespaces(7)): names of the system, and System V and POSIX IPC. Mount namespaces are found by
//! a task's root (`vfs::namespace`); process ids, users, the network, control groups and time have one each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use abi::Errno;
use sync::{Mutex, MutexGuard, rank};

use super::{CurrentTask, Task, clone_flags as f};
use crate::Kernel;
use crate::cred::Caps;
use crate::file::{FileDescription, FileOps};
use crate::ipc::IpcTable;
use crate::kernel::UtsNames;
use crate::vfs::Path;

/// Namespaces of one kind beside the first (user.max_uts_namespaces): each costs some kilobytes.
const MOST: usize = 1024;
/// Inode numbers of the first namespaces, as Linux has them, and of those made later.
const UTS_INITIAL: u64 = 0xeffffffe;
const IPC_INITIAL: u64 = 0xefffffff;
const MNT_INITIAL: u64 = 0xf0000001;
const LATER: u64 = 0xf0000100;
const MNT_LATER: u64 = 0xf4000000;

/// NS_GET_USERNS, NS_GET_PARENT, NS_GET_NSTYPE, NS_GET_OWNER_UID (ioctl_ns(2)).
const NS_GET_USERNS: u32 = 0xb701;
const NS_GET_PARENT: u32 = 0xb702;
const NS_GET_NSTYPE: u32 = 0xb703;
const NS_GET_OWNER_UID: u32 = 0xb704;

static NEXT: AtomicU64 = AtomicU64::new(LATER);

/// Counts the namespaces of one kind; goes down when one ends.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn another(&self) -> Result<Counted, Errno> {
        if self.0.fetch_add(1, Ordering::Relaxed) >= MOST {
            self.0.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        Ok(Counted(self.0.clone()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A UTS namespace: uname(2)'s changeable names.
#[derive(Debug)]
pub struct Uts {
    number: u64,
    names: Mutex<UtsNames>,
    counted: Counted,
}

impl Uts {
    /// The first one.
    pub fn new(names: UtsNames) -> Arc<Uts> {
        Arc::new(Uts {
            number: UTS_INITIAL,
            names: Mutex::new(rank::LEAF, names),
            counted: Counted(Arc::new(AtomicUsize::new(1))),
        })
    }

    /// The names.
    pub fn lock(&self) -> MutexGuard<'_, UtsNames> {
        self.names.lock()
    }

    fn copy(&self) -> Result<Arc<Uts>, Errno> {
        Ok(Arc::new(Uts {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            names: Mutex::new(rank::LEAF, self.names.lock().clone()),
            counted: self.counted.another()?,
        }))
    }
}

/// An IPC namespace.
pub struct Ipc {
    number: u64,
    table: IpcTable,
    counted: Counted,
}

impl Ipc {
    /// The first one.
    pub fn new() -> Arc<Ipc> {
        Arc::new(Ipc {
            number: IPC_INITIAL,
            table: IpcTable::default(),
            counted: Counted(Arc::new(AtomicUsize::new(1))),
        })
    }

    fn another(&self) -> Result<Arc<Ipc>, Errno> {
        Ok(Arc::new(Ipc {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            table: self.table.empty(),
            counted: self.counted.another()?,
        }))
    }
}

impl std::ops::Deref for Ipc {
    type Target = IpcTable;
    fn deref(&self) -> &IpcTable {
        &self.table
    }
}

/// The namespaces of a task.
#[derive(Clone)]
pub struct Namespaces {
    /// Names of the system.
    pub uts: Arc<Uts>,
    /// IPC objects.
    pub ipc: Arc<Ipc>,
}

impl Namespaces {
    /// Those of the first task.
    pub fn first(kernel: &Kernel) -> Namespaces {
        Namespaces {
            uts: kernel.uts.clone(),
            ipc: kernel.ipc.clone(),
        }
    }

    /// With new ones of the kinds in `flags` (CLONE_NEW*). `ENOSPC`.
    pub fn changed(&self, flags: u64) -> Result<Namespaces, Errno> {
        let mut new = self.clone();
        if flags & f::NEWUTS != 0 {
            new.uts = self.uts.copy()?;
        }
        if flags & f::NEWIPC != 0 {
            new.ipc = self.ipc.another()?;
        }
        Ok(new)
    }
}

/// What a file of /proc/PID/ns names.
#[derive(Clone)]
pub enum Namespace {
    /// `uts`.
    Uts(Arc<Uts>),
    /// `ipc`.
    Ipc(Arc<Ipc>),
    /// `mnt`: its root, and its number among the mount namespaces.
    Mnt(Path, u64),
    /// A kind of which there is one.
    Only(&'static str),
}

impl Namespace {
    /// Name, CLONE_NEW* flag and inode number.
    pub fn identity(&self) -> (&'static str, u64, u64) {
        match self {
            Namespace::Uts(uts) => ("uts", f::NEWUTS, uts.number),
            Namespace::Ipc(ipc) => ("ipc", f::NEWIPC, ipc.number),
            // The first one is number 1.
            Namespace::Mnt(_, 0 | 1) => ("mnt", f::NEWNS, MNT_INITIAL),
            Namespace::Mnt(_, number) => ("mnt", f::NEWNS, MNT_LATER + number),
            Namespace::Only(kind) => {
                let (flag, number) = match *kind {
                    "time" => (0x80, 0xeffffffa),
                    "cgroup" => (f::NEWCGROUP, 0xeffffffb),
                    "pid" => (f::NEWPID, 0xeffffffc),
                    "user" => (f::NEWUSER, 0xeffffffd),
                    _ => (f::NEWNET, 0xf0000000),
                };
                (kind, flag, number)
            }
        }
    }
}

/// An open namespace.
pub struct NsFile(pub Namespace);

impl FileOps for NsFile {
    fn pollable(&self) -> bool {
        false
    }

    fn ioctl(&self, _: &FileDescription, task: &CurrentTask, command: u32, arg: u64) -> Result<i64, Errno> {
        let (kind, flag, _) = self.0.identity();
        match command {
            NS_GET_NSTYPE => Ok(i64::try_from(flag).unwrap_or(0)),
            NS_GET_USERNS if kind == "user" => Err(Errno::EPERM),
            NS_GET_USERNS => task.install_namespace(&Namespace::Only("user")).map(i64::from),
            // The first ones have no parent that may be seen; other kinds have none at all.
            NS_GET_PARENT if matches!(kind, "user" | "pid") => Err(Errno::EPERM),
            NS_GET_PARENT => Err(Errno::EINVAL),
            NS_GET_OWNER_UID if kind == "user" => task.write_struct(abi::UserAddr(arg), &0_u32).map(|()| 0),
            NS_GET_OWNER_UID => Err(Errno::EINVAL),
            _ => Err(Errno::ENOTTY),
        }
    }
}

impl Kernel {
    /// The caller's IPC namespace; the first one outside of tasks.
    pub fn current_ipc(&self) -> Arc<Ipc> {
        let own = super::current().map(|task| task.namespaces.lock().ipc.clone());
        own.unwrap_or_else(|| self.ipc.clone())
    }

    /// The caller's UTS namespace, likewise.
    pub fn current_uts(&self) -> Arc<Uts> {
        let own = super::current().map(|task| task.namespaces.lock().uts.clone());
        own.unwrap_or_else(|| self.uts.clone())
    }
}

impl Task {
    /// Its namespace of a kind, by the name of its file in /proc/PID/ns.
    pub fn namespace(&self, kind: &'static str) -> Namespace {
        let own = self.namespaces.lock().clone();
        match kind {
            "uts" => Namespace::Uts(own.uts),
            "ipc" => Namespace::Ipc(own.ipc),
            "mnt" => {
                let vfs = &self.kernel.vfs;
                let root = self.fs().root();
                let number = vfs.namespace_of(&root.mount);
                Namespace::Mnt(vfs.root_of(&root), number)
            }
            only => Namespace::Only(only),
        }
    }

    /// All its namespaces.
    pub fn all_namespaces(&self) -> [Namespace; 8] {
        ["uts", "ipc", "mnt", "pid", "user", "net", "cgroup", "time"].map(|kind| self.namespace(kind))
    }
}

impl CurrentTask {
    /// The IPC namespace that it is in.
    pub fn ipc(&self) -> Arc<Ipc> {
        self.namespaces.lock().ipc.clone()
    }

    fn install_namespace(&self, namespace: &Namespace) -> Result<i32, Errno> {
        let (kind, _, number) = namespace.identity();
        let name = format!("{kind}:[{number}]");
        let kind = crate::vfs::FileKind::Regular;
        let path = crate::vfs::anon_path(&self.kernel, &name, number, kind, 0o444);
        let file = FileDescription::new(path, Box::new(NsFile(namespace.clone())), abi::fcntl::O_RDONLY);
        self.files().install(file, true, 0, self.group.fd_limit())
    }

    /// setns(2) into a namespace; `wanted` is 0 or its CLONE_NEW* flag.
    pub fn enter_namespace(&self, namespace: &Namespace, wanted: u64) -> Result<(), Errno> {
        let (_, flag, _) = namespace.identity();
        if wanted != 0 && wanted != flag {
            return Err(Errno::EINVAL);
        }
        // Of these there is one, in which it is.
        if let Namespace::Only(kind) = namespace {
            return Err(if *kind == "user" || !self.cred().has(Caps::SYS_ADMIN) {
                if *kind == "user" {
                    Errno::EINVAL
                } else {
                    Errno::EPERM
                }
            } else {
                return Ok(());
            });
        }
        if !self.cred().has(Caps::SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        match namespace {
            Namespace::Uts(uts) => {
                let old = {
                    let mut own = self.namespaces.lock();
                    std::mem::replace(&mut own.uts, uts.clone())
                };
                drop(old);
            }
            Namespace::Ipc(ipc) => self.change_ipc(ipc.clone()),
            Namespace::Mnt(root, _) => {
                let fs = self.fs();
                if Arc::strong_count(&fs) > 2 {
                    // Shared with another task (CLONE_FS).
                    return Err(Errno::EINVAL);
                }
                let old = {
                    let mut state = fs.state.lock();
                    let old = (state.root.clone(), state.cwd.clone());
                    (state.root, state.cwd) = (root.clone(), root.clone());
                    old
                };
                drop(old);
            }
            Namespace::Only(_) => {}
        }
        Ok(())
    }

    /// Leaves the IPC namespace for another; what was promised to be undone there is done.
    pub fn change_ipc(&self, new: Arc<Ipc>) {
        let old = {
            let mut own = self.namespaces.lock();
            std::mem::replace(&mut own.ipc, new)
        };
        if self.group.signals.lock().threads.len() == 1 {
            old.exit_process(self.tgid());
        }
    }
}
