//! Start, signals and removal of containers that were created.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use abi::Errno;
use sandbox::request::{Connection, Reply, Request};

use super::state::{HostProcess, Saved, StateDir, Status};
use super::{hooks, resources};
use crate::cgroup::{Cgroup, Limits};
use crate::cli::Globals;
use crate::failure::{Failure, While};
use crate::network;

/// SIGKILL.
pub const KILL: u32 = 9;
/// Longest wait for an answer that needs no work of the guest.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest wait for the end of a sandbox that was told to end at once.
const OBEDIENCE: Duration = Duration::from_secs(2);
/// Longest wait for the end of processes that were killed.
const END: Duration = Duration::from_secs(10);
/// Between two looks at a process that is ending.
const LOOK: Duration = Duration::from_millis(1);

/// A container that exists.
pub struct Known {
    /// Its directory.
    pub dir: StateDir,
    /// What is kept.
    pub saved: Saved,
    /// What it does.
    pub status: Status,
}

impl Known {
    /// Looks a container up.
    pub fn find(globals: &Globals, id: &str) -> Result<Known, Failure> {
        let dir = StateDir::open(&globals.root, id)?;
        let saved = dir.load()?;
        let status = saved.status();
        Ok(Known { dir, saved, status })
    }

    /// The host's processes that are the container's: those that hold the memory of its own. The sandbox says which of the
    /// control group's they are, and has them show the guest's names; no process of another group is ever listed.
    pub fn host_processes(&self) -> Vec<i32> {
        let group = self.saved.cgroup.as_ref().map(Cgroup::processes);
        let group = group.unwrap_or_default();
        let request = Request::List {
            container: self.saved.id.clone(),
        };
        let mut pids = match self.status {
            Status::Stopped => Vec::new(),
            // It answers nothing: all but those known to be the sandbox's own.
            Status::Paused => {
                let own = [self.saved.monitor, self.saved.sentry].map(|own| own.map(|own| own.pid));
                let mut group = group;
                // Those that stand for processes of `exec` are in the caller's own namespace of processes, whatever they are called.
                group.retain(|pid| !own.contains(&Some(*pid)) && inner_pid(*pid).is_some());
                group
            }
            _ => match self.ask(&request) {
                Ok(Reply::Processes(processes)) => {
                    let inner: BTreeSet<i32> = processes.iter().filter_map(|p| p.host_pid).collect();
                    let named = |pid: &i32| inner_pid(*pid).is_some_and(|pid| inner.contains(&pid));
                    group.into_iter().filter(named).collect()
                }
                _ => Vec::new(),
            },
        };
        if pids.is_empty() {
            // Without a control group: the process that stands for it.
            let monitor = self.saved.monitor.filter(|monitor| monitor.lives());
            pids.extend(monitor.map(|monitor| monitor.pid));
        }
        pids.sort_unstable();
        pids
    }

    /// A connection to its sandbox; an error when it does not run.
    pub fn connect(&self) -> Result<Connection, Failure> {
        match Connection::to(&self.dir.socket()) {
            Ok(connection) => Ok(connection),
            Err(Errno::ECONNREFUSED | Errno::ENOENT) => Err(Failure::own("container not running")),
            other => other.while_doing("control socket"),
        }
    }

    /// Asks its sandbox for something that it answers at once.
    pub fn ask(&self, request: &Request) -> Result<Reply, Failure> {
        self.ask_with(request, &[])
    }

    fn ask_with(&self, request: &Request, fds: &[OwnedFd]) -> Result<Reply, Failure> {
        let reply = self.ask_for_last(request, fds)?;
        reply.ok_or_else(|| Failure::own("container not running"))
    }

    /// `None`: the request was sent, and the sandbox ended before it answered.
    fn ask_for_last(&self, request: &Request, fds: &[OwnedFd]) -> Result<Option<Reply>, Failure> {
        let mut connection = self.connect()?;
        connection.set_limit(ANSWER);
        let sent: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        connection.send(request, &sent).while_doing("control socket")?;
        match connection.receive_reply() {
            Ok(Some(Reply::NotRunning)) => Err(Failure::own("container not running")),
            Ok(None) | Err(Errno::ECONNRESET) => Ok(None),
            Ok(Some(Reply::Failed(_, message))) => Err(Failure::own(message)),
            Ok(Some(reply)) => Ok(Some(reply)),
            Err(error) => Err(error).while_doing("control socket"),
        }
    }
}

