//! The first process of a sandbox.

use std::sync::Arc;

use abi::Errno;
use platform::{Context, XState};

use super::execve::comm_of;
use super::open::open_program;
use super::prepare::{Caller, prepare};
use super::stack::Arguments;
use crate::Kernel;
use crate::cred::Credentials;
use crate::file::FdTable;
use crate::mm::{Mm, RLIMIT_STACK};
use crate::task::{self, InitTask, Seccomp, Task};
use crate::vfs::{FsContext, LookupFlags, Path, Walker};

/// A process to start from nothing.
pub struct ProcessSpec {
    /// Arguments; not empty.
    pub argv: Vec<Vec<u8>>,
    /// The environment, as `NAME=VALUE`.
    pub envp: Vec<Vec<u8>>,
    /// The program's path, looked up from `cwd`.
    pub exe: Vec<u8>,
    /// The working directory's path, from the root; empty means the root.
    pub cwd: Vec<u8>,
    /// Who it is.
    pub cred: Credentials,
    /// Its root directory.
    pub root: Path,
    /// Its open files.
    pub files: Arc<FdTable>,
    /// Resource limits: soft and hard, by RLIMIT_ number.
    pub rlimits: [(u64, u64); 16],
    /// Thread name; `None`: from the program's path.
    pub comm: Option<Vec<u8>>,
    /// Whether signals with default action that its own descendants send do nothing, as for the first process of a
    /// pid namespace. False: as for any process.
    pub protected: bool,
    /// Its file mode mask.
    pub umask: u32,
    /// What else it starts with.
    pub attributes: Attributes,
}

/// Attributes of a process that a container's configuration may set, and that its children inherit.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// System call filters.
    pub seccomp: Option<Arc<Seccomp>>,
    /// /proc/PID/oom_score_adj.
    pub oom_score_adj: i32,
    /// personality(2).
    pub personality: u32,
    /// Scheduling: nice value, policy and real-time priority.
    pub scheduler: (i32, u32, u32),
    /// ioprio_set(2).
    pub ioprio: u32,
}

impl Attributes {
    /// Sets them on a process that does not run yet.
    pub fn set_on(&self, task: &Task) {
        {
            let mut state = task.state.lock();
            state.no_new_privs = self.no_new_privs;
            state.personality = self.personality;
            let (nice, policy, priority) = self.scheduler;
            (state.nice, state.sched) = (nice, crate::task::sched::Sched::new(policy, priority));
            state.ioprio = self.ioprio;
        }
        task.group.state.lock().oom_score_adj = self.oom_score_adj;
        *task.seccomp.lock() = self.seccomp.clone();
    }
}

/// Loads the program, makes the process (pid 1 in a new kernel, a session and group of its own), lets `before_start`
/// set it up further (its terminal), and starts its thread.
pub fn start_init(
    kernel: &Arc<Kernel>,
    spec: ProcessSpec,
    before_start: impl FnOnce(&Arc<Task>) -> Result<(), Errno>,
) -> Result<Arc<Task>, Errno> {
    let loaded = load(kernel, spec)?;
    let task = task::create_init(kernel, loaded.init)?;
    task.group.watch_cpu_limit(kernel);
    loaded.attributes.set_on(&task);
    before_start(&task)?;
    task::spawn(task.clone(), loaded.context, loaded.mm)?;
    Ok(task)
}

/// The same for a further process, which the runtime brings in beside the first. [`Kernel::wait_entered`] takes its end.
pub fn start_entered(
    kernel: &Arc<Kernel>,
    spec: ProcessSpec,
    before_start: impl FnOnce(&Arc<Task>) -> Result<(), Errno>,
) -> Result<Arc<Task>, Errno> {
    let loaded = load(kernel, spec)?;
    let task = task::create_entered(kernel, loaded.init)?;
    task.group.watch_cpu_limit(kernel);
    loaded.attributes.set_on(&task);
    let started = before_start(&task).and_then(|()| task::spawn(task.clone(), loaded.context, loaded.mm));
    if let Err(error) = started {
        task.abandon();
        kernel.forget_entered(task.tid);
        return Err(error);
    }
    Ok(task)
}

/// A process that is ready to enter the process table.
struct Loaded {
    init: InitTask,
    attributes: Attributes,
    context: Box<dyn Context>,
    mm: Arc<Mm>,
}

fn load(kernel: &Arc<Kernel>, spec: ProcessSpec) -> Result<Loaded, Errno> {
    let fs = FsContext::new(spec.root.clone());
    fs.set_umask(spec.umask);
    let cred = Arc::new(spec.cred);
    let mut walker = Walker::as_root(kernel, spec.root);
    walker.cred = cred.clone();
    if !spec.cwd.is_empty() {
        let cwd = walker.resolve(None, &spec.cwd, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
        fs.set_cwd(cwd.clone());
        walker.cwd = cwd;
    }
    let program = open_program(&walker, None, &spec.exe, LookupFlags::FOLLOW)?;
    let caller = Caller {
        walker: &walker,
        stack_limit: spec.rlimits.get(RLIMIT_STACK).map_or(u64::MAX, |limit| limit.0),
        personality: spec.attributes.personality,
        // In force from the program's first instruction on; the program itself is the configuration's choice.
        no_new_privs: spec.attributes.no_new_privs,
    };
    let arguments = Arguments {
        argv: spec.argv,
        envp: spec.envp,
    };
    let prepared = prepare(kernel, &caller, program, &spec.exe, false, arguments)?;
    let context = prepared
        .mm
        .space
        .new_context(&prepared.regs, &XState::default())?;
    let comm = spec.comm.unwrap_or_else(|| comm_of(&spec.exe));
    let init = InitTask {
        mm: prepared.mm.clone(),
        files: spec.files,
        fs,
        cred: Arc::new(prepared.cred),
        comm,
        rlimits: spec.rlimits,
        protected: spec.protected,
    };
    Ok(Loaded {
        init,
        attributes: spec.attributes,
        context,
        mm: prepared.mm,
    })
}
