//! The calls of TCP sockets.

use std::net::SocketAddr;
use std::time::Duration;

use super::connection::Connection;
use super::info::TcpState;
use super::listen::Listener;
use super::options::TcpOptions;
use super::reply::Segment;
use super::{Entry, Socket, TcpId, Tuple};
use crate::event::Ready;
use crate::udp::{canonical, scope};
use crate::wire::tcp::{Flags, Options};
use crate::{Error, Instant, Stack};

/// Largest backlog of a listener, whatever net.core.somaxconn says: each entry is a connection.
pub const MAX_BACKLOG: usize = 65_535;
/// Smallest payload of a send buffer that is honoured (Linux's SOCK_MIN_SNDBUF is 4608 with its overhead).
const MIN_BUFFER: usize = 4608;
/// Largest buffer.
const MAX_BUFFER: usize = 256 << 20;

/// What shutdown(2) closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// SHUT_RD
    Read,
    /// SHUT_WR
    Write,
    /// SHUT_RDWR
    Both,
}

impl Stack {
    /// Listens on `local` (address and port; an unspecified IPv6 address takes IPv4 too unless `v6only`).
    ///
    /// # Errors
    /// `AddressInUse`, `NoBuffers`, `Invalid` for port 0.
    pub fn tcp_listen(
        &mut self,
        local: SocketAddr,
        backlog: usize,
        options: TcpOptions,
        token: u64,
    ) -> Result<TcpId, Error> {
        let dual = local.ip().is_unspecified() && local.is_ipv6() && !options.v6only;
        let (address, port) = canonical(local);
        if port == 0 {
            return Err(Error::Invalid);
        }
        let shares = |other: &Listener| {
            let same_family = other.local.is_ipv4() == address.is_ipv4() || other.dual || dual;
            let overlaps = other.local == address
                || (same_family && (other.local.is_unspecified() && address.is_unspecified()));
            let device = other.options.interface == options.interface;
            overlaps && device && !(other.options.reuse_port && options.reuse_port)
        };
        let others = self
            .tcp
            .listeners
            .get(&port)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if others
            .iter()
            .any(|&id| matches!(self.tcp.get(id), Some(Socket::Listener(l)) if shares(l)))
        {
            return Err(Error::AddressInUse);
        }
        let listener = Listener {
            local: address,
            port,
            dual,
            options: bounded(options),
            backlog: backlog.min(self.ip.settings.somaxconn).min(MAX_BACKLOG),
            accept: Default::default(),
            requests: Default::default(),
        };
        let id = self.tcp.insert(Socket::Listener(Box::new(listener)), token)?;
        self.tcp.listeners.entry(port).or_default().push(id);
        Ok(id)
    }

    /// Changes the backlog of a listener (listen(2) called again).
    ///
    /// # Errors
    /// `Invalid` when it is none.
    pub fn tcp_set_backlog(&mut self, id: TcpId, backlog: usize) -> Result<(), Error> {
        let most = self.ip.settings.somaxconn.min(MAX_BACKLOG);
        self.tcp.listener_mut(id).ok_or(Error::Invalid)?.backlog = backlog.min(most);
        Ok(())
    }

    /// Takes a connection off a listener's queue, and gives it a token: the connection, our end, the peer's.
    pub fn tcp_accept(&mut self, id: TcpId, token: u64) -> Option<(TcpId, SocketAddr, SocketAddr)> {
        let listener = self.tcp.listener_mut(id)?;
        let accepted = listener.accept.pop_front()?;
        self.tcp.set_token(accepted, token);
        let c = self.tcp.connection_mut(accepted)?;
        c.parent = None;
        let (local, remote, ready) = (c.tuple.local_address(), c.tuple.remote_address(), c.ready());
        self.tcp.notify(accepted, ready);
        Some((accepted, local, remote))
    }

