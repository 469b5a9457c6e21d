//! Every host call that the process which forwards ports may make (`tegmen port-forward`). It has its listeners and one connection to
//! the sandbox, and nothing to get another with.

use super::{Arg, NO_EXEC, Row, Scope, Verdict, one_of};

const NO_ADDRESS: Arg = one_of(4, &[0], "to its peer");
const NO_SENDER: Arg = one_of(4, &[0], "of its peer");

/// The forwarder's calls.
pub const FORWARD: &[Row] = &[
    call!(
        epoll_wait,
        libc::SYS_epoll_wait,
        "wait for connections and their bytes"
    ),
    call!(
        recvfrom,
        libc::SYS_recvfrom,
        [one_of(3, &[libc::MSG_DONTWAIT as u32], "MSG_DONTWAIT"), NO_SENDER],
        "bytes of clients and of the sandbox"
    ),
    call!(
        sendto,
        libc::SYS_sendto,
        [
            one_of(
                3,
                &[(libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) as u32],
                "MSG_NOSIGNAL | MSG_DONTWAIT"
            ),
            NO_ADDRESS
        ],
        "bytes to clients and to the sandbox"
    ),
    call!(
        accept4,
        libc::SYS_accept4,
        [one_of(3, &[libc::SOCK_CLOEXEC as u32], "close-on-exec")],
        "connections to the ports of the host"
    ),
    call!(
        socketpair,
        libc::SYS_socketpair,
        [
            one_of(0, &[libc::AF_UNIX as u32], "AF_UNIX"),
            one_of(
                1,
                &[(libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u32],
                "stream, close-on-exec"
            )
        ],
        "the stream of a connection, one end of which the sandbox gets"
    ),
    call!(
        sendmsg,
        libc::SYS_sendmsg,
        [one_of(
            2,
            &[(libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) as u32],
            "MSG_NOSIGNAL | MSG_DONTWAIT"
        )],
        "ask the sandbox for a connection, with that end"
    ),
    call!(
        shutdown,
        libc::SYS_shutdown,
        [one_of(1, &[libc::SHUT_WR as u32], "SHUT_WR")],
        "the container's end of a connection ended"
    ),
    call!(
        setsockopt,
        libc::SYS_setsockopt,
        [
            one_of(1, &[libc::SOL_SOCKET as u32], "SOL_SOCKET"),
            one_of(2, &[libc::SO_LINGER as u32], "SO_LINGER")
        ],
        "resets"
    ),
    call!(epoll_ctl, libc::SYS_epoll_ctl, "sockets to wait for"),
    call!(close, libc::SYS_close, "close sockets"),
    call!(
        fcntl,
        libc::SYS_fcntl,
        [one_of(1, &[libc::F_GETFD as u32], "F_GETFD")],
        "debug builds check each descriptor that they close"
    ),
    call!(
        clock_gettime,
        libc::SYS_clock_gettime,
        "times, where there is no vDSO"
    ),
    call!(mmap, libc::SYS_mmap, [NO_EXEC], "its own memory"),
    call!(munmap, libc::SYS_munmap, "give memory back"),
    call!(mremap, libc::SYS_mremap, "grow large allocations"),
    call!(madvise, libc::SYS_madvise, "give memory back"),
    call!(brk, libc::SYS_brk, "the heap"),
    call!(write, libc::SYS_write, "lines on standard error"),
    call!(
        restart_syscall,
        libc::SYS_restart_syscall,
        "continue a wait after a stop"
    ),
    call!(exit_group, libc::SYS_exit_group, "end"),
];
