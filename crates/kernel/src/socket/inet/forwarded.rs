//! A connection that the sandbox's keeper makes to a port inside (`tegmen port-forward`): no task has it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use abi::Errno;
use sync::{Events, PollTable, Waiter};

use super::TcpSocket;
use crate::Kernel;
use crate::io::{SliceSource, VecSink};
use crate::socket::{AF_INET, AF_INET6, Control, Outgoing, Shutdown, SocketOps};

/// How long a listener may keep a connection waiting for room in its queue.
const PATIENCE: Duration = Duration::from_secs(10);
/// A wait looks this often whether the connection was given up meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// A connection, used by the keeper's threads, which may wait.
pub struct Forwarded {
    socket: Arc<TcpSocket>,
    given_up: AtomicBool,
}

impl Forwarded {
    /// Connects to an address inside. `ECONNREFUSED`, `ETIMEDOUT`.
    pub fn connect(kernel: &Arc<Kernel>, to: SocketAddr) -> Result<Forwarded, Errno> {
        let family = if to.is_ipv4() { AF_INET } else { AF_INET6 };
        let made = Forwarded {
            socket: TcpSocket::new(kernel, &kernel.net, family),
            given_up: AtomicBool::new(false),
        };
        made.socket.begin_connecting(to)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ready = made.wait(Events::OUT, deadline)?;
            made.socket.base().take_error()?;
            if ready.contains(Events::OUT) {
                return Ok(made);
            }
            if Instant::now() >= deadline {
                return Err(Errno::ETIMEDOUT);
            }
        }
    }

    /// Waits for one of `events` (an error, an end) for a moment, at most until `deadline`. Returns what there is.
    fn wait(&self, events: Events, deadline: Instant) -> Result<Events, Errno> {
        let mask = events | Events::ERR | Events::HUP;
        let waiter = Arc::new(Waiter::default());
        let mut table = PollTable::new(waiter.clone(), 0, mask);
        let mut ready = self.socket.poll(Some(&mut table)) & mask;
        let _registered = table.into_registrations();
        if ready.is_empty() {
            waiter.wait(Some(deadline.min(Instant::now() + LOOK)));
            ready = self.socket.poll(None) & mask;
        }
        if self.given_up.load(Ordering::SeqCst) {
            return Err(Errno::ECONNABORTED);
        }
        Ok(ready)
    }

    /// Repeats `f` until it need not wait any more.
    fn patiently<R>(&self, events: Events, mut f: impl FnMut() -> Result<R, Errno>) -> Result<R, Errno> {
        loop {
            match f() {
                Err(Errno::EAGAIN) => {}
                other => return other,
            }
            self.wait(events, Instant::now() + LOOK)?;
        }
    }

    /// Reads some bytes, `max` at most; none at the end.
    pub fn read(&self, max: usize) -> Result<Vec<u8>, Errno> {
        let mut sink = VecSink::new(max);
        self.patiently(Events::IN, || self.socket.receive(&mut sink, 0).map(drop))?;
        Ok(sink.bytes)
    }

    /// Writes all of `data`, unless `vain` says meanwhile that nobody waits for it any more (`ECANCELED`).
    pub fn write(&self, data: &[u8], vain: impl Fn() -> bool) -> Result<(), Errno> {
        let mut source = SliceSource(data);
        let mut waited = false;
        while !source.0.is_empty() {
            self.patiently(Events::OUT, || {
                if std::mem::replace(&mut waited, true) && vain() {
                    return Err(Errno::ECANCELED);
                }
                let mut message = Outgoing {
                    src: &mut source,
                    to: None,
                    task: None,
                    control: Control::default(),
                    flags: 0,
                };
                self.socket.send(&mut message)
            })?;
        }
        Ok(())
    }

    /// No more will be written.
    pub fn end(&self) {
        let how = Shutdown {
            read: false,
            write: true,
        };
        let _ = self.socket.shutdown(how);
    }

    /// Ends it for every thread that uses it.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
        let both = Shutdown {
            read: true,
            write: true,
        };
        let _ = self.socket.shutdown(both);
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.socket.close();
    }
}
