//! Process and thread directories: the table of their names and what those files are about.

use std::sync::{Arc, Weak};

use abi::Errno;
use kernel::Kernel;
use kernel::cred::IdKind;
use kernel::mm::Mm;
use kernel::task::{Task, ThreadGroup, current};
use kernel::vfs::FileKind;

use super::id_map::{File, IdMap};
use super::system::System;
use super::{fd, maps, mounts, net, nsfs, pid_stat, process_text as text_of, root};
use crate::kernfs::table::{dir, guarded, knob, magic, node, text};
use crate::kernfs::{Context, Entry, Listed, Meta, Node, StaticDir};

/// A process, or one of its threads, as long as it exists (zombies included).
#[derive(Clone)]
pub struct Process {
    system: System,
    /// Process id.
    pub pid: u32,
    /// Thread id; for a whole process equal to `pid`.
    pub tid: u32,
    group: Weak<ThreadGroup>,
    /// Set for /proc/PID/task/TID.
    thread: Option<Weak<Task>>,
}

/// What the process table says of a process at one moment.
pub struct View {
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// The process.
    pub group: Arc<ThreadGroup>,
    /// The thread, or the process's leader or any living thread; `None` for a zombie.
    pub task: Option<Arc<Task>>,
    /// Its first thread, kept as long as a zombie is.
    pub leader: Arc<Task>,
    /// Parent's process id.
    pub parent: u32,
    /// Process group id.
    pub pgrp: u32,
    /// Session id.
    pub session: u32,
    /// All living threads.
    pub threads: Vec<Arc<Task>>,
    /// A zombie's wait status.
    pub zombie: Option<i32>,
    /// Signal to the parent at exit.
    pub exit_signal: u32,
}

impl Context for Process {
    fn owner(&self) -> Result<(u32, u32), Errno> {
        let view = self.view()?;
        let (dumpable, ns) = {
            let state = view.group.state.lock();
            (state.dumpable, state.program_ns.clone())
        };
        if !dumpable {
            let root = |kind| ns.to_kernel(kind, 0).unwrap_or(0);
            return Ok((root(IdKind::User), root(IdKind::Group)));
        }
        let cred = view.task.unwrap_or(view.leader).cred();
        Ok((cred.euid, cred.egid))
    }

    fn may_open(&self) -> Result<(), Errno> {
        self.may_access()
    }

    fn process(&self, entries: &'static [Entry<Process>]) -> Option<u32> {
        std::ptr::eq(entries, PROCESS).then_some(self.pid)
    }

    fn same(&self, other: &Process) -> bool {
        let same_thread = match (&self.thread, &other.thread) {
            (Some(one), Some(two)) => Weak::ptr_eq(one, two),
            (None, None) => true,
            _ => false,
        };
        same_thread && Weak::ptr_eq(&self.group, &other.group)
    }
}

impl Process {
    /// The process with this number, or a thread of that number (hidden from the listing, but Linux finds it).
    pub fn find(system: &System, number: u32) -> Result<Process, Errno> {
        let kernel = system.kernel()?;
        let id = system.pid_ns.kernel_id(number).ok_or(Errno::ENOENT)?;
        let pids = kernel.pids.read();
        let group = match pids.group(id) {
            Some(entry) => entry.group.clone(),
            None => pids.task(id).ok_or(Errno::ENOENT)?.group.clone(),
        };
        Ok(Process {
            system: system.clone(),
            pid: group.pid,
            tid: group.pid,
            group: Arc::downgrade(&group),
            thread: None,
        })
    }

    /// A thread of this process.
    fn thread(&self, number: u32) -> Result<Process, Errno> {
        let kernel = self.system.kernel()?;
        let tid = self.system.pid_ns.kernel_id(number).ok_or(Errno::ENOENT)?;
        let task = kernel.pids.read().task(tid).ok_or(Errno::ENOENT)?;
        if task.tgid() != self.pid {
            return Err(Errno::ENOENT);
        }
        Ok(Process {
            tid,
            thread: Some(Arc::downgrade(&task)),
            ..self.clone()
        })
    }

    /// The number that this mount of procfs shows for an id of the kernel; 0 when its namespace does not see it.
    pub fn number(&self, id: u32) -> u32 {
        self.system.pid_ns.own(id)
    }

    /// Its numbers in the namespace of this mount and those inside down to its own: NSpid and kin.
    pub fn numbers(&self, view: &View, id: u32) -> String {
        let numbers = view.group.pid_ns.numbers_up_to(&self.system.pid_ns, id);
        numbers.iter().map(|number| format!("\t{number}")).collect()
    }

