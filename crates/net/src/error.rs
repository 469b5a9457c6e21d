//! What can go wrong, by Linux's names and numbers.

use std::fmt;

/// An error of a call or of a socket. The values are Linux's errno (x86-64).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Error {
    /// The send or receive queue cannot serve the call now.
    WouldBlock = 11,
    /// A policy forbids it.
    AccessDenied = 13,
    /// No such interface.
    NoDevice = 19,
    /// The object is there already.
    Exists = 17,
    /// There is no such object.
    NotFound = 2,
    /// There is no such route.
    NoRoute = 3,
    /// An argument makes no sense.
    Invalid = 22,
    /// Written after the sending side was closed.
    BrokenPipe = 32,
    /// ICMP: protocol error.
    Protocol = 71,
    /// Larger than a datagram or the path can carry.
    MessageTooLong = 90,
    /// ICMP: protocol unreachable.
    NoProtocolOption = 92,
    /// The state of the socket does not allow it.
    NotSupported = 95,
    /// The pair of addresses is in use.
    AddressInUse = 98,
    /// Not an address of ours.
    AddressNotAvailable = 99,
    /// The interface is down.
    NetworkDown = 100,
    /// No route to the destination.
    NetworkUnreachable = 101,
    /// The peer gave up in the midst of the handshake, or we did.
    ConnectionAborted = 103,
    /// The peer sent RST.
    ConnectionReset = 104,
    /// A bound of memory is reached.
    NoBuffers = 105,
    /// Connected already.
    IsConnected = 106,
    /// Not connected.
    NotConnected = 107,
    /// No answer in time.
    TimedOut = 110,
    /// RST as the answer to SYN, or ICMP port unreachable.
    ConnectionRefused = 111,
    /// ICMP: host is down.
    HostDown = 112,
    /// ICMP host unreachable, or no neighbour answered.
    HostUnreachable = 113,
}

impl Error {
    /// Linux's number of it.
    pub const fn errno(self) -> i32 {
        self as i32
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Error {}
