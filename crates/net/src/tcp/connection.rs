//! A connection: its variables, as RFC 9293 section 3.3.1 names them, and what follows directly from them.

use std::time::Duration;

use super::congestion::Control;
use super::info::TcpState;
use super::options::TcpOptions;
use super::receive::Receive;
use super::rtt::Rtt;
use super::sack::Scoreboard;
use super::{Tuple, before};
use crate::event::Ready;
use crate::ring::Ring;
use crate::{Error, Instant, Path, Settings};

/// MSS when the peer tells none: RFC 9293, section 3.7.1.
pub(crate) const DEFAULT_MSS_V4: u16 = 536;
/// The same for IPv6.
pub(crate) const DEFAULT_MSS_V6: u16 = 1220;
/// Smallest MSS that is honoured (Linux's TCP_MIN_SND_MSS): a peer that asks for less would make us send mostly headers.
pub(crate) const MIN_MSS: u16 = 48;
/// What a socket may have when all of them together have too much (Linux's tcp_wmem[0] and a segment's overhead).
const LEAST_BUFFER: usize = 8192;
/// Length of the timestamps option with its padding.
pub(crate) const TIMESTAMPS_LEN: usize = 12;

/// The send sequence space.
#[derive(Debug, Default)]
pub(crate) struct Send {
    pub iss: u32,
    /// Oldest unacknowledged number.
    pub una: u32,
    /// Number of the first byte in `queue`.
    pub queue_seq: u32,
    /// Bytes that are not acknowledged: sent ones first.
    pub queue: Ring,
    /// How many of them were sent.
    pub sent: usize,
    /// The application will write no more.
    pub fin_queued: bool,
    pub fin_sent: bool,
    /// The SYN is (or was) sent, and when it counts as unacknowledged.
    pub syn_acked: bool,
    /// Whether a SYN or SYN-ACK is to be sent.
    pub syn_due: bool,
    /// Window that the peer offers.
    pub wnd: u32,
    pub wl1: u32,
    pub wl2: u32,
    pub max_wnd: u32,
    pub wscale: u8,
    pub peer_mss: u16,
    /// Bytes of memory for `queue`, twice its payload (Linux's sk_sndbuf).
    pub buffer: usize,
    /// A writer found no room.
    pub blocked: bool,
    /// End of the last write that must not wait for more (PSH).
    pub push: u32,
    /// Number after the urgent byte.
    pub urgent: Option<u32>,
    /// MSG_MORE: hold a part of a segment back.
    pub more: bool,
    /// End of the last segment that was shorter than the MSS (Minshall's Nagle).
    pub small_end: u32,
    /// When data was last sent.
    pub last: Instant,
}

/// Timestamps (RFC 7323).
#[derive(Debug, Default)]
pub(crate) struct Timestamps {
    pub on: bool,
    pub recent: u32,
    pub recent_at: Instant,
    /// Added to our clock, so that it does not tell our uptime.
    pub offset: u32,
}

/// Deadlines. What is not armed is `None`.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// Retransmission, of SYN, data or FIN.
    pub retransmit: Option<Instant>,
    /// Tail loss probe.
    pub probe: Option<Instant>,
    /// RACK waits for reordered segments.
    pub reorder: Option<Instant>,
    /// Zero window probe.
    pub persist: Option<Instant>,
    pub delayed_ack: Option<Instant>,
    pub keepalive: Option<Instant>,
    /// End of an orphan in FIN_WAIT2.
    pub orphan: Option<Instant>,
    /// Memory of empty queues goes back.
    pub trim: Option<Instant>,
}

impl Deadlines {
    pub(crate) fn earliest(&self) -> Option<Instant> {
        let all = [
            self.retransmit,
            self.probe,
            self.reorder,
            self.persist,
            self.delayed_ack,
            self.keepalive,
            self.orphan,
            self.trim,
        ];
        all.into_iter().flatten().min()
    }
}

