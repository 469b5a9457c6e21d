//! Segments that come in (RFC 9293, section 3.10.7).

use super::connection::{Connection, MIN_MSS, TIMESTAMPS_LEN};
use super::info::TcpState;
use super::listen::window_scale;
use super::{Entry, TcpId, Tuple, before};
use crate::event::Ready;
use crate::ingress::Meta;
use crate::ip::Ip;
use crate::wire::checksum;
use crate::wire::protocol;
use crate::wire::tcp::{Flags, Tcp};
use crate::{Error, Instant, Stack};

/// What a segment asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Readiness that is news.
    pub ready: Ready,
    /// Answer with a challenge ACK, within the limit.
    pub challenge: bool,
    /// Answer the segment itself with a reset.
    pub refuse: bool,
    /// The connection ends, with an error or without.
    pub end: Option<Option<Error>>,
    /// Send a reset for the connection before it ends.
    pub reset: bool,
    /// Both have closed, we first.
    pub time_wait: bool,
    /// Something may be sent.
    pub output: bool,
}

impl Stack {
    pub(crate) fn receive_tcp(&mut self, now: Instant, meta: &Meta, payload: &[u8]) {
        self.ip.counters.tcp_in_segs += 1;
        if meta.group {
            return;
        }
        if !meta.verified && !checksum::verify(meta.src, meta.dst, protocol::TCP, payload) {
            self.ip.counters.tcp_in_csum_errors += 1;
            self.ip.counters.tcp_in_errs += 1;
            return;
        }
        let Some((tcp, data)) = Tcp::parse(payload) else {
            self.ip.counters.tcp_in_errs += 1;
            return;
        };
        let tuple = Tuple {
            local: meta.dst,
            local_port: tcp.dst,
            remote: meta.src,
            remote_port: tcp.src,
        };
        match self.tcp.entries.get(&tuple) {
            Some(Entry::Connection(id)) => {
                let id = *id;
                self.connection_segment(now, meta, id, &tcp, data);
            }
            Some(Entry::Request(_)) => {
                if self.request_segment(now, meta, tuple, &tcp, data.len())
                    && let Some(Entry::Connection(id)) = self.tcp.entries.get(&tuple)
                {
                    let id = *id;
                    self.connection_segment(now, meta, id, &tcp, data);
                }
            }
            Some(Entry::TimeWait(_)) => {
                if let Some(iss) = self.time_wait_segment(now, tuple, &tcp, data.len())
                    && let Some(listener) = self.find_listener(&tuple, meta.interface)
                {
                    self.drop_time_wait(tuple);
                    self.receive_syn(now, listener, meta, tuple, &tcp, Some(iss));
                }
            }
            None => self.unknown_segment(now, meta, tuple, &tcp, data.len()),
        }
    }

    /// A segment for no connection: a SYN for a listener, or to be reset.
    fn unknown_segment(&mut self, now: Instant, meta: &Meta, tuple: Tuple, tcp: &Tcp, len: usize) {
        if tcp.flags.contains(Flags::RST) {
            return;
        }
        let listener = self.find_listener(&tuple, meta.interface);
        match listener {
            Some(id) if tcp.flags.contains(Flags::SYN) && !tcp.flags.contains(Flags::ACK) => {
                // SYN with FIN is dropped, as Linux does.
                if !tcp.flags.contains(Flags::FIN) {
                    self.receive_syn(now, id, meta, tuple, tcp, None);
                }
            }
            Some(_) if !tcp.flags.contains(Flags::ACK) => {}
            _ => self.reset_reply(now, meta, tcp, len),
        }
    }

