//! TCP: each connection of the sandbox ends here, and goes on as one of the host's.
//!
//! The sandbox's SYN waits until the host's connection is there, so that a refusal or an unreachable host is what the
//! sandbox sees, too. Then a listener takes it, and bytes are passed on both ways.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use abi::Errno;
use host::inet;
use host::poll::{IN, OUT};
use net::vnet::{self, OFFLOAD_HEADER};
use net::{Error, Shutdown, TcpId, TcpOptions};

use crate::{Base, Kind, WIRE, echo};

/// Connections at a time. More wait for their turn, by the sandbox's own repetitions.
pub(crate) const MOST: usize = 8192;
/// Bytes that one connection passes on in one direction before others have their turn.
const TURN: usize = 512 << 10;
/// Bytes in one call.
const PIECE: usize = 256 << 10;
/// Longest frame with a SYN that is kept while the host connects: a packet of any usual size. A longer one is no sane sandbox's.
const LONGEST_SYN: usize = 2048;
/// A connection of which one side has ended makes room for a new one when it was quiet for so long (net.ipv4.tcp_fin_timeout).
const QUIET_HALF: Duration = Duration::from_secs(60);
/// How long the sandbox may take for its part of a handshake.
const HANDSHAKE: Duration = Duration::from_secs(130);
/// Connections that a listener keeps for us; we take them at once.
const BACKLOG: usize = 1024;
/// Bytes of a frame before its packet.
const ETHERNET: usize = 14;
/// Token of listeners: no flow has it.
const LISTENER: u64 = u64::MAX;

/// Sandbox's end, and the destination as the sandbox names it.
type Ends = (SocketAddr, SocketAddr);

enum State {
    /// The host connects; the SYN waits.
    Connecting([u8; OFFLOAD_HEADER], Vec<u8>),
    /// The host is connected; the sandbox's part of the handshake is missing.
    Handshake,
    Open(TcpId),
}

struct Flow {
    ends: Ends,
    socket: OwnedFd,
    state: State,
    since: Instant,
    /// When a byte moved last.
    moved: Instant,
    /// The host's socket may have bytes, room.
    readable: bool,
    writable: bool,
    /// The end was passed on.
    sandbox_ended: bool,
    host_ended: bool,
    queued: bool,
}

/// What becomes of a flow.
#[derive(PartialEq, Eq)]
enum Next {
    Stay,
    /// There is more to do now.
    Again,
    /// It is over on both sides.
    Done,
    /// The host's side failed.
    HostFailed,
    /// The sandbox's did.
    SandboxFailed,
}

/// All connections.
#[derive(Default)]
pub(crate) struct Flows {
    flows: HashMap<u64, Flow>,
    by_ends: HashMap<Ends, u64>,
    /// Listeners, with how many handshakes they are for.
    listeners: HashMap<SocketAddr, (TcpId, usize)>,
    /// Flows with something to do.
    queue: VecDeque<u64>,
}

impl Flows {
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// All connections as if they had been quiet for so long.
    #[cfg(test)]
    pub(crate) fn age(&mut self, by: Duration) {
        for flow in self.flows.values_mut() {
            flow.moved = flow.moved.checked_sub(by).unwrap_or(flow.moved);
        }
    }

    /// A frame that opens a connection. True: the stack need not see it (now).
    pub(crate) fn opening(
        &mut self,
        base: &mut Base,
        header: &[u8; OFFLOAD_HEADER],
        frame: &[u8],
        ends: Ends,
    ) -> bool {
        if let Some(flow) = self.by_ends.get(&ends).and_then(|token| self.flows.get(token)) {
            return matches!(flow.state, State::Connecting(..));
        }
        // Nobody listens: the stack refuses.
        let Some(to) = base.policy.way(ends.1) else {
            return false;
        };
        if frame.len() > LONGEST_SYN || self.flows.len() >= MOST && !self.make_room(base) {
            return true;
        }
        let token = base.tokens.next(Kind::Tcp);
        let connected = inet::connect(inet::Kind::Stream, to).and_then(|socket| {
            base.epoll.add_edges(socket.as_fd(), token)?;
            Ok(socket)
        });
        match connected {
            // The sandbox will ask again.
            Err(Errno::EMFILE | Errno::ENFILE) => {
                self.make_room(base);
            }
            Ok(socket) => {
                let now = Instant::now();
                let flow = Flow {
                    ends,
                    socket,
                    state: State::Connecting(*header, frame.to_vec()),
                    since: now,
                    moved: now,
                    readable: false,
                    writable: false,
                    sandbox_ended: false,
                    host_ended: false,
                    queued: false,
                };
                self.flows.insert(token, flow);
                self.by_ends.insert(ends, token);
            }
            Err(error) => self.refuse(base, error, header, frame, ends),
        }
        true
    }