    /// Begins to connect. `local`'s address may be unspecified (the route chooses), its port may not be 0.
    /// An `OUT` event tells the end of the handshake, `ERR` its failure.
    ///
    /// # Errors
    /// `AddressInUse` when these two ends have a connection already (take another port), `NetworkUnreachable`,
    /// `HostUnreachable`, `AddressNotAvailable`, `AccessDenied`, `Invalid`, `NoBuffers`.
    pub fn tcp_connect(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        mut options: TcpOptions,
        token: u64,
    ) -> Result<TcpId, Error> {
        let (address, port) = canonical(local);
        let (peer, peer_port) = canonical(remote);
        if port == 0 {
            return Err(Error::Invalid);
        }
        if peer.is_multicast() || self.is_broadcast(peer) {
            return Err(Error::NetworkUnreachable);
        }
        options.interface = options.interface.or(scope(&remote));
        let bound = Some(address).filter(|a| !a.is_unspecified());
        let path = self.ip.route(peer, bound, options.interface)?;
        if path.source.is_ipv4() != peer.is_ipv4() {
            return Err(Error::AddressNotAvailable);
        }
        let tuple = Tuple {
            local: path.source,
            local_port: port,
            remote: peer,
            remote_port: peer_port,
        };
        let mut iss = self.initial_sequence(now, &tuple);
        match self.tcp.entries.get(&tuple) {
            None => {}
            Some(Entry::TimeWait(old)) => {
                // RFC 6191: timestamps tell old segments from new ones.
                let reusable = old
                    .ts
                    .is_some_and(|(_, at, _)| now.since(at) > Duration::from_secs(1));
                if !(reusable && self.ip.settings.tcp_tw_reuse) {
                    return Err(Error::AddressInUse);
                }
                iss = old.next_sequence();
                self.drop_time_wait(tuple);
            }
            Some(_) => return Err(Error::AddressInUse),
        }
        let mut c = Connection::new(tuple, bounded(options), iss, &self.ip.settings);
        c.ts.offset = self.ip.key.hash(&[&tuple.words()[..4], &[0x7473]].concat()) as u32;
        c.ts.on = self.ip.settings.tcp_timestamps;
        c.sack_ok = self.ip.settings.tcp_sack;
        c.path = Some((self.ip.generation, path));
        c.snd.syn_due = true;
        c.snd.small_end = iss;
        c.unanswered_since = Some(now);
        let id = self.tcp.insert(Socket::Connection(Box::new(c)), token)?;
        self.tcp.entries.insert(tuple, Entry::Connection(id));
        self.ip.counters.tcp_active_opens += 1;
        self.tcp.want_output(id);
        Ok(id)
    }

