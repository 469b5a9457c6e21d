//! Listeners: handshakes in progress and connections that wait for accept(2).

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::connection::{Connection, DEFAULT_MSS_V4, DEFAULT_MSS_V6, MIN_MSS};
use super::info::TcpState;
use super::options::TcpOptions;
use super::reply::Segment;
use super::{Due, Entry, Socket, TcpId, Tuple, before};
use crate::event::Ready;
use crate::ingress::Meta;
use crate::wire::tcp::{Flags, Options, Tcp};
use crate::{Instant, Stack};

/// Handshakes in progress of one stack; each is about 200 bytes.
pub const MAX_REQUESTS: usize = 16_384;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Canonical; unspecified for all addresses.
    pub local: IpAddr,
    pub port: u16,
    /// Takes IPv4 connections, though its address is an unspecified IPv6 one.
    pub dual: bool,
    pub options: TcpOptions,
    pub backlog: usize,
    pub accept: VecDeque<TcpId>,
    pub requests: BTreeSet<Tuple>,
}

/// A handshake in progress: what its SYN said.
#[derive(Debug)]
pub(crate) struct Request {
    pub listener: TcpId,
    pub interface: u32,
    pub iss: u32,
    pub irs: u32,
    pub peer_mss: u16,
    pub peer_wscale: Option<u8>,
    pub our_wscale: u8,
    pub sack: bool,
    /// TSval of the peer, and our offset.
    pub ts: Option<u32>,
    pub ts_offset: u32,
    pub window: u32,
    pub retries: u8,
    pub since: Instant,
    pub deadline: Instant,
    pub armed: Option<Instant>,
}

impl Listener {
    /// Linux admits one more than the backlog says.
    pub(crate) fn is_full(&self) -> bool {
        self.accept.len() > self.backlog
    }

    /// How well it fits: the more it says, the better. `None` when it does not.
    fn score(&self, local: IpAddr, interface: u32) -> Option<u32> {
        let mut score = 1;
        if let Some(bound) = self.options.interface {
            if bound != interface {
                return None;
            }
            score += 4;
        }
        if self.local == local {
            return Some(score + 8);
        }
        let fits = self.local.is_unspecified() && (self.local.is_ipv4() == local.is_ipv4() || self.dual);
        fits.then_some(score + u32::from(self.local.is_ipv4() == local.is_ipv4()))
    }
}

impl Stack {
    /// The listener for a connection to `tuple`'s local end. Among equals (SO_REUSEPORT) the hash decides.
    pub(crate) fn find_listener(&self, tuple: &Tuple, interface: u32) -> Option<TcpId> {
        let candidates = self.tcp.listeners.get(&tuple.local_port)?;
        let scores = candidates.iter().filter_map(|&id| match self.tcp.get(id)? {
            Socket::Listener(l) => l.score(tuple.local, interface).map(|s| (s, id)),
            Socket::Connection(_) => None,
        });
        let scores: Vec<(u32, TcpId)> = scores.collect();
        let best = scores.iter().map(|s| s.0).max()?;
        let equal: Vec<TcpId> = scores.iter().filter(|s| s.0 == best).map(|s| s.1).collect();
        let choice = match equal.len() {
            1 => 0,
            n => (self.ip.key.hash(&tuple.words()) % n as u64) as usize,
        };
        equal.get(choice).copied()
    }

    /// A SYN for a listener. `after`: the new connection's numbers must come after this (TIME_WAIT).
    pub(crate) fn receive_syn(
        &mut self,
        now: Instant,
        id: TcpId,
        meta: &Meta,
        tuple: Tuple,
        syn: &Tcp,
        after: Option<u32>,
    ) {
        let iss = after.unwrap_or_else(|| self.initial_sequence(now, &tuple));
        let ts_offset = self.ip.key.hash(&[&tuple.words()[..4], &[0x7473]].concat()) as u32;
        let settings = &self.ip.settings;
        let Some(Socket::Listener(listener)) = self.tcp.get_mut(id) else {
            return;
        };
        let limit = settings.tcp_max_syn_backlog.max(listener.backlog).max(8);
        if listener.is_full() || listener.requests.len() >= limit {
            self.ip.counters.tcp_listen_drops += 1;
            self.ip.counters.tcp_listen_overflows += u64::from(listener.is_full());
            return;
        }
        if self.tcp.request_count() >= MAX_REQUESTS {
            self.ip.counters.tcp_listen_drops += 1;
            return;
        }
        let Some(Socket::Listener(listener)) = self.tcp.get_mut(id) else {
            return;
        };
        let default = if tuple.remote.is_ipv4() {
            DEFAULT_MSS_V4
        } else {
            DEFAULT_MSS_V6
        };
        let our_wscale = window_scale(
            listener
                .options
                .receive_buffer
                .unwrap_or(settings.tcp_rmem[2].max(1)),
        );
        let request = Request {
            listener: id,
            interface: meta.interface,
            iss,
            irs: syn.seq,
            peer_mss: syn.options.mss.unwrap_or(default).max(MIN_MSS),
            peer_wscale: syn.options.window_scale.filter(|_| settings.tcp_window_scaling),
            our_wscale,
            sack: syn.options.sack_permitted && settings.tcp_sack,
            ts: syn
                .options
                .timestamps
                .map(|t| t.0)
                .filter(|_| settings.tcp_timestamps),
            ts_offset,
            window: u32::from(syn.window),
            retries: 0,
            since: now,
            deadline: now + Duration::from_secs(1),
            armed: None,
        };
        listener.requests.insert(tuple);
        self.tcp.entries.insert(tuple, Entry::Request(Box::new(request)));
        self.tcp.count_requests(1);
        self.arm_entry(tuple, now + Duration::from_secs(1));
        self.send_syn_ack(now, tuple);
    }