    /// Gives up the connection that was quiet longest of those that have ended on one side: a peer that never ends its own
    /// must not keep a place for ever. False when there is none.
    pub(crate) fn make_room(&mut self, base: &mut Base) -> bool {
        let half = self.flows.iter().filter(|(_, flow)| flow.is_half());
        let Some((token, flow)) = half.min_by_key(|(_, flow)| flow.moved) else {
            return false;
        };
        if flow.moved.elapsed() < QUIET_HALF {
            return false;
        }
        let (token, state) = (*token, &flow.state);
        if let State::Open(id) = *state {
            let now = base.now();
            base.stack.tcp_abort(now, id);
        }
        if let Some(flow) = self.remove(base, token) {
            inet::reset(flow.socket);
        }
        true
    }

    /// Has the sandbox see what the host saw.
    fn refuse(
        &mut self,
        base: &mut Base,
        error: Errno,
        header: &[u8; OFFLOAD_HEADER],
        frame: &[u8],
        ends: Ends,
    ) {
        match error {
            // With a listener for another connection there it would be taken; the sandbox will ask again.
            Errno::ECONNREFUSED | Errno::ECONNRESET if !self.listeners.contains_key(&ends.1) => {
                let now = base.now();
                base.stack.receive(now, WIRE, &vnet::decode(header), frame);
            }
            Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES | Errno::EPERM | Errno::EINVAL => {
                let packet = frame.get(ETHERNET..).unwrap_or_default();
                echo::unreachable(base, error, packet, (ends.0.ip(), ends.1.ip()));
            }
            // Silence, as of a host that does not answer; no descriptor is left: it will ask again.
            _ => {}
        }
    }

    /// Something happened to a socket of the host.
    pub(crate) fn ready(&mut self, base: &mut Base, token: u64, what: u32) {
        let Some(flow) = self.flows.get_mut(&token) else {
            return;
        };
        // Errors and ends show with both.
        flow.readable |= what & !OUT != 0;
        flow.writable |= what & !IN != 0;
        match &mut flow.state {
            State::Connecting(header, frame) if flow.writable => {
                let (header, frame, ends) = (*header, std::mem::take(frame), flow.ends);
                let connected =
                    inet::take_error(flow.socket.as_fd()).and_then(|()| self.listen(base, ends.1));
                match connected {
                    Ok(()) => {
                        if let Some(flow) = self.flows.get_mut(&token) {
                            flow.state = State::Handshake;
                        }
                        let now = base.now();
                        base.stack.receive(now, WIRE, &vnet::decode(&header), &frame);
                    }
                    Err(error) => {
                        self.remove(base, token);
                        self.refuse(base, error, &header, &frame, ends);
                    }
                }
            }
            State::Open(_) => self.enqueue(token),
            _ => {}
        }
    }

    fn enqueue(&mut self, token: u64) {
        if let Some(flow) = self.flows.get_mut(&token)
            && !flow.queued
        {
            flow.queued = true;
            self.queue.push_back(token);
        }
    }

    /// One more handshake with a destination.
    fn listen(&mut self, base: &mut Base, to: SocketAddr) -> Result<(), Errno> {
        if let Some((_, count)) = self.listeners.get_mut(&to) {
            *count += 1;
            return Ok(());
        }
        let listener = base
            .stack
            .tcp_listen(to, BACKLOG, TcpOptions::default(), LISTENER);
        let listener = listener.map_err(|_| Errno::ENOBUFS)?;
        self.listeners.insert(to, (listener, 1));
        Ok(())
    }

    /// One less.
    fn unlisten(&mut self, base: &mut Base, to: SocketAddr) {
        if let Some((listener, count)) = self.listeners.get_mut(&to) {
            *count -= 1;
            if *count == 0 {
                let listener = *listener;
                self.listeners.remove(&to);
                let now = base.now();
                base.stack.tcp_close(now, listener);
            }
        }
    }

    fn remove(&mut self, base: &mut Base, token: u64) -> Option<Flow> {
        let flow = self.flows.remove(&token)?;
        self.by_ends.remove(&flow.ends);
        if matches!(flow.state, State::Handshake) {
            self.unlisten(base, flow.ends.1);
        }
        Some(flow)
    }

