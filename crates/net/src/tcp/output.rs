//! Segments that go out: which, how much, when (RFC 9293 section 3.8, RFC 1122 section 4.2.3.4).

use std::time::Duration;

use super::before;
use super::connection::Connection;
use super::info::TcpState;
use super::listen::window_scale;
use crate::event::Ready;
use crate::interface::Interface;
use crate::ip::{Device, Head, Header, Ip, Sent, Upper};
use crate::wire::protocol;
use crate::wire::tcp::{Flags, MAX_HEADER, Options, Tcp};
use crate::{Error, Gso, GsoKind, Instant, Stack};

/// How long an acknowledgement may wait for company (Linux's TCP_DELACK_MIN).
pub(crate) const DELAYED_ACK: Duration = Duration::from_millis(40);
/// How long a corked part of a segment waits (tcp(7)).
const CORK: Duration = Duration::from_millis(200);
/// Frames of one socket before the next one has its turn.
const BURST: usize = 16;

/// What to send.
#[derive(Clone, Copy, Debug)]
struct Plan {
    seq: u32,
    len: usize,
    fin: bool,
    again: bool,
}

impl Stack {
    /// Sockets that have something to send do so, in turn, until the device has no room.
    pub(crate) fn tcp_output(&mut self, now: Instant, device: &mut Device<'_>) {
        while let Some(id) = self.tcp.next_output() {
            let Some(c) = self.tcp.connection_mut(id) else {
                continue;
            };
            let sent = c.output(now, &mut self.ip, device);
            let (deadline, blocked) = (c.deadlines.earliest(), c.blocked_by_device);
            let room = c.snd.blocked && c.options.notsent_lowat.is_some() && c.is_writable();
            c.snd.blocked &= !room;
            self.tcp.arm(id, deadline);
            if room {
                self.tcp.notify(id, Ready::OUT);
            }
            match sent {
                Ok(Sent::Done) => {}
                Ok(Sent::Full) => {
                    self.tcp.want_output(id);
                    // Frames of the queue (a solicitation, say) go first; without them it was the device.
                    let queued = !self.ip.queue.is_empty();
                    if !self.ip.flush(now, device) || (blocked && !queued) {
                        return;
                    }
                }
                Err(error) => self.output_failed(id, error),
            }
        }
    }

    /// There is no way to the peer. A handshake fails at once; a connection waits for better times.
    fn output_failed(&mut self, id: super::TcpId, error: Error) {
        let Some(c) = self.tcp.connection_mut(id) else {
            return;
        };
        if c.state == TcpState::SynSent {
            return self.finish(id, Some(error));
        }
        c.soft_error = Some(error);
    }
}

impl Connection {
    /// Looks the path up again when something may have changed it.
    pub(crate) fn refresh_path(&mut self, ip: &Ip) -> bool {
        if self
            .path
            .as_ref()
            .is_some_and(|(generation, _)| *generation == ip.generation)
        {
            return true;
        }
        match ip.route(self.tuple.remote, Some(self.tuple.local), self.options.interface) {
            Ok(path) => {
                self.path = Some((ip.generation, path));
                let mss = self.mss();
                if mss < self.control.mss {
                    self.control.set_mss(mss, false);
                    self.board.mss = mss;
                }
                true
            }
            Err(error) => {
                self.soft_error = Some(error);
                self.path.is_some()
            }
        }
    }

    /// Sends what may be sent.
    pub(crate) fn output(
        &mut self,
        now: Instant,
        ip: &mut Ip,
        device: &mut Device<'_>,
    ) -> Result<Sent, Error> {
        self.blocked_by_device = false;
        self.refresh_path(ip);
        if self.snd.syn_due {
            return self.output_syn(now, ip, device);
        }
        if !self.state.is_synchronized() {
            return Ok(Sent::Done);
        }
        let mut frames = 0;
        while let Some(plan) = self.plan(now, ip) {
            if frames == BURST {
                self.blocked_by_device = false;
                return Ok(Sent::Full);
            }
            frames += 1;
            match self.output_data(now, ip, device, plan) {
                Ok(Sent::Done) => {}
                Ok(Sent::Full) => {
                    self.blocked_by_device = true;
                    return Ok(Sent::Full);
                }
                Err(error) => {
                    // As if it had been lost: the timer sends it again.
                    self.soft_error = Some(error);
                    self.arm_retransmit(now);
                    break;
                }
            }
        }
        if self.rcv.ack_now && self.output_ack(now, ip, device, self.snd_nxt())? == Sent::Full {
            self.blocked_by_device = true;
            return Ok(Sent::Full);
        }
        Ok(Sent::Done)
    }

