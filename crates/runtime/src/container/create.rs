//! `create`: from a bundle to a sandbox whose first process waits for its start.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use host::ns::{self, Child};
use host::tty::WindowSize;
use oci_spec::runtime::Hooks;
use sandbox::Io;

use super::bundle::{Bundle, Made};
use super::console::Console;
use super::monitor::{self, FromMonitor, Plan};
use super::namespaces::Network;
use super::state::{HostProcess, Saved, StateDir, Status, write_whole};
use super::{clock, hooks};
use crate::cgroup::Driver;
use crate::cli::Globals;
use crate::failure::{Failure, While};
use crate::launch;
use crate::network;
use crate::terminal::Terminal;

/// Descriptors that a caller may pass on beside the standard ones.
pub const MAX_PRESERVED: u32 = 60;

/// What is to be created.
#[derive(Debug)]
pub struct Options {
    /// The container's id.
    pub id: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// Where the monitor's process id is written to.
    pub pid_file: Option<PathBuf>,
    /// Where the terminal's master is sent to.
    pub console_socket: Option<PathBuf>,
    /// How many of the caller's descriptors from 3 on the first process gets.
    pub preserve_fds: u32,
    /// The caller stays: its own terminal serves the container.
    pub foreground: bool,
}

/// A container that was created.
pub struct Created {
    /// The process that stands for it, a child of the caller.
    pub monitor: Child,
    /// The caller's terminal, when it serves the container.
    pub terminal: Option<Terminal>,
}

/// The process that stands for the container while it is being made. Dropping it ends the container.
struct Making {
    monitor: Option<Child>,
    sync: OwnedFd,
}

impl Drop for Making {
    fn drop(&mut self) {
        if let Some(monitor) = &self.monitor {
            monitor.kill();
            let _ = monitor.wait();
        }
    }
}

/// Creates a container.
pub fn create(globals: &Globals, options: &Options) -> Result<Created, Failure> {
    let bundle = Bundle::read(&options.bundle)?;
    let mut saved = saved(&bundle, &options.id)?;
    let state = StateDir::create(&globals.root, &options.id)?;
    let created = create_in(&state, &mut saved, &bundle, globals, options);
    if created.is_err() {
        if let Some(cgroup) = &saved.cgroup {
            let _ = cgroup.remove();
        }
        let _ = state.remove();
    }
    created
}

fn create_in(
    state: &StateDir,
    saved: &mut Saved,
    bundle: &Bundle,
    globals: &Globals,
    options: &Options,
) -> Result<Created, Failure> {
    let Made {
        trees,
        mut config,
        limits,
        warnings,
        namespaces,
    } = bundle.sandbox(&options.id)?;
    for warning in &warnings {
        globals.warn(warning);
    }
    config.strace = globals.strace;
    config.host_network = globals.network == network::Kind::Host;
    saved.network = globals.network;
    // From here on whatever breaks the creation off leaves a trace that `delete` follows.
    let driver = match globals.systemd_cgroup {
        true => Driver::Systemd,
        false => Driver::Files,
    };
    saved.cgroup = bundle.planned_cgroup(&options.id, driver);
    state.save(saved)?;
    state.keep_config(&bundle.text)?;
    saved.cgroup = Some(bundle.cgroup(&options.id, limits, driver)?);
    state.save(saved)?;
    let cgroup = saved.cgroup.clone();
    let (io, console, terminal) = standard(bundle, globals, state, options)?;
    let listener = host::socket::listen(&state.socket()).while_doing("control socket")?;
    let (sync, theirs) = host::fd::packet_pair().while_doing("socket to the monitor")?;
    let place = namespaces.network();
    let inside = namespaces.clone();
    let monitor = namespaces.with_children_inside(|| {
        let body = || {
            monitor::run(Plan {
                trees,
                config,
                io,
                listener,
                namespaces: inside,
                cgroup,
                lead_terminal: !options.foreground,
                console,
                sync: theirs,
            })
        };
        ns::spawn(namespaces.clone_flags(), body).while_doing("starting the monitor")
    })?;
    let pid = monitor.pid;
    let mut making = Making {
        monitor: Some(monitor),
        sync,
    };
    saved.monitor = HostProcess::of(pid);
    state.save(saved)?;
    let hooks = saved.hooks.clone().unwrap_or_default();
    run_early_hooks(&hooks, saved)?;
    saved.sentry = wait_until_ready(&making)?;
    let text = saved.report_json(Status::Creating);
    let create_container = hooks.create_container().as_deref().unwrap_or_default();
    match place {
        Network::Host => hooks::run("createContainer", create_container, &text)?,
        Network::Own => hooks::run_inside("createContainer", create_container, &text, pid)?,
    }
    saved.complete = true;
    state.save(saved)?;
    if let Some(file) = &options.pid_file {
        write_pid(file, pid)?;
    }
    monitor::let_go(&making.sync)?;
    let monitor = making.monitor.take();
    let monitor = monitor.ok_or_else(|| Failure::own("the monitor has gone"))?;
    Ok(Created { monitor, terminal })
}

