//! tcp(7). Inside the sandbox a connection is a pair of channels, with what users see of TCP: listen queues, half-close,
//! resets, pending errors; no segments, no timers: nothing is lost on the way. With the outside: `tcp_outside`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Events, Mutex, PollTable, rank};

use super::knobs::Knobs;
use super::ports::Claim;
use super::{Summary, check_port, decode_local, unspecified};
use crate::Kernel;
use crate::io::Sink;
use crate::socket::address::encode_inet;
use crate::socket::channel::{Channel, Wants};
use crate::socket::unix::MAX_BACKLOG;
use crate::socket::{AF_INET6, Accepted, Base, Incoming, Kind, NetNs, Outgoing, Shutdown, SocketOps, msg};
use crate::task::CurrentTask;

/// Bytes under way in one direction: what Linux's defaults let a loopback connection hold, roughly.
const SEND_BUFFER: usize = 512 << 10;
const RECEIVE_BUFFER: usize = 131_072;

/// Both directions, from one side.
#[derive(Clone)]
pub(super) struct Link {
    pub tx: Arc<Channel>,
    pub rx: Arc<Channel>,
    pub peer: Weak<TcpSocket>,
}

pub(super) enum Phase {
    /// Neither listening nor connected (any more).
    Idle,
    /// Waiting for room in a listener's queue.
    Connecting,
    Listening {
        backlog: usize,
        queue: VecDeque<Arc<TcpSocket>>,
        /// Those who connect while the queue is full.
        pending: VecDeque<Weak<TcpSocket>>,
        /// The stack's listener, for connections from outside.
        outside: Option<net::TcpId>,
    },
    Connected(Link),
    /// A connection of the stack, or an attempt at one.
    Outside(net::TcpId),
    Closed,
}

pub(super) struct State {
    pub phase: Phase,
    /// Bound address; the port is claimed by this socket when `claimed`.
    pub local: Option<SocketAddr>,
    pub claimed: bool,
    pub remote: Option<SocketAddr>,
    /// shutdown(2) by the user.
    pub shut: Shutdown,
    /// The connection was reset, by the peer or by writing to a peer that is gone.
    pub broken: bool,
    /// A connect(2) that would have waited has ended well and was not asked about yet.
    pub unannounced: bool,
    /// A connect(2) failed.
    pub failed: bool,
    /// The stack's connection has come to be.
    pub opened: bool,
}

/// A TCP socket.
pub struct TcpSocket {
    pub(super) base: Base,
    pub(super) me: Weak<TcpSocket>,
    pub(super) kernel: Arc<Kernel>,
    pub(super) state: Mutex<State>,
    pub(super) knobs: Knobs,
}

impl TcpSocket {
    pub(super) fn new(kernel: &Arc<Kernel>, net: &Arc<NetNs>, family: u16) -> Arc<TcpSocket> {
        let base = Base::new(
            net,
            family,
            Kind::Stream,
            super::IPPROTO_TCP,
            kernel.next_ino(),
            (SEND_BUFFER, RECEIVE_BUFFER),
        );
        let ino = base.ino;
        let state = State {
            phase: Phase::Idle,
            local: None,
            claimed: false,
            remote: None,
            shut: Shutdown {
                read: false,
                write: false,
            },
            broken: false,
            unannounced: false,
            failed: false,
            opened: false,
        };
        let socket = Arc::new_cyclic(|me| TcpSocket {
            base,
            me: me.clone(),
            kernel: kernel.clone(),
            state: Mutex::new(rank::FILE_STATE, state),
            knobs: Knobs::new(family, Kind::Stream),
        });
        net.ports.tcp.add(ino, &socket);
        socket
    }

    pub(super) fn link(&self) -> Option<Link> {
        match &self.state.lock().phase {
            Phase::Connected(link) => Some(link.clone()),
            _ => None,
        }
    }

    /// The stack's connection.
    fn outside(&self) -> Option<net::TcpId> {
        match self.state.lock().phase {
            Phase::Outside(id) => Some(id),
            _ => None,
        }
    }