    fn output_syn(&mut self, now: Instant, ip: &mut Ip, device: &mut Device<'_>) -> Result<Sent, Error> {
        if self.path.is_none() {
            return Err(self.soft_error.unwrap_or(Error::NetworkUnreachable));
        }
        let settings = &ip.settings;
        let received = self.state == TcpState::SynReceived;
        if !received && settings.tcp_window_scaling {
            self.rcv.wscale = window_scale(self.options.receive_buffer.unwrap_or(settings.tcp_rmem[2]));
        }
        let scale = settings.tcp_window_scaling && (!received || self.rcv.wscale != 0);
        let mut options = Options {
            mss: Some(self.advertised_mss()),
            sack_permitted: self.sack_ok,
            window_scale: scale.then_some(self.rcv.wscale),
            ..Options::default()
        };
        let mut flags = Flags::SYN;
        if received {
            flags |= Flags::ACK;
        }
        if self.ts.on {
            options.timestamps = Some((self.ts_now(now), if received { self.ts.recent } else { 0 }));
        }
        let window = self.rcv.free().min(usize::from(u16::MAX)) as u16;
        let tcp = Tcp {
            src: self.tuple.local_port,
            dst: self.tuple.remote_port,
            seq: self.snd.iss,
            ack: if received { self.rcv.nxt } else { 0 },
            flags,
            window,
            urgent: 0,
            options,
        };
        let sent = self.emit(now, ip, device, &tcp, (0, 0), None)?;
        if sent == Sent::Done {
            self.snd.syn_due = false;
            if self.deadlines.retransmit.is_none() {
                self.deadlines.retransmit = Some(now + self.rtt.timeout());
            }
        } else {
            self.blocked_by_device = true;
        }
        Ok(sent)
    }

    /// The next data segment: lost ones first, then new ones.
    fn plan(&mut self, now: Instant, ip: &Ip) -> Option<Plan> {
        let flight = self.in_flight();
        let quota = self.control.window.saturating_sub(flight);
        let mss = self.payload_size();
        let largest = self.largest_frame(ip, mss);
        if let Some((start, end)) = self.board.next_lost() {
            if quota < mss && flight > 0 {
                return None;
            }
            let len = (end.wrapping_sub(start) as usize)
                .min(largest)
                .min(quota.max(mss) / mss * mss)
                .max(1);
            return Some(self.plan_again(start, len));
        }
        if self.board.len() >= super::sack::MAX_RECORDS {
            return None;
        }
        let unsent = self.unsent();
        let nxt = self.snd_nxt();
        let edge = self.snd.una.wrapping_add(self.snd.wnd);
        let open = edge.wrapping_sub(nxt);
        let open = if (open as i32) < 0 { 0 } else { open as usize };
        if unsent == 0 {
            self.control.limited = false;
            let fin = self.snd.fin_queued && !self.snd.fin_sent;
            return fin.then_some(Plan {
                seq: nxt,
                len: 0,
                fin: true,
                again: false,
            });
        }
        if quota == 0 || (quota < mss && flight > 0) {
            self.control.limited = true;
            return None;
        }
        if flight == 0 && now.since(self.snd.last) > self.rtt.timeout() && self.control.limited {
            self.control.restart(now.since(self.snd.last), self.rtt.timeout());
        }
        let mut len = unsent.min(open).min(quota).min(largest);
        let part = len % mss;
        let last = len == unsent;
        if part != 0 && !self.force_part && !(last && self.may_send_part()) {
            // Without a full segment: only what is at least half of the largest window that the peer ever had.
            let whole = len - part;
            let forced = whole == 0 && open < unsent.min(mss) && part as u32 >= self.snd.max_wnd / 2;
            if !forced {
                len = whole;
            }
        }
        if len == 0 {
            self.control.limited = false;
            self.wait_for_window(now, open, unsent);
            return None;
        }
        if len < unsent && quota < unsent {
            self.control.limited = true;
        }
        let fin = len == unsent && self.snd.fin_queued;
        Some(Plan {
            seq: nxt,
            len,
            fin,
            again: false,
        })
    }

    fn plan_again(&self, start: u32, len: usize) -> Plan {
        let data_end = self.snd.queue_seq.wrapping_add(self.snd.sent as u32);
        let end = start.wrapping_add(len as u32);
        let fin = before(data_end, end);
        let data = if fin { len - 1 } else { len };
        Plan {
            seq: start,
            len: data,
            fin,
            again: true,
        }
    }