/// Counts for TCP_INFO.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub segs_in: u32,
    pub segs_out: u32,
    pub data_segs_in: u32,
    pub data_segs_out: u32,
    pub bytes_acked: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub bytes_retrans: u64,
    pub total_retrans: u32,
    pub dsack_dups: u32,
    pub reord_seen: u32,
    pub last_data_recv: Instant,
    pub last_ack_recv: Instant,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub state: TcpState,
    pub tuple: Tuple,
    pub options: TcpOptions,
    /// The owner has closed it; it lives until both ends agree.
    pub orphan: bool,
    /// On a listener's queue, and which.
    pub parent: Option<super::TcpId>,
    pub error: Option<Error>,
    /// What made an attempt fail that goes on (ICMP, no route): the error if it ends by timeout.
    pub soft_error: Option<Error>,
    pub shut_read: bool,
    pub path: Option<(u64, Path)>,
    pub snd: Send,
    pub rcv: Receive,
    pub board: Scoreboard,
    pub rtt: Rtt,
    pub control: Control,
    pub ts: Timestamps,
    pub sack_ok: bool,
    pub deadlines: Deadlines,
    /// Retransmissions (or probes) in a row, without an answer.
    pub retries: u8,
    pub probes: u8,
    pub keepalive_sent: u8,
    /// When the oldest unanswered thing was sent first (for user timeouts).
    pub unanswered_since: Option<Instant>,
    pub confirmed: Instant,
    /// The last part of a segment has waited long enough.
    pub force_part: bool,
    /// A tail loss probe is out.
    pub probing: bool,
    /// Output stopped as the device had no room (not for the sake of other sockets).
    pub blocked_by_device: bool,
    /// Memory of the queues, as the table has counted it.
    pub accounted: usize,
    /// All sockets together have much memory: buffers do not grow. And too much: nothing that can wait is taken.
    pub pressure: bool,
    pub exhausted: bool,
    pub figures: Figures,
}

impl TcpState {
    pub(crate) fn counts_as_established(self) -> bool {
        matches!(self, TcpState::Established | TcpState::CloseWait)
    }

    /// The handshake is done, and a FIN of the peer may or may not have come.
    pub(crate) fn is_synchronized(self) -> bool {
        !matches!(
            self,
            TcpState::SynSent
                | TcpState::SynReceived
                | TcpState::Closed
                | TcpState::Listen
                | TcpState::TimeWait
        )
    }

    /// The peer may still send data.
    pub(crate) fn may_receive(self) -> bool {
        matches!(
            self,
            TcpState::Established | TcpState::FinWait1 | TcpState::FinWait2
        )
    }
}

impl Connection {
    /// A connection that is about to send its SYN.
    pub(crate) fn new(tuple: Tuple, options: TcpOptions, iss: u32, settings: &Settings) -> Connection {
        let send_buffer = options.send_buffer.unwrap_or(settings.tcp_wmem[1]);
        let receive_buffer = options.receive_buffer.unwrap_or(settings.tcp_rmem[1]);
        let peer_mss = if tuple.remote.is_ipv4() {
            DEFAULT_MSS_V4
        } else {
            DEFAULT_MSS_V6
        };
        let snd = Send {
            iss,
            una: iss,
            queue_seq: iss.wrapping_add(1),
            push: iss.wrapping_add(1),
            small_end: iss,
            peer_mss,
            buffer: send_buffer,
            ..Send::default()
        };
        let congestion = options.congestion.unwrap_or(settings.tcp_congestion_control);
        Connection {
            state: TcpState::SynSent,
            tuple,
            orphan: false,
            parent: None,
            error: None,
            soft_error: None,
            shut_read: false,
            path: None,
            snd,
            rcv: Receive::new(receive_buffer, options.receive_buffer.is_some()),
            board: Scoreboard::default(),
            rtt: Rtt::default(),
            control: Control::new(congestion, usize::from(peer_mss)),
            ts: Timestamps::default(),
            sack_ok: false,
            deadlines: Deadlines::default(),
            retries: 0,
            probes: 0,
            keepalive_sent: 0,
            unanswered_since: None,
            confirmed: Instant::ZERO,
            force_part: false,
            probing: false,
            blocked_by_device: false,
            accounted: 0,
            pressure: false,
            exhausted: false,
            figures: Figures::default(),
            options,
        }
    }

    /// SND.NXT
    pub(crate) fn snd_nxt(&self) -> u32 {
        if self.state == TcpState::SynSent && self.snd.syn_due && self.retries == 0 {
            return self.snd.iss;
        }
        self.snd
            .queue_seq
            .wrapping_add(self.snd.sent as u32)
            .wrapping_add(u32::from(self.snd.fin_sent))
    }

    /// Bytes written and not sent.
    pub(crate) fn unsent(&self) -> usize {
        self.snd.queue.len() - self.snd.sent
    }

    /// Bytes that a writer may add.
    pub(crate) fn room(&self) -> usize {
        let buffer = if self.exhausted {
            self.snd.buffer.min(LEAST_BUFFER)
        } else {
            self.snd.buffer
        };
        let room = (buffer / 2).saturating_sub(self.snd.queue.len());
        match self.options.notsent_lowat {
            Some(low) if self.unsent() >= low as usize => 0,
            _ => room,
        }
    }