    fn connection_segment(&mut self, now: Instant, meta: &Meta, id: TcpId, tcp: &Tcp, data: &[u8]) {
        let limits = self.ip.settings.tcp_mem;
        self.tcp.account(id, limits);
        let Some(c) = self.tcp.connection_mut(id) else {
            return;
        };
        let was = c.state;
        let mut outcome = c.segment(now, &mut self.ip, meta, tcp, data);
        let (parent, deadline) = (c.parent, c.deadlines.earliest());
        if self.ip.frames.kept {
            self.tcp.kept_by = Some(id);
        }
        self.tcp.account(id, limits);
        if outcome.challenge && self.take_challenge(now) {
            if let Some(c) = self.tcp.connection_mut(id) {
                c.rcv.ack_now = true;
            }
            outcome.output = true;
        }
        if outcome.refuse {
            self.reset_reply(now, meta, tcp, data.len());
        }
        if outcome.reset {
            self.send_reset(now, id);
        }
        if let Some(error) = outcome.end {
            match was {
                TcpState::SynSent | TcpState::SynReceived => self.ip.counters.tcp_attempt_fails += 1,
                _ if error.is_some() => self.ip.counters.tcp_estab_resets += 1,
                _ => {}
            }
            return self.finish(id, error);
        }
        if outcome.time_wait {
            if parent.is_none() {
                self.tcp.notify(id, outcome.ready);
            }
            return self.enter_time_wait(now, id);
        }
        self.tcp.arm(id, deadline);
        if outcome.output {
            self.tcp.want_output(id);
        }
        if parent.is_none() {
            self.tcp.notify(id, outcome.ready);
        }
    }
}

impl Connection {
    fn segment(&mut self, now: Instant, ip: &mut Ip, meta: &Meta, tcp: &Tcp, data: &[u8]) -> Outcome {
        let mut out = Outcome::default();
        self.figures.segs_in = self.figures.segs_in.wrapping_add(1);
        match self.state {
            TcpState::Closed => {
                out.refuse = true;
                return out;
            }
            TcpState::SynSent => {
                self.segment_syn_sent(now, ip, tcp, &mut out);
                if self.state != TcpState::Established || out.end.is_some() {
                    return out;
                }
                // Data on a SYN-ACK is rare, but allowed.
                if !data.is_empty() {
                    self.segment_data(now, ip, meta, tcp, tcp.seq.wrapping_add(1), data, &mut out);
                }
                return out;
            }
            _ => {}
        }
        let syn_ack = tcp.flags.contains(Flags::SYN | Flags::ACK) && !tcp.flags.contains(Flags::RST);
        if self.state == TcpState::SynReceived && syn_ack && tcp.seq == self.rcv.irs {
            // The other half of a simultaneous open.
            self.segment_syn_received(now, ip, tcp, &mut out);
            self.rcv.ack_now = true;
            return out;
        }
        if !self.check_sequence(now, ip, tcp, data.len(), &mut out) {
            return out;
        }
        if tcp.flags.contains(Flags::RST) {
            self.segment_reset(tcp, &mut out);
            return out;
        }
        if tcp.flags.contains(Flags::SYN) {
            // RFC 5961, section 4.
            out.challenge = true;
            return out;
        }
        if !tcp.flags.contains(Flags::ACK) {
            return out;
        }
        if self.state == TcpState::SynReceived {
            self.segment_syn_received(now, ip, tcp, &mut out);
            if self.state == TcpState::SynReceived || out.end.is_some() {
                return out;
            }
        }
        if !self.ack_is_acceptable(tcp.ack) {
            out.challenge = true;
            return out;
        }
        self.update_timestamp(now, tcp);
        self.acknowledged(now, ip, tcp, data.len(), &mut out);
        if out.end.is_some() || out.time_wait {
            return out;
        }
        if tcp.flags.contains(Flags::URG) {
            self.segment_urgent(tcp, &mut out);
        }
        if !data.is_empty() || tcp.flags.contains(Flags::FIN) {
            self.segment_data(now, ip, meta, tcp, tcp.seq, data, &mut out);
        }
        out
    }

