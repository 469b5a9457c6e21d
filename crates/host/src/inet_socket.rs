//! Sockets of the host's network for guests that share it (`--network=host`): internet streams and datagrams, with
//! addresses and options as they are. None of the calls waits.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use abi::Errno;

use crate::call::check;

/// Bytes of the largest address (struct sockaddr_in6).
pub const ADDRESS: usize = 28;
/// Bytes of the largest option value.
pub const OPTION: usize = 256;

/// An address as the host gave it.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    bytes: [u8; ADDRESS],
    len: libc::socklen_t,
}

impl Address {
    fn empty() -> Address {
        Address {
            bytes: [0; ADDRESS],
            len: ADDRESS as libc::socklen_t,
        }
    }

    /// Its bytes; none when the host gave no address.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..(self.len as usize).min(ADDRESS)]
    }
}

/// What a socket has waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Bytes to read (FIONREAD).
    Readable,
    /// Bytes that the peer has not taken (SIOCOUTQ).
    Unsent,
    /// Whether an urgent byte is next (SIOCATMARK).
    AtMark,
}

/// The requests of [`pending`].
pub const PENDING: &[u32] = &[FIONREAD as u32, SIOCOUTQ as u32, SIOCATMARK as u32];
const FIONREAD: u64 = 0x541b;
const SIOCOUTQ: u64 = 0x5411;
const SIOCATMARK: u64 = 0x8905;

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the callers pass a descriptor that the kernel has just made for them.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// A stream or datagram socket of AF_INET, or (`ipv6`) of AF_INET6.
pub fn open(ipv6: bool, stream: bool) -> Result<OwnedFd, Errno> {
    let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET };
    let kind = if stream {
        libc::SOCK_STREAM
    } else {
        libc::SOCK_DGRAM
    };
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is passed.
    check(unsafe { libc::socket(family, kind | flags, 0) }.into()).map(owned)
}

/// bind(2).
pub fn bind(socket: BorrowedFd<'_>, address: &[u8]) -> Result<(), Errno> {
    let len = address.len() as libc::socklen_t;
    // SAFETY: pointer and length describe `address`.
    check(unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), len) }.into()).map(drop)
}

/// connect(2). `EINPROGRESS`: not done yet.
pub fn connect(socket: BorrowedFd<'_>, address: &[u8]) -> Result<(), Errno> {
    let len = address.len() as libc::socklen_t;
    // SAFETY: pointer and length describe `address`.
    check(unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), len) }.into()).map(drop)
}

/// listen(2).
pub fn listen(socket: BorrowedFd<'_>, backlog: i32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) }.into()).map(drop)
}

/// accept4(2) of a listener that does not wait.
pub fn accept(socket: BorrowedFd<'_>) -> Result<(OwnedFd, Address), Errno> {
    let mut from = Address::empty();
    let place = from.bytes.as_mut_ptr().cast();
    // SAFETY: pointer and length describe `from`.
    let fd = unsafe { libc::accept4(socket.as_raw_fd(), place, &mut from.len, libc::SOCK_CLOEXEC) };
    check(fd.into()).map(|fd| (owned(fd), from))
}

/// getsockname(2).
pub fn own_name(socket: BorrowedFd<'_>) -> Result<Address, Errno> {
    let mut name = Address::empty();
    let place = name.bytes.as_mut_ptr().cast();
    // SAFETY: pointer and length describe `name`.
    check(unsafe { libc::getsockname(socket.as_raw_fd(), place, &mut name.len) }.into()).map(|_| name)
}

/// getpeername(2).
pub fn peer_name(socket: BorrowedFd<'_>) -> Result<Address, Errno> {
    let mut name = Address::empty();
    let place = name.bytes.as_mut_ptr().cast();
    // SAFETY: pointer and length describe `name`.
    check(unsafe { libc::getpeername(socket.as_raw_fd(), place, &mut name.len) }.into()).map(|_| name)
}

/// shutdown(2).
pub fn shutdown(socket: BorrowedFd<'_>, read: bool, write: bool) -> Result<(), Errno> {
    let how = match (read, write) {
        (true, true) => libc::SHUT_RDWR,
        (true, false) => libc::SHUT_RD,
        (false, true) => libc::SHUT_WR,
        (false, false) => return Ok(()),
    };
    // SAFETY: no memory is passed.
    check(unsafe { libc::shutdown(socket.as_raw_fd(), how) }.into()).map(drop)
}

/// sendto(2), without waiting and without a signal.
pub fn send(socket: BorrowedFd<'_>, data: &[u8], flags: i32, to: Option<&[u8]>) -> Result<usize, Errno> {
    let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let (place, len) = to.map_or((std::ptr::null(), 0), |to| (to.as_ptr(), to.len()));
    // SAFETY: pointers and lengths describe `data` and `to`; the latter may be left out.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            data.as_ptr().cast(),
            data.len(),
            flags,
            place.cast(),
            len as libc::socklen_t,
        )
    };
    check(sent as libc::c_long).map(|sent| sent as usize)
}

/// recvfrom(2), without waiting. With MSG_TRUNC the whole length of a message, which may be more than was stored.
pub fn receive(socket: BorrowedFd<'_>, buf: &mut [u8], flags: i32) -> Result<(usize, Address), Errno> {
    let mut from = Address::empty();
    // SAFETY: pointers and lengths describe `buf` and `from`.
    let got = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buf.as_mut_ptr().cast(),
            buf.len(),
            flags | libc::MSG_DONTWAIT,
            from.bytes.as_mut_ptr().cast(),
            &mut from.len,
        )
    };
    check(got as libc::c_long).map(|got| (got as usize, from))
}

/// setsockopt(2).
pub fn set_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
    let len = value.len() as libc::socklen_t;
    // SAFETY: pointer and length describe `value`.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), len) }.into())
        .map(drop)
}

/// getsockopt(2) of up to `room` bytes.
pub fn option(socket: BorrowedFd<'_>, level: i32, name: i32, room: usize) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; room.min(OPTION)];
    let mut len = value.len() as libc::socklen_t;
    let place = value.as_mut_ptr().cast();
    // SAFETY: pointer and length describe `value`.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, place, &mut len) }.into())?;
    value.truncate(len as usize);
    Ok(value)
}

/// ioctl(2) of a socket's queues.
pub fn pending(socket: BorrowedFd<'_>, what: Pending) -> Result<usize, Errno> {
    let request = match what {
        Pending::Readable => FIONREAD,
        Pending::Unsent => SIOCOUTQ,
        Pending::AtMark => SIOCATMARK,
    };
    let mut value: libc::c_int = 0;
    // SAFETY: these requests store one int.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), request, &mut value) }.into())?;
    Ok(usize::try_from(value).unwrap_or(0))
}