    /// How it wants a port at `addr`.
    pub(super) fn claim(&self, addr: SocketAddr) -> Claim {
        let uid = crate::task::current().map_or(0, |task| task.cred().euid);
        let dual = self.base.family == AF_INET6 && !self.knobs.v6only();
        let options = self.base.options.lock();
        Claim {
            ip: addr.ip(),
            dual,
            reuse_address: options.reuse_address(),
            reuse_port: options.reuse_port(),
            uid,
        }
    }

    /// Takes `addr` for this socket. `EINVAL` when it has one.
    pub(super) fn bind_to(&self, addr: SocketAddr) -> Result<(), Errno> {
        let mut state = self.state.lock();
        if state.local.is_some() || !matches!(state.phase, Phase::Idle | Phase::Connecting) {
            return Err(Errno::EINVAL);
        }
        let claim = self.claim(addr);
        let table = &self.base.net.ports.tcp;
        let port = table.claim(self.base.ino, &self.me, addr.port(), claim)?;
        state.local = Some(SocketAddr::new(addr.ip(), port));
        state.claimed = true;
        Ok(())
    }

    /// Ends the connection at once: what is unread stays, then comes `error`.
    pub(super) fn reset(&self, error: Errno) {
        // First: who finds the connection broken finds the error too.
        self.base.fail(error);
        let link = {
            let mut state = self.state.lock();
            state.broken = true;
            match &state.phase {
                Phase::Connected(link) => Some(link.clone()),
                _ => None,
            }
        };
        if let Some(link) = link {
            link.rx.finish();
            link.tx.refuse();
        }
        self.base.queue.wake(Events::all());
    }

    /// What sending gives on a connection that takes no more: its pending error first, as in sk_stream_error of Linux.
    pub(super) fn broken_pipe(&self) -> Errno {
        self.base.take_error().err().unwrap_or(Errno::EPIPE)
    }

    /// The state as /proc/net/tcp and TCP_INFO number it.
    pub fn state_number(&self) -> u8 {
        if let Some(id) = self.outside() {
            return self.status_outside(id).map_or(7, |status| status.state as u8);
        }
        let state = self.state.lock();
        match &state.phase {
            Phase::Idle | Phase::Closed => 7,
            Phase::Connecting | Phase::Outside(_) => 2,
            Phase::Listening { .. } => 10,
            Phase::Connected(_) if state.broken => 7,
            Phase::Connected(link) => match (state.shut.write, link.rx.finished()) {
                (false, false) => 1,
                (false, true) => 8,
                (true, false) => 5,
                (true, true) => 7,
            },
        }
    }

    /// Its line of /proc/net/tcp.
    pub fn summary(&self) -> Summary {
        let state = self.state_number();
        let none = SocketAddr::new(unspecified(self.base.family), 0);
        let (local, remote) = {
            let state = self.state.lock();
            (state.local.unwrap_or(none), state.remote.unwrap_or(none))
        };
        let status = self.outside().and_then(|id| self.status_outside(id));
        let link = self.link();
        let own = |channel: fn(&Link) -> &Arc<Channel>| link.as_ref().map_or(0, |link| channel(link).len());
        Summary {
            ipv6: self.base.family == AF_INET6,
            local,
            remote,
            state,
            ino: self.base.ino,
            uid: self.base.uid,
            to_send: status
                .as_ref()
                .map_or_else(|| own(|link| &link.tx), |status| status.send_queue),
            to_read: status
                .as_ref()
                .map_or_else(|| own(|link| &link.rx), |status| status.readable),
        }
    }

    fn shut_listener(&self) {
        let phase = {
            let mut state = self.state.lock();
            std::mem::replace(&mut state.phase, Phase::Idle)
        };
        self.end_listening(phase);
    }

    fn end_listening(&self, phase: Phase) {
        let Phase::Listening {
            queue,
            pending,
            outside,
            ..
        } = phase
        else {
            return;
        };
        if let Some(id) = outside {
            self.set_backlog(id, None);
        }
        self.base.options.lock().listening = false;
        for waiting in queue {
            if let Some(peer) = waiting.link().and_then(|link| link.peer.upgrade()) {
                peer.reset(Errno::ECONNRESET);
            }
            waiting.close();
        }
        for client in pending.iter().filter_map(Weak::upgrade) {
            client.connect_failed(Errno::ECONNREFUSED);
        }
    }
}

impl SocketOps for TcpSocket {
    fn base(&self) -> &Base {
        &self.base
    }

