//! Namespaces that a task is in (namespaces(7)): names of the system, System V and POSIX IPC, control groups, process ids of
//! its children, networks. Mount namespaces are found by a task's root (`vfs::namespace`), the user namespace by its credentials, its
//! own pid namespace by its process (`pid_ns`); time has one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use abi::Errno;
use sync::{Mutex, MutexGuard, rank};

use super::{CurrentTask, PidNs, Task, clone_flags as f};
use crate::Kernel;
use crate::cred::{Caps, Credentials, UserNs};
use crate::ipc::IpcTable;
use crate::kernel::UtsNames;
use crate::socket::NetNs;
use crate::vfs::Path;

/// Namespaces of one kind beside the first (user.max_uts_namespaces): each costs some kilobytes.
const MOST: usize = 1024;
/// Inode numbers of the first namespaces, as Linux has them, and of those made later.
const CGROUP_INITIAL: u64 = 0xeffffffb;
const UTS_INITIAL: u64 = 0xeffffffe;
const IPC_INITIAL: u64 = 0xefffffff;
const TIME_INITIAL: u64 = 0xeffffffa;
const MNT_INITIAL: u64 = 0xf0000001;
const LATER: u64 = 0xf0000100;
const MNT_LATER: u64 = 0xf4000000;

static NEXT: AtomicU64 = AtomicU64::new(LATER);

/// The inode number of a new namespace.
pub(crate) fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Counts the namespaces of one kind; goes down when one ends.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// For the first one.
    pub(crate) fn first() -> Counted {
        Counted(Arc::new(AtomicUsize::new(1)))
    }

    /// For one more. `ENOSPC`.
    fn another(&self) -> Result<Counted, Errno> {
        self.another_of(MOST)
    }

    /// For one more of `most`. `ENOSPC`.
    pub(crate) fn another_of(&self, most: usize) -> Result<Counted, Errno> {
        if self.0.fetch_add(1, Ordering::Relaxed) >= most {
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
    /// The user namespace that it belongs to.
    pub user_ns: Arc<UserNs>,
    counted: Counted,
}

impl Uts {
    /// The first one.
    pub fn new(names: UtsNames) -> Arc<Uts> {
        Arc::new(Uts {
            number: UTS_INITIAL,
            names: Mutex::new(rank::LEAF, names),
            user_ns: UserNs::first(),
            counted: Counted::first(),
        })
    }

    /// The names.
    pub fn lock(&self) -> MutexGuard<'_, UtsNames> {
        self.names.lock()
    }

    fn copy(&self, user_ns: &Arc<UserNs>) -> Result<Arc<Uts>, Errno> {
        Ok(Arc::new(Uts {
            number: next_number(),
            names: Mutex::new(rank::LEAF, self.names.lock().clone()),
            user_ns: user_ns.clone(),
            counted: self.counted.another()?,
        }))
    }
}

/// An IPC namespace.
pub struct Ipc {
    number: u64,
    table: IpcTable,
    /// The user namespace that it belongs to.
    pub user_ns: Arc<UserNs>,
    counted: Counted,
}

impl Ipc {
    /// The first one.
    pub fn new() -> Arc<Ipc> {
        Arc::new(Ipc {
            number: IPC_INITIAL,
            table: IpcTable::default(),
            user_ns: UserNs::first(),
            counted: Counted::first(),
        })
    }