/// A process's id in the innermost process namespace that it is in; `None`: it is in the caller's own, or gone.
fn inner_pid(pid: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let mut ids = line.split_whitespace();
    ids.next()?;
    ids.next_back()?.parse().ok()
}

/// Starts the first process of a created container.
pub fn start(globals: &Globals, id: &str) -> Result<(), Failure> {
    let dir = StateDir::open(&globals.root, id)?;
    let lock = dir.lock()?;
    let saved = dir.load()?;
    let mut known = Known {
        status: saved.status(),
        dir,
        saved,
    };
    match known.status {
        Status::Created => {}
        Status::Stopped => return Err(Failure::own("cannot start a container that has stopped")),
        Status::Running | Status::Paused => {
            return Err(Failure::own("cannot start an already running container"));
        }
        Status::Creating => {
            return Err(Failure::own("cannot start a container in the creating state"));
        }
    }
    let hooks = known.saved.hooks.clone().unwrap_or_default();
    let text = known.saved.report_json(Status::Created);
    for (index, hook) in hooks.start_container().iter().flatten().enumerate() {
        if let Err(failure) = super::entered::run_hook(&known, hook, &text) {
            end_now(&known.saved);
            let why = failure.message;
            return Err(Failure::own(format!(
                "error running startContainer hook #{index}: {why}"
            )));
        }
    }
    let (network, sockets) = match (&known.saved.monitor, known.saved.network) {
        (Some(monitor), network::Kind::Sandbox) => network::take_over_of(monitor.pid)?,
        (Some(monitor), network::Kind::Host) => (network::seen_by(monitor.pid)?, Vec::new()),
        _ => Default::default(),
    };
    let request = Request::Start {
        container: id.to_string(),
        network,
    };
    match known.ask_with(&request, &sockets)? {
        Reply::Done => {}
        _ => return Err(Failure::own("the sandbox gave no answer to the start")),
    }
    known.saved.started = true;
    known.dir.save(&known.saved)?;
    drop(lock);
    let text = known.saved.report_json(Status::Running);
    let poststart = hooks.poststart().as_deref().unwrap_or_default();
    hooks::run_all("poststart", poststart, &text, |line| globals.warn(line));
    Ok(())
}

/// Sends a signal to a container's first process, or to all of its processes.
pub fn kill(globals: &Globals, id: &str, signal: u32, all: bool) -> Result<(), Failure> {
    let known = Known::find(globals, id)?;
    if known.status == Status::Stopped {
        // Without processes there is none that could not be reached.
        return if all {
            Ok(())
        } else {
            Err(Failure::own("container not running"))
        };
    }
    if signal == 0 {
        return Ok(());
    }
    let request = Request::Signal {
        container: id.to_string(),
        signal,
        all,
    };
    if known.status == Status::Paused && signal == KILL {
        // A sandbox that stands still answers nothing, but its end needs no answer.
        end_now(&known.saved);
        return Ok(());
    }
    // One that ends before it answers ends of the signal.
    let told = known.ask_for_last(&request, &[]);
    match known.saved.monitor {
        Some(monitor) if signal == KILL => ended_or_killed(monitor, told.map(drop)),
        _ => told.map(drop),
    }
}

/// A sandbox that was told to end: one that does not, or gave no answer, is ended from outside, whatever it says.
fn ended_or_killed(monitor: HostProcess, told: Result<(), Failure>) -> Result<(), Failure> {
    let limit = Instant::now() + OBEDIENCE;
    while told.is_ok() && monitor.lives() && Instant::now() < limit {
        std::thread::sleep(LOOK);
    }
    if monitor.signal(KILL as i32) { Ok(()) } else { told }
}

/// Stops every process of a container, the sandbox's own included.
pub fn pause(globals: &Globals, id: &str) -> Result<(), Failure> {
    let known = Known::find(globals, id)?;
    match (known.status, &known.saved.cgroup) {
        (Status::Running | Status::Created, Some(cgroup)) => cgroup.freeze(),
        (Status::Running | Status::Created, None) => Err(Failure::own("pausing needs a control group")),
        _ => Err(Failure::own("container not running or created")),
    }
}