    fn bind(&self, task: &CurrentTask, addr: &[u8]) -> Result<(), Errno> {
        let addr = decode_local(&self.base.net, self.base.family, addr, &self.knobs, false)?;
        check_port(&self.base.net, task, addr.port())?;
        self.bind_to(addr)
    }

    fn connect(&self, task: &CurrentTask, addr: &[u8], nonblocking: bool) -> Result<(), Errno> {
        self.start_connecting(task, addr, nonblocking)
    }

    fn listen(&self, _: &CurrentTask, backlog: i32) -> Result<(), Errno> {
        let asked = usize::try_from(backlog).unwrap_or(MAX_BACKLOG).min(MAX_BACKLOG);
        if self.state.lock().local.is_none() {
            self.bind_to(SocketAddr::new(unspecified(self.base.family), 0))?;
        }
        let local = {
            let mut state = self.state.lock();
            match &mut state.phase {
                Phase::Idle => {}
                Phase::Listening { backlog, outside, .. } => {
                    *backlog = asked;
                    let outside = *outside;
                    drop(state);
                    if let Some(id) = outside {
                        self.set_backlog(id, Some(asked));
                    }
                    return Ok(());
                }
                _ => return Err(Errno::EINVAL),
            }
            state
                .local
                .unwrap_or(SocketAddr::new(unspecified(self.base.family), 0))
        };
        let table = &self.base.net.ports.tcp;
        table.listen(self.base.ino, local.port(), true)?;
        let outside = match self.listen_outside(local, asked) {
            Ok(outside) => outside,
            Err(error) => {
                let _ = table.listen(self.base.ino, local.port(), false);
                return Err(error);
            }
        };
        self.state.lock().phase = Phase::Listening {
            outside,
            backlog: asked,
            queue: VecDeque::new(),
            pending: VecDeque::new(),
        };
        self.base.options.lock().listening = true;
        if self.base.net.network.attached().is_some() {
            // The stack may have come meanwhile.
            self.adopt();
        }
        Ok(())
    }

    fn accept(&self) -> Result<Accepted, Errno> {
        let (socket, outside) = {
            let mut state = self.state.lock();
            match &mut state.phase {
                Phase::Listening { queue, outside, .. } => (queue.pop_front(), *outside),
                _ => return Err(Errno::EINVAL),
            }
        };
        let socket = match (socket, outside) {
            (Some(socket), _) => socket,
            (None, Some(id)) => return self.accept_outside(id),
            (None, None) => return Err(Errno::EAGAIN),
        };
        self.admit_pending();
        let from = socket.peer_name_any();
        Ok(Accepted { socket, from })
    }

    fn name(&self) -> Result<Vec<u8>, Errno> {
        let local = self.state.lock().local;
        let none = SocketAddr::new(unspecified(self.base.family), 0);
        Ok(encode_inet(self.base.family, local.unwrap_or(none)))
    }