    /// RFC 9293, section 3.10.7.3.
    fn segment_syn_sent(&mut self, now: Instant, ip: &mut Ip, tcp: &Tcp, out: &mut Outcome) {
        let ack = tcp.flags.contains(Flags::ACK);
        let good_ack = ack && tcp.ack == self.snd.iss.wrapping_add(1);
        if ack && !good_ack {
            out.refuse = !tcp.flags.contains(Flags::RST);
            return;
        }
        if tcp.flags.contains(Flags::RST) {
            if good_ack {
                out.end = Some(Some(Error::ConnectionRefused));
            }
            return;
        }
        if !tcp.flags.contains(Flags::SYN) {
            return;
        }
        self.learn_options(now, tcp);
        self.rcv.irs = tcp.seq;
        self.rcv.nxt = tcp.seq.wrapping_add(1);
        self.rcv.last_ack = self.rcv.nxt;
        let window = self.rcv.free().min(usize::from(u16::MAX)) as u32;
        self.rcv.edge = self.rcv.nxt.wrapping_add(window);
        self.snd.wnd = u32::from(tcp.window);
        self.snd.max_wnd = self.snd.wnd;
        (self.snd.wl1, self.snd.wl2) = (tcp.seq, tcp.ack);
        if good_ack {
            if self.retries == 0
                && let Some(since) = self.unanswered_since
            {
                self.rtt.sample(now.since(since));
            }
            self.syn_acknowledged();
            self.state = TcpState::Established;
            self.established(now, ip);
            self.rcv.ack_now = true;
            out.ready |= Ready::OUT;
        } else {
            // Simultaneous open.
            self.state = TcpState::SynReceived;
            self.snd.syn_due = true;
        }
        out.output = true;
    }

    fn segment_syn_received(&mut self, now: Instant, ip: &mut Ip, tcp: &Tcp, out: &mut Outcome) {
        if tcp.ack != self.snd.iss.wrapping_add(1) {
            out.refuse = true;
            return;
        }
        self.syn_acknowledged();
        self.state = if self.snd.fin_queued {
            TcpState::FinWait1
        } else {
            TcpState::Established
        };
        self.snd.wnd = u32::from(tcp.window)
            << if tcp.flags.contains(Flags::SYN) {
                0
            } else {
                self.snd.wscale
            };
        self.snd.max_wnd = self.snd.max_wnd.max(self.snd.wnd);
        (self.snd.wl1, self.snd.wl2) = (tcp.seq, tcp.ack);
        self.established(now, ip);
        out.ready |= Ready::OUT;
        out.output = true;
    }

    fn syn_acknowledged(&mut self) {
        self.snd.una = self.snd.iss.wrapping_add(1);
        self.snd.syn_acked = true;
        self.snd.syn_due = false;
        self.retries = 0;
        self.rtt.backoff = 0;
        self.deadlines.retransmit = None;
        self.unanswered_since = None;
    }

    /// What a SYN tells of the peer.
    fn learn_options(&mut self, now: Instant, tcp: &Tcp) {
        let options = &tcp.options;
        if let Some(mss) = options.mss {
            self.snd.peer_mss = mss.max(MIN_MSS);
        }
        match options.window_scale {
            Some(scale) if self.rcv.wscale != 0 || self.snd.syn_acked || self.offered_scale() => {
                self.snd.wscale = scale;
            }
            _ => {
                self.snd.wscale = 0;
                self.rcv.wscale = 0;
            }
        }
        self.sack_ok &= options.sack_permitted;
        self.ts.on &= options.timestamps.is_some();
        if let Some((value, _)) = options.timestamps {
            (self.ts.recent, self.ts.recent_at) = (value, now);
        }
    }

    fn offered_scale(&self) -> bool {
        self.options.receive_buffer.is_some_and(|b| window_scale(b) == 0)
    }

    /// The handshake is done.
    pub(crate) fn established(&mut self, now: Instant, ip: &mut Ip) {
        self.refresh_path(ip);
        let mss = self.mss();
        self.control.set_mss(mss, true);
        self.board.mss = mss;
        self.rcv.mss = mss.min(usize::from(u16::MAX));
        self.rcv.measured = now;
        self.rcv.rtt_since = now;
        self.rcv.rtt_edge = self.rcv.edge;
        self.figures.last_ack_recv = now;
        self.figures.last_data_recv = now;
        self.snd.last = now;
        self.arm_keepalive(now, &ip.settings);
    }