    /// Whether the last part of a segment may go (RFC 896 with Minshall's change, TCP_CORK, MSG_MORE).
    fn may_send_part(&self) -> bool {
        if self.snd.fin_queued {
            return true;
        }
        if self.options.cork || self.snd.more {
            return false;
        }
        self.options.nodelay || !before(self.snd.una, self.snd.small_end) || self.board.is_empty()
    }

    /// Nothing can be sent: who will wake us?
    fn wait_for_window(&mut self, now: Instant, open: usize, unsent: usize) {
        if !self.board.is_empty() || self.deadlines.persist.is_some() {
            return;
        }
        if open < unsent.min(self.mss()) {
            self.deadlines.persist = Some(now + self.rtt.timeout());
            self.unanswered_since.get_or_insert(now);
        } else {
            self.deadlines.persist = Some(now + CORK);
        }
    }

    /// Payload of the longest frame: a super-segment if the device takes them.
    fn largest_frame(&self, ip: &Ip, mss: usize) -> usize {
        let limit = self
            .path
            .as_ref()
            .and_then(|(_, p)| ip.interface(p.interface))
            .map_or(0, |i| self.gso_limit(i));
        let headers = 60 + 40;
        if limit <= headers + mss {
            mss
        } else {
            (limit - headers) / mss * mss
        }
    }

    fn gso_limit(&self, interface: &Interface) -> usize {
        let offloads = &interface.offloads;
        let limit = if self.tuple.remote.is_ipv4() {
            offloads.gso_max_v4
        } else {
            offloads.gso_max_v6
        };
        if offloads.tx_checksum {
            limit.min(crate::GSO_MAX)
        } else {
            0
        }
    }

    fn output_data(
        &mut self,
        now: Instant,
        ip: &mut Ip,
        device: &mut Device<'_>,
        plan: Plan,
    ) -> Result<Sent, Error> {
        let end = plan
            .seq
            .wrapping_add(plan.len as u32)
            .wrapping_add(u32::from(plan.fin));
        let offset = plan.seq.wrapping_sub(self.snd.queue_seq) as usize;
        let mss = self.payload_size();
        let mut flags = Flags::ACK;
        if plan.fin {
            flags |= Flags::FIN;
        }
        let data_end = plan.seq.wrapping_add(plan.len as u32);
        if plan.len > 0 && (self.snd.push == data_end || before(data_end, plan.seq.wrapping_add(mss as u32)))
        {
            flags |= Flags::PSH;
        }
        let mut tcp = self.header(now, plan.seq, flags);
        if let Some(urgent) = self.snd.urgent {
            let ahead = urgent.wrapping_sub(plan.seq);
            if (1..=u32::from(u16::MAX)).contains(&ahead) {
                tcp.flags |= Flags::URG;
                tcp.urgent = ahead as u16;
            } else if before(urgent, self.snd.una) {
                self.snd.urgent = None;
            }
        }
        let gso = (plan.len > mss).then_some(mss);
        if self.emit(now, ip, device, &tcp, (offset, plan.len), gso)? == Sent::Full {
            return Ok(Sent::Full);
        }
        self.acknowledged_by_us();
        let length = end.wrapping_sub(plan.seq) as usize;
        self.control.sent(length);
        self.figures.data_segs_out = self
            .figures
            .data_segs_out
            .wrapping_add(plan.len.div_ceil(mss).max(1) as u32);
        if plan.again {
            let segments = plan.len.div_ceil(mss).max(1) as u32;
            ip.counters.tcp_retrans_segs += u64::from(segments);
            self.figures.total_retrans = self.figures.total_retrans.wrapping_add(segments);
            self.figures.bytes_retrans += plan.len as u64;
            let stamp = self.ts_now(now);
            self.control.first_resend.get_or_insert(stamp);
            self.board.resend(plan.seq, end, now);
        } else {
            self.snd.sent += plan.len;
            self.snd.fin_sent |= plan.fin;
            self.board.push(plan.seq, end, now);
            self.figures.bytes_sent += plan.len as u64;
            if !plan.len.is_multiple_of(mss) {
                self.snd.small_end = end;
            }
            self.force_part = false;
            self.unanswered_since.get_or_insert(now);
        }
        self.snd.last = now;
        self.deadlines.persist = None;
        self.arm_retransmit(now);
        Ok(Sent::Done)
    }