    fn peer_name(&self) -> Result<Vec<u8>, Errno> {
        let state = self.state.lock();
        match (&state.phase, state.remote) {
            (Phase::Connected(link), Some(remote)) if !state.broken && !is_closed(link, state.shut) => {
                Ok(encode_inet(self.base.family, remote))
            }
            (Phase::Outside(_), Some(remote)) if state.opened && !state.broken => {
                Ok(encode_inet(self.base.family, remote))
            }
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        let outside = self.outside();
        let link = {
            let mut state = self.state.lock();
            match &state.phase {
                Phase::Listening { .. } if how.read => None,
                Phase::Connected(link) if !state.broken && !is_closed(link, state.shut) => {
                    let link = link.clone();
                    state.shut.read |= how.read;
                    state.shut.write |= how.write;
                    Some(link)
                }
                Phase::Outside(_) if state.opened && !state.broken => {
                    state.shut.read |= how.read;
                    state.shut.write |= how.write;
                    None
                }
                _ => {
                    // Noted all the same (inet_shutdown).
                    state.shut.read |= how.read;
                    state.shut.write |= how.write;
                    drop(state);
                    self.base.queue.wake(Events::all());
                    return Err(Errno::ENOTCONN);
                }
            }
        };
        match link {
            None if outside.is_some() => {
                if let Some(id) = outside {
                    self.shutdown_outside(id, how);
                }
            }
            None => {
                let port = self.state.lock().local.map_or(0, |addr| addr.port());
                let _ = self.base.net.ports.tcp.listen(self.base.ino, port, false);
                self.shut_listener();
            }
            Some(link) => {
                if how.write {
                    link.tx.finish();
                }
                // What comes now is answered with a reset.
                let shut = self.state.lock().shut;
                if shut.read && shut.write {
                    link.rx.refuse();
                }
            }
        }
        self.base.queue.wake(Events::all());
        Ok(())
    }

    fn send(&self, message: &mut Outgoing<'_>) -> Result<usize, Errno> {
        self.base.take_error()?;
        if message.flags & msg::FASTOPEN != 0 {
            self.open_by_sending(message)?;
        }
        if let Some(id) = self.outside() {
            return self.send_outside(id, message.src, message.flags);
        }
        let link = {
            let state = self.state.lock();
            match &state.phase {
                Phase::Connected(_) if state.shut.write || state.broken => {
                    drop(state);
                    return Err(self.broken_pipe());
                }
                Phase::Connected(link) => link.clone(),
                Phase::Connecting => return Err(Errno::EAGAIN),
                // As in sk_stream_wait_connect of Linux.
                _ => return Err(Errno::EPIPE),
            }
        };
        let len = message.src.remaining();
        if len == 0 {
            return Ok(0);
        }
        let sent = if message.flags & msg::OOB != 0 {
            let sent = link.tx.send_urgent(message.src);
            if let (Ok(1..), Some(peer)) = (&sent, link.peer.upgrade()) {
                peer.base.signal_urgent();
            }
            sent
        } else {
            link.tx.send(message.src, &mut message.control, None)
        };
        match sent {
            // The peer reset the connection meanwhile.
            Err(Errno::EPIPE) if self.state.lock().broken => Err(self.broken_pipe()),
            Err(Errno::EPIPE) => {
                // The peer is gone, or takes nothing any more and has said so, but its reset comes only after these bytes: no
                // more than would be under way.
                self.reset(Errno::EPIPE);
                if let Some(peer) = link.peer.upgrade() {
                    peer.reset(Errno::ECONNRESET);
                }
                let mut scratch = [0; 4096];
                let most = len.min(link.tx.limit());
                let mut taken = 0;
                while let Some(piece) = scratch.get_mut(..(most - taken).min(4096)) {
                    match message.src.read(piece)? {
                        0 => break,
                        read => taken += read,
                    }
                }
                Ok(taken)
            }
            other => other,
        }
    }

    fn receive(&self, dst: &mut dyn Sink, flags: u32) -> Result<Incoming, Errno> {
        if let Some(id) = self.outside() {
            return self.receive_outside(id, dst, flags);
        }
        let (link, shut, broken) = {
            let state = self.state.lock();
            match &state.phase {
                Phase::Connected(link) => (link.clone(), state.shut.read, state.broken),
                Phase::Listening { .. } => return Err(Errno::ENOTCONN),
                _ if flags & msg::OOB != 0 => return Err(Errno::EINVAL),
                Phase::Connecting => return Err(Errno::EAGAIN),
                _ => {
                    let shut = state.shut.read;
                    drop(state);
                    self.base.take_error()?;
                    return if shut {
                        Ok(Incoming::default())
                    } else {
                        Err(Errno::ENOTCONN)
                    };
                }
            }
        };
        if flags & msg::OOB != 0 {
            return link.rx.receive_urgent(dst, flags & msg::PEEK != 0);
        }
        if link.rx.len() == 0 {
            if broken {
                // Sending to a peer that was gone does not spoil its orderly end.
                match self.base.take_error() {
                    Err(Errno::EPIPE) | Ok(()) => {}
                    Err(error) => return Err(error),
                }
            }
            if shut {
                return Ok(Incoming::default());
            }
        }
        let wants = Wants {
            credentials: false,
            inline: self.base.options.lock().oob_inline(),
        };
        if flags & msg::TRUNC != 0 {
            return discard(&link, dst, flags, wants);
        }
        link.rx.receive(dst, flags, wants)
    }

    fn poll(&self, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.base.queue);
        }
        let mut events = Events::empty();
        if self.base.has_error() {
            events |= Events::ERR;
        }
        if self.link().is_some_and(|link| link.rx.urgent()) {
            events |= Events::PRI;
        }
        if let Some(id) = self.outside() {
            return events | self.poll_outside(id);
        }
        let state = self.state.lock();
        match &state.phase {
            Phase::Connecting => {}
            Phase::Listening { queue, outside, .. } => {
                let (empty, outside) = (queue.is_empty(), *outside);
                drop(state);
                if !empty || outside.is_some_and(|id| self.waiting_outside(id) > 0) {
                    events |= Events::READABLE;
                }
            }
            Phase::Connected(link) => {
                let no_more = link.rx.finished() || state.shut.read || state.broken;
                if link.rx.len() >= self.base.low_water.load(Ordering::Relaxed) || no_more {
                    events |= Events::READABLE;
                }
                if no_more {
                    events |= Events::RDHUP;
                }
                if state.broken || (no_more && state.shut.write) {
                    events |= Events::HUP;
                }
                if link.tx.roomy() || link.tx.refused() || state.shut.write || state.broken {
                    events |= Events::WRITABLE;
                }
            }
            _ => {
                events |= Events::WRITABLE | Events::HUP;
                if state.failed || state.shut.read {
                    events |= Events::READABLE | Events::RDHUP;
                }
            }
        }
        events
    }

    fn set_option(&self, _: &CurrentTask, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        self.knobs.set(level, name, value)?;
        self.options_changed();
        Ok(())
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        if let Some(id) = self.outside()
            && let Some(value) = self.option_outside(id, level, name)
        {
            return Ok(value);
        }
        self.knobs.get(level, name, self.state_number())
    }

    fn buffers_changed(&self) {
        let limit = self.base.options.lock().send_buffer;
        if let Some(link) = self.link() {
            link.tx.set_limit(limit);
        }
        self.options_changed();
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        if matches!(self.state.lock().phase, Phase::Listening { .. }) {
            return Err(Errno::EINVAL);
        }
        if let Some(id) = self.outside() {
            return Ok(self.status_outside(id).map_or(0, |status| status.readable));
        }
        Ok(self.link().map_or(0, |link| link.rx.len()))
    }

    fn at_mark(&self) -> Result<bool, Errno> {
        Ok(self.link().is_some_and(|link| link.rx.at_mark()))
    }

    fn unsent_here(&self) -> Result<usize, Errno> {
        Ok(0)
    }

    fn unsent_bytes(&self) -> Result<usize, Errno> {
        // What is in a channel counts as acknowledged.
        let status = self.outside().and_then(|id| self.status_outside(id));
        Ok(status.map_or(0, |status| status.send_queue))
    }

    fn close(&self) {
        let (phase, port) = {
            let mut state = self.state.lock();
            let phase = std::mem::replace(&mut state.phase, Phase::Closed);
            let port = state.local.filter(|_| state.claimed).map(|addr| addr.port());
            (phase, port)
        };
        self.base.net.ports.tcp.remove(self.base.ino, port);
        match phase {
            Phase::Connected(link) => {
                let unread = link.rx.clear();
                let at_once = self.base.options.lock().linger == Some(0);
                if (unread || at_once)
                    && let Some(peer) = link.peer.upgrade()
                {
                    peer.reset(Errno::ECONNRESET);
                }
                link.rx.refuse();
                link.tx.finish();
            }
            Phase::Outside(id) => self.close_outside(id),
            listening => self.end_listening(listening),
        }
        self.base.queue.wake(Events::all());
    }
}

/// Whether both directions of a connection have ended.
fn is_closed(link: &Link, shut: Shutdown) -> bool {
    shut.write && link.rx.finished()
}

/// MSG_TRUNC on a stream: bytes are thrown away instead of stored.
fn discard(link: &Link, dst: &mut dyn Sink, flags: u32, wants: Wants) -> Result<Incoming, Errno> {
    struct Nowhere(usize);
    impl Sink for Nowhere {
        fn remaining(&self) -> usize {
            self.0
        }
        fn write(&mut self, data: &[u8]) -> Result<usize, Errno> {
            let take = data.len().min(self.0);
            self.0 -= take;
            Ok(take)
        }
    }
    link.rx.receive(&mut Nowhere(dst.remaining()), flags, wants)
}