/// Lets a paused container go on.
pub fn resume(globals: &Globals, id: &str) -> Result<(), Failure> {
    let known = Known::find(globals, id)?;
    match (known.status, &known.saved.cgroup) {
        (Status::Paused, Some(cgroup)) => cgroup.thaw(),
        _ => Err(Failure::own("container not paused")),
    }
}

/// Changes limits of a container, on the host and inside.
pub fn update(globals: &Globals, id: &str, change: Limits) -> Result<(), Failure> {
    let dir = StateDir::open(&globals.root, id)?;
    let _lock = dir.lock()?;
    let mut known = Known::find(globals, id)?;
    if known.status == Status::Stopped {
        return Err(Failure::own("container not running"));
    }
    let cgroup = known.saved.cgroup.as_mut();
    let cgroup = cgroup.ok_or_else(|| Failure::own("limits need a control group"))?;
    cgroup.update(change)?;
    let limits = resources::seen_inside(cgroup.limits());
    known.dir.save(&known.saved)?;
    if known.status == Status::Paused {
        // It stands still, and cannot be told. What the host enforces is in force.
        globals.warn("the container is paused: it does not see its new limits");
        return Ok(());
    }
    let request = Request::Update {
        container: id.to_string(),
        limits,
    };
    known.ask(&request).map(drop)
}

/// Removes a container; with `force` one that still runs, too.
pub fn delete(globals: &Globals, id: &str, force: bool) -> Result<(), Failure> {
    let dir = match StateDir::open(&globals.root, id) {
        Err(_) if force && super::state::check_id(id).is_ok() => return Ok(()),
        dir => dir?,
    };
    let lock = dir.lock()?;
    let saved = match dir.load() {
        Ok(saved) => saved,
        // Its creation was broken off before anything was made.
        Err(_) if force => return dir.remove(),
        Err(failure) => return Err(failure),
    };
    let status = saved.status();
    match status {
        Status::Stopped => {}
        Status::Created => {}
        _ if force => {}
        status => {
            return Err(Failure::own(format!(
                "cannot delete container {id} that is not stopped: {}",
                status.name()
            )));
        }
    }
    end(&saved)?;
    if let Some(cgroup) = &saved.cgroup {
        cgroup.remove()?;
    }
    let hooks = saved.hooks.clone().unwrap_or_default();
    let text = saved.report_json(Status::Stopped);
    dir.remove()?;
    drop(lock);
    let poststop = hooks.poststop().as_deref().unwrap_or_default();
    hooks::run_all("poststop", poststop, &text, |line| globals.warn(line));
    Ok(())
}

/// Kills what is left of a container; those that were told.
fn end_now(saved: &Saved) -> Vec<HostProcess> {
    let processes: Vec<HostProcess> = [saved.monitor, saved.sentry].into_iter().flatten().collect();
    for process in &processes {
        process.signal(KILL as i32);
    }
    if let Some(cgroup) = &saved.cgroup {
        // The killed cannot end while they stand still.
        let _ = cgroup.thaw();
    }
    processes
}

/// Kills what is left of a container, and waits until it is gone.
fn end(saved: &Saved) -> Result<(), Failure> {
    let processes = end_now(saved);
    let limit = Instant::now() + END;
    loop {
        let alive = unrecorded(saved)
            .iter()
            .filter(|process| process.signal(KILL as i32))
            .count();
        if alive == 0 && !processes.iter().any(|process| process.lives()) {
            break;
        }
        if Instant::now() > limit {
            return Err(Failure::own("the container's processes do not end"));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Processes of ours in the container's control group that nobody wrote down, because its creation was broken off.
fn unrecorded(saved: &Saved) -> Vec<HostProcess> {
    if saved.complete {
        return Vec::new();
    }
    let group = saved.cgroup.as_ref().map(Cgroup::processes).unwrap_or_default();
    let ours = |process: &HostProcess| {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", process.pid));
        name.is_ok_and(|name| name.starts_with("tegmen-"))
    };
    group
        .into_iter()
        .filter_map(HostProcess::of)
        .filter(ours)
        .collect()
}
