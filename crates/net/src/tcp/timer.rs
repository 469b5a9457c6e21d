//! Timers: retransmission (RFC 6298), probes (RFC 8985 section 7, RFC 1122 section 4.2.2.17), keepalive, autotuning.

use std::time::Duration;

use super::congestion::Phase;
use super::connection::Connection;
use super::info::TcpState;
use super::rtt::MAX_RTO;
use super::{Due, Entry, TcpId};
use crate::{Error, Instant, Settings, Stack};

/// How long a connection is idle before the memory of its empty queues goes back.
pub(crate) const TRIM_AFTER: Duration = Duration::from_secs(1);
/// For so long a busy reader may be away, its processor being shared.
const READER_PAUSE: Duration = Duration::from_millis(4);

/// What a timer asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fired {
    output: bool,
    /// Send an acknowledgement with an old number, which the peer must answer.
    probe: bool,
    /// Memory of empty queues was given back.
    trimmed: bool,
    end: Option<Option<Error>>,
    reset: bool,
    what: Option<What>,
}

/// Which timer it was, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Timeout,
    LossProbe,
    WindowProbe,
    Keepalive,
}

impl Stack {
    /// Runs the timers that have come.
    pub(crate) fn tcp_timers(&mut self, now: Instant) {
        while let Some(due) = self.tcp.timers.expired(now) {
            match due {
                Due::Socket(id) => self.socket_timer(now, id),
                Due::Entry(tuple) => match self.tcp.entries.get_mut(&tuple) {
                    Some(Entry::Request(r)) => {
                        r.armed = None;
                        self.request_timeout(now, tuple);
                    }
                    Some(Entry::TimeWait(t)) => {
                        t.armed = None;
                        let until = t.until;
                        if until <= now {
                            self.drop_time_wait(tuple);
                        } else {
                            self.arm_entry(tuple, until);
                        }
                    }
                    _ => {}
                },
            }
        }
    }

    fn socket_timer(&mut self, now: Instant, id: TcpId) {
        self.tcp.disarmed(id);
        let Some(c) = self.tcp.connection_mut(id) else {
            return;
        };
        let fired = c.timers(now, &self.ip.settings);
        let deadline = c.deadlines.earliest();
        let limits = self.ip.settings.tcp_mem;
        self.tcp.account(id, limits);
        let counters = &mut self.ip.counters;
        match fired.what {
            Some(What::Timeout) => counters.tcp_timeouts += 1,
            Some(What::LossProbe) => counters.tcp_loss_probes += 1,
            Some(What::WindowProbe) => counters.tcp_zero_window_probes += 1,
            Some(What::Keepalive) => counters.tcp_keepalives += 1,
            None => {}
        }
        if fired.trimmed {
            self.ip.frames.trim();
        }
        if fired.probe {
            self.send_probe(now, id);
        }
        if fired.reset {
            self.send_reset(now, id);
        }
        if let Some(error) = fired.end {
            return self.finish(id, error);
        }
        self.tcp.arm(id, deadline);
        if fired.output {
            self.tcp.want_output(id);
        }
    }

    /// A segment with a number that the peer has acknowledged: it answers with its state.
    fn send_probe(&mut self, now: Instant, id: TcpId) {
        let Some(c) = self.tcp.connection_mut(id) else {
            return;
        };
        let seq = c.snd.una.wrapping_sub(1);
        // The queue keeps the order; the device may have no room now.
        c.refresh_path(&self.ip);
        let mut queued = Vec::new();
        let mut keep = |_: u32, offload: &crate::Offload, parts: &[&[u8]]| {
            queued.push((*offload, parts.concat()));
            true
        };
        let interface = c.path.as_ref().map_or(0, |(_, p)| p.interface);
        let waiting = std::mem::take(&mut self.ip.queue);
        let _ = c.output_ack(now, &mut self.ip, &mut keep, seq);
        let solicited = std::mem::replace(&mut self.ip.queue, waiting);
        self.ip.queue.extend(solicited);
        for (offload, frame) in queued {
            self.ip.enqueue(interface, offload, frame);
        }
    }
}