    /// Timestamps and sequence numbers (RFC 7323 section 5, RFC 9293 section 3.10.7.4, first check).
    fn check_sequence(
        &mut self,
        now: Instant,
        ip: &mut Ip,
        tcp: &Tcp,
        len: usize,
        out: &mut Outcome,
    ) -> bool {
        let rst = tcp.flags.contains(Flags::RST);
        if self.ts.on
            && !rst
            && let Some((value, _)) = tcp.options.timestamps
            && before(value, self.ts.recent)
            && now.since(self.ts.recent_at).as_secs() < 24 * 86_400
        {
            ip.counters.tcp_paws_drops += 1;
            // A bare old acknowledgement is not worth an answer.
            if len > 0 || tcp.flags.intersects(Flags::FIN | Flags::SYN) {
                self.rcv.ack_now = true;
                out.output = true;
            }
            return false;
        }
        let end = tcp
            .seq
            .wrapping_add(len as u32)
            .wrapping_add(u32::from(tcp.flags.contains(Flags::FIN)));
        let beyond = before(self.rcv.edge, tcp.seq) && before(self.rcv.nxt, tcp.seq);
        let old = before(end, self.rcv.last_ack);
        if !beyond && !old {
            return true;
        }
        if rst {
            return false;
        }
        if tcp.flags.contains(Flags::SYN) {
            // A lost acknowledgement of a simultaneous open, or RFC 5961's case.
            out.challenge = true;
            return false;
        }
        if before(tcp.seq, self.rcv.nxt) && len > 0 {
            self.duplicate(tcp.seq, end);
        }
        self.rcv.ack_now = true;
        out.output = true;
        false
    }

    /// RFC 5961, section 3.2; a right edge of what we have sacked counts as well, as on Linux.
    fn segment_reset(&mut self, tcp: &Tcp, out: &mut Outcome) {
        let highest = self.rcv.gaps.last().map(|g| g.1);
        if tcp.seq != self.rcv.nxt && Some(tcp.seq) != highest {
            out.challenge = true;
            return;
        }
        let error = match self.state {
            TcpState::CloseWait => Error::BrokenPipe,
            TcpState::SynReceived => Error::ConnectionRefused,
            _ => Error::ConnectionReset,
        };
        out.end = Some(Some(error));
    }

    /// RFC 7323, section 4.3.
    fn update_timestamp(&mut self, now: Instant, tcp: &Tcp) {
        if let Some((value, _)) = tcp.options.timestamps.filter(|_| self.ts.on)
            && !before(self.rcv.last_ack, tcp.seq)
            && !before(value, self.ts.recent)
        {
            (self.ts.recent, self.ts.recent_at) = (value, now);
        }
    }

