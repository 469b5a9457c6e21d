//! Guests' internet sockets as sockets of the host's network (`--network=host`): streams and datagrams, without control messages.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use abi::Errno;
use fs::stdio::{Poller, Watch};
use host::inet_socket::{self as inet, Pending};
use host::surface::{READABLE, SETTABLE};
use kernel::Kernel;
use kernel::io::{Sink, with_buffer};
use kernel::socket::host::HostNetwork;
use kernel::socket::{
    AF_INET6, Accepted, Base, Control, Incoming, Kind, NetNs, NewSocket, Outgoing, Shutdown, SocketOps, msg,
};
use kernel::task::CurrentTask;
use sync::{Events, PollTable};

/// Sockets that guests may have: each is a descriptor of the sentry, which needs others.
const MOST_SOCKETS: usize = 8192;
/// Bytes moved by one call of the host.
const STEP: usize = 64 << 10;
/// Bytes that a stream takes surely once the host says that it takes some, from sources that take nothing back.
const SURE: usize = 2048;
/// Bytes of the largest datagram.
const MOST_DATAGRAM: usize = 65_507;
/// What Linux shows of new sockets' buffers; the host knows better.
const BUFFER: usize = 212_992;

const SOL_SOCKET: i32 = 1;
const SO_ERROR: i32 = 4;
const SO_LINGER: i32 = 13;
/// SO_RCVTIMEO and SO_SNDTIMEO, of both kinds: waiting is the sentry's.
const KEPT_HERE: &[i32] = &[20, 21, 66, 67];

/// The host's network.
pub struct Shared {
    poller: Arc<Poller>,
    count: Arc<AtomicUsize>,
}

impl Shared {
    /// Sockets that this thread waits for.
    pub fn new(poller: &Arc<Poller>) -> Shared {
        Shared {
            poller: poller.clone(),
            count: Arc::default(),
        }
    }
}

impl HostNetwork for Shared {
    fn socket(&self, kernel: &Arc<Kernel>, net: &Arc<NetNs>, family: u16, kind: Kind) -> NewSocket {
        let counted = Counted::another(&self.count)?;
        let fd = inet::open(family == AF_INET6, kind == Kind::Stream)?;
        let base = new_base(kernel, net, family, kind);
        Ok(HostSocket::new(kernel, &self.poller, base, fd, counted))
    }
}

fn new_base(kernel: &Kernel, net: &Arc<NetNs>, family: u16, kind: Kind) -> Base {
    let protocol = if kind == Kind::Stream { 6 } else { 17 };
    Base::new(net, family, kind, protocol, kernel.next_ino(), (BUFFER, BUFFER))
}

