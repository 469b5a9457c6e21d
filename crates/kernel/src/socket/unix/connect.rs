//! listen(2), connect(2) and accept(2) of unix sockets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use abi::Errno;
use sync::Events;

use super::{MAX_BACKLOG, Phase, UnixSocket};
use crate::socket::address::{UnixName, encode_unix, family};
use crate::socket::{AF_UNIX, Accepted, Kind, SocketOps, Ucred};
use crate::task::CurrentTask;

impl UnixSocket {
    /// listen(2).
    pub(super) fn start_listening(&self, task: &CurrentTask, backlog: i32) -> Result<(), Errno> {
        if self.base.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        // Negative means as many as possible.
        let asked = usize::try_from(backlog).unwrap_or(MAX_BACKLOG).min(MAX_BACKLOG);
        {
            let mut state = self.state.lock();
            if state.name.is_none() {
                return Err(Errno::EINVAL);
            }
            match &mut state.phase {
                Phase::Idle => {
                    state.phase = Phase::Listening {
                        backlog: asked,
                        queue: VecDeque::new(),
                    }
                }
                Phase::Listening { backlog, .. } => *backlog = asked,
                _ => return Err(Errno::EINVAL),
            }
            state.cred = Ucred::of(task);
        }
        self.base.options.lock().listening = true;
        // More may fit now.
        self.base.queue.wake(Events::WRITABLE);
        Ok(())
    }

    /// connect(2) of a stream or packet socket; waits while the listener's queue is full.
    pub(super) fn connect_stream(
        &self,
        task: &CurrentTask,
        addr: &[u8],
        nonblocking: bool,
    ) -> Result<(), Errno> {
        let name = UnixName::decode(addr)?.ok_or(Errno::EINVAL)?;
        {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Idle => state.phase = Phase::Connecting,
                Phase::Connecting => return Err(Errno::EALREADY),
                Phase::Connected { .. } => return Err(Errno::EISCONN),
                _ => return Err(Errno::EINVAL),
            }
        }
        let result = self
            .find(task, &name)
            .and_then(|listener| self.join_listener(task, &listener, nonblocking));
        if result.is_err() {
            let mut state = self.state.lock();
            if matches!(state.phase, Phase::Connecting) {
                state.phase = Phase::Idle;
            }
        }
        result
    }

    fn join_listener(
        &self,
        task: &CurrentTask,
        listener: &Arc<UnixSocket>,
        nonblocking: bool,
    ) -> Result<(), Errno> {
        if listener.base.kind != self.base.kind {
            return Err(Errno::EPROTOTYPE);
        }
        let me = self.me.upgrade().ok_or(Errno::EBADF)?;
        let cred = Ucred::of(task);
        let attempt = || {
            {
                let state = listener.state.lock();
                match &state.phase {
                    _ if state.shut.read => return Err(Errno::ECONNREFUSED),
                    Phase::Listening { backlog, queue } if queue.len() > *backlog => {
                        return Err(Errno::EAGAIN);
                    }
                    Phase::Listening { .. } => {}
                    _ => return Err(Errno::ECONNREFUSED),
                }
            }
            let ours = UnixSocket::new(&self.kernel, &self.base.net, self.base.kind);
            let (name, listener_cred) = {
                let state = listener.state.lock();
                (state.name.clone(), state.cred)
            };
            ours.state.lock().name = name;
            let options = listener.accepted_options();
            *ours.base.options.lock() = options;
            UnixSocket::join(&me, &ours, cred, listener_cred);
            let mut state = listener.state.lock();
            let Phase::Listening { queue, .. } = &mut state.phase else {
                drop(state);
                ours.close();
                return Err(Errno::ECONNREFUSED);
            };
            queue.push_back(ours);
            drop(state);
            listener.base.queue.wake(Events::READABLE);
            Ok(())
        };
        if nonblocking {
            return { attempt }();
        }
        let timeout = self.base.options.lock().send_timeout;
        let deadline = timeout.and_then(|length| Instant::now().checked_add(length));
        let register = |table: &mut sync::PollTable| table.register(&listener.base.queue);
        match task.blocking_op(deadline, register, Events::WRITABLE, attempt) {
            Err(Errno::ETIMEDOUT) => Err(Errno::EAGAIN),
            other => other,
        }
    }

    /// Options of an accepted socket: those of its listener, but not listening.
    fn accepted_options(&self) -> crate::socket::options::Options {
        let mut options = self.base.options.lock().clone();
        options.listening = false;
        options
    }

    /// connect(2) of a datagram socket: sets or, with AF_UNSPEC, forgets the default destination.
    pub(super) fn connect_datagram(&self, task: &CurrentTask, addr: &[u8]) -> Result<(), Errno> {
        if family(addr)? != AF_UNIX {
            if family(addr)? != 0 {
                return Err(Errno::EINVAL);
            }
            let old = {
                let mut state = self.state.lock();
                std::mem::replace(&mut state.phase, Phase::Idle)
            };
            drop(old);
            return Ok(());
        }
        let name = UnixName::decode(addr)?.ok_or(Errno::EINVAL)?;
        if self.base.options.lock().pass_credentials() {
            self.autobind()?;
        }
        let peer = self.find(task, &name)?;
        if peer.base.kind != Kind::Datagram {
            return Err(Errno::EPROTOTYPE);
        }
        if !peer.accepts_from(self) {
            return Err(Errno::EPERM);
        }
        let old = {
            let mut state = self.state.lock();
            std::mem::replace(&mut state.phase, Phase::Connected { peer, link: None })
        };
        drop(old);
        self.base.queue.wake(Events::WRITABLE);
        Ok(())
    }

    /// Whether a datagram socket takes messages of `sender`: a connected one only those of its peer.
    pub(super) fn accepts_from(&self, sender: &UnixSocket) -> bool {
        match &self.state.lock().phase {
            Phase::Connected { peer, .. } => std::ptr::eq(&**peer, sender),
            _ => true,
        }
    }

    /// accept(2).
    pub(super) fn take_connection(&self) -> Result<Accepted, Errno> {
        if self.base.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let socket = {
            let mut state = self.state.lock();
            let shut = state.shut.read;
            match &mut state.phase {
                Phase::Listening { queue, .. } => match queue.pop_front() {
                    Some(socket) => socket,
                    None if shut => return Err(Errno::EINVAL),
                    None => return Err(Errno::EAGAIN),
                },
                _ => return Err(Errno::EINVAL),
            }
        };
        self.base.queue.wake(Events::WRITABLE);
        let from = match socket.peer() {
            Some(peer) => peer.name()?,
            None => encode_unix(None),
        };
        Ok(Accepted { socket, from })
    }
}
