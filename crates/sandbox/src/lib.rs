//! Inside the jail: puts kernel, file systems and execution engine together and runs the container's first process.
//!
//! Everything comes in through [`run`]: what to run, directory handles, standard descriptors and a control socket. Nothing
//! here resolves a host path.
#![forbid(unsafe_code)]

mod config;
pub mod control;
pub mod listing;
mod log;

use std::os::fd::{AsFd, OwnedFd};

pub use config::{Config, Handles, Io, Terminal};

use control::FromSentry;

/// Runs the sandbox in the calling process, which is the first of its pid namespace, inside closed walls, and has one thread.
///
/// Returns the process's exit status; the outcome of the command goes through `control`.
pub fn run(config: Config, handles: Handles, io: Io, control: OwnedFd) -> i32 {
    let _ = (handles, io);
    let message = format!(
        "no kernel yet to run {:?}",
        String::from_utf8_lossy(&config.argv[0])
    );
    let _ = host::fd::send(control.as_fd(), &FromSentry::Failed(125, message).encode());
    125
}
