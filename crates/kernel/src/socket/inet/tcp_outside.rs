//! TCP connections with the world outside of the sandbox: the socket's calls on the stack.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use net::{Ready, TcpId, TcpOptions, TcpState};
use sync::Events;

use super::tcp::{Phase, State, TcpSocket};
use super::tcp_info;
use super::udp_arrival::errno;
use crate::io::{Sink, Source};
use crate::socket::network::Attached;
use crate::socket::{AF_INET6, Accepted, Incoming, NetNs, Shutdown, SocketOps, msg};

/// Ports that connect(2) tries when a pair of addresses is still in use.
const TRIES: usize = 64;
/// Bytes that one call takes or gives while the stack is locked.
const AT_ONCE: usize = 256 << 10;

/// The stack says that something about a socket changed.
pub(in crate::socket) fn ready(net: &NetNs, token: u64, ready: Ready) {
    let Some(socket) = net.ports.tcp.find(token) else {
        return;
    };
    if ready.intersects(Ready::ERR | Ready::OUT) {
        socket.look_outside();
    }
    if ready.contains(Ready::PRI) {
        socket.base().signal_urgent();
    }
    socket.base().queue.wake(events(ready));
}

/// The stack of a namespace was made.
pub(in crate::socket) fn adopt_listeners(net: &NetNs) {
    for socket in net.ports.tcp.sockets() {
        socket.adopt();
    }
}

fn events(ready: Ready) -> Events {
    let mut events = Events::from_bits_truncate(ready.bits());
    if ready.contains(Ready::IN) {
        events |= Events::READABLE;
    }
    if ready.contains(Ready::OUT) {
        events |= Events::WRITABLE;
    }
    events
}

fn state_of(stack: &net::Stack, id: TcpId) -> TcpState {
    stack
        .tcp_status(id)
        .map_or(TcpState::Closed, |status| status.state)
}

impl TcpSocket {
    fn stack(&self) -> Result<&Arc<Attached>, Errno> {
        self.base.net.network.attached().ok_or(Errno::ENETUNREACH)
    }

    /// The stack's options for this socket.
    fn stack_options(&self) -> TcpOptions {
        let mut options = self.knobs.tcp_options(self.base.family);
        options.v6only = self.base.family == AF_INET6 && self.knobs.v6only();
        let own = self.base.options.lock();
        options.interface = own.device();
        options.reuse_port = own.reuse_port();
        options.keepalive = own.keep_alive();
        options.oob_inline = own.oob_inline();
        options.send_buffer = own.send_buffer_set.then_some(own.send_buffer);
        options.receive_buffer = own.receive_buffer_set.then_some(own.receive_buffer);
        options
    }

    /// Tells the stack of changed options.
    pub(super) fn options_changed(&self) {
        let id = match &self.state.lock().phase {
            Phase::Outside(id)
            | Phase::Listening {
                outside: Some(id), ..
            } => *id,
            _ => return,
        };
        let options = self.stack_options();
        if let Ok(stack) = self.stack() {
            stack.call(|stack, now| stack.tcp_set_options(now, id, options));
        }
    }

    /// listen(2), for connections from outside. `None`: there is no outside, or the address is not reached from there.
    pub(super) fn listen_outside(&self, local: SocketAddr, backlog: usize) -> Result<Option<TcpId>, Errno> {
        let Some(stack) = self.base.net.network.attached() else {
            return Ok(None);
        };
        if local.ip().is_loopback() {
            return Ok(None);
        }
        let (token, options) = (self.base.ino, self.stack_options());
        let id = stack.call(|stack, _| stack.tcp_listen(local, backlog, options, token));
        id.map(Some).map_err(errno)
    }

    /// A listener that was there before the stack gets its connections from outside too.
    pub(super) fn adopt(&self) {
        let (local, backlog) = match &*self.state.lock() {
            State {
                phase:
                    Phase::Listening {
                        outside: None,
                        backlog,
                        ..
                    },
                local: Some(local),
                ..
            } => (*local, *backlog),
            _ => return,
        };
        let Ok(Some(id)) = self.listen_outside(local, backlog) else {
            return;
        };
        let taken = match &mut self.state.lock().phase {
            Phase::Listening { outside, .. } if outside.is_none() => {
                *outside = Some(id);
                true
            }
            _ => false,
        };
        if !taken {
            self.set_backlog(id, None);
        }
    }

