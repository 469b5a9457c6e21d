//! ip(7): sockets of the host's network, for the relay of a sandbox's network and for forwarded ports. None of them waits.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use abi::Errno;

use crate::call::check;

/// What is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// tcp(7).
    Stream,
    /// udp(7).
    Datagram,
    /// icmp(7): echo requests and their replies.
    Echo,
}

/// Room for the address of either family, aligned as both.
#[repr(align(8))]
struct Address([u8; size_of::<libc::sockaddr_in6>()]);

fn encode(to: SocketAddr) -> (Address, usize) {
    let mut bytes = Address([0; size_of::<libc::sockaddr_in6>()]);
    bytes.0[2..4].copy_from_slice(&to.port().to_be_bytes());
    let (family, len) = match to {
        SocketAddr::V4(to) => {
            bytes.0[4..8].copy_from_slice(&to.ip().octets());
            (libc::AF_INET, size_of::<libc::sockaddr_in>())
        }
        SocketAddr::V6(to) => {
            bytes.0[8..24].copy_from_slice(&to.ip().octets());
            bytes.0[24..28].copy_from_slice(&to.scope_id().to_ne_bytes());
            (libc::AF_INET6, size_of::<libc::sockaddr_in6>())
        }
    };
    bytes.0[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    (bytes, len)
}

/// A socket that is connected to `to`, or is about to be (a stream). `EACCES`: this user may send no echo requests.
pub fn connect(kind: Kind, to: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if to.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let (kind, protocol) = match kind {
        Kind::Stream => (libc::SOCK_STREAM, 0),
        Kind::Datagram => (libc::SOCK_DGRAM, 0),
        Kind::Echo if to.is_ipv4() => (libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
        Kind::Echo => (libc::SOCK_DGRAM, libc::IPPROTO_ICMPV6),
    };
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::socket(family, kind | flags, protocol) }.into())?;
    // SAFETY: a new descriptor that nobody else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    if kind == libc::SOCK_STREAM {
        set(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, &1)?;
        // Whoever relays bytes sends none of its own: else a peer that vanished would never be missed.
        set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_KEEPALIVE, &1)?;
    }
    let (address, len) = encode(to);
    // SAFETY: pointer and length describe `address`.
    let done = unsafe { libc::connect(socket.as_raw_fd(), address.0.as_ptr().cast(), len as u32) };
    match check(done.into()) {
        Ok(_) | Err(Errno::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

fn set<T>(socket: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> Result<(), Errno> {
    let len = size_of::<T>() as libc::socklen_t;
    let (fd, place) = (socket.as_raw_fd(), std::ptr::from_ref(value).cast());
    // SAFETY: pointer and length describe `value`.
    check(unsafe { libc::setsockopt(fd, level, name, place, len) }.into()).map(drop)
}

/// Has the host look whether quiet peers are still there, and send what there is at once. Connections of a listener have it, too.
pub fn notice_lost_peers(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    /// Seconds of silence before the first question, between two, and how many stay without an answer.
    const QUESTIONS: [(i32, i32); 3] = [
        (libc::TCP_KEEPIDLE, 60),
        (libc::TCP_KEEPINTVL, 15),
        (libc::TCP_KEEPCNT, 4),
    ];
    set(listener, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &1)?;
    set(listener, libc::IPPROTO_TCP, libc::TCP_NODELAY, &1)?;
    for (name, value) in QUESTIONS {
        set(listener, libc::IPPROTO_TCP, name, &value)?;
    }
    Ok(())
}

/// The error that waits in a socket (SO_ERROR), which is taken.
pub fn take_error(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut value: libc::c_int = 0;
    let mut len = size_of_val(&value) as libc::socklen_t;
    let (fd, place) = (socket.as_raw_fd(), (&raw mut value).cast());
    // SAFETY: pointer and length describe `value`.
    check(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, place, &mut len) }.into())?;
    if value == 0 {
        Ok(())
    } else {
        Err(Errno::from_raw(value))
    }
}

/// Receives bytes or a datagram. `EAGAIN` when there is nothing; 0 is the end of a stream.
pub fn receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: pointer and length describe `buf`.
    let got = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buf.as_mut_ptr().cast(),
            buf.len(),
            libc::MSG_DONTWAIT,
        )
    };
    check(got as libc::c_long).map(|got| got as usize)
}

/// Sends bytes or a datagram. `EAGAIN` when there is no room.
pub fn send(socket: BorrowedFd<'_>, data: &[u8]) -> Result<usize, Errno> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: pointer and length describe `data`.
    let sent = unsafe { libc::send(socket.as_raw_fd(), data.as_ptr().cast(), data.len(), flags) };
    check(sent as libc::c_long).map(|sent| sent as usize)
}

/// Ends the stream to the peer.
pub fn end(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) }.into()).map(drop)
}

/// Closes a stream by a reset.
pub fn reset(socket: OwnedFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let _ = set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_LINGER, &linger);
}