/// One of the sockets that guests may have.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn another(count: &Arc<AtomicUsize>) -> Result<Counted, Errno> {
        let counted = Counted(count.clone());
        if count.fetch_add(1, Ordering::Relaxed) >= MOST_SOCKETS {
            return Err(Errno::ENFILE);
        }
        Ok(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct HostSocket {
    base: Base,
    kernel: Arc<Kernel>,
    poller: Arc<Poller>,
    watch: Arc<Watch>,
    counted: Counted,
}

/// Whether guests may set an option.
fn is_settable(level: i32, name: i32) -> bool {
    SETTABLE.contains(&(level, name))
}

/// Whether guests may read it.
fn is_readable(level: i32, name: i32) -> bool {
    is_settable(level, name) || READABLE.contains(&(level, name))
}

impl HostSocket {
    fn new(
        kernel: &Arc<Kernel>,
        poller: &Arc<Poller>,
        base: Base,
        fd: OwnedFd,
        counted: Counted,
    ) -> Arc<HostSocket> {
        Arc::new(HostSocket {
            base,
            kernel: kernel.clone(),
            poller: poller.clone(),
            watch: poller.watch(fd),
            counted,
        })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.watch.fd()
    }

    /// An address for the host: no longer than any of its own.
    fn address<'a>(&self, addr: &'a [u8]) -> &'a [u8] {
        &addr[..addr.len().min(inet::ADDRESS)]
    }

    /// What became of a connection.
    fn connected(&self) -> Result<(), Errno> {
        let ready = self.watch.ready(Events::WRITABLE);
        if !ready.intersects(Events::WRITABLE | Events::ALWAYS) {
            return Err(Errno::EAGAIN);
        }
        let error = inet::option(self.fd(), SOL_SOCKET, SO_ERROR, 4)?;
        match error.first_chunk().map_or(0, |word| i32::from_le_bytes(*word)) {
            0 => Ok(()),
            error => Err(Errno::from_raw(error)),
        }
    }

    /// Has a wake-up come when the host has something, or room.
    fn waits<T>(&self, result: Result<T, Errno>, events: Events) -> Result<T, Errno> {
        if matches!(result, Err(Errno::EAGAIN)) {
            self.watch.ready(events);
        }
        result
    }

    fn send_stream(&self, message: &mut Outgoing<'_>, flags: i32) -> Result<usize, Errno> {
        let src = &mut *message.src;
        let returns = src.unread(0);
        let mut done = 0;
        while src.remaining() > 0 {
            let ready = self.watch.ready(Events::WRITABLE);
            if !ready.intersects(Events::WRITABLE | Events::ALWAYS) {
                break;
            }
            let step = if returns { STEP } else { SURE };
            let sent = with_buffer(step.min(src.remaining()), |buffer| {
                let got = src.read(buffer)?;
                let sent = inet::send(self.fd(), &buffer[..got], flags, None);
                src.unread(got - sent.unwrap_or(0));
                sent.map(|sent| (got, sent))
            });
            match sent {
                Ok((got, sent)) => {
                    done += sent;
                    if sent < got {
                        break;
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        if done == 0 { Err(Errno::EAGAIN) } else { Ok(done) }
    }

    fn send_datagram(&self, message: &mut Outgoing<'_>, flags: i32) -> Result<usize, Errno> {
        let len = message.src.remaining();
        if len > MOST_DATAGRAM {
            return Err(Errno::EMSGSIZE);
        }
        let to = message.to.filter(|to| !to.is_empty()).map(|to| self.address(to));
        with_buffer(len, |buffer| {
            let got = message.src.read(buffer)?;
            let sent = inet::send(self.fd(), &buffer[..got], flags, to);
            if sent.is_err() {
                message.src.unread(got);
            }
            sent
        })
    }
}

impl SocketOps for HostSocket {
    fn base(&self) -> &Base {
        &self.base
    }

    fn bind(&self, _: &CurrentTask, addr: &[u8]) -> Result<(), Errno> {
        inet::bind(self.fd(), self.address(addr))
    }

    fn connect(&self, task: &CurrentTask, addr: &[u8], nonblocking: bool) -> Result<(), Errno> {
        match inet::connect(self.fd(), self.address(addr)) {
            Err(Errno::EINPROGRESS | Errno::EALREADY) if !nonblocking => {}
            done => return done,
        }
        let timeout = self.base.options.lock().send_timeout;
        let deadline = timeout.and_then(|length| Instant::now().checked_add(length));
        match task.wait_on(&self.watch.queue, deadline, || self.connected()) {
            Err(Errno::ETIMEDOUT) if deadline.is_some_and(|at| at <= Instant::now()) => {
                Err(Errno::EINPROGRESS)
            }
            // The host has not told yet that it succeeded; from then on it is connected to it, too.
            Ok(()) => inet::connect(self.fd(), self.address(addr)),
            done => done,
        }
    }

    fn listen(&self, _: &CurrentTask, backlog: i32) -> Result<(), Errno> {
        inet::listen(self.fd(), backlog)
    }

    fn accept(&self) -> Result<Accepted, Errno> {
        let counted = Counted::another(&self.counted.0)?;
        let (fd, from) = self.waits(inet::accept(self.fd()), Events::READABLE)?;
        let base = new_base(&self.kernel, &self.base.net, self.base.family, self.base.kind);
        let options = self.base.options.lock().clone();
        *base.options.lock() = options;
        Ok(Accepted {
            socket: HostSocket::new(&self.kernel, &self.poller, base, fd, counted),
            from: from.bytes().to_vec(),
        })
    }

    fn name(&self) -> Result<Vec<u8>, Errno> {
        inet::own_name(self.fd()).map(|name| name.bytes().to_vec())
    }

    fn peer_name(&self) -> Result<Vec<u8>, Errno> {
        inet::peer_name(self.fd()).map(|name| name.bytes().to_vec())
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        let done = inet::shutdown(self.fd(), how.read, how.write);
        self.watch.queue.wake(Events::all());
        done
    }

    fn send(&self, message: &mut Outgoing<'_>) -> Result<usize, Errno> {
        // Where from and how a datagram goes is not for its message to say.
        if message.control.journey != Default::default() {
            return Err(Errno::EOPNOTSUPP);
        }
        let flags = (message.flags & (msg::OOB | msg::MORE | msg::EOR | msg::DONTROUTE)).cast_signed();
        let sent = match self.base.kind {
            Kind::Stream if message.src.remaining() > 0 => self.send_stream(message, flags),
            Kind::Stream => inet::send(self.fd(), &[], flags, None),
            _ => self.send_datagram(message, flags),
        };
        self.waits(sent, Events::WRITABLE)
    }

    fn receive(&self, dst: &mut dyn Sink, flags: u32) -> Result<Incoming, Errno> {
        let stream = self.base.kind == Kind::Stream;
        let mut wanted = (flags & (msg::OOB | msg::PEEK | msg::TRUNC)).cast_signed();
        if !stream {
            // So that the host tells how long a message is that does not fit.
            wanted |= msg::TRUNC.cast_signed();
        }
        let discards = stream && flags & msg::TRUNC != 0;
        let received = with_buffer(dst.remaining().min(STEP), |buffer| {
            let (full, from) = inet::receive(self.fd(), buffer, wanted)?;
            let there = full.min(buffer.len());
            let stored = if discards {
                full
            } else {
                dst.write(&buffer[..there])?
            };
            let cut = if there < full { msg::TRUNC } else { 0 };
            let urgent = if flags & msg::OOB != 0 { msg::OOB } else { 0 };
            Ok(Incoming {
                stored,
                full,
                from: Some(from.bytes().to_vec()).filter(|from| !from.is_empty()),
                flags: if stream { urgent } else { cut },
                control: Control::default(),
                arrival: None,
            })
        });
        self.waits(received, Events::READABLE)
    }

    fn poll(&self, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.watch.queue);
        }
        self.watch
            .ready(Events::READABLE | Events::WRITABLE | Events::PRI | Events::RDHUP)
    }

    fn set_option(&self, _: &CurrentTask, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
        if !is_settable(level, name) || value.len() > inet::OPTION {
            return Err(Errno::ENOPROTOOPT);
        }
        inet::set_option(self.fd(), level, name, value)
    }

    fn general_option_set(&self, name: i32, value: &[u8]) -> Result<(), Errno> {
        if KEPT_HERE.contains(&name) {
            return Ok(());
        }
        // It was noted, but nothing would come of it.
        if !is_settable(SOL_SOCKET, name) {
            return Err(Errno::ENOPROTOOPT);
        }
        let seconds = value.get(4..8).is_some_and(|seconds| seconds != [0; 4]);
        if name == SO_LINGER && seconds {
            // The host would keep the sentry waiting in close(2); only a reset is the host's.
            return inet::set_option(self.fd(), SOL_SOCKET, SO_LINGER, &[0; 8]);
        }
        inet::set_option(
            self.fd(),
            SOL_SOCKET,
            name,
            &value[..value.len().min(inet::OPTION)],
        )
    }

    fn option_of(&self, level: i32, name: i32, _: &[u8]) -> Option<Result<Vec<u8>, Errno>> {
        let of_host = level == SOL_SOCKET && is_readable(level, name) && name != SO_LINGER;
        of_host.then(|| inet::option(self.fd(), level, name, inet::OPTION))
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        if !is_readable(level, name) {
            return Err(Errno::ENOPROTOOPT);
        }
        inet::option(self.fd(), level, name, inet::OPTION)
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        inet::pending(self.fd(), Pending::Readable)
    }

    fn at_mark(&self) -> Result<bool, Errno> {
        inet::pending(self.fd(), Pending::AtMark).map(|found| found == 1)
    }

    fn unsent_bytes(&self) -> Result<usize, Errno> {
        inet::pending(self.fd(), Pending::Unsent)
    }

    /// The descriptor is closed when the last call that uses it has ended.
    fn close(&self) {
        self.base.queue.wake(Events::all());
    }
}
