//! Where log lines go: the debug log's file, or standard error.

use std::os::fd::{AsFd, OwnedFd};

use kernel::Log;

/// Writes each line with one call, so that lines of several threads do not mix.
pub struct LineLog(OwnedFd);

impl LineLog {
    /// A log to `fd`.
    pub fn new(fd: OwnedFd) -> LineLog {
        LineLog(fd)
    }
}

impl Log for LineLog {
    fn line(&self, line: &str) {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        // A log that cannot be written must not end the sandbox.
        let _ = host::fd::write_all(self.0.as_fd(), &bytes);
    }
}
