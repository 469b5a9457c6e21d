//! packet(7): raw access to the frames of a network interface, and the netlink socket that tells about interfaces.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use abi::Errno;

use crate::call::check;

/// Bytes of the header before each frame (struct virtio_net_hdr): offloads of checksums and segmentation.
pub const OFFLOAD_HEADER: usize = 10;

/// Every protocol, in network byte order (ETH_P_ALL).
const ALL_PROTOCOLS: u16 = (libc::ETH_P_ALL as u16).to_be();
/// Bytes of frames that the host keeps for a reader that is busy: some milliseconds of ten gigabits.
const RECEIVE_BUFFER: libc::c_int = 16 << 20;
/// Bytes of frames under way to a slow device.
const SEND_BUFFER: libc::c_int = 8 << 20;
/// PACKET_IGNORE_OUTGOING, which libc does not name.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

fn new_socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) }.into())?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A packet socket of the caller's network namespace that receives nothing until it is attached. Reads and writes do not wait.
pub fn open() -> Result<OwnedFd, Errno> {
    new_socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK, 0)
}

/// Attaches a packet socket to the interface with this index: from now on a read gives a frame, a write sends one, each after
/// an [`OFFLOAD_HEADER`].
pub fn attach(socket: BorrowedFd<'_>, index: u32) -> Result<(), Errno> {
    set(socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
    // Frames that the host itself sends there are none of ours. Without effect on older kernels.
    let _ = set(socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    set(socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
    // Larger than the host's limit only for those who may; a smaller one loses frames earlier and is no error.
    let _ = set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER)
        .or_else(|_| set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BUFFER));
    let _ = set(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BUFFER)
        .or_else(|_| set(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER));
    let addr = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ALL_PROTOCOLS,
        sll_ifindex: i32::try_from(index).map_err(|_| Errno::ENODEV)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = size_of_val(&addr) as libc::socklen_t;
    // SAFETY: pointer and length describe `addr`.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const addr).cast(), len) }.into()).map(drop)
}

fn set(socket: BorrowedFd<'_>, level: i32, name: i32, value: libc::c_int) -> Result<(), Errno> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: pointer and length describe `value`.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) }.into())
        .map(drop)
}

/// A netlink socket of the route family in the caller's network namespace; [`crate::fd::send`] and
/// [`crate::fd::receive`] carry its messages.
pub fn route_socket() -> Result<OwnedFd, Errno> {
    new_socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)
}

/// Reads one frame with its header into `buf`. `EAGAIN` when there is none.
pub fn receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: pointer and length describe `buf`.
    let got = unsafe { libc::read(socket.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
    check(got as libc::c_long).map(|got| got as usize)
}

/// Sends one frame, given as its header and up to a few parts. `EAGAIN` when there is no room.
pub fn send(socket: BorrowedFd<'_>, parts: &[&[u8]]) -> Result<(), Errno> {
    let mut vectors = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; MOST_PARTS];
    let vectors = vectors.get_mut(..parts.len()).ok_or(Errno::EINVAL)?;
    for (vector, part) in vectors.iter_mut().zip(parts) {
        vector.iov_base = part.as_ptr().cast_mut().cast();
        vector.iov_len = part.len();
    }
    let count = vectors.len() as libc::c_int;
    // SAFETY: each vector describes a part, which the host only reads. The offset -1 makes it writev(2).
    let sent = unsafe { libc::pwritev2(socket.as_raw_fd(), vectors.as_ptr(), count, -1, 0) };
    check(sent as libc::c_long).map(drop)
}

/// Parts of one frame: headers and the two pieces of a ring.
pub const MOST_PARTS: usize = 8;

/// What [`wait`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Bit n: the nth descriptor is readable (or broken).
    pub readable: u64,
    /// Bit n: the nth descriptor is writable.
    pub writable: u64,
}

/// Descriptors that [`wait`] takes.
pub const MOST_DESCRIPTORS: usize = 32;

/// Waits until one of the descriptors is readable (those of `for_room`: or writable), at most for `timeout`. poll(2) with its
/// milliseconds: rounded up. `EINTR` counts as nothing found.
pub fn wait(
    descriptors: &[BorrowedFd<'_>],
    for_room: u64,
    timeout: Option<std::time::Duration>,
) -> Result<Found, Errno> {
    let mut entries = [libc::pollfd {
        fd: -1,
        events: 0,
        revents: 0,
    }; MOST_DESCRIPTORS];
    let entries = entries.get_mut(..descriptors.len()).ok_or(Errno::EINVAL)?;
    for (at, (entry, fd)) in entries.iter_mut().zip(descriptors).enumerate() {
        entry.fd = fd.as_raw_fd();
        entry.events = libc::POLLIN
            | if for_room & (1 << at) != 0 {
                libc::POLLOUT
            } else {
                0
            };
    }
    let millis = timeout.map_or(-1, |time| {
        i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    });
    // SAFETY: pointer and length describe `entries`.
    let got = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, millis) };
    match check(got.into()) {
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(Found::default()),
        Err(error) => return Err(error),
    }
    let mut found = Found::default();
    for (at, entry) in entries.iter().enumerate() {
        if entry.revents & !libc::POLLOUT != 0 {
            found.readable |= 1 << at;
        }
        if entry.revents & libc::POLLOUT != 0 {
            found.writable |= 1 << at;
        }
    }
    Ok(found)
}