    /// Queues up to `max` bytes: `fill` is called with pieces of free room (at most two) and says how many bytes it
    /// put there; fewer than the room ends the call. `more` (MSG_MORE) holds the last part of a segment back.
    ///
    /// # Errors
    /// `WouldBlock` without room, `BrokenPipe` after the sending side was closed, `NotConnected`; an error of the
    /// connection is taken and returned first.
    pub fn tcp_send(
        &mut self,
        _now: Instant,
        id: TcpId,
        max: usize,
        more: bool,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Result<usize, Error> {
        let limits = self.ip.settings.tcp_mem;
        self.tcp.account(id, limits);
        let c = self.tcp.connection_mut(id).ok_or(Error::NotConnected)?;
        if let Some(error) = c.error.take() {
            return Err(error);
        }
        if c.snd.fin_queued || c.state == TcpState::Closed {
            return Err(Error::BrokenPipe);
        }
        if matches!(c.state, TcpState::SynSent | TcpState::SynReceived) {
            c.snd.blocked = true;
            return Err(Error::WouldBlock);
        }
        let n = max.min(c.room());
        if n == 0 && max > 0 {
            c.snd.blocked = true;
            return Err(Error::WouldBlock);
        }
        c.snd.blocked = n < max;
        let (first, second) = c.snd.queue.room(n);
        let mut filled = 0;
        let room = first.len();
        if room > 0 {
            filled = fill(first).min(room);
        }
        if filled == room && !second.is_empty() {
            filled += fill(second).min(second.len());
        }
        c.snd.queue.commit(filled);
        c.snd.more = more;
        // Who polls now sees no room, so an event must tell of it later.
        c.snd.blocked |= !c.is_writable();
        if filled > 0 {
            c.snd.push = c.snd.queue_seq.wrapping_add(c.snd.queue.len() as u32);
            self.tcp.account(id, limits);
            self.tcp.want_output(id);
        }
        Ok(filled)
    }

    /// Queues an urgent byte (MSG_OOB).
    ///
    /// # Errors
    /// As [`Stack::tcp_send`].
    pub fn tcp_send_urgent(&mut self, now: Instant, id: TcpId, byte: u8) -> Result<(), Error> {
        let mut put = |room: &mut [u8]| {
            room[0] = byte;
            1
        };
        self.tcp_send(now, id, 1, false, &mut put)?;
        if let Some(c) = self.tcp.connection_mut(id) {
            c.snd.urgent = Some(c.snd.queue_seq.wrapping_add(c.snd.queue.len() as u32));
        }
        Ok(())
    }

    /// How many bytes can be read. 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock`; an error of the connection, which is taken; `NotConnected`.
    pub fn tcp_readable(&mut self, id: TcpId) -> Result<usize, Error> {
        let c = self.tcp.connection_mut(id).ok_or(Error::NotConnected)?;
        let n = c.readable();
        if n > 0 {
            return Ok(n);
        }
        if let Some(error) = c.error.take() {
            return Err(error);
        }
        if c.rcv.fin_received || c.shut_read || c.state == TcpState::Closed {
            return Ok(0);
        }
        Err(Error::WouldBlock)
    }

    /// Up to `max` readable bytes from `offset` on, as far as they lie in two pieces: there may be more. Nothing is consumed.
    pub fn tcp_data(&self, id: TcpId, offset: usize, max: usize) -> (&[u8], &[u8]) {
        let Some(c) = self.tcp.connection(id) else {
            return (&[], &[]);
        };
        let max = max.min(c.readable().saturating_sub(offset));
        c.rcv.queue.slices(c.rcv.skip(c.options.oob_inline) + offset, max)
    }

    /// Drops `n` bytes that were read; the window opens.
    pub fn tcp_consume(&mut self, now: Instant, id: TcpId, n: usize) {
        let Some(c) = self.tcp.connection_mut(id) else {
            return;
        };
        let n = n.min(c.readable());
        c.rcv.consume(n, c.options.oob_inline, &mut self.ip.frames);
        c.measure_reader(now, &self.ip.settings);
        if c.state.may_receive() && c.rcv.should_update() {
            c.rcv.ack_now = true;
            self.tcp.want_output(id);
        }
    }

    /// The urgent byte (MSG_OOB without SO_OOBINLINE); `peek` leaves it.
    ///
    /// # Errors
    /// `Invalid` when there is none, `WouldBlock` when it is announced and has not come.
    pub fn tcp_urgent(&mut self, id: TcpId, peek: bool) -> Result<u8, Error> {
        let c = self.tcp.connection_mut(id).ok_or(Error::NotConnected)?;
        if c.options.oob_inline {
            return Err(Error::Invalid);
        }
        let byte = if peek {
            c.rcv.urgent_byte()
        } else {
            c.rcv.take_urgent()
        };
        match byte {
            Some(byte) => Ok(byte),
            None if c.rcv.urgent_seq.is_some_and(|s| !super::before(s, c.rcv.nxt)) => Err(Error::WouldBlock),
            None => Err(Error::Invalid),
        }
    }

    /// Whether the next byte to read is the one after the urgent mark (SIOCATMARK).
    pub fn tcp_at_mark(&self, id: TcpId) -> bool {
        self.tcp.connection(id).is_some_and(|c| c.rcv.mark() == Some(0))
    }

    /// Closes directions.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn tcp_shutdown(&mut self, _now: Instant, id: TcpId, how: Shutdown) -> Result<(), Error> {
        let c = self.tcp.connection_mut(id).ok_or(Error::NotConnected)?;
        match c.state {
            TcpState::Closed => return Err(Error::NotConnected),
            TcpState::SynSent => {
                self.finish(id, None);
                return Ok(());
            }
            _ => {}
        }
        if how != Shutdown::Write {
            c.shut_read = true;
        }
        if how != Shutdown::Read {
            c.queue_fin();
            self.tcp.want_output(id);
        }
        let ready = self.tcp.connection(id).map(Connection::ready).unwrap_or_default();
        self.tcp.notify(id, ready);
        Ok(())
    }

    /// The owner lets go of a socket. A connection with unread bytes is reset (RFC 2525, section 2.17); any other one
    /// sends what it has and closes by itself. Listeners reset what was not accepted.
    pub fn tcp_close(&mut self, now: Instant, id: TcpId) {
        match self.tcp.get_mut(id) {
            Some(Socket::Listener(_)) => self.close_listener(now, id),
            Some(Socket::Connection(c)) => {
                let unread = !c.rcv.queue.is_empty();
                c.orphan = true;
                match c.state {
                    TcpState::Closed | TcpState::SynSent => self.finish(id, None),
                    _ if unread => self.tcp_abort(now, id),
                    _ => {
                        c.queue_fin();
                        c.orphaned(now, &self.ip.settings);
                        let deadline = c.deadlines.earliest();
                        self.tcp.set_token(id, 0);
                        self.tcp.arm(id, deadline);
                        self.tcp.want_output(id);
                    }
                }
            }
            None => {}
        }
    }

    /// Resets a connection and lets go of it (SO_LINGER with a time of zero).
    pub fn tcp_abort(&mut self, now: Instant, id: TcpId) {
        if matches!(self.tcp.get(id), Some(Socket::Listener(_))) {
            return self.close_listener(now, id);
        }
        let Some(c) = self.tcp.connection_mut(id) else {
            return;
        };
        c.orphan = true;
        if !matches!(c.state, TcpState::Closed | TcpState::SynSent) {
            self.send_reset(now, id);
        }
        self.finish(id, None);
    }