    /// A listener's backlog changed, or it ends (`None`).
    pub(super) fn set_backlog(&self, id: TcpId, backlog: Option<usize>) {
        if let Ok(stack) = self.stack() {
            stack.call(|stack, now| match backlog {
                Some(backlog) => drop(stack.tcp_set_backlog(id, backlog)),
                None => stack.tcp_close(now, id),
            });
        }
    }

    /// Connections from outside that wait at a listener.
    pub(super) fn waiting_outside(&self, id: TcpId) -> usize {
        let status = self
            .stack()
            .ok()
            .and_then(|stack| stack.look(|stack| stack.tcp_status(id)));
        status.map_or(0, |status| status.readable)
    }

    /// accept(2) of a connection from outside.
    pub(super) fn accept_outside(&self, id: TcpId) -> Result<Accepted, Errno> {
        let stack = self.stack()?;
        let new = TcpSocket::new(&self.kernel, &self.base.net, self.base.family);
        let token = new.base.ino;
        let accepted = stack.call(|stack, _| stack.tcp_accept(id, token));
        let Some((id, local, remote)) = accepted else {
            new.close();
            return Err(Errno::EAGAIN);
        };
        new.inherit(self);
        {
            let mut state = new.state.lock();
            state.local = Some(local);
            state.remote = Some(remote);
            state.opened = true;
            state.phase = Phase::Outside(id);
        }
        let from = new.peer_name_any();
        Ok(Accepted { socket: new, from })
    }

    /// Starts a connection to the outside; the socket's phase is `Connecting` then.
    pub(super) fn connect_outside(&self, source: std::net::IpAddr, to: SocketAddr) -> Result<(), Errno> {
        let bound = self.state.lock().local;
        let stack = self.stack()?;
        let options = self.stack_options();
        for _ in 0..TRIES {
            if self.state.lock().local.is_none() {
                self.bind_to(SocketAddr::new(source, 0))?;
            }
            let local = {
                let mut state = self.state.lock();
                let local = state.local.unwrap_or(SocketAddr::new(source, 0));
                let ip = if local.ip().is_unspecified() {
                    source
                } else {
                    local.ip()
                };
                let local = SocketAddr::new(ip, local.port());
                state.local = Some(local);
                local
            };
            if local.ip().is_loopback() && !to.ip().is_loopback() {
                return Err(Errno::EINVAL);
            }
            let (token, options) = (self.base.ino, options.clone());
            match stack.call(|stack, now| stack.tcp_connect(now, local, to, options, token)) {
                Ok(id) => {
                    self.connecting_outside(id, to);
                    return Ok(());
                }
                Err(net::Error::AddressInUse) if bound.is_none() => self.give_up_port(),
                Err(net::Error::AddressInUse) => return Err(Errno::EADDRNOTAVAIL),
                Err(error) => return Err(errno(error)),
            }
        }
        Err(Errno::EADDRNOTAVAIL)
    }

    fn connecting_outside(&self, id: TcpId, to: SocketAddr) {
        let mut state = self.state.lock();
        state.phase = Phase::Outside(id);
        state.remote = Some(to);
        state.failed = false;
        state.unannounced = true;
        state.opened = false;
        drop(state);
        // The answer may have come before the phase was set.
        self.look_outside();
    }

    fn give_up_port(&self) {
        let port = {
            let mut state = self.state.lock();
            state.claimed = false;
            state.local.take().map(|addr| addr.port())
        };
        if let Some(port) = port {
            self.base.net.ports.tcp.release(self.base.ino, port);
        }
    }

    /// Sees whether a connection came to be or has failed.
    pub(super) fn look_outside(&self) {
        let id = match &self.state.lock().phase {
            Phase::Outside(id) => *id,
            _ => return,
        };
        let Ok(stack) = self.stack() else { return };
        let (state, failed) = stack.call(|stack, _| (state_of(stack, id), self.take_over_error(stack, id)));
        if failed {
            self.outside_failed(id);
        } else if !matches!(
            state,
            TcpState::SynSent | TcpState::SynReceived | TcpState::Closed
        ) {
            self.state.lock().opened = true;
        }
    }

