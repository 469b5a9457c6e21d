//! Pid namespaces (pid_namespaces(7)): what numbers processes have for whom.
//!
//! Everywhere in the kernel an id is one of the first namespace, in which every task has one. It is translated where a
//! guest gives or reads one, by the namespace of that guest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use abi::Errno;
use sync::{Mutex, rank};

use super::{CurrentTask, PID_MAX, PidTable, Task, ThreadGroup};
use crate::cred::UserNs;

/// Inode number of the first one.
const INITIAL: u64 = 0xeffffffc;
/// Namespaces in one another (Linux's MAX_PID_NS_LEVEL).
const LEVELS_MAX: u32 = 32;
/// Namespaces beside the first (user.max_pid_namespaces).
const NAMESPACES_MAX: usize = 1024;
/// Ids below are not given out again after the first round, as in Linux.
const RESERVED: u32 = 300;

static COUNT: AtomicUsize = AtomicUsize::new(0);
static FIRST: LazyLock<Arc<PidNs>> = LazyLock::new(|| {
    Arc::new(PidNs {
        number: INITIAL,
        level: 0,
        parent: None,
        user_ns: UserNs::first(),
        ids: Mutex::new(rank::PID_NS, Ids::default()),
    })
});

/// A pid namespace.
pub struct PidNs {
    /// Inode number of /proc/PID/ns/pid.
    pub number: u64,
    level: u32,
    /// The namespace around it.
    pub parent: Option<Arc<PidNs>>,
    /// The user namespace that it belongs to.
    pub user_ns: Arc<UserNs>,
    ids: Mutex<Ids>,
}

/// Which id of the first namespace has which number here. Entries of ids that nobody has any more stay until either
/// number is given out again: a process group may outlive its leader.
#[derive(Default)]
struct Ids {
    kernel_of: BTreeMap<u32, u32>,
    own_of: BTreeMap<u32, u32>,
    last: u32,
    /// Its first process, by the kernel's id; 0 before there was one.
    init: u32,
    /// Its first process has ended: no others are made.
    ended: bool,
}