    fn another(&self, user_ns: &Arc<UserNs>) -> Result<Arc<Ipc>, Errno> {
        Ok(Arc::new(Ipc {
            number: next_number(),
            table: self.table.empty(),
            user_ns: user_ns.clone(),
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

/// A control group namespace. There is one control group, which is the root of each of them.
pub struct CgroupNs {
    number: u64,
    user_ns: Arc<UserNs>,
    counted: Counted,
}

impl CgroupNs {
    /// The first one.
    pub fn new() -> Arc<CgroupNs> {
        Arc::new(CgroupNs {
            number: CGROUP_INITIAL,
            user_ns: UserNs::first(),
            counted: Counted::first(),
        })
    }

    fn another(&self, user_ns: &Arc<UserNs>) -> Result<Arc<CgroupNs>, Errno> {
        Ok(Arc::new(CgroupNs {
            number: next_number(),
            user_ns: user_ns.clone(),
            counted: self.counted.another()?,
        }))
    }
}

/// The namespaces of a task.
#[derive(Clone)]
pub struct Namespaces {
    /// Names of the system.
    pub uts: Arc<Uts>,
    /// IPC objects.
    pub ipc: Arc<Ipc>,
    /// Control groups.
    pub cgroup: Arc<CgroupNs>,
    /// Where its children get their process ids.
    pub pid_for_children: Arc<PidNs>,
    /// Where its sockets are made.
    pub net: Arc<NetNs>,
}

impl Namespaces {
    /// Those of the first task.
    pub fn first(kernel: &Kernel) -> Namespaces {
        Namespaces {
            uts: kernel.uts.clone(),
            ipc: kernel.ipc.clone(),
            cgroup: kernel.cgroup_ns.clone(),
            pid_for_children: PidNs::first(),
            net: kernel.net.clone(),
        }
    }

    /// With new ones of the kinds in `flags` (CLONE_NEW*), which belong to `user_ns`. `ENOSPC`.
    pub fn changed(&self, flags: u64, user_ns: &Arc<UserNs>) -> Result<Namespaces, Errno> {
        let mut new = self.clone();
        if flags & f::NEWUTS != 0 {
            new.uts = self.uts.copy(user_ns)?;
        }
        if flags & f::NEWIPC != 0 {
            new.ipc = self.ipc.another(user_ns)?;
        }
        if flags & f::NEWCGROUP != 0 {
            new.cgroup = self.cgroup.another(user_ns)?;
        }
        if flags & f::NEWNET != 0 {
            new.net = self.net.another(user_ns)?;
        }
        if flags & f::NEWPID != 0 {
            new.pid_for_children = PidNs::below(&self.pid_for_children, user_ns.clone(), next_number())?;
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
    /// `cgroup`.
    Cgroup(Arc<CgroupNs>),
    /// `pid`.
    Pid(Arc<PidNs>),
    /// `net`.
    Net(Arc<NetNs>),
    /// `user`.
    User(Arc<UserNs>),
    /// `mnt`: its root, its number among the mount namespaces, and to whom it belongs.
    Mnt(Path, u64, Arc<UserNs>),
    /// `time`, of which there is one.
    Time,
}

impl Namespace {
    /// Name, CLONE_NEW* flag and inode number.
    pub fn identity(&self) -> (&'static str, u64, u64) {
        match self {
            Namespace::Uts(uts) => ("uts", f::NEWUTS, uts.number),
            Namespace::Ipc(ipc) => ("ipc", f::NEWIPC, ipc.number),
            Namespace::Cgroup(cgroup) => ("cgroup", f::NEWCGROUP, cgroup.number),
            Namespace::Pid(pid) => ("pid", f::NEWPID, pid.number),
            Namespace::User(user) => ("user", f::NEWUSER, user.number),
            // The first one is number 1.
            Namespace::Mnt(_, 0 | 1, _) => ("mnt", f::NEWNS, MNT_INITIAL),
            Namespace::Mnt(_, number, _) => ("mnt", f::NEWNS, MNT_LATER + number),
            Namespace::Net(net) => ("net", f::NEWNET, net.number),
            Namespace::Time => ("time", 0x80, TIME_INITIAL),
        }
    }

    /// The user namespace that it belongs to; that of the first user namespace is itself.
    pub fn owner(&self) -> Arc<UserNs> {
        match self {
            Namespace::Uts(uts) => uts.user_ns.clone(),
            Namespace::Ipc(ipc) => ipc.user_ns.clone(),
            Namespace::Cgroup(cgroup) => cgroup.user_ns.clone(),
            Namespace::Pid(pid) => pid.user_ns.clone(),
            Namespace::User(user) => user.parent.clone().unwrap_or_else(UserNs::first),
            Namespace::Mnt(_, _, owner) => owner.clone(),
            Namespace::Net(net) => net.user_ns.clone(),
            Namespace::Time => UserNs::first(),
        }
    }
}

impl Kernel {
    /// The caller's IPC namespace; the first one outside of tasks.
    pub fn current_ipc(&self) -> Arc<Ipc> {
        let own = super::current().map(|task| task.namespaces.lock().ipc.clone());
        own.unwrap_or_else(|| self.ipc.clone())
    }

    /// The caller's network namespace, likewise.
    pub fn current_net(&self) -> Arc<NetNs> {
        super::current().map_or_else(|| self.net.clone(), |task| task.net())
    }

    /// The caller's UTS namespace, likewise.
    pub fn current_uts(&self) -> Arc<Uts> {
        let own = super::current().map(|task| task.namespaces.lock().uts.clone());
        own.unwrap_or_else(|| self.uts.clone())
    }
}

impl Task {
    /// The network namespace that it is in.
    pub fn net(&self) -> Arc<NetNs> {
        self.namespaces.lock().net.clone()
    }

    /// Its namespace of a kind, by the name of its file in /proc/PID/ns.
    pub fn namespace(&self, kind: &'static str) -> Namespace {
        let own = self.namespaces.lock().clone();
        match kind {
            "uts" => Namespace::Uts(own.uts),
            "ipc" => Namespace::Ipc(own.ipc),
            "cgroup" => Namespace::Cgroup(own.cgroup),
            "pid" => Namespace::Pid(self.group.pid_ns.clone()),
            "pid_for_children" => Namespace::Pid(own.pid_for_children),
            "user" => Namespace::User(self.cred().user_ns.clone()),
            "mnt" => {
                let vfs = &self.kernel.vfs;
                let root = self.fs().root();
                let number = vfs.namespace_of(&root.mount);
                Namespace::Mnt(vfs.root_of(&root), number, vfs.owner_of(number))
            }
            "net" => Namespace::Net(own.net),
            _ => Namespace::Time,
        }
    }

    /// All its namespaces; the user namespace first, which decides about entering the others.
    pub fn all_namespaces(&self) -> [Namespace; 8] {
        ["user", "uts", "ipc", "mnt", "pid", "net", "cgroup", "time"].map(|kind| self.namespace(kind))
    }
}

impl CurrentTask {
    /// The IPC namespace that it is in.
    pub fn ipc(&self) -> Arc<Ipc> {
        self.namespaces.lock().ipc.clone()
    }

    /// Whether setns(2) may enter the namespace with these credentials: all that can fail.
    fn may_enter(&self, namespace: &Namespace, cred: &Credentials) -> Result<(), Errno> {
        let shared_fs = || Arc::strong_count(&self.fs()) > 2;
        let owner = namespace.owner();
        match namespace {
            Namespace::User(user) => {
                let alone = self.group.signals.lock().threads.len() == 1;
                if *user == cred.user_ns || !alone || shared_fs() {
                    return Err(Errno::EINVAL);
                }
                return if cred.has_in(user, Caps::SYS_ADMIN) {
                    Ok(())
                } else {
                    Err(Errno::EPERM)
                };
            }
            Namespace::Mnt(..) if !cred.has_own(Caps::SYS_CHROOT) => return Err(Errno::EPERM),
            _ => {}
        }
        if !cred.has_in(&owner, Caps::SYS_ADMIN) || !cred.has_own(Caps::SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        match namespace {
            Namespace::Pid(pid) if !pid.is_in(&self.group.pid_ns) => Err(Errno::EINVAL),
            // Shared with another task (CLONE_FS).
            Namespace::Mnt(..) if shared_fs() => Err(Errno::EINVAL),
            _ => Ok(()),
        }
    }

    /// setns(2) into namespaces, all or none; a user namespace comes first.
    pub fn enter_namespaces(&self, wanted: &[Namespace]) -> Result<(), Errno> {
        let mut cred = self.cred();
        for namespace in wanted {
            self.may_enter(namespace, &cred)?;
            if let Namespace::User(user) = namespace {
                cred = Arc::new(cred.in_user_ns(user.clone()));
            }
        }
        for namespace in wanted {
            self.enter_namespace(namespace);
        }
        Ok(())
    }

    fn enter_namespace(&self, namespace: &Namespace) {
        match namespace.clone() {
            Namespace::User(user) => {
                let new = self.cred().in_user_ns(user);
                self.set_credentials(new);
            }
            Namespace::Ipc(ipc) => self.change_ipc(ipc),
            Namespace::Mnt(root, ..) => {
                let fs = self.fs();
                let old = {
                    let mut state = fs.state.lock();
                    let old = (state.root.clone(), state.cwd.clone());
                    (state.root, state.cwd) = (root.clone(), root);
                    old
                };
                drop(old);
            }
            Namespace::Time => {}
            other => {
                let mut new = self.namespaces.lock().clone();
                match other {
                    Namespace::Uts(uts) => new.uts = uts,
                    Namespace::Cgroup(cgroup) => new.cgroup = cgroup,
                    Namespace::Pid(pid) => new.pid_for_children = pid,
                    Namespace::Net(net) => new.net = net,
                    _ => {}
                }
                let old = std::mem::replace(&mut *self.namespaces.lock(), new);
                drop(old);
            }
        }
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
