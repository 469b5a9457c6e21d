//! `exec`: a process of the host that stands for a process brought into a running container.
//!
//! It forwards signals and window sizes through its connection, and ends as the guest process does. When it is killed, the
//! connection closes, and the sandbox kills the guest process.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use host::ns;
use host::signal::{self, SignalSet};
use host::surface::Waits;
use host::tty;
use oci_spec::runtime::Hook;
use sandbox::container::Process;
use sandbox::request::{Connection, Reply, Request};

use super::console::{Console, numbers};
use super::create::{preserved, write_pid};
use super::lifecycle::Known;
use crate::failure::{Failure, While};
use crate::launch;
use crate::supervise::{self, Outcome};
use crate::terminal::Terminal;

/// What is to be brought in.
pub struct Options {
    /// The process.
    pub process: Process,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// The caller does not wait for it.
    pub detach: bool,
    /// Where the terminal's master is sent to.
    pub console_socket: Option<PathBuf>,
    /// Where the standing process's id is written to.
    pub pid_file: Option<PathBuf>,
    /// How many of the caller's descriptors from 3 on it gets.
    pub preserve_fds: u32,
}

/// The process's descriptors and terminal.
struct Standard {
    fds: Vec<OwnedFd>,
    description: Option<sandbox::Terminal>,
    /// The terminal whose size is watched.
    watched: Option<OwnedFd>,
    /// The caller's own terminal, to be restored.
    caller: Option<Terminal>,
}

/// Brings a process in. Returns its exit status, or 0 at once when detached.
pub fn run(known: &Known, options: Options) -> Result<u8, Failure> {
    if options.detach {
        return run_detached(known, options);
    }
    SignalSet::all_but_faults()
        .block_exactly()
        .while_doing("blocking signals")?;
    let standard = standard(&options)?;
    let (connection, _) = enter(known, &options, &standard)?;
    if let Some(file) = &options.pid_file {
        write_pid(file, own_pid())?;
    }
    let Standard {
        fds, watched, caller, ..
    } = standard;
    drop(fds);
    let outcome = stand_for(connection, watched);
    drop(caller);
    outcome?.pass_on()
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

fn run_detached(known: &Known, options: Options) -> Result<u8, Failure> {
    let (ours, theirs) = host::fd::packet_pair().while_doing("socket")?;
    let child = ns::spawn(0, || detached(known, &options, &theirs)).while_doing("starting a process")?;
    drop(theirs);
    match super::monitor::receive(ours.as_fd()) {
        Some(super::monitor::FromMonitor::Ready(_)) => {}
        Some(super::monitor::FromMonitor::Failed(status, message)) => {
            let _ = child.wait();
            return Err(Failure { status, message });
        }
        None => {
            let _ = child.wait();
            return Err(Failure::own("the process that stands for the command has ended"));
        }
    }
    if let Some(file) = &options.pid_file {
        write_pid(file, child.pid)?;
    }
    // Only now may it end: its parent must know it.
    host::fd::send(ours.as_fd(), b"go").while_doing("the command has ended")?;
    Ok(0)
}

/// The life of a detached standing process.
fn detached(known: &Known, options: &Options, sync: &OwnedFd) -> i32 {
    use super::monitor::FromMonitor;
    host::prctl::set_name(c"tegmen-exec");
    let tell = |report: FromMonitor| host::fd::send(sync.as_fd(), &report.encode()).is_ok();
    let started = SignalSet::all_but_faults()
        .block_exactly()
        .while_doing("blocking signals")
        .and_then(|_| ns::new_session().while_doing("new session"))
        .and_then(|()| standard(options))
        .and_then(|standard| enter(known, options, &standard).map(|entered| (standard, entered)));
    let (standard, (connection, pid)) = match started {
        Ok(started) => started,
        Err(failure) => {
            tell(FromMonitor::Failed(failure.status, failure.message));
            return 1;
        }
    };
    let Standard { fds, watched, .. } = standard;
    drop(fds);
    let mut keep = vec![sync.as_fd(), connection.as_fd()];
    keep.extend(watched.iter().map(AsFd::as_fd));
    // What the engine left open for its runtime: this process never returns there.
    if let Err(failure) = host::fd::close_all_but(&keep).while_doing("closing descriptors") {
        tell(FromMonitor::Failed(failure.status, failure.message));
        return 1;
    }
    if let Some(terminal) = &watched {
        let _ = tty::take_control(terminal.as_fd());
    }
    let _ = std::env::set_current_dir("/");
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        for number in 0..3 {
            let _ = host::fd::replace_stdio(number, null.as_fd());
        }
    }
    if !tell(FromMonitor::Ready(i32::try_from(pid).unwrap_or(0))) {
        return 1;
    }
    let mut buf = [0; 8];
    if !matches!(host::fd::receive(sync.as_fd(), &mut buf), Ok(1..)) {
        // The parent was killed: nobody knows of the process.
        return 1;
    }
    match stand_for(connection, watched) {
        Ok(Outcome::Exited(status)) => i32::from(status),
        Ok(Outcome::Killed(signal)) => signal::die_by(signal),
        Err(failure) => i32::from(failure.status),
    }
}

