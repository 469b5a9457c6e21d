//! What a sentry may ask of the host's network beside the table, when guests share it (`--network=host`).

use super::{Arg, Row, Scope, Test, Verdict, one_of, without};

const FAMILIES: &[u32] = &[libc::AF_INET as u32, libc::AF_INET6 as u32];
/// Streams and datagrams that do not wait and are not inherited.
const KINDS: &[u32] = &[
    (libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as u32,
    (libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as u32,
];
/// No descriptors, no error queue, no page of the sentry kept by the host, nothing that another call would wait for.
const FLAGS: Arg = without(
    3,
    libc::MSG_ERRQUEUE | libc::MSG_ZEROCOPY | libc::MSG_FASTOPEN | libc::MSG_CMSG_CLOEXEC,
    "no error queue, no zero copy, no fast open",
);

macro_rules! shared {
    ($name:ident, $nr:expr, [$($arg:expr),*], $reason:literal) => {
        Row {
            nr: $nr,
            name: stringify!($name),
            verdict: Verdict::Allow(&[$($arg),*]),
            reason: $reason,
            scope: Scope::HostNetwork,
        }
    };
}

pub(super) const SOCKET: Row = shared!(
    socket,
    libc::SYS_socket,
    [
        one_of(0, FAMILIES, "AF_INET, AF_INET6"),
        one_of(1, KINDS, "stream, datagram"),
        one_of(2, &[0], "its usual protocol")
    ],
    "a guest's socket in the host's network"
);
pub(super) const BIND: Row = shared!(bind, libc::SYS_bind, [], "likewise");
pub(super) const CONNECT: Row = shared!(connect, libc::SYS_connect, [], "likewise");
pub(super) const LISTEN: Row = shared!(listen, libc::SYS_listen, [], "likewise");
pub(super) const GETSOCKNAME: Row = shared!(getsockname, libc::SYS_getsockname, [], "likewise");
pub(super) const GETPEERNAME: Row = shared!(getpeername, libc::SYS_getpeername, [], "likewise");
pub(super) const SHUTDOWN: Row = shared!(shutdown, libc::SYS_shutdown, [], "likewise");
pub(super) const SENDTO: Row = shared!(sendto, libc::SYS_sendto, [FLAGS], "bytes and datagrams of guests");
pub(super) const RECVFROM: Row = shared!(
    recvfrom,
    libc::SYS_recvfrom,
    [FLAGS],
    "bytes and datagrams for guests"
);
pub(super) const SETSOCKOPT: Row = shared!(
    setsockopt,
    libc::SYS_setsockopt,
    [pair_of(SET, "options that reach no further than the socket")],
    "options of a guest's socket"
);
pub(super) const GETSOCKOPT: Row = shared!(
    getsockopt,
    libc::SYS_getsockopt,
    [pair_of(GET, "the same, and SO_ERROR, TCP_INFO and their kin")],
    "likewise; what became of a connection"
);
pub(super) const IOCTL: Row = shared!(
    ioctl,
    libc::SYS_ioctl,
    [one_of(
        1,
        crate::inet_socket::PENDING,
        "FIONREAD, SIOCOUTQ, SIOCATMARK"
    )],
    "bytes that wait in a guest's socket"
);

/// Options that guests may set on sockets of the host: level and name.
pub const SETTABLE: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_REUSEADDR),
    (libc::SOL_SOCKET, libc::SO_BROADCAST),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_REUSEPORT),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    (libc::IPPROTO_IP, libc::IP_MULTICAST_IF),
    (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL),
    (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP),
    (libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP),
    (libc::IPPROTO_IP, libc::IP_DROP_MEMBERSHIP),
    (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_MAXSEG),
    (libc::IPPROTO_TCP, libc::TCP_CORK),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_SYNCNT),
    (libc::IPPROTO_TCP, libc::TCP_LINGER2),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP),
    (libc::IPPROTO_TCP, libc::TCP_QUICKACK),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT),
    (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
    (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF),
    (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS),
    (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP),
    (libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP),
    (libc::IPPROTO_IPV6, libc::IPV6_DROP_MEMBERSHIP),
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
    (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
];

/// Options that guests may read beside those.
pub const READABLE: &[(i32, i32)] = &[
    (libc::SOL_SOCKET, libc::SO_ERROR),
    (libc::SOL_SOCKET, libc::SO_ACCEPTCONN),
    (libc::IPPROTO_IP, libc::IP_MTU),
    (libc::IPPROTO_TCP, libc::TCP_INFO),
    (libc::IPPROTO_TCP, libc::TCP_CONGESTION),
    (libc::IPPROTO_IPV6, libc::IPV6_MTU),
];

const fn pair_of(pairs: &'static [(u32, u32)], words: &'static str) -> Arg {
    Arg {
        index: 1,
        test: Test::PairOf(pairs),
        words,
    }
}

const fn joined<const N: usize>(one: &[(i32, i32)], two: &[(i32, i32)]) -> [(u32, u32); N] {
    let mut all = [(0, 0); N];
    let mut at = 0;
    while at < N {
        let (level, name) = if at < one.len() {
            one[at]
        } else {
            two[at - one.len()]
        };
        all[at] = (level as u32, name as u32);
        at += 1;
    }
    all
}

const SET: &[(u32, u32)] = &joined::<{ SETTABLE.len() }>(SETTABLE, &[]);
const GET: &[(u32, u32)] = &joined::<{ SETTABLE.len() + READABLE.len() }>(SETTABLE, READABLE);
