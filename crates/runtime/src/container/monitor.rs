//! The process that stands for a container on the host: its pid is the container's.
//!
//! It lives in the container's namespaces and cgroups, is the parent of the sentry, which dies with it, forwards signals and
//! window sizes, and ends as the container's first process does. It is outside of the jail and holds nothing that it
//! does not need: no capability, no descriptor but the sockets to the sentry, no host call but those of waiting, nothing of the
//! host's mounts.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use host::signal::{self, SignalSet};
use host::surface::Waits;
use host::tty;
use host::{mount, ns};
use sandbox::control::{FromSentry, MAX_PACKET, ToSentry};
use sandbox::{Config, Io, Timing};

use super::namespaces::Namespaces;
use super::view::{self, View};
use crate::cgroup::Cgroup;
use crate::failure::{Failure, While};
use crate::jail::{self, Jail, Tree};
use crate::supervise::{self, Outcome};

/// What a monitor starts with.
pub struct Plan {
    /// The container's trees.
    pub trees: Vec<Tree>,
    /// The sandbox's configuration.
    pub config: Config,
    /// Its descriptors.
    pub io: Io,
    /// The control socket.
    pub listener: OwnedFd,
    /// The namespaces to live in.
    pub namespaces: Namespaces,
    /// The control group to live in.
    pub cgroup: Option<Cgroup>,
    /// The terminal whose window size is watched.
    pub console: Option<OwnedFd>,
    /// Whether that terminal becomes the monitor's own.
    pub lead_terminal: bool,
    /// To the command that creates the container.
    pub sync: OwnedFd,
}

/// What the creating command hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromMonitor {
    /// The first process is ready; the sentry's process id.
    Ready(i32),
    /// There is no container: exit status and one line.
    Failed(u8, String),
}