    /// Sends (again) the SYN-ACK of a handshake.
    pub(crate) fn send_syn_ack(&mut self, now: Instant, tuple: Tuple) {
        let Some(Entry::Request(request)) = self.tcp.entries.get(&tuple) else {
            return;
        };
        let Some(Socket::Listener(listener)) = self.tcp.get(request.listener) else {
            return;
        };
        let via = reply_via(&tuple, request.interface, &listener.options);
        let mut template = Connection::new(tuple, listener.options.clone(), request.iss, &self.ip.settings);
        let Ok(path) = self.ip.route(tuple.remote, Some(tuple.local), via) else {
            return;
        };
        template.path = Some((0, path.clone()));
        let mut options = Options {
            mss: Some(template.advertised_mss()),
            ..Options::default()
        };
        options.sack_permitted = request.sack;
        options.window_scale = request.peer_wscale.map(|_| request.our_wscale);
        options.timestamps = request
            .ts
            .map(|peer| ((now.as_millis() as u32).wrapping_add(request.ts_offset), peer));
        let window = template.rcv.free().min(usize::from(u16::MAX)) as u16;
        let segment = Segment {
            seq: request.iss,
            ack: request.irs.wrapping_add(1),
            flags: Flags::SYN | Flags::ACK,
            window,
            options,
            tos: listener.options.tos,
            ttl: listener.options.ttl,
        };
        self.send_segment(now, &path, &tuple, &segment);
    }

    /// A segment for a handshake in progress. True when it made a connection that the segment now is for.
    pub(crate) fn request_segment(
        &mut self,
        now: Instant,
        meta: &Meta,
        tuple: Tuple,
        tcp: &Tcp,
        len: usize,
    ) -> bool {
        let Some(Entry::Request(request)) = self.tcp.entries.get(&tuple) else {
            return false;
        };
        let (listener, irs, iss) = (request.listener, request.irs, request.iss);
        let in_window = tcp.seq.wrapping_sub(irs.wrapping_add(1)) < u32::from(u16::MAX)
            || tcp.seq.wrapping_add(len as u32) == irs.wrapping_add(1);
        if tcp.flags.contains(Flags::RST) {
            // RFC 5961, section 3.2.
            if tcp.seq == irs.wrapping_add(1) {
                self.drop_request(tuple);
                self.ip.counters.tcp_attempt_fails += 1;
            } else if in_window {
                self.challenge(now, tuple);
            }
            return false;
        }
        if tcp.flags.contains(Flags::SYN) {
            if tcp.seq == irs && !tcp.flags.contains(Flags::ACK) {
                // Its first answer was lost.
                self.send_syn_ack(now, tuple);
            } else {
                self.challenge(now, tuple);
            }
            return false;
        }
        if !tcp.flags.contains(Flags::ACK) {
            return false;
        }
        if let (Some(recent), Some((value, _))) = (request.ts, tcp.options.timestamps)
            && before(value, recent)
        {
            return false;
        }
        if tcp.ack != iss.wrapping_add(1) {
            self.reset_reply(now, meta, tcp, len);
            return false;
        }
        if !in_window {
            self.challenge(now, tuple);
            return false;
        }
        let Some(l) = self.tcp.listener_mut(listener) else {
            self.drop_request(tuple);
            self.reset_reply(now, meta, tcp, len);
            return false;
        };
        let deferred = l
            .options
            .defer_accept
            .filter(|_| len == 0 && !tcp.flags.contains(Flags::FIN));
        if let Some(patience) = deferred
            && now.since(request_since(&self.tcp.entries, &tuple)) < patience
        {
            return false;
        }
        let Some(l) = self.tcp.listener_mut(listener) else {
            return false;
        };
        if l.is_full() {
            self.ip.counters.tcp_listen_overflows += 1;
            self.ip.counters.tcp_listen_drops += 1;
            if self.ip.settings.tcp_abort_on_overflow {
                self.drop_request(tuple);
                self.reset_reply(now, meta, tcp, len);
            }
            return false;
        }
        self.promote(now, tuple, tcp)
    }