    fn arm_retransmit(&mut self, now: Instant) {
        if self.deadlines.retransmit.is_none() {
            self.deadlines.retransmit = Some(now + self.rtt.timeout());
        }
        self.arm_probe(now);
    }

    /// Sends an acknowledgement; with an old `seq` it is a probe.
    pub(crate) fn output_ack(
        &mut self,
        now: Instant,
        ip: &mut Ip,
        device: &mut Device<'_>,
        seq: u32,
    ) -> Result<Sent, Error> {
        let tcp = self.header(now, seq, Flags::ACK);
        let sent = self.emit(now, ip, device, &tcp, (0, 0), None)?;
        if sent == Sent::Done {
            self.acknowledged_by_us();
        }
        Ok(sent)
    }

    /// What we owed is told.
    fn acknowledged_by_us(&mut self) {
        self.rcv.ack_now = false;
        self.rcv.owed = 0;
        self.rcv.dsack = None;
        self.rcv.last_ack = self.rcv.nxt;
        self.deadlines.delayed_ack = None;
    }

    /// A header with acknowledgement, window, timestamps and SACK blocks.
    fn header(&mut self, now: Instant, seq: u32, flags: Flags) -> Tcp {
        let mut options = Options::default();
        if self.ts.on {
            options.timestamps = Some((self.ts_now(now), self.ts.recent));
        }
        let blocks = self
            .rcv
            .dsack
            .iter()
            .chain(&self.rcv.blocks)
            .take(self.block_count());
        for &block in blocks {
            options.sack[options.sack_len] = block;
            options.sack_len += 1;
        }
        let window = self.rcv.offer() >> self.rcv.wscale;
        Tcp {
            src: self.tuple.local_port,
            dst: self.tuple.remote_port,
            seq,
            ack: self.rcv.nxt,
            flags,
            window: window.min(u32::from(u16::MAX)) as u16,
            urgent: 0,
            options,
        }
    }

    /// SACK blocks that the next segment will carry.
    fn block_count(&self) -> usize {
        if !self.sack_ok || (self.rcv.fin_received && self.rcv.dsack.is_none()) {
            return 0;
        }
        let known = usize::from(self.rcv.dsack.is_some()) + self.rcv.blocks.len();
        known.min(if self.ts.on { 3 } else { 4 })
    }

    /// Payload of a full segment that goes now: SACK blocks take their room.
    fn payload_size(&self) -> usize {
        let blocks = match self.block_count() {
            0 => 0,
            n => 4 + 8 * n,
        };
        self.mss().saturating_sub(blocks).max(8)
    }

    fn emit(
        &mut self,
        now: Instant,
        ip: &mut Ip,
        device: &mut Device<'_>,
        tcp: &Tcp,
        (offset, len): (usize, usize),
        gso: Option<usize>,
    ) -> Result<Sent, Error> {
        let Some((_, path)) = &self.path else {
            return Err(Error::NetworkUnreachable);
        };
        let mut bytes = [0; MAX_HEADER];
        let header_len = tcp.emit(&mut bytes);
        let v4 = self.tuple.remote.is_ipv4();
        let head = Head {
            src: self.tuple.local,
            dst: self.tuple.remote,
            protocol: protocol::TCP,
            ttl: self.options.ttl,
            tos: self.options.tos,
            flow: 0,
            dont_fragment: !ip.settings.no_pmtu_disc,
        };
        let gso = gso.map(|size| Gso {
            kind: if v4 { GsoKind::Tcp4 } else { GsoKind::Tcp6 },
            size: size as u16,
            header_len: (14 + if v4 { 20 } else { 40 } + header_len) as u16,
        });
        let upper = Upper {
            checksum_at: Some(16),
            gso,
        };
        let (a, b) = self.snd.queue.slices(offset, len);
        let body: &[&[u8]] = if len == 0 {
            &[]
        } else if b.is_empty() {
            &[a]
        } else {
            &[a, b]
        };
        let segments = gso.map_or(1, |g| len.div_ceil(usize::from(g.size)));
        let sent = ip.output(
            now,
            path,
            &head,
            Header::new(&bytes[..header_len]),
            body,
            upper,
            Some(device),
        )?;
        if sent == Sent::Done {
            ip.counters.tcp_out_segs += segments as u64;
            self.figures.segs_out = self.figures.segs_out.wrapping_add(segments as u32);
        }
        Ok(sent)
    }
}
