//! Where log lines go: the debug log's file, or standard error.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use kernel::Log;

/// Bytes that a log of a container takes when nobody asked for it: guests can make the kernel write lines, and the
/// file lies in the host's memory.
const KEPT: u64 = 256 << 10;

/// Writes each line with one call, so that lines of several threads do not mix.
pub struct LineLog {
    file: OwnedFd,
    /// Bytes that may still be written.
    left: AtomicU64,
}

impl LineLog {
    /// A log to `file`; `bounded`: only so much of it that a guest can do no harm.
    pub fn new(file: OwnedFd, bounded: bool) -> LineLog {
        let left = if bounded { KEPT } else { u64::MAX };
        LineLog {
            file,
            left: AtomicU64::new(left),
        }
    }
}

impl Log for LineLog {
    fn line(&self, line: &str) {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        let take = |left: u64| left.checked_sub(bytes.len() as u64);
        let room = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        if room.is_ok() {
            // A log that cannot be written must not end the sandbox.
            let _ = host::fd::write_all(self.file.as_fd(), &bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_bounded_log_ends() {
        let (reader, writer) = std::io::pipe().unwrap();
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            { reader }.read_to_string(&mut text).unwrap();
            text.len()
        });
        let log = LineLog::new(writer.into(), true);
        for _ in 0..10_000 {
            log.line(&"x".repeat(99));
        }
        drop(log);
        let len = reading.join().unwrap() as u64;
        assert!(len <= KEPT && len > KEPT - 100, "{len}");
    }
}
