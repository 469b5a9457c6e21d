//! What sockets tell: poll(2), TCP_INFO, /proc/net/tcp.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::congestion::Phase;
use super::connection::Connection;
use super::info::{TcpEntry, TcpInfo, TcpState, TcpStatus};
use super::{Entry, Socket, TcpId};
use crate::event::Ready;
use crate::{Instant, Stack};

impl Stack {
    /// State of a socket.
    pub fn tcp_status(&self, id: TcpId) -> Option<TcpStatus> {
        Some(match self.tcp.get(id)? {
            Socket::Listener(l) => TcpStatus {
                state: TcpState::Listen,
                ready: if l.accept.is_empty() {
                    Ready::empty()
                } else {
                    Ready::IN
                },
                local: SocketAddr::new(l.local, l.port),
                remote: SocketAddr::new(any(l.local), 0),
                readable: l.accept.len(),
                writable: 0,
                send_queue: l.backlog,
                not_sent: 0,
                peer_closed: false,
                error: None,
                send_buffer: l.options.send_buffer.unwrap_or(self.ip.settings.tcp_wmem[1]),
                receive_buffer: l.options.receive_buffer.unwrap_or(self.ip.settings.tcp_rmem[1]),
            },
            Socket::Connection(c) => TcpStatus {
                state: c.state,
                ready: c.ready(),
                local: c.tuple.local_address(),
                remote: c.tuple.remote_address(),
                readable: c.readable(),
                writable: c.room(),
                send_queue: c.snd.queue.len() + usize::from(c.snd.fin_sent && !c.all_acked()),
                not_sent: c.unsent(),
                peer_closed: c.rcv.fin_received || c.state == TcpState::Closed,
                error: c.error,
                send_buffer: c.snd.buffer,
                receive_buffer: c.rcv.buffer,
            },
        })
    }

    /// TCP_INFO.
    pub fn tcp_info(&self, now: Instant, id: TcpId) -> Option<TcpInfo> {
        match self.tcp.get(id)? {
            Socket::Listener(l) => Some(TcpInfo {
                state: TcpState::Listen as u8,
                // Linux tells the queue and the backlog here.
                unacked: u32::try_from(l.accept.len()).unwrap_or(u32::MAX),
                sacked: u32::try_from(l.backlog).unwrap_or(u32::MAX),
                ..TcpInfo::default()
            }),
            Socket::Connection(c) => Some(c.info(now)),
        }
    }

    /// All sockets, handshakes and entries in TIME_WAIT. The cost grows with their number: for dumps only.
    pub fn tcp_entries(&self, now: Instant) -> Vec<TcpEntry> {
        let mut rows: Vec<TcpEntry> = self
            .tcp
            .iter()
            .filter_map(|(id, socket)| self.socket_row(now, id, socket))
            .collect();
        for (tuple, entry) in &self.tcp.entries {
            let (state, timer, retransmits, interface) = match entry {
                Entry::Connection(_) => continue,
                Entry::Request(r) => (
                    TcpState::SynReceived,
                    (1, r.deadline.since(now)),
                    r.retries,
                    Some(r.interface),
                ),
                Entry::TimeWait(t) => (TcpState::TimeWait, (3, t.until.since(now)), 0, t.interface),
            };
            rows.push(TcpEntry {
                id: None,
                token: 0,
                state,
                local: tuple.local_address(),
                remote: tuple.remote_address(),
                readable: 0,
                send_queue: 0,
                interface,
                timer: Some(timer),
                retransmits,
            });
        }
        rows
    }

    fn socket_row(&self, now: Instant, id: TcpId, socket: &Socket) -> Option<TcpEntry> {
        let status = self.tcp_status(id)?;
        let mut row = TcpEntry {
            id: Some(id),
            token: self.tcp.token(id),
            state: status.state,
            local: status.local,
            remote: status.remote,
            readable: status.readable,
            send_queue: status.send_queue,
            interface: None,
            timer: None,
            retransmits: 0,
        };
        if let Socket::Connection(c) = socket {
            if c.state == TcpState::Closed {
                return None;
            }
            row.interface = c.options.interface;
            row.retransmits = c.retries;
            let d = &c.deadlines;
            let named = [(1, d.retransmit), (4, d.persist), (2, d.keepalive), (2, d.orphan)];
            row.timer = named
                .into_iter()
                .find_map(|(kind, at)| Some((kind, at?.since(now))));
        }
        Some(row)
    }
}

fn any(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

impl Connection {
    fn info(&self, now: Instant) -> TcpInfo {
        let mss = self.mss().max(1);
        let segments = |bytes: usize| u32::try_from(bytes.div_ceil(mss)).unwrap_or(u32::MAX);
        let bytes = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let figures = &self.figures;
        let mut options = 0;
        if self.ts.on {
            options |= 1;
        }
        if self.sack_ok {
            options |= 2;
        }
        if self.rcv.wscale != 0 || self.snd.wscale != 0 {
            options |= 4;
        }
        TcpInfo {
            state: self.state as u8,
            ca_state: match self.control.phase {
                Phase::Open if self.board.sacked() > 0 => 1,
                Phase::Open => 0,
                Phase::Recovery => 3,
                Phase::Loss => 4,
            },
            retransmits: self.retries,
            probes: self.probes,
            backoff: self.rtt.backoff,
            options,
            snd_wscale: self.snd.wscale,
            rcv_wscale: self.rcv.wscale,
            rto: self.rtt.timeout(),
            ato: super::output::DELAYED_ACK,
            snd_mss: bytes(mss),
            rcv_mss: bytes(self.rcv.mss),
            unacked: segments(self.board.total()),
            sacked: segments(self.board.sacked()),
            lost: segments(self.board.lost()),
            retrans: segments(self.board.resent()),
            last_data_sent: now.since(self.snd.last),
            last_data_recv: now.since(figures.last_data_recv),
            last_ack_recv: now.since(figures.last_ack_recv),
            pmtu: self.path.as_ref().map_or(0, |(_, p)| bytes(p.mtu)),
            rcv_ssthresh: bytes(self.rcv.free()),
            rtt: self.rtt.smoothed.unwrap_or_default(),
            rttvar: self.rtt.variation,
            snd_ssthresh: if self.control.threshold == usize::MAX {
                0x7fff_ffff
            } else {
                segments(self.control.threshold)
            },
            snd_cwnd: segments(self.control.window),
            advmss: u32::from(self.advertised_mss()),
            reordering: 3,
            rcv_rtt: self.rcv.rtt,
            rcv_space: bytes(self.rcv.space),
            total_retrans: figures.total_retrans,
            bytes_acked: figures.bytes_acked,
            bytes_received: figures.bytes_received,
            segs_out: figures.segs_out,
            segs_in: figures.segs_in,
            notsent_bytes: bytes(self.unsent()),
            min_rtt: self.rtt.least.unwrap_or_default(),
            data_segs_in: figures.data_segs_in,
            data_segs_out: figures.data_segs_out,
            delivery_rate: 0,
            bytes_sent: figures.bytes_sent,
            bytes_retrans: figures.bytes_retrans,
            dsack_dups: figures.dsack_dups,
            reord_seen: figures.reord_seen,
            snd_wnd: self.snd.wnd,
            rcv_wnd: self.rcv.edge.wrapping_sub(self.rcv.nxt),
        }
    }
}
