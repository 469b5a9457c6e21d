//! The command's side of a running sandbox: forwards signals, waits for the end, and passes the outcome on.

use std::os::fd::AsFd;

use host::ns::Ended;
use host::signal::{self, SignalSet};
use host::surface::Waits;
use sandbox::control::{FromSentry, MAX_PACKET, ToSentry};

use crate::failure::{Failure, OWN_ERROR, While};
use crate::jail::Jail;
use crate::terminal::Terminal;

/// How a sandbox ended.
#[derive(Debug)]
pub enum Outcome {
    /// The command exited with this status.
    Exited(u8),
    /// The command was killed by this signal.
    Killed(i32),
}

impl Outcome {
    /// The exit status for the caller. A command's death by a signal becomes the caller's own.
    pub fn pass_on(self) -> Result<u8, Failure> {
        match self {
            Outcome::Exited(status) => Ok(status),
            Outcome::Killed(signal) => signal::die_by(signal),
        }
    }
}

/// Gives up what waiting for a sandbox does not need: capabilities, and all but a few host calls. For the rest of the process's life;
/// to be called by its first thread, before others are started.
pub fn confine(who: Waits) -> Result<(), Failure> {
    give_up_capabilities()?;
    close_calls(who)
}

/// The first half of [`confine`].
pub fn give_up_capabilities() -> Result<(), Failure> {
    host::caps::give_up().while_doing("dropping capabilities")?;
    host::prctl::no_new_privs().while_doing("no_new_privs")
}

/// The second half, for all threads.
pub fn close_calls(who: Waits) -> Result<(), Failure> {
    host::surface::close_waiting(who, sandbox::call_name).while_doing("filter of host calls")
}

/// Forwards signals until the sandbox has ended. All signals must have been blocked since before the sandbox was started.
pub fn wait(jail: &Jail, terminal: Option<&Terminal>) -> Result<Outcome, Failure> {
    let all = SignalSet::all_but_faults();
    loop {
        let signal = all.wait().while_doing("waiting for the sandbox")?;
        match signal {
            signal::SIGCHLD => {
                if let Some(ended) = jail.sentry.try_wait().while_doing("waiting for the sandbox")? {
                    return outcome(jail, ended);
                }
            }
            signal::SIGWINCH => {
                if let Some(terminal) = terminal {
                    send(jail, &ToSentry::WindowSize(terminal.size()));
                }
            }
            signal::SIGTSTP | signal::SIGTTIN | signal::SIGTTOU => {
                send(jail, &ToSentry::Signal(signal));
                if let Some(terminal) = terminal {
                    terminal.restore();
                }
                signal::stop_self();
                if let Some(terminal) = terminal {
                    terminal.take_again();
                    send(jail, &ToSentry::WindowSize(terminal.size()));
                }
            }
            // Ours: a write to a closed pipe.
            signal::SIGPIPE => {}
            _ => send(jail, &ToSentry::Signal(signal)),
        }
    }
}

/// Tells the sentry.
pub fn send(jail: &Jail, message: &ToSentry) {
    // An error means that the sentry is ending; SIGCHLD tells.
    let _ = host::fd::send(jail.control.as_fd(), &message.encode());
}

/// What the sentry reported before it ended, or what its end says.
pub fn outcome(jail: &Jail, ended: Ended) -> Result<Outcome, Failure> {
    let mut buf = [0; MAX_PACKET];
    while let Ok(len @ 1..) = host::fd::try_receive(jail.control.as_fd(), &mut buf) {
        match FromSentry::decode(&buf[..len]) {
            Some(FromSentry::Exited(status)) => return Ok(Outcome::Exited(status)),
            Some(FromSentry::Killed(signal)) => return Ok(Outcome::Killed(signal)),
            Some(FromSentry::Failed(status, message)) => return Err(Failure { status, message }),
            Some(FromSentry::Ready) | None => {}
        }
    }
    Err(Failure::own(match ended {
        // The sentry has said on standard error what went wrong.
        Ended::Exited(status) if status == i32::from(OWN_ERROR) => String::new(),
        Ended::Exited(status) => format!("the sandbox failed with status {status}"),
        Ended::Signaled(signal) => format!("the sandbox was killed by signal {signal}"),
    }))
}
