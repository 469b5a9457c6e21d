//! Terminals of containers: a pseudo-terminal of the host, its master given to the engine.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use host::tty::{self, WindowSize};

use crate::failure::{Failure, While};

/// The slave of a terminal whose master the engine has.
pub struct Console {
    /// The slave, in raw mode: the guest's own terminal does the line editing.
    pub slave: OwnedFd,
    /// Its window size at the start.
    size: WindowSize,
}

impl Console {
    /// Makes a terminal and sends its master to the engine that listens at `socket`.
    pub fn send_to(socket: &Path, size: Option<WindowSize>) -> Result<Console, Failure> {
        let doing = format!("console socket '{}'", socket.display());
        let (master, slave) = tty::open_pair().while_doing("new terminal")?;
        if let Some(size) = size {
            tty::set_window_size(slave.as_fd(), size).while_doing("new terminal")?;
        }
        let settings = tty::settings(slave.as_fd()).while_doing("new terminal")?;
        tty::set(slave.as_fd(), &settings.raw()).while_doing("new terminal")?;
        let engine = host::socket::connect(socket).while_doing(&doing)?;
        host::socket::send_with(engine.as_fd(), b"/dev/ptmx", &[master.as_fd()]).while_doing(&doing)?;
        Ok(Console {
            slave,
            size: size.unwrap_or_default(),
        })
    }

    /// Its window size now.
    pub fn size(&self) -> WindowSize {
        tty::window_size(self.slave.as_fd()).unwrap_or(self.size)
    }

    /// What the sandbox is told of it: all three standard descriptors are this terminal.
    pub fn description(&self) -> sandbox::Terminal {
        let size = self.size();
        sandbox::Terminal {
            standard: [true; 3],
            size: numbers(size),
            flags: [0; 4],
            characters: [0; 19],
        }
    }

    /// Three copies of the slave, for the standard descriptors.
    pub fn stdio(&self) -> Result<[OwnedFd; 3], Failure> {
        let copy = || self.slave.try_clone().while_doing("new terminal");
        Ok([copy()?, copy()?, copy()?])
    }
}

/// A window size as the protocol carries it.
pub fn numbers(size: WindowSize) -> [u16; 4] {
    [size.rows, size.columns, size.x_pixels, size.y_pixels]
}