impl PartialEq for PidNs {
    fn eq(&self, other: &PidNs) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Drop for PidNs {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PidNs {
    /// The first one, in which every id is itself.
    pub fn first() -> Arc<PidNs> {
        FIRST.clone()
    }

    /// Whether it is the first one.
    pub fn is_first(&self) -> bool {
        self.parent.is_none()
    }

    /// A new one in `parent`. `ENOSPC`.
    pub(super) fn below(parent: &Arc<PidNs>, user_ns: Arc<UserNs>, number: u64) -> Result<Arc<PidNs>, Errno> {
        if parent.level + 1 >= LEVELS_MAX {
            return Err(Errno::ENOSPC);
        }
        if COUNT.fetch_add(1, Ordering::Relaxed) >= NAMESPACES_MAX {
            COUNT.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        Ok(Arc::new(PidNs {
            number,
            level: parent.level + 1,
            parent: Some(parent.clone()),
            user_ns,
            ids: Mutex::new(rank::PID_NS, Ids::default()),
        }))
    }

    /// The number that an id of the kernel has here; 0 when it cannot be seen.
    pub fn own(&self, id: u32) -> u32 {
        if self.is_first() {
            return id;
        }
        self.ids.lock().own_of.get(&id).copied().unwrap_or(0)
    }

    /// The kernel's id for a number of this namespace.
    pub fn kernel_id(&self, own: u32) -> Option<u32> {
        if self.is_first() {
            return Some(own);
        }
        self.ids.lock().kernel_of.get(&own).copied()
    }

    /// Whether it is `other` or lies in it: whether `other` sees its processes.
    pub fn is_in(&self, other: &PidNs) -> bool {
        let mut at = Some(self);
        while let Some(ns) = at {
            if ns == other {
                return true;
            }
            at = ns.parent.as_deref();
        }
        false
    }

    /// Its first process by the kernel's id.
    pub fn init(&self) -> u32 {
        if self.is_first() { 1 } else { self.ids.lock().init }
    }

    /// The numbers of `id` in this namespace and those around it, up to and with `outer`; outermost first.
    pub fn numbers_up_to(&self, outer: &PidNs, id: u32) -> Vec<u32> {
        let mut numbers = Vec::new();
        let mut at = Some(self);
        while let Some(ns) = at {
            numbers.push(ns.own(id));
            if ns == outer {
                break;
            }
            at = ns.parent.as_deref();
        }
        numbers.reverse();
        numbers
    }

    /// Gives the kernel's `id` a number here and in the namespaces around: `wanted` are those of clone3(2)'s set_tid,
    /// innermost first. `ENOMEM` when the namespace's first process has ended, `EEXIST`, `EINVAL`, `EAGAIN`.
    pub(super) fn enter(&self, table: &PidTable, id: u32, wanted: &[u32]) -> Result<(), Errno> {
        let mut entered: Vec<&PidNs> = Vec::new();
        let mut at = Some(self);
        let mut wanted = wanted.iter().copied();
        while let Some(ns) = at.filter(|ns| !ns.is_first()) {
            if let Err(error) = ns.give(table, id, wanted.next()) {
                for done in entered {
                    done.ids.lock().forget(id);
                }
                return Err(error);
            }
            entered.push(ns);
            at = ns.parent.as_deref();
        }
        Ok(())
    }

    fn give(&self, table: &PidTable, id: u32, wanted: Option<u32>) -> Result<(), Errno> {
        let mut ids = self.ids.lock();
        if ids.ended {
            return Err(Errno::ENOMEM);
        }
        ids.forget(id);
        let free = |ids: &Ids, own: u32| ids.kernel_of.get(&own).is_none_or(|id| !table.in_use(*id));
        let own = match wanted {
            // The first process must be number 1.
            Some(own) if own == 0 || own >= PID_MAX || (own != 1 && ids.init == 0) => {
                return Err(Errno::EINVAL);
            }
            Some(own) if !free(&ids, own) => return Err(Errno::EEXIST),
            Some(own) => own,
            None => {
                let mut tries = 0..PID_MAX;
                loop {
                    tries.next().ok_or(Errno::EAGAIN)?;
                    let next = ids.last + 1;
                    ids.last = if next >= PID_MAX { RESERVED } else { next };
                    if free(&ids, ids.last) {
                        break ids.last;
                    }
                }
            }
        };
        if let Some(stale) = ids.kernel_of.insert(own, id) {
            ids.own_of.remove(&stale);
        }
        ids.own_of.insert(id, own);
        if ids.init == 0 {
            ids.init = id;
        }
        Ok(())
    }

    /// Takes back what [`PidNs::enter`] gave.
    pub(super) fn leave(&self, id: u32) {
        let mut at = Some(self);
        while let Some(ns) = at.filter(|ns| !ns.is_first()) {
            ns.ids.lock().forget(id);
            at = ns.parent.as_deref();
        }
    }

    /// Its first process ends: no further ones are made.
    pub(super) fn end(&self) {
        self.ids.lock().ended = true;
    }
}

impl Ids {
    fn forget(&mut self, id: u32) {
        if let Some(own) = self.own_of.remove(&id) {
            self.kernel_of.remove(&own);
        }
    }
}

impl ThreadGroup {
    /// Whether it is the first process of its pid namespace.
    pub fn is_init(&self) -> bool {
        self.pid == self.pid_ns.init()
    }
}

impl Task {
    /// The number that the kernel's id of a task, group or session has for this task; 0 when it cannot see it.
    pub fn own_pid(&self, id: u32) -> u32 {
        self.group.pid_ns.own(id)
    }

    /// The kernel's id for a number that this task uses. `ESRCH` when there is none.
    pub fn kernel_pid(&self, own: u32) -> Result<u32, Errno> {
        self.group.pid_ns.kernel_id(own).ok_or(Errno::ESRCH)
    }

    /// The number of this thread in its own namespace.
    pub fn own_tid(&self) -> u32 {
        self.own_pid(self.tid)
    }

    /// The number of its process in its own namespace (what getpid(2) returns).
    pub fn own_tgid(&self) -> u32 {
        self.own_pid(self.tgid())
    }

    /// The living task with this number for the caller. `ESRCH`.
    pub fn find_task(&self, own: u32) -> Result<Arc<Task>, Errno> {
        let tid = self.kernel_pid(own)?;
        self.kernel.pids.read().task(tid).ok_or(Errno::ESRCH)
    }

    /// A user id as it is shown to this task.
    pub fn shown_uid(&self, uid: u32) -> u32 {
        self.cred.read().user_ns.shown_uid(uid)
    }

    /// A group id as it is shown to this task.
    pub fn shown_gid(&self, gid: u32) -> u32 {
        self.cred.read().user_ns.shown_gid(gid)
    }
}

impl CurrentTask {
    /// The first process of a pid namespace ends: all others of it are killed, and waited for.
    pub(super) fn end_pid_namespace(task: &Task) {
        let ns = &task.group.pid_ns;
        if ns.is_first() || !task.group.is_init() {
            return;
        }
        ns.end();
        let waiter = Arc::new(sync::Waiter::default());
        let id = task
            .kernel
            .task_ended
            .add(waiter.clone(), 0, sync::Events::READABLE);
        loop {
            let members: Vec<Arc<ThreadGroup>> = {
                let table = task.kernel.pids.read();
                let living = table.groups.values().filter(|entry| entry.zombie.is_none());
                let groups = living.map(|entry| entry.group.clone());
                groups
                    .filter(|group| group.pid != task.tgid() && group.pid_ns.is_in(ns))
                    .collect()
            };
            if members.is_empty() {
                break;
            }
            for group in members {
                crate::signal::send_to_group(&group, crate::signal::SigInfo::kernel(abi::signal::SIGKILL));
            }
            waiter.wait(None);
        }
        task.kernel.task_ended.remove(id);
        // Zombies that it did not wait for.
        let mut table = task.kernel.pids.write();
        let zombies: Vec<u32> = table
            .groups
            .iter()
            .filter(|(pid, entry)| {
                entry.zombie.is_some() && **pid != task.tgid() && entry.group.pid_ns.is_in(ns)
            })
            .filter(|(_, entry)| {
                let parent = table.groups.get(&entry.parent);
                parent.is_none_or(|parent| parent.group.pid_ns.is_in(ns))
            })
            .map(|(pid, _)| *pid)
            .collect();
        for pid in zombies {
            table.forget(pid);
        }
    }
}