impl Connection {
    fn timers(&mut self, now: Instant, settings: &Settings) -> Fired {
        let mut fired = Fired::default();
        let due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        if due(&mut self.deadlines.delayed_ack) && self.rcv.owed > 0 {
            self.rcv.ack_now = true;
            fired.output = true;
        }
        if due(&mut self.deadlines.reorder) && !self.board.is_empty() {
            let flight = self.in_flight();
            if self.detect_losses(now) > 0 && self.control.phase == Phase::Open {
                let high = self.snd_nxt();
                self.control.enter_recovery(high, flight);
                let flight = self.in_flight();
                self.control.reduce(0, flight, true);
            }
            fired.output = true;
        }
        if due(&mut self.deadlines.orphan) {
            fired.end = Some(None);
            return fired;
        }
        if due(&mut self.deadlines.trim) {
            self.trim(now);
            fired.trimmed = true;
        }
        if due(&mut self.deadlines.retransmit) {
            self.retransmission_timeout(now, settings, &mut fired);
        } else if due(&mut self.deadlines.probe) {
            self.loss_probe(now, &mut fired);
        }
        if due(&mut self.deadlines.persist) {
            self.persist(now, settings, &mut fired);
        }
        if due(&mut self.deadlines.keepalive) {
            self.keepalive(now, settings, &mut fired);
        }
        fired
    }

    fn retransmission_timeout(&mut self, now: Instant, settings: &Settings, fired: &mut Fired) {
        let handshake = matches!(self.state, TcpState::SynSent | TcpState::SynReceived);
        if !handshake && self.board.is_empty() {
            return;
        }
        let limit = match self.state {
            TcpState::SynSent => self.options.syn_retries.unwrap_or(settings.tcp_syn_retries),
            TcpState::SynReceived => settings.tcp_synack_retries,
            _ if self.orphan => match settings.tcp_orphan_retries {
                0 => 8,
                n => n,
            },
            _ => settings.tcp_retries2,
        };
        if self.gave_up(now, self.retries, limit) {
            let error = self.soft_error.unwrap_or(Error::TimedOut);
            fired.end = Some((!self.orphan).then_some(error));
            return;
        }
        fired.what = Some(What::Timeout);
        self.retries = self.retries.saturating_add(1);
        self.rtt.backoff = self.rtt.backoff.saturating_add(1);
        self.deadlines.probe = None;
        self.deadlines.reorder = None;
        if handshake {
            self.snd.syn_due = true;
        } else {
            let flight = self.in_flight();
            let high = self.snd_nxt();
            if self.retries == 1 {
                self.control.enter_loss(high, flight);
            } else {
                self.control.window = self.control.mss;
            }
            // A head that is sacked was thrown away by the peer.
            let renege = self.board.head_is_sacked();
            self.board.mark_all(renege);
            // A black hole of the path MTU: after some tries send what every path takes.
            if self.retries >= 4 {
                self.path = None;
            }
        }
        let mut next = now + self.rtt.timeout();
        if let (Some(limit), Some(since)) = (self.options.user_timeout, self.unanswered_since)
            && !limit.is_zero()
        {
            next = next.min(since + limit).max(now + Duration::from_millis(1));
        }
        self.deadlines.retransmit = Some(next);
        fired.output = true;
    }

    /// Tail loss probe: the last segment again, so that its acknowledgement tells what is missing.
    fn loss_probe(&mut self, now: Instant, fired: &mut Fired) {
        if self.board.is_empty() || self.control.phase != Phase::Open {
            return;
        }
        let Some((start, end)) = self.board.last() else {
            return;
        };
        let mss = self.control.mss.max(1) as u32;
        let length = end.wrapping_sub(start);
        let from = if length > mss {
            end.wrapping_sub(mss)
        } else {
            start
        };
        self.board.mark_probe(from);
        self.probing = true;
        fired.what = Some(What::LossProbe);
        self.deadlines.retransmit = Some(now + self.rtt.timeout());
        fired.output = true;
    }

    /// Arms the probe, when one can help (RFC 8985, section 7.2).
    pub(crate) fn arm_probe(&mut self, now: Instant) {
        self.deadlines.probe = None;
        if !self.sack_ok || self.control.phase != Phase::Open || self.board.sacked() > 0 || self.probing {
            return;
        }
        let Some(rtt) = self.rtt.smoothed else { return };
        let mut after = rtt * 2;
        if self.board.total() <= self.control.mss {
            after += Duration::from_millis(200);
        } else {
            after += Duration::from_millis(2);
        }
        let at = now + after;
        if self.deadlines.retransmit.is_none_or(|r| at < r) {
            self.deadlines.probe = Some(at);
        }
    }