    /// Makes the error of a connection the socket's, with the stack locked: nobody finds the connection ended and no error.
    fn take_over_error(&self, stack: &mut net::Stack, id: TcpId) -> bool {
        let error = stack.tcp_take_error(id);
        if let Some(error) = error {
            self.base.fail(errno(error));
        }
        error.is_some()
    }

    /// What follows from an error that [`Self::take_over_error`] took.
    fn outside_failed(&self, id: TcpId) {
        let opened = {
            let mut state = self.state.lock();
            if state.opened {
                state.broken = true;
            } else {
                state.phase = Phase::Idle;
                state.remote = None;
                state.failed = true;
                state.unannounced = false;
            }
            state.opened
        };
        if !opened && let Ok(stack) = self.stack() {
            stack.call(|stack, now| stack.tcp_close(now, id));
        }
        self.base.queue.wake(Events::all());
    }

    /// Whether connect(2) is over: `EAGAIN` while it is not.
    pub(super) fn connected_outside(&self) -> Result<(), Errno> {
        self.look_outside();
        let mut state = self.state.lock();
        match state.phase {
            Phase::Outside(_) if !state.opened => Err(Errno::EAGAIN),
            Phase::Outside(_) => {
                state.unannounced = false;
                Ok(())
            }
            _ => {
                drop(state);
                self.base.take_error()?;
                Err(Errno::ECONNABORTED)
            }
        }
    }

    /// Takes bytes of `src` into the stack's buffer.
    pub(super) fn send_outside(&self, id: TcpId, src: &mut dyn Source, flags: u32) -> Result<usize, Errno> {
        {
            let state = self.state.lock();
            if !state.opened {
                return Err(Errno::EAGAIN);
            }
            if state.shut.write || state.broken {
                drop(state);
                return Err(self.broken_pipe());
            }
        }
        let len = src.remaining().min(AT_ONCE);
        if len == 0 {
            return Ok(0);
        }
        let mut fault = Ok(());
        let stack = self.stack()?;
        let sent = stack.call(|stack, now| {
            let mut fill = |room: &mut [u8]| match src.read(room) {
                Ok(got) => got,
                Err(error) => {
                    fault = Err(error);
                    0
                }
            };
            if flags & msg::OOB == 0 {
                return stack.tcp_send(now, id, len, flags & msg::MORE != 0, &mut fill);
            }
            // All but the last byte first: that one alone is urgent.
            let before = if len > 1 {
                stack.tcp_send(now, id, len - 1, true, &mut fill)?
            } else {
                0
            };
            if before < len - 1 {
                return Ok(before);
            }
            let mut byte = [0];
            if fill(&mut byte) == 1 {
                stack.tcp_send_urgent(now, id, byte[0])?;
                return Ok(len);
            }
            Ok(before)
        });
        match sent {
            Ok(0) => fault.and(Err(Errno::EAGAIN)),
            Ok(sent) => Ok(sent),
            Err(net::Error::BrokenPipe) => Err(self.broken_pipe()),
            Err(error) => Err(errno(error)),
        }
    }

    /// Gives bytes of the stack's buffer to `dst`: 0 at the end, `EAGAIN` when there are none yet.
    pub(super) fn receive_outside(
        &self,
        id: TcpId,
        dst: &mut dyn Sink,
        flags: u32,
    ) -> Result<Incoming, Errno> {
        let (opened, shut, broken) = {
            let state = self.state.lock();
            (state.opened, state.shut.read, state.broken)
        };
        if !opened {
            return Err(Errno::EAGAIN);
        }
        let stack = self.stack()?;
        if flags & msg::OOB != 0 {
            let byte = stack.call(|stack, _| stack.tcp_urgent(id, flags & msg::PEEK != 0));
            let byte = byte.map_err(errno)?;
            let stored = dst.write(&[byte])?;
            return Ok(Incoming {
                stored,
                full: stored,
                flags: msg::OOB,
                ..Incoming::default()
            });
        }
        let (taken, ended, failed) = stack.call(|stack, now| {
            let ended = stack.tcp_status(id).is_none_or(|status| status.peer_closed);
            let taken = copy(stack, id, dst, flags & msg::TRUNC != 0);
            if let Ok(count) = taken
                && flags & msg::PEEK == 0
                && count > 0
            {
                stack.tcp_consume(now, id, count);
            }
            let failed = ended && taken == Ok(0) && self.take_over_error(stack, id);
            (taken, ended, failed)
        });
        if failed {
            self.outside_failed(id);
        }
        let taken = taken?;
        if taken == 0 && dst.remaining() > 0 {
            if broken || ended {
                self.base.take_error()?;
            }
            if !ended && !shut && !broken {
                return Err(Errno::EAGAIN);
            }
        }
        Ok(Incoming {
            stored: taken,
            full: taken,
            ..Incoming::default()
        })
    }

