//! Starting a process in a container: the first one, and those that the runtime brings in later.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use abi::Errno;
use fs::stdio::{self, Poller};
use kernel::Kernel;
use kernel::cred::{Caps, Credentials};
use kernel::exec::{Attributes, ProcessSpec, start_entered, start_init};
use kernel::file::{FdTable, FileDescription};
use kernel::task::{Seccomp, Task};
use kernel::vfs::{LookupFlags, Path, Walker};

use crate::boot::{failed, shown, words};
use crate::config::Terminal;
use crate::container::{Capabilities, Privileges, Process};
use crate::control::FromSentry;
use crate::program::{self, NotRun};
use crate::seccomp::{self, RawInstruction};
use crate::terminal::Relay;

/// Which process it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The first one of `tegmen do`: an ordinary process.
    Command,
    /// The first one of a container.
    Init,
    /// Another one.
    Entered,
}

/// Descriptors of a process, and the terminal among them.
pub struct Files {
    /// Its open files from 0 on.
    files: Vec<Arc<FileDescription>>,
    /// Its terminal, if it has one.
    pub terminal: Option<Relay>,
}

impl Files {
    /// Opens the host's descriptors for the guest, those that are a terminal through one of its own.
    pub fn open(
        kernel: &Arc<Kernel>,
        poller: &Arc<Poller>,
        root: &Path,
        fds: Vec<OwnedFd>,
        wanted: Option<&Terminal>,
        uid: u32,
    ) -> Result<Files, Errno> {
        let terminal = match wanted {
            Some(wanted) => relay(kernel, root, wanted, &fds, uid)?,
            None => None,
        };
        let mut files = stdio::open(kernel, poller, fds)?;
        if let (Some(relay), Some(wanted)) = (&terminal, wanted) {
            for (file, replaced) in files.iter_mut().zip(wanted.standard) {
                if replaced {
                    *file = relay.slave().clone();
                }
            }
        }
        Ok(Files { files, terminal })
    }
}

/// A terminal of the guest's own, relayed to the first standard descriptor that is the caller's.
fn relay(
    kernel: &Arc<Kernel>,
    root: &Path,
    wanted: &Terminal,
    fds: &[OwnedFd],
    uid: u32,
) -> Result<Option<Relay>, Errno> {
    let at = wanted.standard.iter().position(|terminal| *terminal);
    let Some(host) = at.and_then(|at| fds.get(at)) else {
        return Ok(None);
    };
    let host = host.as_fd().try_clone_to_owned()?;
    Relay::start(kernel, root, host, wanted.window_size(), uid).map(Some)
}

/// The sets of the configuration, as Linux would let them be: what is in force is permitted, what is ambient is both
/// permitted and inheritable.
fn take_capabilities(cred: &mut Credentials, sets: &Capabilities) {
    let caps = Caps::from_bits_truncate;
    cred.bounding = caps(sets.bounding);
    cred.permitted = caps(sets.permitted);
    cred.effective = caps(sets.effective) & cred.permitted;
    cred.inheritable = caps(sets.inheritable);
    cred.ambient = caps(sets.ambient) & cred.permitted & cred.inheritable;
}

fn attributes(privileges: &Privileges) -> Result<Attributes, Errno> {
    let filter = |program: &Vec<RawInstruction>| {
        Seccomp::filter(seccomp::instructions(program), None, privileges.seccomp_log, None)
    };
    Ok(Attributes {
        no_new_privs: privileges.no_new_privs,
        seccomp: privileges.seccomp.as_ref().map(filter).transpose()?,
        oom_score_adj: privileges.oom_score_adj.unwrap_or(0),
        personality: privileges.personality,
        scheduler: privileges.scheduler,
        ioprio: privileges.ioprio,
    })
}

/// What is said of a first directory that cannot be entered: of containers, in the words that engines know.
fn no_directory(role: Role, cwd: &[u8], errno: Errno) -> String {
    let (cwd, why) = (shown(cwd), words(errno));
    match role {
        Role::Command => format!("directory '{cwd}': {why}"),
        Role::Init | Role::Entered => {
            format!(
                "chdir to cwd (\"{cwd}\") set in config.json failed: {}",
                why.to_lowercase()
            )
        }
    }
}

/// Finds the program and starts it; `before_start` runs when everything is ready, and can still give it up.
pub fn start(
    kernel: &Arc<Kernel>,
    root: Path,
    mut process: Process,
    files: &Files,
    role: Role,
    before_start: impl FnOnce() -> Result<(), Errno>,
) -> Result<Arc<Task>, FromSentry> {
    let user = process.user;
    let mut cred = Credentials::for_user(user.uid, user.gid, user.groups);
    if let Some(sets) = &process.privileges.capabilities {
        take_capabilities(&mut cred, sets);
    }
    let attributes = attributes(&process.privileges)
        .map_err(|errno| failed(125, &format!("system call filter: {}", words(errno))))?;
    let cwd = process.cwd.unwrap_or_else(|| b"/".to_vec());
    let mut walker = Walker::as_root(kernel, root.clone());
    if role != Role::Command {
        crate::accounts::set_home(&walker, cred.uid, &mut process.env);
    }
    if role == Role::Init {
        // As runc does; what stands in the way is told below.
        let _ = crate::mounts::place::directory(&walker, &cwd);
    }
    walker.cred = Arc::new(cred.clone());
    walker.cwd = walker
        .resolve(None, &cwd, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)
        .map_err(|errno| failed(125, &no_directory(role, &cwd, errno)))?;
    let name = process.argv.first().cloned().unwrap_or_default();
    let not_run = |why: NotRun| {
        let text = match role {
            Role::Command => why.as_shell(&name),
            Role::Init | Role::Entered => why.as_runtime(&name),
        };
        failed(why.status, &text)
    };
    let exe = program::find(&walker, &name, &process.env).map_err(not_run)?;
    let table = FdTable::default();
    for file in &files.files {
        table
            .install(file.clone(), false, 0, u64::MAX)
            .map_err(|errno| failed(125, &format!("standard descriptors: {}", words(errno))))?;
    }
    let spec = ProcessSpec {
        argv: process.argv,
        envp: process.env,
        exe,
        cwd,
        cred,
        root,
        files: Arc::new(table),
        rlimits: process.rlimits,
        protected: role == Role::Init,
        comm: None,
        umask: user.umask,
        attributes,
    };
    let terminal = files.terminal.as_ref();
    let prepare = |task: &Arc<Task>| {
        terminal.map_or(Ok(()), |terminal| terminal.give_to(task))?;
        before_start()
    };
    match role {
        Role::Entered => start_entered(kernel, spec, prepare),
        Role::Command | Role::Init => start_init(kernel, spec, prepare),
    }
    .map_err(|errno| not_run(NotRun::from_errno(errno)))
}