impl FromMonitor {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            FromMonitor::Ready(pid) => [b"R", &pid.to_le_bytes()[..]].concat(),
            FromMonitor::Failed(status, message) => {
                let mut bytes = vec![b'F', *status];
                bytes.extend(message.bytes().take(MAX_PACKET - 2));
                bytes
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<FromMonitor> {
        match bytes {
            [b'R', a, b, c, d] => Some(FromMonitor::Ready(i32::from_le_bytes([*a, *b, *c, *d]))),
            [b'F', status, message @ ..] => Some(FromMonitor::Failed(
                *status,
                String::from_utf8_lossy(message).into_owned(),
            )),
            _ => None,
        }
    }
}

/// What the monitor tells; `None` when it has ended.
pub fn receive(sync: BorrowedFd<'_>) -> Option<FromMonitor> {
    let mut buf = [0; MAX_PACKET];
    let len = host::fd::receive(sync, &mut buf).ok()?;
    FromMonitor::decode(buf.get(..len)?)
}

/// The creating command is about to end: the monitor goes on alone.
pub fn let_go(sync: &OwnedFd) -> Result<(), Failure> {
    host::fd::send(sync.as_fd(), b"go").while_doing("the monitor has ended")
}

/// The monitor's whole life, in a process of its own; never returns to the code that cloned it.
pub fn run(plan: Plan) -> i32 {
    host::prctl::set_name(c"tegmen-monitor");
    // First of all, because a copy of the creating command's end would hide its death.
    if plan.close_others().is_err() {
        return 1;
    }
    let sync = plan.sync.as_fd().try_clone_to_owned();
    let failed = |failure: Failure| {
        if let Ok(sync) = &sync {
            let report = FromMonitor::Failed(failure.status, failure.message);
            let _ = host::fd::send(sync.as_fd(), &report.encode());
            // Hooks that still run find the process, until the creating command ends.
            let _ = host::fd::receive(sync.as_fd(), &mut [0; 8]);
        }
        1
    };
    let started = match &sync {
        Ok(_) => start(plan),
        Err(error) => Err(Failure::own(error.to_string())),
    };
    let (jail, mut rest) = match started {
        Ok(started) => started,
        Err(failure) => return failed(failure),
    };
    match until_let_go(&jail, &mut rest) {
        Ok(()) => {}
        Err(failure) => {
            jail.sentry.kill();
            let _ = jail.sentry.wait();
            return failed(failure);
        }
    }
    // Closes what the copy for reports was good for.
    drop(sync);
    match wait(&jail, rest.console.as_ref()) {
        Ok(Outcome::Exited(status)) => ns::exit_now(i32::from(status)),
        Ok(Outcome::Killed(signal)) => signal::die_by(signal),
        Err(failure) => ns::exit_now(i32::from(failure.status)),
    }
}

impl Plan {
    /// Closes what the engine left open for its runtime and what the command had: this process never returns there.
    fn close_others(&self) -> Result<(), Failure> {
        let mut keep = vec![self.sync.as_fd(), self.listener.as_fd()];
        keep.extend(self.io.stdio.iter().map(AsFd::as_fd));
        keep.extend(self.io.more.iter().map(AsFd::as_fd));
        keep.extend(self.io.log.iter().map(AsFd::as_fd));
        keep.extend(self.io.network.iter().map(AsFd::as_fd));
        keep.extend(self.console.iter().map(AsFd::as_fd));
        host::fd::close_all_but(&keep).while_doing("closing descriptors")
    }
}

/// What remains of the plan once there is a jail.
struct Rest {
    console: Option<OwnedFd>,
    sync: OwnedFd,
    /// Its mounts are still missing.
    view: Option<View>,
    /// The container has a user namespace.
    users: bool,
}

fn start(plan: Plan) -> Result<(Jail, Rest), Failure> {
    let Plan {
        trees,
        mut config,
        mut io,
        listener,
        namespaces,
        cgroup,
        console,
        lead_terminal,
        sync,
    } = plan;
    ns::new_session().while_doing("new session")?;
    if let Some(cgroup) = &cgroup {
        cgroup.begin()?;
        io.figures = cgroup.figures();
    }
    namespaces.enter()?;
    for (name, file) in [
        (&mut config.hostname, "hostname"),
        (&mut config.domainname, "domainname"),
    ] {
        if name.is_empty() {
            let shared = std::fs::read_to_string(format!("/proc/sys/kernel/{file}"));
            *name = shared.while_doing("host name")?.trim_end().into();
        }
    }
    let view = match namespaces.makes_mounts() {
        true => {
            // Nothing that is mounted from here on is to be seen by the host.
            mount::make_private().while_doing("making mounts private")?;
            Some(view::Plan::of(&trees, &config.container)?)
        }
        false => None,
    };
    let hostname = namespaces.has_names().then(|| config.hostname.clone());
    if let Some(console) = console.as_ref().filter(|_| lead_terminal) {
        tty::take_control(console.as_fd()).while_doing("controlling terminal")?;
    }
    host::prctl::set_title(&config.container.process.argv);
    let mut timing = Timing::new(false);
    // The sentry's own words go where its log goes.
    if let Some(log) = &io.log {
        host::fd::replace_stdio(2, log.as_fd()).while_doing("standard error")?;
    }
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .while_doing("/dev/null")?;
    for number in [0, 1] {
        host::fd::replace_stdio(number, null.as_fd()).while_doing("/dev/null")?;
    }
    drop(null);
    let jail = jail::start(trees, Some(listener), config, io, &mut timing)?;
    let ended = |failure| {
        jail.sentry.kill();
        let _ = jail.sentry.wait();
        failure
    };
    let view = view.map(view::Plan::enter).transpose().map_err(ended)?;
    let _ = std::env::set_current_dir("/");
    if let Some(name) = hostname {
        // Nobody but tools of the host's reads it.
        let _ = ns::set_hostname(&String::from_utf8_lossy(&name));
    }
    let users = namespaces.has_users();
    Ok((
        jail,
        Rest {
            console,
            sync,
            view,
            users,
        },
    ))
}

/// Closes the wall around this process when the sandbox is made, passes on that the first process is ready, and waits until the
/// creating command has done its part.
fn until_let_go(jail: &Jail, rest: &mut Rest) -> Result<(), Failure> {
    let mut buf = [0; MAX_PACKET];
    let len = host::fd::receive(jail.control.as_fd(), &mut buf).while_doing("waiting for the sentry")?;
    match buf.get(..len).and_then(FromSentry::decode) {
        Some(FromSentry::Ready) => {}
        Some(FromSentry::Failed(status, message)) => return Err(Failure { status, message }),
        _ => return Err(Failure::own("the sandbox ended before it was ready")),
    }
    if let Some(view) = rest.view.take() {
        view.complete();
    }
    if rest.users {
        // Who joins the container's user namespace by this process must find the container's.
        ns::enter(jail.sentry.as_fd(), ns::USER).while_doing("user namespace")?;
        host::prctl::become_root().while_doing("user ids: becoming root of the container's")?;
    }
    supervise::confine(Waits::Monitor)?;
    let ready = FromMonitor::Ready(jail.sentry_pid);
    let gone = "the creating command has ended";
    host::fd::send(rest.sync.as_fd(), &ready.encode()).while_doing(gone)?;
    match host::fd::receive(rest.sync.as_fd(), &mut buf) {
        Ok(1..) => Ok(()),
        _ => Err(Failure::own(gone)),
    }
}

/// Forwards signals until the sandbox has ended.
fn wait(jail: &Jail, console: Option<&OwnedFd>) -> Result<Outcome, Failure> {
    let all = SignalSet::all_but_faults();
    // It may have ended before anybody waited for it.
    let mut ended = jail.sentry.try_wait().while_doing("waiting for the sandbox")?;
    loop {
        if let Some(ended) = ended {
            return supervise::outcome(jail, ended);
        }
        match all.wait().while_doing("waiting for the sandbox")? {
            signal::SIGCHLD => {
                ended = jail.sentry.try_wait().while_doing("waiting for the sandbox")?;
            }
            signal::SIGWINCH if console.is_some() => {
                if let Some(size) = console.and_then(|console| tty::window_size(console.as_fd()).ok()) {
                    supervise::send(jail, &ToSentry::WindowSize(size));
                }
            }
            signal::SIGPIPE => {}
            signal => supervise::send(jail, &ToSentry::Signal(signal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_way() {
        for report in [FromMonitor::Ready(77), FromMonitor::Failed(127, "no".into())] {
            assert_eq!(FromMonitor::decode(&report.encode()), Some(report));
        }
        assert_eq!(FromMonitor::decode(b"R12"), None);
    }
}
