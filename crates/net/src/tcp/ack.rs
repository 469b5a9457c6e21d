//! Acknowledgements that come in: what they free, what they tell of the path, losses.

use std::time::Duration;

use super::before;
use super::congestion::Phase;
use super::connection::Connection;
use super::info::TcpState;
use super::input::Outcome;
use super::sack::Delivered;
use crate::event::Ready;
use crate::ip::Ip;
use crate::wire::tcp::Tcp;
use crate::{Instant, Settings};

/// Duplicates that mean a loss (RFC 5681).
const DUPLICATES: usize = 3;

impl Connection {
    /// An acceptable acknowledgement (RFC 9293, section 3.10.7.4, fifth check).
    pub(crate) fn acknowledged(
        &mut self,
        now: Instant,
        ip: &mut Ip,
        tcp: &Tcp,
        len: usize,
        out: &mut Outcome,
    ) {
        let ack = tcp.ack;
        let advances = before(self.snd.una, ack);
        if before(ack, self.snd.una) {
            // Old: only its SACK blocks can be of use, and those are old too.
            return;
        }
        self.figures.last_ack_recv = now;
        self.keepalive_sent = 0;
        if self.options.keepalive {
            self.arm_keepalive(now, &ip.settings);
        }
        let window_changed = self.update_window(tcp, out);
        let flight_before = self.in_flight();
        let highest = self.board.highest();
        let mut delivered = Delivered {
            highest,
            ..Delivered::default()
        };
        if self.sack_ok && tcp.options.sack_len > 0 {
            self.take_sack(now, ip, tcp, &mut delivered);
        }
        self.board.acknowledge(ack, now, &mut delivered);
        if advances {
            self.advance(now, ip, ack, out);
        }
        self.measure(now, tcp, advances, &delivered);
        let duplicate = !advances && len == 0 && !window_changed && !self.board.is_empty();
        self.react(now, ip, tcp, advances, duplicate, flight_before, &delivered);
        if self.board.is_empty() {
            self.deadlines.retransmit = None;
            self.deadlines.probe = None;
            self.deadlines.reorder = None;
            self.unanswered_since = None;
        } else if advances || delivered.newly_sacked {
            self.deadlines.retransmit = Some(now + self.rtt.timeout());
            self.arm_probe(now);
        }
        if advances || delivered.bytes > 0 || window_changed || duplicate {
            out.output = true;
        }
        self.after_fin_ack(now, ip, out);
    }

    /// Frees what `ack` covers.
    fn advance(&mut self, now: Instant, ip: &mut Ip, ack: u32, out: &mut Outcome) {
        let bytes = ack.wrapping_sub(self.snd.queue_seq) as usize;
        let data = bytes.min(self.snd.sent);
        self.snd.queue.consume(data);
        self.snd.sent -= data;
        self.snd.queue_seq = self.snd.queue_seq.wrapping_add(data as u32);
        self.snd.una = ack;
        self.figures.bytes_acked += data as u64;
        self.retries = 0;
        self.probes = 0;
        self.rtt.backoff = 0;
        self.soft_error = None;
        self.probing = false;
        self.unanswered_since = Some(now);
        self.grow_send_buffer(&ip.settings);
        if self.snd.blocked && self.is_writable() {
            self.snd.blocked = false;
            out.ready |= Ready::OUT;
        }
        if self.snd.queue.is_empty() {
            self.deadlines.trim = Some(now + super::timer::TRIM_AFTER);
        }
        // The next hop has brought our bytes over: no need to probe it.
        if now.since(self.confirmed) > Duration::from_secs(1)
            && let Some((_, path)) = &self.path
        {
            self.confirmed = now;
            let hop = path.gateway.unwrap_or(self.tuple.remote);
            ip.neighbors.confirm(now, path.interface, hop);
        }
    }

    /// RFC 9293: the window of the latest segment. True when it changed.
    fn update_window(&mut self, tcp: &Tcp, out: &mut Outcome) -> bool {
        let newer = before(self.snd.wl1, tcp.seq)
            || (self.snd.wl1 == tcp.seq && !before(tcp.ack, self.snd.wl2))
            || before(self.snd.una, tcp.ack);
        if !newer {
            return false;
        }
        (self.snd.wl1, self.snd.wl2) = (tcp.seq, tcp.ack);
        let window = u32::from(tcp.window) << self.snd.wscale;
        let changed = window != self.snd.wnd;
        self.snd.wnd = window;
        self.snd.max_wnd = self.snd.max_wnd.max(window);
        // Output, which follows a change, arms it again if need be.
        if window > 0 && changed {
            self.deadlines.persist = None;
        }
        // An answer to a probe: the peer lives.
        self.probes = 0;
        if self.board.is_empty() {
            self.unanswered_since = None;
            // Probes of a closed window keep their distance.
            if window > 0 {
                self.rtt.backoff = 0;
            }
        }
        out.output |= changed;
        changed
    }

    fn take_sack(&mut self, now: Instant, ip: &mut Ip, tcp: &Tcp, delivered: &mut Delivered) {
        let nxt = self.snd_nxt();
        for (n, &(start, end)) in tcp.options.sack[..tcp.options.sack_len].iter().enumerate() {
            let sane = before(start, end) && !before(nxt, end);
            if !sane {
                continue;
            }
            // RFC 2883: the first block may tell of a duplicate.
            let contained = n == 0
                && tcp.options.sack[1..tcp.options.sack_len]
                    .first()
                    .is_some_and(|b| !before(start, b.0) && !before(b.1, end));
            if !before(tcp.ack, end) || contained {
                if n == 0 {
                    ip.counters.tcp_dsacks_received += 1;
                    self.figures.dsack_dups += 1;
                    self.board.window_steps = (self.board.window_steps + 1).min(16);
                }
                continue;
            }
            if before(start, self.snd.una) {
                continue;
            }
            self.board.sack(start, end, now, delivered);
        }
    }

