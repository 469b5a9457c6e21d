//! `tegmen run`: create, start, wait and delete in one.

use host::ns::{Child, Ended};
use host::signal::{self, SignalSet};
use lexopt::Parser;

use super::{Globals, create};
use crate::container::{self, lifecycle};
use crate::failure::{Failure, While};

const HELP: &str = "\
Makes the container ID from a bundle, starts it, waits for its end, and removes it.

usage: tegmen run [OPTION...] ID

  -b, --bundle DIR            the bundle (default: the current directory)
  -d, --detach                do not wait
      --keep                  do not remove it
      --console-socket PATH   send the terminal's master to the socket PATH
      --pid-file FILE         write the id of the container's process to FILE
      --preserve-fds N        pass N descriptors on, from 3
      --no-pivot, --no-new-keyring, --no-subreaper  accepted
  -h, --help                  print this

The exit status is the first process's.
";

pub fn run(globals: &Globals, parser: Parser) -> Result<u8, Failure> {
    let flags = |name: &str| match name {
        "detach" => Some("detach"),
        "keep" => Some("keep"),
        "no-subreaper" => Some("no-subreaper"),
        _ => None,
    };
    let Some((mut options, given)) = create::parse(parser, HELP, flags)? else {
        return Ok(0);
    };
    let detach = given.contains(&"detach");
    options.foreground = !detach;
    let created = container::create::create(globals, &options)?;
    if let Err(failure) = lifecycle::start(globals, &options.id) {
        drop(created);
        lifecycle::delete(globals, &options.id, true)?;
        return Err(failure);
    }
    if detach {
        return Ok(0);
    }
    let ended = wait(&created.monitor);
    drop(created.terminal);
    if !given.contains(&"keep") {
        lifecycle::delete(globals, &options.id, true)?;
    }
    match ended? {
        Ended::Exited(status) => Ok(u8::try_from(status).unwrap_or(u8::MAX)),
        Ended::Signaled(signal) => Ok(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
    }
}

/// Forwards signals to the monitor until it has ended.
fn wait(monitor: &Child) -> Result<Ended, Failure> {
    let all = SignalSet::all_but_faults();
    all.block_exactly().while_doing("blocking signals")?;
    // It may have ended before the signals were blocked.
    let mut ended = monitor.try_wait().while_doing("waiting for the container")?;
    loop {
        if let Some(ended) = ended {
            return Ok(ended);
        }
        match all.wait().while_doing("waiting for the container")? {
            signal::SIGCHLD => ended = monitor.try_wait().while_doing("waiting for the container")?,
            signal::SIGPIPE => {}
            signal => {
                let _ = host::process::pidfd_send_signal(monitor, signal);
            }
        }
    }
}
