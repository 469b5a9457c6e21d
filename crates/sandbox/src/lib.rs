//! Inside the jail: puts kernel, file systems and execution engine together and runs the container's first process.
//!
//! Everything comes in through [`run`]: what to run, directory handles, standard descriptors and a control socket. Nothing
//! here resolves a host path.
#![forbid(unsafe_code)]

mod accounts;
mod boot;
mod config;
pub mod container;
pub mod control;
mod etc;
mod forward;
mod gate;
pub mod listing;
pub mod request;
/// What guest processes may call, for `tegmen surface`.
pub mod surface {
    pub use systrap::{Allowed, GUEST_CALLS, helper_calls};
}
mod host_network;
mod log;
mod mounts;
pub mod network;
pub mod pieces;
mod process;
mod program;
pub mod seccomp;
mod serve;
mod server;
mod terminal;
mod timing;
pub mod words;

use std::os::fd::OwnedFd;
use std::sync::Arc;

pub use boot::call_name;
pub use config::{Config, Handles, Io, Terminal};
pub use fs::cgroupfs::figures::Figure;
pub use timing::Timing;

/// Runs the sandbox in the calling process, which is the first of its pid namespace, inside closed walls, and has one thread.
///
/// Returns the process's exit status; the outcome of the command goes through `control`.
pub fn run(config: Config, handles: Handles, io: Io, control: OwnedFd, mut timing: Timing) -> i32 {
    serve::catch_panics();
    let control = Arc::new(control);
    match boot::start(config, handles, io, control.clone(), &mut timing) {
        Ok(sandbox) => serve::until_the_end(&sandbox, timing),
        Err(report) => serve::report(&control, &report),
    }
}
