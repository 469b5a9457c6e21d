//! The drivers behind /dev/tty, /dev/console, /dev/ptmx and /dev/pts/N.

use std::sync::Arc;

use abi::Errno;
use kernel::Kernel;
use kernel::file::FileOps;
use kernel::task::current;
use kernel::vfs::device::minor;
use kernel::vfs::{DeviceOpener, FileKind, Path};

use super::master::Master;
use super::slave::Slave;
use super::{SLAVE_MAJOR, TTY_MAJOR, Terminals, Tty};

/// Registers the drivers.
pub fn register(kernel: &Arc<Kernel>, terminals: &Arc<Terminals>) {
    let devices = &kernel.vfs.devices;
    let special = Arc::new(SpecialOpener(terminals.clone()));
    devices.register(FileKind::CharDevice, TTY_MAJOR, 0..=2, special);
    let slaves = Arc::new(SlaveOpener(terminals.clone()));
    devices.register(FileKind::CharDevice, SLAVE_MAJOR, 0..=0xf_ffff, slaves);
}

struct SpecialOpener(Arc<Terminals>);

impl DeviceOpener for SpecialOpener {
    fn open(
        &self,
        kernel: &Arc<Kernel>,
        _: &Path,
        minor: u32,
        flags: u32,
    ) -> Result<Box<dyn FileOps>, Errno> {
        match minor {
            0 => {
                let tty = controlling(&self.0).ok_or(Errno::ENXIO)?;
                Ok(Box::new(Slave::open(&tty, flags | abi::fcntl::O_NOCTTY)?))
            }
            1 => {
                let tty = self.0.console().ok_or(Errno::ENODEV)?;
                Ok(Box::new(Slave::open(&tty, flags)?))
            }
            2 => {
                let owner = current().map_or((0, 0), |task| {
                    let cred = task.cred();
                    (cred.fsuid, cred.fsgid)
                });
                Ok(Box::new(Master(self.0.create(kernel, owner)?)))
            }
            _ => Err(Errno::ENXIO),
        }
    }
}

/// The terminal that controls the calling process's session.
fn controlling(terminals: &Terminals) -> Option<Arc<Tty>> {
    let task = current()?;
    let device = task.kernel.pids.read().terminal_of(task.tgid())?.device();
    terminals.get(minor(device))
}

struct SlaveOpener(Arc<Terminals>);

impl DeviceOpener for SlaveOpener {
    fn open(&self, _: &Arc<Kernel>, _: &Path, minor: u32, flags: u32) -> Result<Box<dyn FileOps>, Errno> {
        let tty = self.0.get(minor).ok_or(Errno::EIO)?;
        Ok(Box::new(Slave::open(&tty, flags)?))
    }
}