fn standard(options: &Options) -> Result<Standard, Failure> {
    let mut standard = Standard {
        fds: Vec::new(),
        description: None,
        watched: None,
        caller: None,
    };
    let caller =
        || -> Result<[OwnedFd; 3], Failure> { Ok([launch::stdio(0)?, launch::stdio(1)?, launch::stdio(2)?]) };
    let first = match (&options.console_socket, options.terminal) {
        (Some(socket), true) => {
            let console = Console::send_to(socket, None)?;
            standard.description = Some(console.description());
            let stdio = console.stdio()?;
            standard.watched = Some(console.slave);
            stdio
        }
        (Some(_), false) => {
            return Err(Failure::own(
                "cannot use console socket if runc will not detach or allocate tty",
            ));
        }
        (None, true) if options.detach => {
            return Err(Failure::own(
                "cannot allocate tty if runc will detach without setting console socket",
            ));
        }
        (None, true) => {
            standard.caller = Terminal::of_caller();
            standard.description = standard.caller.as_ref().map(Terminal::description);
            let copy = |terminal: &Terminal| terminal.as_fd().try_clone_to_owned().while_doing("terminal");
            standard.watched = standard.caller.as_ref().map(copy).transpose()?;
            caller()?
        }
        (None, false) => caller()?,
    };
    standard.fds.extend(first);
    standard.fds.extend(preserved(options.preserve_fds)?);
    Ok(standard)
}

/// Starts the process; the connection that stands for it, and its id inside.
fn enter(known: &Known, options: &Options, standard: &Standard) -> Result<(Connection, u32), Failure> {
    if let Some(cgroup) = &known.saved.cgroup {
        cgroup.join()?;
    }
    host::prctl::set_title(&options.process.argv);
    let connection = known.connect()?;
    let request = Request::Exec {
        container: known.saved.id.clone(),
        process: Box::new(options.process.clone()),
        terminal: standard.description.clone(),
    };
    let fds: Vec<_> = standard.fds.iter().map(AsFd::as_fd).collect();
    connection.send(&request, &fds).while_doing("control socket")?;
    match connection.receive_reply() {
        Ok(Some(Reply::Started(pid))) => Ok((connection, pid)),
        Ok(Some(Reply::Failed(status, message))) => Err(Failure {
            status,
            message: format!("exec failed: unable to start container process: {message}"),
        }),
        _ => Err(Failure::own("container not running")),
    }
}

