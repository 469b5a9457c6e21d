//! The guest's own terminal in place of the caller's, and the relay between the two.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use abi::Errno;
use fs::stdio::{Pump, pump};
use fs::tty;
use host::tty::WindowSize;
use kernel::Kernel;
use kernel::file::FileDescription;
use kernel::task::Task;
use kernel::vfs::{Path, Walker};

/// Longest wait for a caller's terminal that does not take the last bytes.
const DRAIN: Duration = Duration::from_secs(2);
/// The group of terminals (Debian's and others' `tty`), as devpts is mounted.
const TTY_GROUP: u32 = 5;

/// A pseudo-terminal of the guest, with the caller's at the other end.
pub struct Relay {
    master: Arc<FileDescription>,
    slave: Arc<FileDescription>,
    pump: Pump,
}

impl Relay {
    /// Makes the terminal, owned by `uid`, and starts to move bytes between it and `host`.
    pub fn start(
        kernel: &Arc<Kernel>,
        root: &Path,
        host: OwnedFd,
        size: WindowSize,
        uid: u32,
    ) -> Result<Relay, Errno> {
        let walker = Walker::as_root(kernel, root.clone());
        let (master, slave) = tty::open_pair(&walker)?;
        walker.chown(slave.path(), uid, TTY_GROUP)?;
        let pump = pump(host, master.clone())?;
        let relay = Relay { master, slave, pump };
        relay.resize(size);
        Ok(relay)
    }

    /// The guest's end, for its standard descriptors.
    pub fn slave(&self) -> &Arc<FileDescription> {
        &self.slave
    }

    /// Makes it the controlling terminal of a process that leads its session.
    pub fn give_to(&self, leader: &Task) -> Result<(), Errno> {
        tty::make_controlling(&leader.kernel, &self.slave, leader.tid)
    }

    /// The caller's terminal has another size.
    pub fn resize(&self, size: WindowSize) {
        tty::set_window_size(&self.master, size.rows, size.columns);
    }

    /// Waits until the caller's terminal has everything that was written to the guest's.
    pub fn drain(&self) {
        self.pump.drain(DRAIN);
    }
}
