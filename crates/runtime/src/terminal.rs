//! The caller's terminal while a sandbox with a terminal of its own runs.
//!
//! The sandbox gets a pseudo-terminal of its own kernel; bytes are relayed between the two. Guests never hold the
//! caller's terminal (docs/decisions/0003-terminal-is-ours.md).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use host::tty::{self, Termios, WindowSize};

/// The caller's terminal. Dropping it restores the settings.
pub struct Terminal {
    file: OwnedFd,
    before: Termios,
    /// Which of standard input, output, error are this terminal.
    standard: [bool; 3],
    /// Whether the settings were changed and are to be restored.
    raw: bool,
}

impl Terminal {
    /// The terminal that is the caller's standard input or output, in raw mode.
    ///
    /// `None` when neither is a terminal (standard error alone may be shared with the rest of a pipeline), or when the
    /// caller runs in its background.
    pub fn of_caller() -> Option<Terminal> {
        let copies: Vec<Option<OwnedFd>> = (0..3).map(|n| host::fd::duplicate_stdio(n).ok()).collect();
        let is_terminal = |fd: &OwnedFd| tty::is_terminal(fd.as_fd()) && tty::in_foreground(fd.as_fd());
        let mut standard = [false; 3];
        for (flag, copy) in standard.iter_mut().zip(&copies) {
            *flag = copy.as_ref().is_some_and(is_terminal);
        }
        let first = standard.iter().take(2).position(|terminal| *terminal)?;
        let file = copies.into_iter().nth(first)??;
        let before = tty::settings(file.as_fd()).ok()?;
        let raw = tty::set(file.as_fd(), &before.raw()).is_ok();
        Some(Terminal {
            file,
            before,
            standard,
            raw,
        })
    }

    /// What the sandbox is told of it.
    pub fn description(&self) -> sandbox::Terminal {
        let (flags, characters) = self.before.fields();
        let WindowSize {
            rows,
            columns,
            x_pixels,
            y_pixels,
        } = self.size();
        sandbox::Terminal {
            standard: self.standard,
            size: [rows, columns, x_pixels, y_pixels],
            flags,
            characters,
        }
    }

    /// Its window size; zero when it has none.
    pub fn size(&self) -> WindowSize {
        tty::window_size(self.file.as_fd()).unwrap_or_default()
    }

    /// Puts the settings back, for the time the command is stopped.
    pub fn restore(&self) {
        if self.raw {
            // A terminal that is gone needs no settings.
            let _ = tty::set(self.file.as_fd(), &self.before);
        }
    }

    /// Takes the terminal again after [`Terminal::restore`].
    pub fn take_again(&self) {
        if self.raw && tty::in_foreground(self.file.as_fd()) {
            let _ = tty::set(self.file.as_fd(), &self.before.raw());
        }
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore();
    }
}
