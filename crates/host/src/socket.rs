//! Unix stream sockets with names, and descriptors passed over them (unix(7), SCM_RIGHTS).

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use abi::Errno;

use crate::call::check;

/// Most descriptors that one message carries (SCM_MAX_FD is 253).
pub const MAX_DESCRIPTORS: usize = 64;

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the callers pass a descriptor that the kernel has just made for them.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn stream() -> Result<OwnedFd, Errno> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: no memory is passed.
    check(unsafe { libc::socket(libc::AF_UNIX, kind, 0) }.into()).map(owned)
}

/// The address of a path. `ENAMETOOLONG` past 107 bytes.
fn address(path: &Path) -> Result<libc::sockaddr_un, Errno> {
    // SAFETY: all-zero is a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sun_family = libc::AF_UNIX as u16;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok(address)
}

const ADDRESS_LEN: libc::socklen_t = size_of::<libc::sockaddr_un>() as libc::socklen_t;

/// A listening stream socket at `path`, which must not exist.
pub fn listen(path: &Path) -> Result<OwnedFd, Errno> {
    const BACKLOG: i32 = 128;
    let socket = stream()?;
    let address = address(path)?;
    // SAFETY: the address is initialised and has the length given.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_LEN) }.into())?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) }.into())?;
    Ok(socket)
}

/// A stream connected to the socket at `path`. `ECONNREFUSED` when nobody listens there any more.
pub fn connect(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = stream()?;
    let address = address(path)?;
    // SAFETY: the address is initialised and has the length given.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_LEN) }.into())?;
    Ok(socket)
}

/// The next connection to a listening socket.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let none = std::ptr::null_mut();
    // SAFETY: the address may be left out.
    let fd = unsafe { libc::accept4(listener.as_raw_fd(), none, none.cast(), libc::SOCK_CLOEXEC) };
    check(fd.into()).map(owned)
}

/// Bounds the time that one send or receive on the socket may take; `EAGAIN` after it.
pub fn set_timeout(socket: BorrowedFd<'_>, limit: Duration) -> Result<(), Errno> {
    let time = libc::timeval {
        tv_sec: limit.as_secs() as i64,
        tv_usec: i64::from(limit.subsec_micros()),
    };
    for option in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        let len = size_of_val(&time) as libc::socklen_t;
        let value = (&raw const time).cast();
        // SAFETY: the value is a timeval of the size given.
        check(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, len) }.into())?;
    }
    Ok(())
}

/// Ends a connection in both directions, for everybody who has it.
pub fn end(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) }.into()).map(drop)
}

/// Room for the control message of [`MAX_DESCRIPTORS`], aligned as a cmsghdr must be.
#[repr(align(8))]
struct Control([u8; 16 + 4 * MAX_DESCRIPTORS]);

/// Sends bytes of a stream, with descriptors at the first of them. Returns how many bytes went.
pub fn send_with(socket: BorrowedFd<'_>, data: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    send_message(socket, data, fds, libc::MSG_NOSIGNAL)
}

/// The same, but `EAGAIN` instead of waiting.
pub fn try_send_with(socket: BorrowedFd<'_>, data: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    send_message(socket, data, fds, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
}

fn send_message(
    socket: BorrowedFd<'_>,
    data: &[u8],
    fds: &[BorrowedFd<'_>],
    flags: libc::c_int,
) -> Result<usize, Errno> {
    if fds.len() > MAX_DESCRIPTORS {
        return Err(Errno::EINVAL);
    }
    let mut control = Control([0; 16 + 4 * MAX_DESCRIPTORS]);
    let mut piece = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &mut piece;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let bytes = size_of_val(fds);
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: plain arithmetic.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(bytes as u32) } as usize;
        // SAFETY: the control buffer is larger than one header, aligned, and its length was set.
        let header = unsafe { libc::CMSG_FIRSTHDR(&message) };
        // SAFETY: `header` points into `control`, which has room for the header and MAX_DESCRIPTORS numbers.
        unsafe {
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(bytes as u32) as usize;
            let numbers = libc::CMSG_DATA(header).cast::<RawFd>();
            for (index, fd) in fds.iter().enumerate() {
                numbers.add(index).write_unaligned(fd.as_raw_fd());
            }
        }
    }
    loop {
        // SAFETY: every pointer of the message describes live memory.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, flags) };
        match check(sent as libc::c_long) {
            Err(Errno::EINTR) => {}
            other => return other.map(|sent| sent as usize),
        }
    }
}

/// Receives bytes of a stream, and the descriptors that came with them (close-on-exec), which are added to `fds`. Returns 0 at the
/// end. `EMSGSIZE` when there were more descriptors than [`MAX_DESCRIPTORS`].
pub fn receive_with(socket: BorrowedFd<'_>, buf: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
    let mut control = Control([0; 16 + 4 * MAX_DESCRIPTORS]);
    let mut piece = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    let got = loop {
        // SAFETY: every pointer of the message describes live, writable memory.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
        match check(got as libc::c_long) {
            Err(Errno::EINTR) => {}
            other => break other? as usize,
        }
    };
    // SAFETY: recvmsg has filled in the control buffer and its length.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    while !header.is_null() {
        // SAFETY: `header` points at a control message that the kernel has written.
        let (level, kind, len) = unsafe { ((*header).cmsg_level, (*header).cmsg_type, (*header).cmsg_len) };
        if level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS {
            // SAFETY: plain arithmetic.
            let before = unsafe { libc::CMSG_LEN(0) } as usize;
            for index in 0..len.saturating_sub(before) / size_of::<RawFd>() {
                // SAFETY: the kernel wrote this many numbers of new descriptors, which nobody else owns.
                fds.push(unsafe {
                    let numbers = libc::CMSG_DATA(header).cast::<RawFd>();
                    OwnedFd::from_raw_fd(numbers.add(index).read_unaligned())
                });
            }
        }
        // SAFETY: `header` is one of the message's.
        header = unsafe { libc::CMSG_NXTHDR(&message, header) };
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(Errno::EMSGSIZE);
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn descriptors_travel_with_the_bytes() {
        let path = std::env::temp_dir().join(format!("tegmen-socket-test-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = listen(&path).unwrap();
        let client = connect(&path).unwrap();
        let server = accept(listener.as_fd()).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        assert_eq!(send_with(client.as_fd(), b"hello", &[writer.as_fd()]), Ok(5));
        drop(writer);
        let (mut buf, mut fds) = ([0; 16], Vec::new());
        assert_eq!(receive_with(server.as_fd(), &mut buf, &mut fds), Ok(5));
        assert_eq!(fds.len(), 1);
        crate::fd::write_all(fds[0].as_fd(), b"there").unwrap();
        fds.clear();
        let mut text = String::new();
        { reader }.read_to_string(&mut text).unwrap();
        assert_eq!(text, "there");
        drop(listener);
        // Other tests of this process clone it, and their children hold a copy of the listener for a moment.
        let refused = || connect(&path).err() == Some(Errno::ECONNREFUSED);
        let begin = std::time::Instant::now();
        while !refused() {
            assert!(begin.elapsed().as_secs() < 20, "nobody refuses");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            address(Path::new(&"x".repeat(200))).unwrap_err(),
            Errno::ENAMETOOLONG
        );
    }
}
