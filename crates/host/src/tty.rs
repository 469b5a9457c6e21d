//! Terminals of the host: termios(3), window size, new pseudo-terminals.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use abi::Errno;

use crate::call::check;

/// Terminal settings as the C library keeps them.
#[derive(Clone, Copy)]
pub struct Termios(libc::termios);

/// Rows and columns of a terminal, and its size in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
    /// Width in pixels, or 0.
    pub x_pixels: u16,
    /// Height in pixels, or 0.
    pub y_pixels: u16,
}

/// Whether the descriptor is a terminal.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    settings(fd).is_ok()
}

/// The settings of a terminal; `ENOTTY` if it is none.
pub fn settings(fd: BorrowedFd<'_>) -> Result<Termios, Errno> {
    let mut termios = MaybeUninit::uninit();
    // SAFETY: tcgetattr initialises the structure when it succeeds.
    check(unsafe { libc::tcgetattr(fd.as_raw_fd(), termios.as_mut_ptr()) }.into())?;
    // SAFETY: it succeeded.
    Ok(Termios(unsafe { termios.assume_init() }))
}

/// Sets a terminal's settings once what was written has been sent.
pub fn set(fd: BorrowedFd<'_>, settings: &Termios) -> Result<(), Errno> {
    // SAFETY: the structure is initialised.
    check(unsafe { libc::tcsetattr(fd.as_raw_fd(), libc::TCSADRAIN, &settings.0) }.into()).map(drop)
}

impl Termios {
    /// The same settings with every byte passed through as it is, in both directions (cfmakeraw(3)).
    pub fn raw(&self) -> Termios {
        let mut raw = self.0;
        // SAFETY: the structure is initialised.
        unsafe { libc::cfmakeraw(&mut raw) };
        Termios(raw)
    }

    /// The kernel's `struct termios`: input, output, control and local flags, and the first 19 control characters.
    pub fn fields(&self) -> ([u32; 4], [u8; 19]) {
        let mut characters = [0; 19];
        characters.copy_from_slice(&self.0.c_cc[..19]);
        (
            [self.0.c_iflag, self.0.c_oflag, self.0.c_cflag, self.0.c_lflag],
            characters,
        )
    }
}

/// The window size; `ENOTTY` if it is no terminal.
pub fn window_size(fd: BorrowedFd<'_>) -> Result<WindowSize, Errno> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes a winsize.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &mut size) }.into())?;
    Ok(WindowSize {
        rows: size.ws_row,
        columns: size.ws_col,
        x_pixels: size.ws_xpixel,
        y_pixels: size.ws_ypixel,
    })
}

/// A new pseudo-terminal of the host: master and slave (the slave cannot be opened by name for others to mix it up).
pub fn open_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the path is a C string.
    let master = check(unsafe { libc::open(c"/dev/ptmx".as_ptr(), flags) }.into())?;
    // SAFETY: a new descriptor that nobody else owns.
    let master = unsafe { OwnedFd::from_raw_fd(master as i32) };
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlocked) }.into())?;
    // SAFETY: TIOCGPTPEER takes open(2) flags by value.
    let slave = check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok((master, unsafe { OwnedFd::from_raw_fd(slave as i32) }))
}

/// Makes the terminal the controlling one of the calling process, which must lead a session without one.
pub fn take_control(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: TIOCSCTTY takes a number.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// Sets the window size.
pub fn set_window_size(fd: BorrowedFd<'_>, size: WindowSize) -> Result<(), Errno> {
    let size = libc::winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: size.x_pixels,
        ws_ypixel: size.y_pixels,
    };
    // SAFETY: TIOCSWINSZ reads a winsize.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &size) }.into()).map(drop)
}

/// Whether the caller's process group is in the foreground of this terminal, so that changing it will not stop the caller.
pub fn in_foreground(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::tcgetpgrp(fd.as_raw_fd()) == libc::getpgrp() }
}