    /// The handshake is done: a connection on the listener's queue.
    fn promote(&mut self, now: Instant, tuple: Tuple, tcp: &Tcp) -> bool {
        let Some(request) = self.drop_request(tuple) else {
            return false;
        };
        let Some(listener) = self.tcp.listener_mut(request.listener) else {
            return false;
        };
        let mut c = Connection::new(tuple, listener.options.clone(), request.iss, &self.ip.settings);
        c.parent = Some(request.listener);
        c.state = TcpState::Established;
        c.snd.syn_acked = true;
        c.snd.una = request.iss.wrapping_add(1);
        c.snd.peer_mss = request.peer_mss;
        c.snd.wscale = request.peer_wscale.unwrap_or(0);
        c.rcv.wscale = if request.peer_wscale.is_some() {
            request.our_wscale
        } else {
            0
        };
        c.rcv.irs = request.irs;
        c.rcv.nxt = request.irs.wrapping_add(1);
        c.rcv.last_ack = c.rcv.nxt;
        c.rcv.edge = c
            .rcv
            .nxt
            .wrapping_add(c.rcv.free().min(usize::from(u16::MAX)) as u32);
        c.sack_ok = request.sack;
        c.ts.on = request.ts.is_some();
        c.ts.offset = request.ts_offset;
        c.ts.recent = request.ts.unwrap_or(0);
        c.ts.recent_at = now;
        c.snd.wnd = u32::from(tcp.window) << c.snd.wscale;
        c.snd.max_wnd = c.snd.wnd.max(request.window);
        (c.snd.wl1, c.snd.wl2) = (tcp.seq, tcp.ack);
        if request.retries == 0 {
            c.rtt.sample(now.since(request.since));
        }
        let via = reply_via(&tuple, request.interface, &c.options);
        if via.is_some() {
            c.options.interface = via;
        }
        c.established(now, &mut self.ip);
        let Ok(id) = self.tcp.insert(Socket::Connection(Box::new(c)), 0) else {
            return false;
        };
        self.tcp.entries.insert(tuple, Entry::Connection(id));
        if let Some(listener) = self.tcp.listener_mut(request.listener) {
            listener.accept.push_back(id);
        }
        self.ip.counters.tcp_passive_opens += 1;
        self.tcp.notify(request.listener, Ready::IN);
        true
    }

    /// Forgets a handshake.
    pub(crate) fn drop_request(&mut self, tuple: Tuple) -> Option<Box<Request>> {
        if !matches!(self.tcp.entries.get(&tuple), Some(Entry::Request(_))) {
            return None;
        }
        let Some(Entry::Request(mut request)) = self.tcp.entries.remove(&tuple) else {
            return None;
        };
        self.tcp.timers.disarm(Due::Entry(tuple), &mut request.armed);
        self.tcp.count_requests(-1);
        if let Some(listener) = self.tcp.listener_mut(request.listener) {
            listener.requests.remove(&tuple);
        }
        Some(request)
    }

    /// Time to send the SYN-ACK again, or to give up.
    pub(crate) fn request_timeout(&mut self, now: Instant, tuple: Tuple) {
        let limit = self.ip.settings.tcp_synack_retries;
        let Some(Entry::Request(request)) = self.tcp.entries.get_mut(&tuple) else {
            return;
        };
        if request.retries >= limit {
            self.drop_request(tuple);
            self.ip.counters.tcp_attempt_fails += 1;
            return;
        }
        request.retries += 1;
        request.deadline = now + Duration::from_secs(1 << request.retries.min(7));
        let at = request.deadline;
        self.ip.counters.tcp_retrans_segs += 1;
        self.ip.counters.tcp_timeouts += 1;
        self.arm_entry(tuple, at);
        self.send_syn_ack(now, tuple);
    }
}

fn request_since(
    entries: &std::collections::HashMap<Tuple, Entry, crate::siphash::Key>,
    tuple: &Tuple,
) -> Instant {
    match entries.get(tuple) {
        Some(Entry::Request(r)) => r.since,
        _ => Instant::ZERO,
    }
}

/// The shift that lets a window of half of `buffer` be told.
pub(crate) fn window_scale(buffer: usize) -> u8 {
    let mut scale = 0;
    while scale < 14 && buffer >> scale > usize::from(u16::MAX) {
        scale += 1;
    }
    scale
}

/// The interface that answers must go by: link-local peers are on one link.
pub(crate) fn reply_via(tuple: &Tuple, interface: u32, options: &TcpOptions) -> Option<u32> {
    let link_local = matches!(tuple.remote, IpAddr::V6(a) if a.is_unicast_link_local());
    options.interface.or(link_local.then_some(interface))
}
