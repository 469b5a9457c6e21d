//! The `tegmen` command as a library, so that tests and fuzz targets reach what it makes of an engine's files.
//!
//! One verb per file under `cli`, the walls in `jail`, the waiting side in `supervise`. Starts no thread before the jail is closed:
//! the sentry is a clone of this process.
#![forbid(unsafe_code)]

#[expect(dead_code, unused_imports, reason = "used by verbs that come next")]
mod cgroup;
mod cli;
mod container;
mod failure;
mod forward;
mod jail;
mod launch;
mod network;
mod supervise;
mod terminal;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::process::ExitCode;

pub use container::translate;

/// The command: reads the process's arguments, does what they say, and returns its exit status.
pub fn main() -> ExitCode {
    // Ignoring the error is safe: without /dev/null nothing can be opened in place of a standard descriptor either.
    let _ = host::fd::ensure_stdio();
    match cli::run(std::env::args_os()) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("tegmen: {}", failure.shown());
            }
            ExitCode::from(failure.status)
        }
    }
}