    /// The stack has news of a connection or a listener.
    pub(crate) fn event(&mut self, base: &mut Base, id: TcpId, token: u64) {
        if token != LISTENER {
            return self.enqueue(token);
        }
        while let Some((connection, local, remote)) = base.stack.tcp_accept(id, 0) {
            let token = self.by_ends.get(&(remote, local)).copied();
            let flow = token.and_then(|token| self.flows.get_mut(&token));
            match (token, flow) {
                (Some(token), Some(flow)) if matches!(flow.state, State::Handshake) => {
                    flow.state = State::Open(connection);
                    base.stack.tcp_set_token(connection, token);
                    self.enqueue(token);
                    self.unlisten(base, local);
                }
                _ => {
                    let now = base.now();
                    base.stack.tcp_abort(now, connection);
                }
            }
        }
    }

    /// Whether a connection has something to do.
    pub(crate) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Passes bytes on: every connection that has some gets one turn.
    pub(crate) fn pump(&mut self, base: &mut Base) {
        for _ in 0..self.queue.len() {
            let Some(token) = self.queue.pop_front() else {
                return;
            };
            let Some(flow) = self.flows.get_mut(&token) else {
                continue;
            };
            flow.queued = false;
            let State::Open(id) = flow.state else {
                continue;
            };
            let next = match flow.pass_out(base, id) {
                Next::Stay => flow.pass_in(base, id),
                Next::Again if flow.pass_in(base, id) == Next::HostFailed => Next::HostFailed,
                other => other,
            };
            let now = base.now();
            match next {
                Next::Stay => {}
                Next::Again => self.enqueue(token),
                Next::Done => {
                    base.stack.tcp_close(now, id);
                    self.remove(base, token);
                }
                Next::HostFailed => {
                    base.stack.tcp_abort(now, id);
                    self.remove(base, token);
                }
                Next::SandboxFailed => {
                    base.stack.tcp_close(now, id);
                    if let Some(flow) = self.remove(base, token) {
                        inet::reset(flow.socket);
                    }
                }
            }
        }
    }

    /// Forgets handshakes that the sandbox gave up.
    pub(crate) fn sweep(&mut self, base: &mut Base) {
        let late = |flow: &Flow| !matches!(flow.state, State::Open(_)) && flow.since.elapsed() > HANDSHAKE;
        let late: Vec<u64> = self
            .flows
            .iter()
            .filter(|(_, flow)| late(flow))
            .map(|(token, _)| *token)
            .collect();
        for token in late {
            self.remove(base, token);
        }
    }
}

impl Flow {
    fn is_half(&self) -> bool {
        self.sandbox_ended != self.host_ended
    }

    fn pass_out(&mut self, base: &mut Base, id: TcpId) -> Next {
        let mut turn = TURN;
        while !self.sandbox_ended {
            match base.stack.tcp_readable(id) {
                Ok(0) => {
                    self.sandbox_ended = true;
                    let _ = inet::end(self.socket.as_fd());
                }
                Ok(_) if !self.writable => break,
                Ok(_) if turn == 0 => return Next::Again,
                Ok(_) => match inet::send(self.socket.as_fd(), base.stack.tcp_data(id, 0, PIECE).0) {
                    Ok(sent) => {
                        let now = base.now();
                        base.stack.tcp_consume(now, id, sent);
                        turn = turn.saturating_sub(sent);
                        self.moved = Instant::now();
                    }
                    Err(Errno::EAGAIN) => self.writable = false,
                    Err(_) => return Next::HostFailed,
                },
                Err(Error::WouldBlock) => break,
                Err(_) => return Next::SandboxFailed,
            }
        }
        self.unless_over()
    }

    fn pass_in(&mut self, base: &mut Base, id: TcpId) -> Next {
        let mut turn = TURN;
        while self.readable && !self.host_ended {
            if turn == 0 {
                return Next::Again;
            }
            let (mut ended, mut dry, mut failed) = (false, false, false);
            let socket = &self.socket;
            let mut fill = |room: &mut [u8]| match inet::receive(socket.as_fd(), room) {
                Ok(0) => {
                    ended = true;
                    0
                }
                Ok(got) => got,
                Err(Errno::EAGAIN) => {
                    dry = true;
                    0
                }
                Err(_) => {
                    failed = true;
                    0
                }
            };
            let now = base.now();
            match base.stack.tcp_send(now, id, PIECE, false, &mut fill) {
                Ok(passed) => {
                    turn = turn.saturating_sub(passed);
                    self.moved = Instant::now();
                }
                // An event will tell of room.
                Err(Error::WouldBlock) => break,
                Err(_) => return Next::SandboxFailed,
            }
            if failed {
                return Next::HostFailed;
            }
            if ended {
                self.host_ended = true;
                let _ = base.stack.tcp_shutdown(now, id, Shutdown::Write);
            }
            self.readable = !dry;
        }
        self.unless_over()
    }

    fn unless_over(&self) -> Next {
        if self.sandbox_ended && self.host_ended {
            Next::Done
        } else {
            Next::Stay
        }
    }
}