    /// Round trip times: from the scoreboard, or from timestamps when all was resent.
    fn measure(&mut self, now: Instant, tcp: &Tcp, advances: bool, delivered: &Delivered) {
        if let Some(rtt) = delivered.rtt {
            self.rtt.sample(rtt);
        } else if let Some((_, echo)) = tcp.options.timestamps.filter(|_| self.ts.on && advances)
            && echo != 0
        {
            let millis = self.ts_now(now).wrapping_sub(echo);
            if millis < 1 << 20 {
                self.rtt.sample(Duration::from_millis(u64::from(millis)));
            }
        }
        if delivered.reordered {
            self.board.reordering = true;
            self.figures.reord_seen += 1;
        }
    }

    /// Congestion control: RFC 5681, 6582, 6675, 6937, 8985.
    #[expect(
        clippy::too_many_arguments,
        reason = "one acknowledgement, seen from all sides"
    )]
    fn react(
        &mut self,
        now: Instant,
        ip: &mut Ip,
        tcp: &Tcp,
        advances: bool,
        duplicate: bool,
        flight_before: usize,
        delivered: &Delivered,
    ) {
        if self.control.phase != Phase::Open && advances && self.was_spurious(tcp) {
            self.board.unmark();
            self.control.undo();
        }
        let mut marked = 0;
        if self.sack_ok {
            if delivered.bytes > 0 && (self.board.sacked() > 0 || self.control.phase != Phase::Open) {
                marked = self.detect_losses(now);
            }
        } else if duplicate {
            self.board.duplicates += 1;
            if self.board.duplicates == DUPLICATES && self.control.phase == Phase::Open {
                marked = self.board.mark_head(self.mss());
            }
        } else if advances {
            let partial = self.control.phase == Phase::Recovery && before(tcp.ack, self.control.high);
            let segments = delivered.bytes.div_ceil(self.mss().max(1));
            self.board.duplicates = if partial {
                (self.board.duplicates + 1).saturating_sub(segments)
            } else {
                0
            };
            if partial {
                marked = self.board.mark_head(self.mss());
            }
        }
        match self.control.phase {
            Phase::Open => {
                if marked > 0 {
                    ip.counters.tcp_fast_retransmits += 1;
                    let high = self.snd_nxt();
                    self.control.enter_recovery(high, flight_before);
                    self.control.reduce(delivered.bytes, self.in_flight(), true);
                } else if delivered.bytes > 0 && advances {
                    self.control
                        .grow(now, delivered.bytes, flight_before, self.rtt.smoothed);
                }
            }
            Phase::Recovery => {
                if !before(tcp.ack, self.control.high) {
                    self.control.leave();
                    self.board.duplicates = 0;
                } else {
                    let bytes = if duplicate && !self.sack_ok {
                        self.mss()
                    } else {
                        delivered.bytes
                    };
                    let progress = advances && marked == 0;
                    self.control.reduce(bytes, self.in_flight(), progress);
                }
            }
            Phase::Loss => {
                if !before(tcp.ack, self.control.high) {
                    self.control.leave();
                }
                if delivered.bytes > 0 {
                    self.control.limited = true;
                    self.control
                        .grow(now, delivered.bytes, flight_before, self.rtt.smoothed);
                }
            }
        }
    }

    /// RACK (RFC 8985, section 6.2).
    pub(crate) fn detect_losses(&mut self, now: Instant) -> usize {
        let enough = self.board.sacked() >= DUPLICATES * self.mss();
        let window = if !self.board.reordering && (enough || self.control.phase != Phase::Open) {
            Duration::ZERO
        } else {
            let quarter = self.rtt.least.unwrap_or_default() / 4;
            let window = quarter * (1 + self.board.window_steps);
            window.min(self.rtt.smoothed.unwrap_or(window))
        };
        let (marked, wait) = self.board.detect(now, window);
        self.deadlines.reorder = wait.map(|w| now + w.max(Duration::from_micros(1)));
        marked
    }

    /// Eifel (RFC 3522): the acknowledgement answers a segment from before the first retransmission.
    fn was_spurious(&self, tcp: &Tcp) -> bool {
        let Some(first) = self
            .control
            .first_resend
            .filter(|_| self.ts.on && self.control.can_undo())
        else {
            return false;
        };
        tcp.options
            .timestamps
            .is_some_and(|(_, echo)| echo != 0 && before(echo, first))
    }

    /// What follows when our FIN is acknowledged.
    fn after_fin_ack(&mut self, now: Instant, ip: &Ip, out: &mut Outcome) {
        if !self.fin_acked() {
            return;
        }
        match self.state {
            TcpState::FinWait1 => {
                self.state = TcpState::FinWait2;
                if self.orphan {
                    self.orphaned(now, &ip.settings);
                }
            }
            TcpState::Closing => out.time_wait = true,
            TcpState::LastAck => out.end = Some(None),
            _ => {}
        }
    }

    /// The owner is gone: FIN_WAIT2 has an end then.
    pub(crate) fn orphaned(&mut self, now: Instant, settings: &Settings) {
        if self.state == TcpState::FinWait2 {
            let time = self.options.linger2.unwrap_or(settings.tcp_fin_timeout);
            self.deadlines.orphan = Some(now + time);
        }
    }

    /// The send buffer grows with the window: room for two of them (tcp_sndbuf_expand).
    fn grow_send_buffer(&mut self, settings: &Settings) {
        if self.options.send_buffer.is_none() && !self.pressure {
            let wanted = (4 * self.control.window).min(settings.tcp_wmem[2]);
            self.snd.buffer = self.snd.buffer.max(wanted);
        }
    }
}
