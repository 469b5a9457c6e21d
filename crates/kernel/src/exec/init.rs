//! The first process of a sandbox.

use std::sync::Arc;

use abi::Errno;
use platform::XState;

use super::execve::comm_of;
use super::open::open_program;
use super::prepare::{Caller, prepare};
use super::stack::Arguments;
use crate::Kernel;
use crate::cred::Credentials;
use crate::file::FdTable;
use crate::mm::RLIMIT_STACK;
use crate::task::{self, GroupEntry, Task, ThreadGroup};
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
    /// Its file mode mask.
    pub umask: u32,
}

/// Loads the program, makes the process (pid 1 in a new kernel, a session and group of its own) and starts its thread.
pub fn start_init(kernel: &Arc<Kernel>, spec: ProcessSpec) -> Result<Arc<Task>, Errno> {
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
        personality: 0,
        no_new_privs: false,
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
    let shared = (Some(prepared.mm.clone()), spec.files, fs);
    let cred = Arc::new(prepared.cred);
    let task = enter_table(kernel, spec.rlimits, |pid, group| {
        Task::new(kernel, pid, group, shared, cred, comm)
    });
    task::spawn(task.clone(), context, prepared.mm)?;
    Ok(task)
}

/// Enters a new process without a parent into the process table.
fn enter_table(
    kernel: &Kernel,
    rlimits: [(u64, u64); 16],
    make: impl FnOnce(u32, &Arc<ThreadGroup>) -> Arc<Task>,
) -> Arc<Task> {
    let mut pids = kernel.pids.write();
    let pid = pids.last_pid + 1;
    pids.last_pid = pid;
    let group = ThreadGroup::new(pid, rlimits);
    let task = make(pid, &group);
    pids.tasks.insert(pid, task.clone());
    let entry = GroupEntry {
        group,
        parent: 0,
        children: Default::default(),
        pgrp: pid,
        session: pid,
        tasks: [pid].into(),
        exit_signal: 0,
        zombie: None,
    };
    pids.groups.insert(pid, entry);
    task
}