/// Runs a hook inside a container as root, with `input` on its standard input, and waits for its end.
pub fn run_hook(known: &Known, hook: &Hook, input: &str) -> Result<(), Failure> {
    let strings = |list: &Option<Vec<String>>| -> Vec<Vec<u8>> {
        let strings = list.iter().flatten();
        strings.map(|string| string.as_bytes().to_vec()).collect()
    };
    let mut argv = strings(hook.args());
    let path = hook.path().as_os_str().as_bytes().to_vec();
    match argv.first_mut() {
        // The program is looked up by this, too.
        Some(name) => *name = path,
        None => argv.push(path),
    }
    let process = Process {
        argv,
        env: strings(hook.env()),
        cwd: None,
        user: sandbox::container::User {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            umask: 0o022,
        },
        rlimits: launch::rlimits()?,
        privileges: sandbox::container::Privileges::default(),
    };
    let doing = hook.path().display().to_string();
    let (reader, mut writer) = std::io::pipe().while_doing(&doing)?;
    let null = || {
        File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .while_doing("/dev/null")
    };
    let standard = Standard {
        fds: vec![reader.into(), null()?.into(), null()?.into()],
        description: None,
        watched: None,
        caller: None,
    };
    let mut connection = known.connect()?;
    if let Some(seconds) = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok())
        && seconds > 0
    {
        connection.set_limit(std::time::Duration::from_secs(seconds));
    }
    let request = Request::Exec {
        container: known.saved.id.clone(),
        process: Box::new(process),
        terminal: None,
    };
    let fds: Vec<_> = standard.fds.iter().map(AsFd::as_fd).collect();
    connection.send(&request, &fds).while_doing(&doing)?;
    // The state is much shorter than a pipe holds. One that does not read is free not to.
    let _ = writer.write_all(input.as_bytes());
    drop((writer, standard));
    loop {
        match connection.receive_reply().while_doing(&doing)? {
            Some(Reply::Started(_)) => {}
            Some(Reply::Exited(0)) => return Ok(()),
            Some(Reply::Exited(status)) => {
                return Err(Failure::own(format!("{doing}: exit status {status}")));
            }
            Some(Reply::Killed(signal)) => return Err(Failure::own(format!("{doing}: signal {signal}"))),
            Some(Reply::Failed(_, message)) => return Err(Failure::own(message)),
            _ => return Err(Failure::own("container not running")),
        }
    }
}

/// Forwards signals and window sizes until the process has ended. All signals are blocked.
fn stand_for(connection: Connection, watched: Option<OwnedFd>) -> Result<Outcome, Failure> {
    supervise::give_up_capabilities()?;
    let connection = Arc::new(connection);
    let (ended, outcome) = std::sync::mpsc::channel();
    let listening = connection.clone();
    let listener = std::thread::Builder::new().spawn(move || {
        let _ = ended.send(end_of(&listening));
        // The other thread waits for signals.
        let _ = host::process::pidfd_open(own_pid())
            .and_then(|own| host::process::pidfd_send_signal(&own, signal::SIGCHLD));
    });
    listener.while_doing("threads")?;
    supervise::close_calls(Waits::Command)?;
    let all = SignalSet::all_but_faults();
    loop {
        let signal = all.wait().while_doing("waiting for the command")?;
        if let Ok(outcome) = outcome.try_recv() {
            return Ok(outcome);
        }
        let request = match signal {
            signal::SIGCHLD | signal::SIGPIPE => continue,
            signal::SIGWINCH => {
                let size = watched
                    .as_ref()
                    .and_then(|watched| tty::window_size(watched.as_fd()).ok());
                let Some(size) = size else { continue };
                Request::Resize(numbers(size))
            }
            signal => Request::SignalProcess(u32::try_from(signal).unwrap_or(0)),
        };
        // An error means that it is ending; the other thread tells.
        let _ = connection.send(&request, &[]);
    }
}

/// How the process ended. When the sandbox ends first, the process was killed with it.
fn end_of(connection: &Connection) -> Outcome {
    loop {
        match connection.receive_reply() {
            Ok(Some(Reply::Exited(status))) => return Outcome::Exited(status),
            Ok(Some(Reply::Killed(signal))) => return Outcome::Killed(signal),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Outcome::Killed(super::lifecycle::KILL as i32),
        }
    }
}
