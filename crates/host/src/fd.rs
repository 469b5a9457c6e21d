//! Descriptors: pairs for talking between processes, and closing what a jailed process must not hold.

use std::fs::File;
use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use abi::Errno;

use crate::call::{c_path, check};

/// A connected pair of packet sockets (unix(7), SOCK_SEQPACKET), close-on-exec.
pub fn packet_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    pair(libc::SOCK_SEQPACKET)
}

/// A connected pair of stream sockets (unix(7)), close-on-exec.
pub fn stream_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    pair(libc::SOCK_STREAM)
}

fn pair(kind: libc::c_int) -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [-1; 2];
    let kind = kind | libc::SOCK_CLOEXEC;
    // SAFETY: `fds` has room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }.into())?;
    // SAFETY: both are new descriptors that nobody else owns.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// The same, with ends that do not wait and as much room for packets under way as the host gives.
pub fn frame_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let room: libc::c_int = 4 << 20;
    let mut fds = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: `fds` has room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }.into())?;
    for fd in fds {
        for name in [libc::SO_SNDBUFFORCE, libc::SO_SNDBUF] {
            let len = size_of_val(&room) as libc::socklen_t;
            // SAFETY: pointer and length describe `room`. Less room costs speed only.
            if unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, name, (&raw const room).cast(), len) } == 0 {
                break;
            }
        }
    }
    // SAFETY: both are new descriptors that nobody else owns.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// A copy of one of the caller's standard descriptors (0, 1, 2), numbered 3 or higher, close-on-exec.
///
/// `EBADF` if the caller was started without it.
pub fn duplicate_stdio(number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: F_DUPFD_CLOEXEC on any number is harmless: the result is a new descriptor, or EBADF.
    let fd = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) }.into())?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A copy of a descriptor that the caller was started with, by its number (3 or higher), close-on-exec. `EBADF` if there is
/// none: one that closes on exec was not inherited but is the caller's own.
pub fn duplicate_inherited(number: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: F_GETFD on any number is harmless.
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    if flags as i32 & libc::FD_CLOEXEC != 0 {
        return Err(Errno::EBADF);
    }
    duplicate_stdio(number)
}

/// Makes sure that 0, 1 and 2 are open, by opening `/dev/null` for those that are not, so that no later
/// descriptor is taken for standard output.
pub fn ensure_stdio() -> Result<(), Errno> {
    let null = c_path(Path::new("/dev/null"))?;
    loop {
        // SAFETY: the path is NUL-terminated.
        let fd = check(unsafe { libc::open(null.as_ptr(), libc::O_RDWR) }.into())? as i32;
        if fd > 2 {
            // SAFETY: `fd` was opened above and nobody else has it.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            return Ok(());
        }
    }
}

/// Closes every descriptor from 3 on but those of `keep`.
///
/// Only for a process that has just been cloned: whoever believed to own one of the others must never use or drop it.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut numbers: Vec<u32> = keep
        .iter()
        .map(|fd| fd.as_raw_fd() as u32)
        .filter(|n| *n > 2)
        .collect();
    numbers.sort_unstable();
    let mut next = 3;
    for number in numbers.into_iter().chain([u32::MAX]) {
        if next < number {
            let last = if number == u32::MAX { number } else { number - 1 };
            // SAFETY: no memory is passed; see the function's comment for the descriptors' owners.
            check(unsafe { libc::syscall(libc::SYS_close_range, next, last, 0) })?;
        }
        next = number.saturating_add(1);
    }
    Ok(())
}

/// Makes standard descriptor `number` (0, 1, 2) a copy of `fd`.
pub fn replace_stdio(number: i32, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    debug_assert!((0..=2).contains(&number));
    // SAFETY: 0 to 2 are owned by nobody in particular.
    check(unsafe { libc::dup3(fd.as_raw_fd(), number, 0) }.into()).map(drop)
}

/// Sends one packet. `EPIPE` when the other side is gone (without a signal).
pub fn send(socket: BorrowedFd<'_>, packet: &[u8]) -> Result<(), Errno> {
    // By write(2), which the sentry makes anyway. Every process of ours ignores SIGPIPE.
    // SAFETY: pointer and length describe `packet`.
    let sent = unsafe { libc::write(socket.as_raw_fd(), packet.as_ptr().cast(), packet.len()) };
    check(sent as libc::c_long).map(drop)
}

/// Sends bytes of a stream and returns how many went. `EPIPE` when the other side is gone (without a signal).
pub fn send_some(socket: BorrowedFd<'_>, data: &[u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: pointer and length describe `data`.
        let sent = unsafe { libc::write(socket.as_raw_fd(), data.as_ptr().cast(), data.len()) };
        match check(sent as libc::c_long) {
            Err(Errno::EINTR) => {}
            other => return other.map(|sent| sent as usize),
        }
    }
}

/// Receives one packet into `buf` and returns its length, 0 when the other side is gone.
pub fn receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize, Errno> {
    // By read(2), as `send` does by write(2).
    // SAFETY: pointer and length describe `buf`.
    retried(|| unsafe { libc::read(socket.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) })
}

/// Like [`receive`], but `EAGAIN` instead of waiting. For those outside of the jail.
pub fn try_receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize, Errno> {
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: pointer and length describe `buf`.
    retried(|| unsafe { libc::recv(socket.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) })
}

fn retried(mut call: impl FnMut() -> libc::ssize_t) -> Result<usize, Errno> {
    loop {
        match check(call() as libc::c_long) {
            Ok(got) => return Ok(got as usize),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// read(2).
pub fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize, Errno> {
    let mut file = borrowed_file(fd);
    file.read(buf).map_err(Errno::from)
}

/// Writes all of `data`.
pub fn write_all(fd: BorrowedFd<'_>, data: &[u8]) -> Result<(), Errno> {
    let mut file = borrowed_file(fd);
    file.write_all(data).map_err(Errno::from)
}

fn borrowed_file(fd: BorrowedFd<'_>) -> ManuallyDrop<File> {
    // SAFETY: ManuallyDrop keeps the descriptor from being closed, so its owner keeps it.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd.as_raw_fd()) })
}