    /// What the process table says of it now. `ESRCH` once it was waited for.
    pub fn view(&self) -> Result<View, Errno> {
        let kernel = self.system.kernel()?;
        let pids = kernel.pids.read();
        let entry = pids.group(self.pid).ok_or(Errno::ESRCH)?;
        if !std::ptr::eq(Arc::as_ptr(&entry.group), self.group.as_ptr()) {
            return Err(Errno::ESRCH);
        }
        let threads: Vec<Arc<Task>> = entry.tasks.iter().filter_map(|tid| pids.task(*tid)).collect();
        let task = match &self.thread {
            Some(thread) => {
                let wanted = |task: &&Arc<Task>| std::ptr::eq(Arc::as_ptr(task), thread.as_ptr());
                Some(threads.iter().find(wanted).cloned().ok_or(Errno::ESRCH)?)
            }
            None => {
                let leader = threads.iter().find(|task| task.tid == self.pid);
                leader.or(threads.first()).cloned()
            }
        };
        let view = View {
            group: entry.group.clone(),
            task,
            leader: entry.leader.clone(),
            parent: entry.parent,
            pgrp: entry.pgrp,
            session: entry.session,
            threads,
            zombie: entry.zombie,
            exit_signal: entry.exit_signal,
            kernel: kernel.clone(),
        };
        drop(pids);
        Ok(view)
    }

    /// A living thread of it. `ESRCH` for a zombie.
    pub fn task(&self) -> Result<Arc<Task>, Errno> {
        self.view()?.task.ok_or(Errno::ESRCH)
    }

    /// Its address space; `None` for zombies.
    pub fn mm(&self) -> Result<Option<Arc<Mm>>, Errno> {
        Ok(self.view()?.task.and_then(|task| task.mm()))
    }

    /// The kernel.
    pub fn kernel(&self) -> Result<Arc<kernel::Kernel>, Errno> {
        self.system.kernel()
    }

    /// Whether it is one thread (/proc/PID/task/TID).
    pub fn is_thread(&self) -> bool {
        self.thread.is_some()
    }

    /// ptrace(2)'s access check with PTRACE_MODE_READ_FSCREDS: the same process, the same user, or CAP_SYS_PTRACE.
    /// `EACCES` otherwise.
    pub fn may_access(&self) -> Result<(), Errno> {
        let Some(reader) = current() else {
            return Ok(());
        };
        if reader.tgid() == self.pid {
            return Ok(());
        }
        let target = self.view()?.task.ok_or(Errno::EACCES);
        if reader.may_access(&*target?) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }
}

/// Names in both process and thread directories.
macro_rules! both {
    ($($extra:expr,)*) => { &[
        $($extra,)*
        node("attr", FileKind::Directory, |at| Arc::new(StaticDir::new(at.clone(), ATTR))),
        guarded("auxv", 0o400, text_of::auxv),
        text("cgroup", 0o444, text_of::cgroup),
        text("cmdline", 0o444, text_of::cmdline),
        knob("comm", 0o644, text_of::comm, text_of::set_comm),
        text("cpu_resctrl_groups", 0o444, |_| Ok(Vec::new())),
        text("cpuset", 0o444, |_| Ok(b"/\n".to_vec())),
        magic("cwd", |at| text_of::place(at, text_of::cwd), |at| text_of::place_text(at, text_of::cwd)),
        guarded("environ", 0o400, text_of::environ),
        magic("exe", |at| text_of::place(at, text_of::exe), |at| text_of::place_text(at, text_of::exe)),
        node("fd", FileKind::Directory, |at| Arc::new(fd::FdDir::new(at.clone(), false))),
        node("fdinfo", FileKind::Directory, |at| Arc::new(fd::FdDir::new(at.clone(), true))),
        node("gid_map", FileKind::Regular, |at| IdMap::node(at, File::Map(IdKind::Group))),
        text("io", 0o400, text_of::io),
        text("limits", 0o444, text_of::limits),
        knob("loginuid", 0o644, text_of::loginuid, text_of::set_loginuid),
        guarded("maps", 0o444, maps::maps),
        node("mem", FileKind::Regular, |at| Arc::new(fd::MemNode(at.clone()))),
        text("mountinfo", 0o444, mounts::mountinfo),
        text("mounts", 0o444, mounts::mounts),
        node("net", FileKind::Directory, |at| Arc::new(StaticDir::new(at.clone(), net::ENTRIES))),
        node("ns", FileKind::Directory, |at| Arc::new(StaticDir { context: at.clone(), entries: NS, perm: 0o511 })),
        guarded("numa_maps", 0o444, |_| Ok(Vec::new())),
        text("oom_score", 0o444, text_of::oom_score),
        knob("oom_score_adj", 0o644, text_of::oom_score_adj, text_of::set_oom_score_adj),
        knob("oom_adj", 0o644, text_of::oom_adj, |_, _| Err(Errno::EINVAL)),
        guarded("pagemap", 0o400, |_| Err(Errno::EPERM)),
        text("patch_state", 0o400, |_| Ok(b"-1\n".to_vec())),
        text("personality", 0o400, text_of::personality),
        node("projid_map", FileKind::Regular, |at| IdMap::node(at, File::Map(IdKind::Project))),
        magic("root", |at| text_of::place(at, text_of::root), |at| text_of::place_text(at, text_of::root)),
        knob("sched", 0o644, text_of::sched, |_, _| Ok(())),
        text("schedstat", 0o444, text_of::schedstat),
        text("sessionid", 0o444, text_of::sessionid),
        node("setgroups", FileKind::Regular, |at| IdMap::node(at, File::Setgroups)),
        guarded("smaps", 0o444, maps::smaps),
        guarded("smaps_rollup", 0o444, maps::smaps_rollup),
        text("stack", 0o400, |_| Ok(Vec::new())),
        text("stat", 0o444, pid_stat::stat),
        text("statm", 0o444, pid_stat::statm),
        text("status", 0o444, pid_stat::status),
        text("syscall", 0o400, text_of::syscall),
        text("timens_offsets", 0o644, |_| Ok(b"monotonic           0         0\nboottime            0         0\n".to_vec())),
        node("uid_map", FileKind::Regular, |at| IdMap::node(at, File::Map(IdKind::User))),
        text("wchan", 0o444, |_| Ok(b"0".to_vec())),
    ] };
}