    /// RFC 6093: the pointer is the number after the urgent byte... which is the byte before it, as all systems have it.
    fn segment_urgent(&mut self, tcp: &Tcp, out: &mut Outcome) {
        if tcp.urgent == 0 || !self.state.may_receive() {
            return;
        }
        let seq = tcp.seq.wrapping_add(u32::from(tcp.urgent)).wrapping_sub(1);
        let front = self.rcv.nxt.wrapping_sub(self.rcv.queue.len() as u32);
        if before(seq, front) {
            return;
        }
        if self.rcv.set_urgent(seq) {
            out.ready |= Ready::PRI;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a packet is made of")]
    fn segment_data(
        &mut self,
        now: Instant,
        ip: &mut Ip,
        meta: &Meta,
        tcp: &Tcp,
        seq: u32,
        data: &[u8],
        out: &mut Outcome,
    ) {
        let end = seq.wrapping_add(data.len() as u32);
        if !self.state.may_receive() {
            // After the peer's FIN nothing new can come.
            if before(self.rcv.nxt, end) || !data.is_empty() {
                self.rcv.ack_now = true;
                out.output = true;
            }
            if tcp.flags.contains(Flags::FIN) {
                self.rcv.ack_now = true;
                out.output = true;
            }
            return;
        }
        let news = before(self.rcv.nxt, end);
        if self.orphan && news && !data.is_empty() {
            // Nobody will read it (RFC 2525, section 2.17).
            out.reset = true;
            out.end = Some(None);
            return;
        }
        self.figures.last_data_recv = now;
        if !data.is_empty() {
            self.figures.data_segs_in = self.figures.data_segs_in.wrapping_add(1);
            self.receive_data(now, ip, meta, seq, data, out);
        }
        if tcp.flags.contains(Flags::FIN) && self.rcv.fin.is_none() && !before(self.rcv.edge, end) {
            self.rcv.fin = Some(end);
        }
        if self.rcv.fin == Some(self.rcv.nxt) && !self.rcv.fin_received {
            self.receive_fin(out);
        } else if tcp.flags.contains(Flags::FIN) {
            self.rcv.ack_now = true;
        }
        out.output = true;
    }

    fn receive_data(
        &mut self,
        now: Instant,
        ip: &mut Ip,
        meta: &Meta,
        mut seq: u32,
        mut data: &[u8],
        out: &mut Outcome,
    ) {
        let full = meta.gso.map_or(data.len(), |g| usize::from(g.size));
        if full >= self.rcv.mss / 2 && full <= usize::from(u16::MAX) && full > usize::from(MIN_MSS) {
            self.rcv.mss = self.rcv.mss.max(full).min(self.mss() + TIMESTAMPS_LEN).max(536);
        }
        // What was received before, and what passes the window, is cut off.
        if before(seq, self.rcv.nxt) {
            let known = self.rcv.nxt.wrapping_sub(seq) as usize;
            let end = seq.wrapping_add(data.len() as u32);
            let old_end = if before(self.rcv.nxt, end) {
                self.rcv.nxt
            } else {
                end
            };
            self.duplicate(seq, old_end);
            if known >= data.len() {
                return;
            }
            data = &data[known..];
            seq = self.rcv.nxt;
        }
        let window = self.rcv.edge.wrapping_sub(seq);
        let window = if (window as i32) < 0 { 0 } else { window as usize };
        if window < data.len() {
            self.rcv.ack_now = true;
            data = &data[..window];
            if data.is_empty() {
                return;
            }
        }
        let in_order = seq == self.rcv.nxt;
        // Too much memory in all queues: only what a reader waits for is taken (tcp_try_rmem_schedule).
        if self.exhausted && !(in_order && self.rcv.queue.is_empty()) {
            ip.counters.tcp_ofo_drops += 1;
            self.rcv.ack_now = true;
            return;
        }
        let had_gaps = !self.rcv.gaps.is_empty();
        let gaps = self.rcv.gaps.len();
        let ready = self.rcv.insert(seq, data, &mut ip.frames);
        if ready > 0 {
            self.figures.bytes_received += ready as u64;
            self.rcv.owed += ready;
            out.ready |= Ready::IN;
            self.measure_rtt(now);
        }
        if in_order && !had_gaps {
            let quick = self.rcv.quick > 0 || self.options.quickack;
            if quick || self.rcv.owed >= 2 * self.rcv.mss {
                self.rcv.ack_now = true;
                self.rcv.quick = self.rcv.quick.saturating_sub(1);
            } else if self.deadlines.delayed_ack.is_none() {
                self.deadlines.delayed_ack = Some(now + super::output::DELAYED_ACK);
            }
        } else {
            // RFC 5681, section 4.2: at once, for what comes out of order and for what fills a gap.
            self.rcv.ack_now = true;
            if ready == 0 && self.rcv.gaps.len() == gaps && self.rcv.blocks.is_empty() {
                ip.counters.tcp_ofo_drops += 1;
            } else {
                ip.counters.tcp_ofo_queued += u64::from(ready == 0);
            }
        }
        self.deadlines.trim = Some(now + super::timer::TRIM_AFTER);
    }

    /// Bytes came a second time (RFC 2883).
    fn duplicate(&mut self, start: u32, end: u32) {
        self.rcv.ack_now = true;
        self.rcv.quick = self.rcv.quick.max(2);
        if self.sack_ok {
            self.rcv.dsack = Some((start, end));
        }
    }

    fn receive_fin(&mut self, out: &mut Outcome) {
        self.rcv.nxt = self.rcv.nxt.wrapping_add(1);
        self.rcv.fin_received = true;
        self.rcv.gaps.clear();
        self.rcv.blocks.clear();
        self.rcv.ack_now = true;
        out.ready |= Ready::IN | Ready::RDHUP;
        match self.state {
            TcpState::Established => self.state = TcpState::CloseWait,
            TcpState::FinWait1 => self.state = TcpState::Closing,
            TcpState::FinWait2 => {
                out.ready |= Ready::HUP;
                out.time_wait = true;
            }
            _ => {}
        }
        if self.snd.fin_queued {
            out.ready |= Ready::HUP;
        }
    }
}