    /// Readiness of a connection.
    pub(super) fn poll_outside(&self, id: TcpId) -> Events {
        let status = self
            .stack()
            .ok()
            .and_then(|stack| stack.look(|stack| stack.tcp_status(id)));
        let least = self.base.low_water.load(Ordering::Relaxed);
        let few = status
            .as_ref()
            .is_some_and(|status| status.readable < least && !status.peer_closed);
        let state = self.state.lock();
        let mut found = status.map_or(Events::HUP | Events::READABLE | Events::WRITABLE, |status| {
            events(status.ready - Ready::ERR)
        });
        if few {
            found -= Events::READABLE;
        }
        if !state.opened && !state.broken {
            return found & Events::HUP;
        }
        if state.shut.read {
            found |= Events::READABLE | Events::RDHUP;
        }
        if state.shut.write || state.broken {
            found |= Events::WRITABLE;
        }
        if state.broken {
            found |= Events::READABLE | Events::RDHUP | Events::HUP;
        }
        found
    }

    /// shutdown(2).
    pub(super) fn shutdown_outside(&self, id: TcpId, how: Shutdown) {
        if how.write
            && let Ok(stack) = self.stack()
        {
            let _ = stack.call(|stack, now| stack.tcp_shutdown(now, id, net::Shutdown::Write));
        }
    }

    /// close(2): the stack ends the connection in order, or at once.
    pub(super) fn close_outside(&self, id: TcpId) {
        let at_once = self.base.options.lock().linger == Some(0);
        if let Ok(stack) = self.stack() {
            stack.call(|stack, now| {
                if at_once {
                    stack.tcp_abort(now, id);
                } else {
                    stack.tcp_close(now, id);
                }
            });
        }
    }

    /// connect(2) with AF_UNSPEC: the connection is reset.
    pub(super) fn abort_outside(&self, id: TcpId) {
        if let Ok(stack) = self.stack() {
            stack.call(|stack, now| stack.tcp_abort(now, id));
        }
    }

    /// The stack's view of a connection.
    pub(super) fn status_outside(&self, id: TcpId) -> Option<net::TcpStatus> {
        self.stack().ok()?.look(|stack| stack.tcp_status(id))
    }

    /// getsockopt(2) of what the stack knows better.
    pub(super) fn option_outside(&self, id: TcpId, level: i32, name: i32) -> Option<Vec<u8>> {
        const TCP_MAXSEG: i32 = 2;
        const TCP_INFO: i32 = 11;
        if level != super::knobs::IPPROTO_TCP || !matches!(name, TCP_MAXSEG | TCP_INFO) {
            return None;
        }
        let info = self.stack().ok()?.call(|stack, now| stack.tcp_info(now, id))?;
        Some(match name {
            TCP_INFO => tcp_info::encode(&info),
            _ => info.snd_mss.to_le_bytes().to_vec(),
        })
    }
}

/// Gives readable bytes to `dst`, up to [`AT_ONCE`]. `discard` (MSG_TRUNC): they are only counted.
fn copy(stack: &net::Stack, id: TcpId, dst: &mut dyn Sink, discard: bool) -> Result<usize, Errno> {
    let want = dst.remaining().min(AT_ONCE);
    let mut done = 0;
    while done < want {
        let (piece, _) = stack.tcp_data(id, done, want - done);
        if piece.is_empty() {
            break;
        }
        let put = if discard {
            Ok(piece.len())
        } else {
            dst.write(piece)
        };
        match put {
            Ok(put) => {
                done += put;
                if put < piece.len() {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}