    /// Tells the peer that the connection is no more.
    pub(crate) fn send_reset(&mut self, now: Instant, id: TcpId) {
        let Some(c) = self.tcp.connection_mut(id) else {
            return;
        };
        let (tuple, tos, ttl) = (c.tuple, c.options.tos, c.options.ttl);
        let mut options = Options::default();
        if c.ts.on {
            options.timestamps = Some((c.ts_now(now), c.ts.recent));
        }
        let segment = Segment {
            seq: c.snd_nxt(),
            ack: c.rcv.nxt,
            flags: Flags::RST | Flags::ACK,
            window: 0,
            options,
            tos,
            ttl,
        };
        let via = c.options.interface;
        let Ok(path) = self.ip.route(tuple.remote, Some(tuple.local), via) else {
            return;
        };
        self.send_segment(now, &path, &tuple, &segment);
    }

    fn close_listener(&mut self, now: Instant, id: TcpId) {
        let Some(Socket::Listener(mut listener)) = self.tcp.remove(id) else {
            return;
        };
        if let Some(ids) = self.tcp.listeners.get_mut(&listener.port) {
            ids.retain(|&i| i != id);
            if ids.is_empty() {
                self.tcp.listeners.remove(&listener.port);
            }
        }
        for tuple in std::mem::take(&mut listener.requests) {
            self.drop_request(tuple);
        }
        for child in listener.accept {
            self.tcp_abort(now, child);
        }
    }

    /// The options of a socket.
    pub fn tcp_options(&self, id: TcpId) -> Option<&TcpOptions> {
        match self.tcp.get(id)? {
            Socket::Listener(l) => Some(&l.options),
            Socket::Connection(c) => Some(&c.options),
        }
    }

    /// Sets the options of a socket; what can take effect on a running connection does.
    pub fn tcp_set_options(&mut self, now: Instant, id: TcpId, options: TcpOptions) {
        let options = bounded(options);
        match self.tcp.get_mut(id) {
            Some(Socket::Listener(l)) => l.options = options,
            Some(Socket::Connection(c)) => {
                if let Some(size) = options.send_buffer {
                    c.snd.buffer = size;
                }
                if let Some(size) = options.receive_buffer {
                    (c.rcv.buffer, c.rcv.locked) = (size, true);
                }
                if let Some(congestion) = options.congestion {
                    c.control.set_algorithm(congestion);
                }
                if options.quickack && !c.options.quickack && c.rcv.owed > 0 {
                    c.rcv.ack_now = true;
                }
                c.rcv.window_clamp = options.window_clamp.unwrap_or(u32::MAX);
                let rekey = options.keepalive != c.options.keepalive
                    || options.keepalive_times != c.options.keepalive_times;
                c.options = options;
                if rekey {
                    c.arm_keepalive(now, &self.ip.settings);
                }
                let deadline = c.deadlines.earliest();
                self.tcp.arm(id, deadline);
                self.tcp.want_output(id);
            }
            None => {}
        }
    }

    /// Gives a socket another token.
    pub fn tcp_set_token(&mut self, id: TcpId, token: u64) {
        self.tcp.set_token(id, token);
    }

    /// The error that waits, which is taken (SO_ERROR).
    pub fn tcp_take_error(&mut self, id: TcpId) -> Option<Error> {
        self.tcp.connection_mut(id)?.error.take()
    }

    /// Whether a listener exists on this exact address and port, and what it would say of `Ready`.
    pub fn tcp_listener_ready(&self, id: TcpId) -> Ready {
        match self.tcp.get(id) {
            Some(Socket::Listener(l)) if !l.accept.is_empty() => Ready::IN,
            _ => Ready::empty(),
        }
    }
}

impl Connection {
    /// No more will be written: the FIN follows the data.
    pub(crate) fn queue_fin(&mut self) {
        if self.snd.fin_queued {
            return;
        }
        self.snd.fin_queued = true;
        self.snd.more = false;
        self.state = match self.state {
            // (In SYN_RECEIVED the acknowledgement of our SYN comes first.)
            TcpState::Established => TcpState::FinWait1,
            TcpState::CloseWait => TcpState::LastAck,
            other => other,
        };
    }
}

/// Buffer sizes within Linux's bounds.
fn bounded(mut options: TcpOptions) -> TcpOptions {
    options.send_buffer = options.send_buffer.map(|s| s.clamp(MIN_BUFFER, MAX_BUFFER));
    options.receive_buffer = options.receive_buffer.map(|s| s.clamp(2304, MAX_BUFFER));
    options
}