    /// Whether a writer is worth waking: Linux asks for a third of the buffer.
    pub(crate) fn is_writable(&self) -> bool {
        let room = self.room();
        room > 0 && room * 2 >= self.snd.queue.len()
    }

    /// Payload of a full segment, timestamps taken off.
    pub(crate) fn mss(&self) -> usize {
        let headers = if self.tuple.remote.is_ipv4() { 40 } else { 60 };
        let mtu = self.path.as_ref().map_or(1500, |(_, p)| p.mtu);
        let mut mss = usize::from(self.snd.peer_mss).min(mtu.saturating_sub(headers));
        if let Some(limit) = self.options.max_segment {
            mss = mss.min(usize::from(limit));
        }
        let options = if self.ts.on { TIMESTAMPS_LEN } else { 0 };
        mss.max(usize::from(MIN_MSS)) - options
    }

    /// MSS to tell the peer.
    pub(crate) fn advertised_mss(&self) -> u16 {
        let headers = if self.tuple.remote.is_ipv4() { 40 } else { 60 };
        let mtu = self.path.as_ref().map_or(1500, |(_, p)| p.mtu);
        let mut mss = u16::try_from(mtu.saturating_sub(headers)).unwrap_or(u16::MAX);
        if let Some(limit) = self.options.max_segment {
            mss = mss.min(limit);
        }
        mss.max(MIN_MSS)
    }

    /// Bytes in the network, as the scoreboard believes.
    pub(crate) fn in_flight(&self) -> usize {
        self.board.in_flight()
    }

    /// Our clock for TSval: milliseconds.
    pub(crate) fn ts_now(&self, now: Instant) -> u32 {
        (now.as_millis() as u32).wrapping_add(self.ts.offset)
    }

    /// Whether all that was sent is acknowledged.
    pub(crate) fn all_acked(&self) -> bool {
        self.snd.una == self.snd_nxt()
    }

    /// Whether our FIN is acknowledged.
    pub(crate) fn fin_acked(&self) -> bool {
        self.snd.fin_sent && self.all_acked()
    }

    /// Bytes that a reader gets: the stream up to an urgent mark.
    pub(crate) fn readable(&self) -> usize {
        self.rcv.readable(self.options.oob_inline)
    }

    /// All that is ready (tcp_poll).
    pub(crate) fn ready(&self) -> Ready {
        let mut ready = Ready::empty();
        let closed = self.state == TcpState::Closed;
        let read_end = self.rcv.fin_received || self.shut_read || closed;
        if (read_end && (self.snd.fin_queued || closed))
            && (closed || self.shut_read || self.rcv.fin_received)
        {
            ready |= Ready::HUP;
        }
        if read_end {
            ready |= Ready::IN | Ready::RDHUP;
        }
        if self.state != TcpState::SynSent && self.state != TcpState::SynReceived {
            if self.readable() > 0 {
                ready |= Ready::IN;
            }
            if self.snd.fin_queued || closed || self.is_writable() {
                ready |= Ready::OUT;
            }
            if self.rcv.urgent_byte().is_some() {
                ready |= Ready::PRI;
            }
        }
        if self.error.is_some() {
            ready |= Ready::ERR | Ready::IN | Ready::OUT;
        }
        ready
    }

    /// Whether `seq` may be in the peer's view of our window: an acceptable acknowledgement number.
    pub(crate) fn ack_is_acceptable(&self, ack: u32) -> bool {
        // RFC 5961, section 5.2: not older than the largest window before SND.UNA.
        let oldest = self.snd.una.wrapping_sub(self.snd.max_wnd);
        !before(ack, oldest) && !before(self.snd_nxt(), ack)
    }

    /// User timeout, or what the number of retries means in Linux's default.
    pub(crate) fn gave_up(&self, now: Instant, retries: u8, limit: u8) -> bool {
        if let Some(timeout) = self.options.user_timeout.filter(|t| !t.is_zero()) {
            return self
                .unanswered_since
                .is_some_and(|since| now.since(since) >= timeout);
        }
        retries >= limit
    }

    /// How long after the last activity keepalive probes begin.
    pub(crate) fn keepalive_idle(&self, settings: &Settings) -> Duration {
        self.options
            .keepalive_times
            .idle
            .unwrap_or(settings.tcp_keepalive_time)
    }
}
