//! Terminals for the embedding program: a pair for the host's terminal, and its tie to the first process.

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::{O_NOCTTY, O_RDWR};
use kernel::Kernel;
use kernel::file::FileDescription;
use kernel::vfs::Walker;

use super::master::Master;
use super::slave::Slave;
use super::termios::WinSize;

/// Opens a pair through the tree that `walker` sees (/dev/ptmx, then /dev/pts/N): master and slave. It becomes /dev/console.
pub fn open_pair(walker: &Walker<'_>) -> Result<(Arc<FileDescription>, Arc<FileDescription>), Errno> {
    let master = walker.open(None, b"/dev/ptmx", O_RDWR | O_NOCTTY, 0)?;
    let tty = master.ops_as::<Master>().ok_or(Errno::ENOTTY)?.0.clone();
    tty.lock().locked = false;
    let path = format!("/dev/pts/{}", tty.index);
    let slave = walker.open(None, path.as_bytes(), O_RDWR | O_NOCTTY, 0)?;
    if let Some(terminals) = tty.terminals() {
        terminals.set_console(tty.index);
    }
    Ok((master, slave))
}

/// Tells a terminal (by either end) the size of its window; a change is told to the foreground group.
pub fn set_window_size(end: &FileDescription, rows: u16, columns: u16) {
    let master = end.ops_as::<Master>().map(|master| &master.0);
    let tty = master.or(end.ops_as::<Slave>().map(Slave::tty));
    if let Some(tty) = tty {
        tty.resize(WinSize {
            rows,
            columns,
            ..WinSize::default()
        });
    }
}

/// Makes a slave the controlling terminal of the session that process `pid` leads, with that process in front.
pub fn make_controlling(kernel: &Arc<Kernel>, slave: &FileDescription, pid: u32) -> Result<(), Errno> {
    let tty = slave.ops_as::<Slave>().ok_or(Errno::ENOTTY)?.tty();
    let leader = kernel.pids.read().task(pid).ok_or(Errno::ESRCH)?;
    tty.control(&leader, false)
}