fn run_early_hooks(hooks: &Hooks, saved: &Saved) -> Result<(), Failure> {
    let prestart = hooks.prestart().as_deref().unwrap_or_default();
    let text = saved.report_json(Status::Creating);
    hooks::run("prestart", prestart, &text)?;
    let create_runtime = hooks.create_runtime().as_deref().unwrap_or_default();
    hooks::run("createRuntime", create_runtime, &text)
}

/// Waits until the first process is ready. Returns the sentry.
fn wait_until_ready(making: &Making) -> Result<Option<HostProcess>, Failure> {
    match monitor::receive(making.sync.as_fd()) {
        Some(FromMonitor::Ready(sentry)) => Ok(HostProcess::of(sentry)),
        Some(FromMonitor::Failed(status, message)) => Err(Failure {
            status,
            message: format!("unable to start container process: {message}"),
        }),
        None => Err(Failure::own("the container's process ended before it was ready")),
    }
}

fn saved(bundle: &Bundle, id: &str) -> Result<Saved, Failure> {
    let spec = &bundle.spec;
    let annotations = spec.annotations().iter().flatten();
    let (uid, _, _) = host::prctl::ids().while_doing("cannot tell who is calling")?;
    Ok(Saved {
        oci_version: spec.version().clone(),
        id: id.to_string(),
        bundle: bundle.directory.clone(),
        rootfs: bundle.rootfs()?,
        created: clock::now(),
        annotations: annotations
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        owner: uid,
        monitor: None,
        sentry: None,
        complete: false,
        started: false,
        terminal: bundle.process()?.terminal().unwrap_or(false),
        hooks: spec.hooks().clone(),
        cgroup: None,
        network: network::Kind::default(),
    })
}

type Standard = (Io, Option<OwnedFd>, Option<Terminal>);

/// The standard descriptors of the first process; the terminal whose size the monitor watches; the caller's terminal.
fn standard(
    bundle: &Bundle,
    globals: &Globals,
    state: &StateDir,
    options: &Options,
) -> Result<Standard, Failure> {
    let process = bundle.process()?;
    let asked_for = globals.debug_log()?;
    let log_bounded = asked_for.is_none();
    let log = match asked_for {
        Some(log) => log,
        None => state.sentry_log()?.into(),
    };
    let mut io = Io {
        stdio: [launch::stdio(0)?, launch::stdio(1)?, launch::stdio(2)?],
        more: preserved(options.preserve_fds)?,
        network: Vec::new(),
        // Of the group, which the monitor joins.
        figures: Vec::new(),
        terminal: None,
        log: Some(log),
        log_bounded,
    };
    let wants_terminal = process.terminal().unwrap_or(false);
    match (&options.console_socket, wants_terminal) {
        (Some(_), false) => Err(Failure::own(
            "cannot use console socket if runc will not detach or allocate tty",
        )),
        (None, true) if !options.foreground => Err(Failure::own(
            "cannot allocate tty if runc will detach without setting console socket",
        )),
        (Some(socket), true) => {
            let size = process.console_size().map(|size| WindowSize {
                rows: u16::try_from(size.height()).unwrap_or(0),
                columns: u16::try_from(size.width()).unwrap_or(0),
                ..WindowSize::default()
            });
            let console = Console::send_to(socket, size)?;
            io.stdio = console.stdio()?;
            io.terminal = Some(console.description());
            Ok((io, Some(console.slave), None))
        }
        (None, true) => {
            let terminal = Terminal::of_caller();
            io.terminal = terminal.as_ref().map(Terminal::description);
            let copy = |terminal: &Terminal| terminal.as_fd().try_clone_to_owned().while_doing("terminal");
            let watched = terminal.as_ref().map(copy).transpose()?;
            Ok((io, watched, terminal))
        }
        (None, false) => Ok((io, None, None)),
    }
}

/// Copies of the caller's descriptors from 3 on.
pub fn preserved(count: u32) -> Result<Vec<OwnedFd>, Failure> {
    if count > MAX_PRESERVED {
        return Err(Failure::own(format!(
            "at most {MAX_PRESERVED} descriptors can be preserved"
        )));
    }
    (3..)
        .take(count as usize)
        .map(|number| host::fd::duplicate_inherited(number).while_doing(&format!("descriptor {number}")))
        .collect()
}

/// Writes a pid file, so that a reader sees it whole.
pub fn write_pid(file: &Path, pid: i32) -> Result<(), Failure> {
    write_whole(file, pid.to_string().as_bytes()).while_doing(&format!("pid file '{}'", file.display()))
}
