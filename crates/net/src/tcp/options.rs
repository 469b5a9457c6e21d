//! What setsockopt(2) sets on a TCP socket.

use std::time::Duration;

/// Congestion control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681.
    Reno,
}

impl Congestion {
    /// The name that TCP_CONGESTION uses.
    pub fn name(self) -> &'static str {
        match self {
            Congestion::Cubic => "cubic",
            Congestion::Reno => "reno",
        }
    }

    /// The one of that name.
    pub fn by_name(name: &str) -> Option<Congestion> {
        [Congestion::Cubic, Congestion::Reno]
            .into_iter()
            .find(|c| c.name() == name)
    }
}

/// SO_KEEPALIVE and what goes with it. `None`: the sysctl's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// TCP_KEEPIDLE
    pub idle: Option<Duration>,
    /// TCP_KEEPINTVL
    pub interval: Option<Duration>,
    /// TCP_KEEPCNT
    pub count: Option<u8>,
}

/// Options of a TCP socket. Accepted sockets inherit their listener's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// SO_BINDTODEVICE, or the scope of a link-local address.
    pub interface: Option<u32>,
    /// Listener: an unspecified IPv6 address does not take IPv4 connections (IPV6_V6ONLY).
    pub v6only: bool,
    /// Listener: several may share the address; connections are spread by hash (SO_REUSEPORT).
    pub reuse_port: bool,
    /// IP_TTL, IPV6_UNICAST_HOPS
    pub ttl: Option<u8>,
    /// IP_TOS, IPV6_TCLASS
    pub tos: u8,
    /// TCP_NODELAY
    pub nodelay: bool,
    /// TCP_CORK
    pub cork: bool,
    /// TCP_QUICKACK: acknowledge at once until further notice.
    pub quickack: bool,
    /// SO_KEEPALIVE: whether it is on.
    pub keepalive: bool,
    /// Its times.
    pub keepalive_times: Keepalive,
    /// TCP_USER_TIMEOUT
    pub user_timeout: Option<Duration>,
    /// TCP_CONGESTION; `None` for the sysctl's.
    pub congestion: Option<Congestion>,
    /// TCP_MAXSEG
    pub max_segment: Option<u16>,
    /// TCP_WINDOW_CLAMP
    pub window_clamp: Option<u32>,
    /// SO_SNDBUF as getsockopt(2) shows it (doubled). `None`: it grows by itself.
    pub send_buffer: Option<usize>,
    /// SO_RCVBUF as getsockopt(2) shows it (doubled). `None`: it grows by itself.
    pub receive_buffer: Option<usize>,
    /// TCP_SYNCNT
    pub syn_retries: Option<u8>,
    /// TCP_LINGER2: how long an orphan stays in FIN_WAIT2.
    pub linger2: Option<Duration>,
    /// TCP_NOTSENT_LOWAT: writable only while less than this is unsent.
    pub notsent_lowat: Option<u32>,
    /// TCP_DEFER_ACCEPT: accept only once there is data, for so long at most.
    pub defer_accept: Option<Duration>,
    /// SO_OOBINLINE: urgent bytes stay in the stream.
    pub oob_inline: bool,
}
