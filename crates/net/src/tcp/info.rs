//! What a TCP socket tells about itself.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{Error, Ready};

/// States, by Linux's numbers (include/net/tcp_states.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TcpState {
    /// Data may pass.
    Established = 1,
    /// SYN sent.
    SynSent = 2,
    /// SYN received.
    SynReceived = 3,
    /// We closed.
    FinWait1 = 4,
    /// We closed, and the peer knows.
    FinWait2 = 5,
    /// Both closed; old segments die out.
    TimeWait = 6,
    /// No connection.
    Closed = 7,
    /// The peer closed.
    CloseWait = 8,
    /// The peer closed, then we.
    LastAck = 9,
    /// Waits for connections.
    Listen = 10,
    /// Both closed at the same time.
    Closing = 11,
}

/// State of a socket at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpStatus {
    /// State.
    pub state: TcpState,
    /// All that is ready.
    pub ready: Ready,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end; unspecified for listeners.
    pub remote: SocketAddr,
    /// Bytes to read (SIOCINQ); for a listener connections to accept.
    pub readable: usize,
    /// Bytes that [`Stack::tcp_send`](crate::Stack::tcp_send) would take.
    pub writable: usize,
    /// Bytes that the peer has not acknowledged (SIOCOUTQ); for a listener its backlog.
    pub send_queue: usize,
    /// Bytes not sent yet (SIOCOUTQNSD).
    pub not_sent: usize,
    /// The peer sent FIN (or a reset), and all is read or will be.
    pub peer_closed: bool,
    /// Error that waits to be taken (SO_ERROR).
    pub error: Option<Error>,
    /// Buffer sizes as SO_SNDBUF and SO_RCVBUF show them.
    pub send_buffer: usize,
    /// See above.
    pub receive_buffer: usize,
}

/// Figures of TCP_INFO; the names are those of `struct tcp_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "include/uapi/linux/tcp.h, struct tcp_info")]
pub struct TcpInfo {
    pub state: u8,
    /// TCP_CA_*: 0 open, 1 disorder, 3 recovery, 4 loss.
    pub ca_state: u8,
    pub retransmits: u8,
    pub probes: u8,
    pub backoff: u8,
    /// TCPI_OPT_*: 1 timestamps, 2 SACK, 4 window scaling.
    pub options: u8,
    pub snd_wscale: u8,
    pub rcv_wscale: u8,
    pub rto: Duration,
    pub ato: Duration,
    pub snd_mss: u32,
    pub rcv_mss: u32,
    pub unacked: u32,
    pub sacked: u32,
    pub lost: u32,
    pub retrans: u32,
    pub last_data_sent: Duration,
    pub last_data_recv: Duration,
    pub last_ack_recv: Duration,
    pub pmtu: u32,
    pub rcv_ssthresh: u32,
    pub rtt: Duration,
    pub rttvar: Duration,
    pub snd_ssthresh: u32,
    pub snd_cwnd: u32,
    pub advmss: u32,
    pub reordering: u32,
    pub rcv_rtt: Duration,
    pub rcv_space: u32,
    pub total_retrans: u32,
    pub bytes_acked: u64,
    pub bytes_received: u64,
    pub segs_out: u32,
    pub segs_in: u32,
    pub notsent_bytes: u32,
    pub min_rtt: Duration,
    pub data_segs_in: u32,
    pub data_segs_out: u32,
    /// Not measured: 0.
    pub delivery_rate: u64,
    pub bytes_sent: u64,
    pub bytes_retrans: u64,
    pub dsack_dups: u32,
    pub reord_seen: u32,
    pub snd_wnd: u32,
    pub rcv_wnd: u32,
}

/// A row of /proc/net/tcp, or of ss(8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpEntry {
    /// The socket; `None` for handshakes that are not finished and for TIME_WAIT.
    pub id: Option<crate::TcpId>,
    /// The number that its owner gave it; 0 when there is no owner.
    pub token: u64,
    /// State.
    pub state: TcpState,
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// As in [`TcpStatus`].
    pub readable: usize,
    /// As in [`TcpStatus`].
    pub send_queue: usize,
    /// Interface it is bound to.
    pub interface: Option<u32>,
    /// Time until the next timer, and Linux's number of it: 1 retransmission, 2 keepalive, 3 TIME_WAIT, 4 zero window probe.
    pub timer: Option<(u8, Duration)>,
    /// Retransmissions of that timer.
    pub retransmits: u8,
}