static PROCESS: &[Entry<Process>] = both![
    node("task", FileKind::Directory, |at| Arc::new(TaskDir(at.clone()))),
    text("mountstats", 0o400, mounts::mountstats),
    knob(
        "autogroup",
        0o644,
        |_| Ok(b"/autogroup-0 nice 0\n".to_vec()),
        |_, _| Ok(())
    ),
    knob(
        "coredump_filter",
        0o644,
        |_| Ok(b"00000033\n".to_vec()),
        |_, _| Ok(())
    ),
    knob("clear_refs", 0o200, |_| Err(Errno::EINVAL), |_, _| Ok(())),
    dir("map_files", &[]),
    text("timers", 0o444, |_| Ok(Vec::new())),
    knob(
        "timerslack_ns",
        0o666,
        text_of::timer_slack,
        text_of::set_timer_slack
    ),
];

static THREAD: &[Entry<Process>] = both![text("children", 0o444, text_of::children),];

static ATTR: &[Entry<Process>] = &[
    knob("current", 0o666, |_| Ok(Vec::new()), |_, _| Err(Errno::EINVAL)),
    knob("exec", 0o666, |_| Ok(Vec::new()), |_, _| Err(Errno::EINVAL)),
    knob("fscreate", 0o666, |_| Ok(Vec::new()), |_, _| Err(Errno::EINVAL)),
    knob("keycreate", 0o666, |_| Ok(Vec::new()), |_, _| Err(Errno::EINVAL)),
    text("prev", 0o444, |_| Ok(Vec::new())),
    knob("sockcreate", 0o666, |_| Ok(Vec::new()), |_, _| Err(Errno::EINVAL)),
];

/// Namespace links: name, and the kind that is shown.
macro_rules! ns {
    ($($name:literal $shown:literal;)*) => { &[$(
        magic($name, |at| nsfs::follow(at, $shown), |at| nsfs::text(at, $shown)),
    )*] };
}

static NS: &[Entry<Process>] = ns![
    "cgroup" "cgroup";
    "ipc" "ipc";
    "mnt" "mnt";
    "net" "net";
    "pid" "pid";
    "pid_for_children" "pid_for_children";
    "time" "time";
    "time_for_children" "time";
    "user" "user";
    "uts" "uts";
];

/// The directory of a process.
pub fn directory(process: Process) -> StaticDir<Process> {
    StaticDir::new(process, PROCESS)
}

/// /proc/PID/task.
struct TaskDir(Process);

impl Node for TaskDir {
    fn kind(&self) -> FileKind {
        FileKind::Directory
    }
    fn meta(&self) -> Result<Meta, Errno> {
        let (uid, gid) = self.0.owner()?;
        Ok(Meta {
            uid,
            gid,
            ..Meta::root(0o555)
        })
    }
    fn same(&self, other: &dyn Node) -> bool {
        let other = (other as &dyn std::any::Any).downcast_ref::<Self>();
        other.is_some_and(|other| self.0.same(&other.0))
    }
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Node>, Errno> {
        let tid = root::parse_id(name).ok_or(Errno::ENOENT)?;
        Ok(Arc::new(StaticDir::new(self.0.thread(tid)?, THREAD)))
    }
    fn list(&self) -> Result<Vec<Listed>, Errno> {
        let view = self.0.view()?;
        let tids = view
            .threads
            .iter()
            .map(|task| self.0.number(task.tid).to_string());
        Ok(tids.map(|tid| Listed::new(tid, FileKind::Directory)).collect())
    }
}
