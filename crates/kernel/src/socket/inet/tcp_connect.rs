//! connect(2) of TCP sockets: finding the listener, its queue, waiting, and what comes of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Instant;

use abi::Errno;
use sync::Events;

use super::ports::share;
use super::tcp::{Link, Phase, TcpSocket};
use super::{decode, unspecified};
use crate::Kernel;
use crate::socket::address::encode_inet;
use crate::socket::channel::Channel;
use crate::socket::network::Way;
use crate::socket::{AF_INET, AF_INET6, NetNs, Outgoing, SocketOps, msg};
use crate::task::CurrentTask;

/// Clients that may wait for room in one listener's queue.
const MOST_PENDING: usize = 4096;

impl TcpSocket {
    /// connect(2).
    pub(super) fn start_connecting(
        &self,
        task: &CurrentTask,
        addr: &[u8],
        nonblocking: bool,
    ) -> Result<(), Errno> {
        let Some(to) = decode(self.base.family, addr)? else {
            self.disconnect();
            return Ok(());
        };
        {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Idle => {}
                Phase::Connecting if nonblocking => return Err(Errno::EALREADY),
                Phase::Connecting => {
                    drop(state);
                    return self.wait_connected(task);
                }
                Phase::Outside(_) if !state.opened && nonblocking => return Err(Errno::EALREADY),
                Phase::Outside(_) if !state.opened => {
                    drop(state);
                    return self.wait_connected(task);
                }
                Phase::Connected(_) | Phase::Outside(_) if state.unannounced => {
                    state.unannounced = false;
                    return Ok(());
                }
                _ => return Err(Errno::EISCONN),
            }
        }
        self.begin_connecting(to)?;
        if nonblocking {
            return Err(Errno::EINPROGRESS);
        }
        self.wait_connected(task)
    }

    /// MSG_FASTOPEN: a connection is made by the first message. No peer is known to take data with the first segment, so none
    /// is sent with it.
    pub(super) fn open_by_sending(&self, message: &Outgoing<'_>) -> Result<(), Errno> {
        let connected = !matches!(self.state.lock().phase, Phase::Idle);
        let to = message.to.filter(|to| !to.is_empty());
        match (connected, to, message.task) {
            (true, ..) => Err(Errno::EISCONN),
            (false, Some(to), Some(task)) => {
                if decode(self.base.family, to)?.is_none() {
                    return Err(Errno::EOPNOTSUPP);
                }
                self.start_connecting(task, to, message.flags & msg::DONTWAIT != 0)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// The part that does not wait: the queue tells what comes of it.
    pub(super) fn begin_connecting(&self, to: SocketAddr) -> Result<(), Errno> {
        self.base.take_error()?;
        if self.knobs.v6only() && to.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        let device = self.base.options.lock().device();
        let inventory = self.base.net.network.inventory();
        let (to, from) = match inventory.way(to.ip(), device)? {
            // Nobody answers over a loopback interface that is down; the stack tries for as long as Linux.
            Way::Local { to: ip, source } if !inventory.loops() => {
                return self.connect_outside(source, SocketAddr::new(ip, to.port()));
            }
            Way::Local { to: ip, source } => (SocketAddr::new(ip, to.port()), source),
            Way::Outside { source, .. } => return self.connect_outside(source, to),
        };
        if self.state.lock().local.is_none() {
            self.bind_to(SocketAddr::new(from, 0))?;
        }
        {
            let mut state = self.state.lock();
            if !matches!(state.phase, Phase::Idle) {
                return Err(Errno::EALREADY);
            }
            let local = state.local.unwrap_or(SocketAddr::new(from, 0));
            if local.ip().is_unspecified() {
                state.local = Some(SocketAddr::new(from, local.port()));
            }
            state.phase = Phase::Connecting;
            state.remote = Some(to);
            state.failed = false;
            state.unannounced = true;
        }
        self.knock(to);
        Ok(())
    }

    fn wait_connected(&self, task: &CurrentTask) -> Result<(), Errno> {
        let timeout = self.base.options.lock().send_timeout;
        let deadline = timeout.and_then(|length| Instant::now().checked_add(length));
        let done = task.wait_on(&self.base.queue, deadline, || {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Outside(_) => {
                    drop(state);
                    self.connected_outside()
                }
                Phase::Connecting => Err(Errno::EAGAIN),
                Phase::Connected(_) => {
                    state.unannounced = false;
                    Ok(())
                }
                _ => {
                    drop(state);
                    self.base.take_error()?;
                    Err(Errno::ECONNABORTED)
                }
            }
        });
        match done {
            // The attempt may have timed out as well.
            Err(Errno::ETIMEDOUT) if deadline.is_some_and(|at| at <= Instant::now()) => {
                Err(Errno::EINPROGRESS)
            }
            other => other,
        }
    }

    /// Asks whoever listens at `to`.
    fn knock(&self, to: SocketAddr) {
        let Some(me) = self.me.upgrade() else { return };
        let listeners = match self.base.net.network.resolver_at(to) {
            Some(resolver) => vec![resolver],
            None => self.base.net.ports.tcp.receivers(to, true),
        };
        let Some(listener) = listeners.get(share(self.base.ino, listeners.len())) else {
            self.connect_failed(Errno::ECONNREFUSED);
            return;
        };
        let room = {
            let mut state = listener.state.lock();
            match &mut state.phase {
                Phase::Listening { backlog, queue, .. } if queue.len() <= *backlog => Some(true),
                Phase::Listening { pending, .. } if pending.len() < MOST_PENDING => {
                    pending.push_back(Arc::downgrade(&me));
                    Some(false)
                }
                _ => None,
            }
        };
        match room {
            Some(true) => listener.establish(&me),
            Some(false) => {}
            None => self.connect_failed(Errno::ECONNREFUSED),
        }
    }

    /// A listener of the sandbox's own, which no list shows and no port belongs to.
    pub(in crate::socket) fn listening_unseen(
        kernel: &Arc<Kernel>,
        net: &Arc<NetNs>,
        address: SocketAddr,
        backlog: usize,
    ) -> Arc<TcpSocket> {
        let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
        let socket = TcpSocket::new(kernel, net, family);
        net.ports.tcp.remove(socket.base.ino, None);
        {
            let mut state = socket.state.lock();
            state.local = Some(address);
            state.phase = Phase::Listening {
                backlog,
                queue: VecDeque::new(),
                pending: VecDeque::new(),
                outside: None,
            };
        }
        socket
    }

    /// The next connection that waits at such a listener.
    pub(in crate::socket) fn next_connection(&self) -> Option<Arc<TcpSocket>> {
        let next = match &mut self.state.lock().phase {
            Phase::Listening { queue, .. } => queue.pop_front(),
            _ => None,
        };
        self.admit_pending();
        next
    }

    /// Lets those in who wait for room in the queue.
    pub(super) fn admit_pending(&self) {
        loop {
            let next = {
                let mut state = self.state.lock();
                match &mut state.phase {
                    Phase::Listening {
                        backlog,
                        queue,
                        pending,
                        ..
                    } if queue.len() <= *backlog => pending.pop_front(),
                    _ => None,
                }
            };
            match next.as_ref().map(Weak::upgrade) {
                None => return,
                Some(Some(client)) => self.establish(&client),
                Some(None) => {}
            }
        }
    }

    /// Makes the connection between `client` and a new socket in this listener's queue.
    fn establish(&self, client: &Arc<TcpSocket>) {
        let server = TcpSocket::new(&self.kernel, &self.base.net, self.base.family);
        let limit = |socket: &TcpSocket| socket.base.options.lock().send_buffer;
        let forth = Channel::new(limit(client), &server.base.queue, &client.base.queue);
        let back = Channel::new(limit(self), &client.base.queue, &server.base.queue);
        server.inherit(self);
        let (local, remote) = {
            let mut state = client.state.lock();
            if !matches!(state.phase, Phase::Connecting) {
                drop(state);
                server.close();
                return;
            }
            state.phase = Phase::Connected(Link {
                tx: forth.clone(),
                rx: back.clone(),
                peer: Arc::downgrade(&server),
            });
            (state.local, state.remote)
        };
        {
            let mut state = server.state.lock();
            state.local = remote;
            state.remote = local;
            state.phase = Phase::Connected(Link {
                tx: back,
                rx: forth,
                peer: Arc::downgrade(client),
            });
        }
        let queued = {
            let mut state = self.state.lock();
            match &mut state.phase {
                Phase::Listening { queue, .. } => {
                    queue.push_back(server.clone());
                    true
                }
                _ => false,
            }
        };
        if queued {
            self.base.queue.wake(Events::READABLE);
        } else {
            client.reset(Errno::ECONNRESET);
            server.close();
        }
        client.base.queue.wake(Events::WRITABLE);
    }

    /// Takes over what an accepted socket has from its listener.
    pub(super) fn inherit(&self, listener: &TcpSocket) {
        let mut options = listener.base.options.lock().clone();
        options.listening = false;
        *self.base.options.lock() = options;
        self.knobs.copy_from(&listener.knobs);
    }

    /// connect(2) ends with an error.
    pub(super) fn connect_failed(&self, error: Errno) {
        {
            let mut state = self.state.lock();
            if !matches!(state.phase, Phase::Connecting) {
                return;
            }
            state.phase = Phase::Idle;
            state.remote = None;
            state.failed = true;
            state.unannounced = false;
        }
        self.base.fail(error);
    }

    /// connect(2) with AF_UNSPEC: the socket is as new, but for its options.
    fn disconnect(&self) {
        let (phase, port) = {
            let mut state = self.state.lock();
            let phase = std::mem::replace(&mut state.phase, Phase::Idle);
            let port = state.local.filter(|_| state.claimed).map(|addr| addr.port());
            state.local = None;
            state.remote = None;
            state.claimed = false;
            state.broken = false;
            state.failed = false;
            state.opened = false;
            state.shut.read = false;
            state.shut.write = false;
            (phase, port)
        };
        if let Some(port) = port {
            self.base.net.ports.tcp.release(self.base.ino, port);
        }
        if let Phase::Outside(id) = phase {
            self.abort_outside(id);
        } else if let Phase::Connected(link) = phase {
            if let Some(peer) = link.peer.upgrade() {
                peer.reset(Errno::ECONNRESET);
            }
            link.rx.refuse();
            link.tx.finish();
        }
        self.base.queue.wake(Events::all());
    }

    /// The peer's address even when the peer is gone.
    pub(super) fn peer_name_any(&self) -> Vec<u8> {
        let remote = self.state.lock().remote;
        let none = SocketAddr::new(unspecified(self.base.family), 0);
        encode_inet(self.base.family, remote.unwrap_or(none))
    }
}
