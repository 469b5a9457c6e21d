//! The control socket of a running sandbox: requests of the runtime's verbs, and the answers.
//!
//! A message is its length (four bytes, little-endian) and JSON; descriptors travel with its first byte. The sentry
//! serves, one thread to a connection. Neither side trusts the other with more than a bounded message.

mod reply;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use abi::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::Terminal;
use crate::container::{Limits, Process};
use crate::network::NetworkConfig;
pub use reply::{ProcessInfo, Reply};

/// Longest message: arguments and environment of a process may have 2 MiB, and JSON takes up to four bytes for one.
pub const MAX_MESSAGE: usize = 16 << 20;

/// What is asked of a sandbox. Containers are named by their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Starts the first process, which was waiting. Answer: `Done` or `Failed`.
    Start {
        /// Which.
        container: String,
        /// The interfaces that it gets; their packet sockets are the descriptors of the message.
        network: NetworkConfig,
    },
    /// A signal for the first process, or for all.
    Signal {
        /// Which.
        container: String,
        /// Its number.
        signal: u32,
        /// All processes get it.
        all: bool,
    },
    /// Changes what the container sees of its limits, and the limit on tasks. Answer: `Done`.
    Update {
        /// Which.
        container: String,
        /// All limits.
        limits: Limits,
    },
    /// Starts another process, with the descriptors of the message as its own from 0 on. Answers: `Started` or `Failed`, later
    /// `Exited` or `Killed`. The process is killed when the connection is closed before.
    Exec {
        /// Where.
        container: String,
        /// What.
        process: Box<Process>,
        /// The terminal among the descriptors that is to be relayed.
        terminal: Option<Terminal>,
    },
    /// On the connection of an `Exec`: a signal for its process. No answer.
    SignalProcess(u32),
    /// On the connection of an `Exec`: its terminal has another size (rows, columns, pixels). No answer.
    Resize([u16; 4]),
    /// Connects to a TCP port of the sandbox's loopback addresses. The connection goes over the stream that is the descriptor of the
    /// message, in pieces ([`crate::pieces`]); the answer, too. No answer here.
    Forward {
        /// Which.
        container: String,
        /// The port.
        port: u16,
    },
    /// Lists processes. Answer: `Processes`.
    List {
        /// Which.
        container: String,
    },
}

/// One end of a connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// Until when sends and receives may wait.
    deadline: Option<Instant>,
}

/// A wait that is shorter than this is none.
const TICK: Duration = Duration::from_millis(1);

/// A message with its length before it.
fn framed(message: &impl Serialize) -> Result<Vec<u8>, Errno> {
    let body = serde_json::to_vec(message).map_err(|_| Errno::EINVAL)?;
    let len = u32::try_from(body.len()).ok();
    let len = len.filter(|len| *len as usize <= MAX_MESSAGE);
    Ok([&len.ok_or(Errno::EMSGSIZE)?.to_le_bytes(), &body[..]].concat())
}

impl Connection {
    /// Connects to the sandbox that listens at `path`. `ECONNREFUSED`, `ENOENT`: it has ended.
    pub fn to(path: &Path) -> Result<Connection, Errno> {
        host::socket::connect(path).map(Connection::over)
    }

    /// A connection over a stream.
    pub(crate) fn over(socket: OwnedFd) -> Connection {
        Connection {
            socket,
            deadline: None,
        }
    }

    /// Bounds the time of everything that comes, together: `EAGAIN` after it. Not for the sentry.
    pub fn set_limit(&mut self, limit: Duration) {
        // One that is past the end of time is none.
        self.deadline = Instant::now().checked_add(limit);
    }

    /// Has the next call wait no longer than is left.
    fn hurry(&self) -> Result<(), Errno> {
        let Some(deadline) = self.deadline else {
            return Ok(());
        };
        match deadline.saturating_duration_since(Instant::now()) {
            left if left < TICK => Err(Errno::EAGAIN),
            left => host::socket::set_timeout(self.socket.as_fd(), left),
        }
    }

    /// Sends a message.
    pub fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let bytes = framed(message)?;
        let mut sent = 0;
        self.hurry()?;
        if !fds.is_empty() {
            sent = host::socket::send_with(self.socket.as_fd(), &bytes, fds)?;
        }
        // Without descriptors by a plainer call, which is all that the sentry may make.
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            sent += host::fd::send_some(self.socket.as_fd(), rest)?;
        }
        Ok(())
    }

    /// Sends a short message with descriptors, without waiting: whole, or not at all.
    pub fn try_send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let bytes = framed(message)?;
        match host::socket::try_send_with(self.socket.as_fd(), &bytes, fds)? {
            sent if sent == bytes.len() => Ok(()),
            _ => Err(Errno::EPIPE),
        }
    }

    /// Receives a request and the descriptors that came with it; `None` when the other side is gone.
    pub(crate) fn receive_request(&self, fds: &mut Vec<OwnedFd>) -> Result<Option<Request>, Errno> {
        self.receive(fds)
    }

    /// Receives what a sandbox answers; `None` when it is gone. `EBADMSG`: what came is nothing that a sentry says.
    pub fn receive_reply(&self) -> Result<Option<Reply>, Errno> {
        // Descriptors are of no use here, and closed.
        let reply: Option<Reply> = self.receive(&mut Vec::new())?;
        reply.map(Reply::checked).transpose()
    }

    fn receive<T: DeserializeOwned>(&self, fds: &mut Vec<OwnedFd>) -> Result<Option<T>, Errno> {
        let mut head = [0; 4];
        if !self.fill(&mut head, fds)? {
            return Ok(None);
        }
        let len = u32::from_le_bytes(head) as usize;
        if len > MAX_MESSAGE {
            return Err(Errno::EMSGSIZE);
        }
        let mut body = vec![0; len];
        if !self.fill(&mut body, fds)? {
            return Ok(None);
        }
        serde_json::from_slice(&body)
            .map(Some)
            .map_err(|_| Errno::EBADMSG)
    }

    /// Fills `buf`; false at the end of the stream.
    fn fill(&self, buf: &mut [u8], fds: &mut Vec<OwnedFd>) -> Result<bool, Errno> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let mut came = Vec::new();
            self.hurry()?;
            match host::socket::receive_with(self.socket.as_fd(), rest, &mut came)? {
                0 => return Ok(false),
                got => done += got,
            }
            fds.append(&mut came);
            if fds.len() > host::socket::MAX_DESCRIPTORS {
                return Err(Errno::EMSGSIZE);
            }
        }
        Ok(true)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
