//! Every host call that the relay of a sandbox's network may make (`tegmen do --network=sandbox`).

use super::{NO_EXEC, Row, Scope, Verdict, one_of};

/// A stream or datagram socket that does not wait and is not inherited.
const KINDS: &[u32] = &[
    (libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as u32,
    (libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as u32,
];
const PROTOCOLS: &[u32] = &[0, libc::IPPROTO_ICMP as u32, libc::IPPROTO_ICMPV6 as u32];
const NO_ADDRESS: super::Arg = one_of(4, &[0], "to its peer");

/// The relay's calls.
pub const RELAY: &[Row] = &[
    call!(epoll_wait, libc::SYS_epoll_wait, "wait for frames and sockets"),
    call!(read, libc::SYS_read, "frames of the sandbox"),
    call!(pwritev2, libc::SYS_pwritev2, "frames to the sandbox"),
    call!(recvfrom, libc::SYS_recvfrom, "bytes and datagrams of the world"),
    call!(
        sendto,
        libc::SYS_sendto,
        [NO_ADDRESS],
        "bytes and datagrams to the world"
    ),
    call!(
        socket,
        libc::SYS_socket,
        [
            one_of(
                0,
                &[libc::AF_INET as u32, libc::AF_INET6 as u32],
                "AF_INET, AF_INET6"
            ),
            one_of(1, KINDS, "stream, datagram"),
            one_of(2, PROTOCOLS, "its usual protocol, ICMP echo")
        ],
        "a connection, datagrams between two addresses, or echo requests of the sandbox"
    ),
    call!(
        connect,
        libc::SYS_connect,
        "likewise; never to a loopback address but of a name server"
    ),
    call!(
        shutdown,
        libc::SYS_shutdown,
        [one_of(1, &[libc::SHUT_WR as u32], "SHUT_WR")],
        "the sandbox's end of a connection ended"
    ),
    call!(
        setsockopt,
        libc::SYS_setsockopt,
        [
            one_of(
                1,
                &[libc::SOL_SOCKET as u32, libc::IPPROTO_TCP as u32],
                "SOL_SOCKET, IPPROTO_TCP"
            ),
            one_of(
                2,
                &[
                    libc::TCP_NODELAY as u32,
                    libc::SO_LINGER as u32,
                    libc::SO_KEEPALIVE as u32
                ],
                "SO_LINGER, SO_KEEPALIVE, TCP_NODELAY"
            )
        ],
        "resets; segments as they come; peers that vanish"
    ),
    call!(
        getsockopt,
        libc::SYS_getsockopt,
        [
            one_of(1, &[libc::SOL_SOCKET as u32], "SOL_SOCKET"),
            one_of(2, &[libc::SO_ERROR as u32], "SO_ERROR")
        ],
        "what became of a connection"
    ),
    call!(epoll_ctl, libc::SYS_epoll_ctl, "sockets to wait for"),
    call!(close, libc::SYS_close, "close sockets"),
    call!(
        fcntl,
        libc::SYS_fcntl,
        [one_of(1, &[libc::F_GETFD as u32], "F_GETFD")],
        "debug builds check each descriptor that they close"
    ),
    call!(clock_gettime, libc::SYS_clock_gettime, "timers"),
    call!(mmap, libc::SYS_mmap, [NO_EXEC], "the relay's own memory"),
    call!(munmap, libc::SYS_munmap, "give memory back"),
    call!(mremap, libc::SYS_mremap, "grow large allocations"),
    call!(madvise, libc::SYS_madvise, "give memory back"),
    call!(brk, libc::SYS_brk, "the heap"),
    call!(getrandom, libc::SYS_getrandom, "keys of hash tables"),
    call!(write, libc::SYS_write, "a last line on standard error"),
    call!(
        restart_syscall,
        libc::SYS_restart_syscall,
        "continue a wait after a stop"
    ),
    call!(
        rt_sigreturn,
        libc::SYS_rt_sigreturn,
        "return from a signal handler"
    ),
    call!(exit_group, libc::SYS_exit_group, "end"),
];