    /// The peer's window is closed, or a part of a segment waited long enough.
    fn persist(&mut self, now: Instant, settings: &Settings, fired: &mut Fired) {
        if self.unsent() == 0 || !self.board.is_empty() {
            return;
        }
        let edge = self.snd.una.wrapping_add(self.snd.wnd);
        let open = edge.wrapping_sub(self.snd_nxt());
        if (open as i32) > 0 {
            // The end of TCP_CORK's patience, or a window too small for a full segment.
            self.force_part = true;
            self.snd.more = false;
            fired.output = true;
            return;
        }
        if self.gave_up(
            now,
            self.probes,
            if self.orphan { 8 } else { settings.tcp_retries2 },
        ) {
            fired.end = Some((!self.orphan).then_some(Error::TimedOut));
            fired.reset = true;
            return;
        }
        fired.what = Some(What::WindowProbe);
        self.probes = self.probes.saturating_add(1);
        self.rtt.backoff = self.rtt.backoff.saturating_add(1);
        self.unanswered_since.get_or_insert(now);
        self.deadlines.persist = Some(now + self.rtt.timeout().min(MAX_RTO));
        fired.probe = true;
    }

    fn keepalive(&mut self, now: Instant, settings: &Settings, fired: &mut Fired) {
        if !self.options.keepalive || !self.state.is_synchronized() {
            return;
        }
        let idle = self.keepalive_idle(settings);
        let heard = self.figures.last_ack_recv.max(self.figures.last_data_recv);
        // Something is under way: its own timer looks after it.
        if !self.board.is_empty() || self.unsent() > 0 {
            self.deadlines.keepalive = Some(now + idle);
            return;
        }
        let times = self.options.keepalive_times;
        let interval = times.interval.unwrap_or(settings.tcp_keepalive_intvl);
        if self.keepalive_sent == 0 && now.since(heard) < idle {
            self.deadlines.keepalive = Some(heard + idle);
            return;
        }
        let limit = times.count.unwrap_or(settings.tcp_keepalive_probes);
        let spent = match self.options.user_timeout.filter(|t| !t.is_zero()) {
            Some(timeout) => now.since(heard) >= timeout && self.keepalive_sent > 0,
            None => self.keepalive_sent >= limit,
        };
        if spent {
            fired.reset = true;
            fired.end = Some((!self.orphan).then_some(self.soft_error.unwrap_or(Error::TimedOut)));
            return;
        }
        fired.what = Some(What::Keepalive);
        self.keepalive_sent = self.keepalive_sent.saturating_add(1);
        self.deadlines.keepalive = Some(now + interval);
        fired.probe = true;
    }

    /// Sets the keepalive timer from now on.
    pub(crate) fn arm_keepalive(&mut self, now: Instant, settings: &Settings) {
        let on = self.options.keepalive && self.state.is_synchronized();
        self.deadlines.keepalive = on.then(|| now + self.keepalive_idle(settings));
        if !on {
            self.keepalive_sent = 0;
        }
    }

    /// An idle connection needs no memory for empty queues.
    fn trim(&mut self, now: Instant) {
        if self.rcv.queue.is_empty() && self.rcv.gaps.is_empty() {
            self.rcv.queue.trim();
        }
        if self.snd.queue.is_empty() {
            self.snd.queue.trim();
        }
        if self.rcv.allocated() + self.snd.queue.allocated() > 0 {
            self.deadlines.trim = Some(now + TRIM_AFTER * 4);
        }
    }

    /// The round trip as the receiver sees it: the time in which one window of data comes.
    pub(crate) fn measure_rtt(&mut self, now: Instant) {
        if super::before(self.rcv.nxt, self.rcv.rtt_edge) {
            return;
        }
        let rtt = now.since(self.rcv.rtt_since).max(Duration::from_micros(1));
        self.rcv.rtt = if self.rcv.rtt.is_zero() {
            rtt
        } else {
            (self.rcv.rtt * 7 + rtt).min(rtt * 8) / 8
        };
        self.rcv.rtt_since = now;
        self.rcv.rtt_edge = self.rcv.edge;
    }

    /// Dynamic right-sizing: the buffer holds twice what the reader takes in a round trip (tcp_rcv_space_adjust).
    pub(crate) fn measure_reader(&mut self, now: Instant, settings: &Settings) {
        let rtt = self.rcv.rtt.min(self.rtt.smoothed.unwrap_or(self.rcv.rtt));
        // On a short path the reader's own pauses are what the buffer must last for.
        if rtt.is_zero() || now.since(self.rcv.measured) < rtt.max(READER_PAUSE) {
            return;
        }
        let taken = std::mem::take(&mut self.rcv.taken);
        self.rcv.measured = now;
        if taken > self.rcv.space {
            self.rcv.space = taken;
            if settings.tcp_moderate_rcvbuf && !self.rcv.locked && !self.pressure {
                // Two windows, and the half that the buffer keeps for overhead.
                let wanted = (taken * 2 + 16 * self.rcv.mss) * 2;
                self.rcv.buffer = self.rcv.buffer.max(wanted.min(settings.tcp_rmem[2]));
            }
        }
    }
}
