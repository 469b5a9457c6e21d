//! unix(7): local sockets. Streams are pairs of channels; datagrams and packets go to the receiver's inbox.

mod connect;
mod name;
mod transfer;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use abi::{AbiStruct, Errno};
use sync::{Events, Mutex, PollTable, rank};

use super::address::{UnixName, encode_unix};
use super::channel::Channel;
use super::inbox::Inbox;
use super::{AF_UNIX, Accepted, Base, Incoming, Kind, NetNs, Outgoing, Shutdown, SocketOps, Ucred, options};
use crate::Kernel;
use crate::io::Sink;
use crate::task::CurrentTask;
use crate::vfs::Inode;

/// net.core.wmem_default, which bounds a stream's channel and a datagram's size.
const BUFFER: usize = 212_992;
/// A stream may hold so many times that, unless the program says how much: with less, one side or the other always sleeps.
const STREAM_FACTOR: usize = 2;
/// Messages that may wait at one receiver (net.unix.max_dgram_qlen).
const MOST_MESSAGES: usize = 256;
/// Longest listen(2) queue (net.core.somaxconn).
pub(super) const MAX_BACKLOG: usize = 4096;

/// Writable, in all three spellings.
const WRITABLE: Events = Events::WRITABLE.union(Events::WRBAND);

const SO_PEERCRED: i32 = 17;
const SO_PEERGROUPS: i32 = 59;
const SO_PEERPIDFD: i32 = 77;

/// Both directions of a stream, from one side.
#[derive(Clone)]
struct Link {
    tx: Arc<Channel>,
    rx: Arc<Channel>,
}

enum Phase {
    Idle,
    Connecting,
    Listening {
        backlog: usize,
        queue: VecDeque<Arc<UnixSocket>>,
    },
    /// To a peer; with channels when it is a stream. Both sides hold each other until one is closed.
    Connected {
        peer: Arc<UnixSocket>,
        link: Option<Link>,
    },
    Closed,
}

struct State {
    phase: Phase,
    name: Option<UnixName>,
    /// The inode of a bound path.
    inode: Option<Arc<Inode>>,
    /// Who listened or connected, as the other side sees it.
    cred: Ucred,
    peer_cred: Ucred,
    /// Directions ended, of packet and datagram sockets (streams keep that in their channels).
    shut: Shutdown,
}

/// A unix socket.
pub struct UnixSocket {
    base: Base,
    me: Weak<UnixSocket>,
    kernel: Arc<Kernel>,
    inbox: Inbox,
    state: Mutex<State>,
    /// Receivers whose inbox was full when this socket last sent: its writers wait there too.
    full: Mutex<Vec<Weak<UnixSocket>>>,
}

/// What /proc/net/unix shows of a socket.
#[derive(Clone, Debug)]
pub struct Summary {
    /// It listens.
    pub listening: bool,
    /// It has a peer.
    pub connected: bool,
    /// SOCK_*.
    pub kind: Kind,
    /// Inode number.
    pub ino: u64,
    /// Its name; abstract ones begin with `@`.
    pub name: Option<Vec<u8>>,
}

/// What is attached to the inode of a bound path.
pub(super) struct Bound(Weak<UnixSocket>);

/// socket(2) of AF_UNIX.
pub(super) fn create(
    kernel: &Arc<Kernel>,
    net: &Arc<NetNs>,
    kind: Kind,
    protocol: i32,
) -> Result<Arc<dyn SocketOps>, Errno> {
    Ok(new(kernel, net, kind, protocol)?)
}

fn new(kernel: &Arc<Kernel>, net: &Arc<NetNs>, kind: Kind, protocol: i32) -> Result<Arc<UnixSocket>, Errno> {
    if protocol != 0 && protocol != i32::from(AF_UNIX) {
        return Err(Errno::EPROTONOSUPPORT);
    }
    // SOCK_RAW is another word for SOCK_DGRAM here.
    let kind = if kind == Kind::Raw { Kind::Datagram } else { kind };
    Ok(UnixSocket::new(kernel, net, kind))
}

/// socketpair(2).
pub fn create_pair(
    kernel: &Arc<Kernel>,
    net: &Arc<NetNs>,
    kind: Kind,
    protocol: i32,
) -> Result<(Arc<UnixSocket>, Arc<UnixSocket>), Errno> {
    let (one, two) = (
        new(kernel, net, kind, protocol)?,
        new(kernel, net, kind, protocol)?,
    );
    let cred = Ucred::current();
    UnixSocket::join(&one, &two, cred, cred);
    Ok((one, two))
}

impl UnixSocket {
    fn new(kernel: &Arc<Kernel>, net: &Arc<NetNs>, kind: Kind) -> Arc<UnixSocket> {
        let base = Base::new(net, AF_UNIX, kind, 0, kernel.next_ino(), (BUFFER, BUFFER));
        let ino = base.ino;
        let state = State {
            phase: Phase::Idle,
            name: None,
            inode: None,
            cred: Ucred::NOBODY,
            peer_cred: Ucred::NOBODY,
            shut: Shutdown {
                read: false,
                write: false,
            },
        };
        let socket = Arc::new_cyclic(|me| UnixSocket {
            inbox: Inbox::new(MOST_MESSAGES, &base.queue),
            base,
            me: me.clone(),
            kernel: kernel.clone(),
            state: Mutex::new(rank::FILE_STATE, state),
            full: Mutex::new(rank::LEAF, Vec::new()),
        });
        net.add_unix(ino, &socket);
        socket
    }

    /// Bytes of a stream under way from here.
    fn stream_limit(&self) -> usize {
        let options = self.base.options.lock();
        let factor = if options.send_buffer_set { 1 } else { STREAM_FACTOR };
        options.send_buffer * factor
    }

    /// Connects two sockets; `cred` of each is what the other one sees.
    fn join(one: &Arc<UnixSocket>, two: &Arc<UnixSocket>, one_cred: Ucred, two_cred: Ucred) {
        let (link_one, link_two) = if one.base.kind == Kind::Stream {
            let forth = Channel::new(one.stream_limit(), &two.base.queue, &one.base.queue);
            let back = Channel::new(two.stream_limit(), &one.base.queue, &two.base.queue);
            let link = |tx: &Arc<Channel>, rx: &Arc<Channel>| {
                let (tx, rx) = (tx.clone(), rx.clone());
                Some(Link { tx, rx })
            };
            (link(&forth, &back), link(&back, &forth))
        } else {
            (None, None)
        };
        one.connected_to(two, link_one, one_cred, two_cred);
        two.connected_to(one, link_two, two_cred, one_cred);
    }

    /// SO_PEERCRED, as the caller sees it.
    fn peer_credentials(&self) -> Ucred {
        let peer = self.state.lock().peer_cred;
        crate::task::current().map_or(peer, |reader| peer.shown_to(&reader))
    }

    fn connected_to(&self, peer: &Arc<UnixSocket>, link: Option<Link>, cred: Ucred, peer_cred: Ucred) {
        {
            let mut state = self.state.lock();
            // Closed while it was connecting: the peer sees the end.
            if matches!(state.phase, Phase::Closed) {
                drop(state);
                if let Some(link) = link {
                    link.tx.finish();
                    link.rx.refuse();
                }
                return;
            }
            let peer = peer.clone();
            state.phase = Phase::Connected { peer, link };
            state.cred = cred;
            state.peer_cred = peer_cred;
        }
        self.base.queue.wake(Events::WRITABLE);
    }

    fn link(&self) -> Option<Link> {
        match &self.state.lock().phase {
            Phase::Connected { link, .. } => link.clone(),
            _ => None,
        }
    }

    fn peer(&self) -> Option<Arc<UnixSocket>> {
        match &self.state.lock().phase {
            Phase::Connected { peer, .. } => Some(peer.clone()),
            _ => None,
        }
    }

    /// Its line of /proc/net/unix.
    pub fn summary(&self) -> Summary {
        let state = self.state.lock();
        Summary {
            listening: matches!(state.phase, Phase::Listening { .. }),
            connected: matches!(state.phase, Phase::Connected { .. }),
            kind: self.base.kind,
            ino: self.base.ino,
            name: state.name.as_ref().map(UnixName::shown),
        }
    }

    fn poll_stream(&self) -> Events {
        let state = self.state.lock();
        match &state.phase {
            Phase::Listening { queue, .. } if queue.is_empty() => Events::empty(),
            Phase::Listening { .. } => Events::READABLE,
            Phase::Connected { link: Some(link), .. } => {
                let link = link.clone();
                drop(state);
                let mut events = Events::empty();
                let no_more = link.rx.finished() || link.rx.refused();
                if link.rx.len() > 0 || no_more {
                    events |= Events::READABLE;
                }
                if no_more {
                    events |= Events::RDHUP;
                }
                if no_more && (link.tx.finished() || link.tx.refused()) {
                    events |= Events::HUP;
                }
                if link.rx.urgent() {
                    events |= Events::PRI;
                }
                if link.tx.roomy() {
                    events |= WRITABLE;
                }
                events
            }
            _ => {
                let mut events = Events::HUP | WRITABLE;
                if state.shut.read {
                    events |= Events::READABLE | Events::RDHUP;
                }
                events
            }
        }
    }

    fn poll_messages(&self) -> Events {
        let (shut, peer, idle) = {
            let state = self.state.lock();
            match &state.phase {
                Phase::Listening { queue, .. } if queue.is_empty() => return Events::empty(),
                Phase::Listening { .. } => return Events::READABLE,
                Phase::Connected { peer, .. } => (state.shut, Some(peer.clone()), false),
                _ => (state.shut, None, self.base.kind == Kind::SeqPacket),
            }
        };
        let mut events = Events::empty();
        if !self.inbox.is_empty() || shut.read {
            events |= Events::READABLE;
        }
        if shut.read {
            events |= Events::RDHUP;
        }
        if idle || (shut.read && shut.write) {
            events |= Events::HUP;
        }
        let limit = self.base.options.lock().send_buffer;
        if peer.is_none_or(|peer| peer.inbox.has_room(0, limit)) {
            events |= WRITABLE;
        }
        events
    }

    fn close_connection(&self, peer: &Arc<UnixSocket>, link: Option<Link>) {
        let unread = match link {
            Some(link) => {
                let unread = link.rx.clear();
                link.rx.refuse();
                link.tx.finish();
                unread
            }
            None => !self.inbox.is_empty(),
        };
        if self.base.kind == Kind::Datagram {
            return;
        }
        peer.state.lock().shut = Shutdown {
            read: true,
            write: true,
        };
        if unread {
            peer.base.fail(Errno::ECONNRESET);
        }
        peer.base.queue.wake(Events::all());
    }
}

impl SocketOps for UnixSocket {
    fn base(&self) -> &Base {
        &self.base
    }

    fn bind(&self, task: &CurrentTask, addr: &[u8]) -> Result<(), Errno> {
        self.bind_name(task, UnixName::decode(addr)?)
    }

    fn connect(&self, task: &CurrentTask, addr: &[u8], nonblocking: bool) -> Result<(), Errno> {
        if self.base.kind == Kind::Datagram {
            self.connect_datagram(task, addr)
        } else {
            self.connect_stream(task, addr, nonblocking)
        }
    }

    fn listen(&self, task: &CurrentTask, backlog: i32) -> Result<(), Errno> {
        self.start_listening(task, backlog)
    }

    fn accept(&self) -> Result<Accepted, Errno> {
        self.take_connection()
    }

    fn name(&self) -> Result<Vec<u8>, Errno> {
        Ok(encode_unix(self.state.lock().name.as_ref()))
    }

    fn peer_name(&self) -> Result<Vec<u8>, Errno> {
        self.peer().ok_or(Errno::ENOTCONN)?.name()
    }

    fn shutdown(&self, how: Shutdown) -> Result<(), Errno> {
        let (peer, link) = {
            let mut state = self.state.lock();
            let connected = match &state.phase {
                Phase::Connected { peer, link } => Some((peer.clone(), link.clone())),
                // Linux only notes it on sockets without a peer.
                _ => None,
            };
            if connected.as_ref().is_none_or(|(_, link)| link.is_none()) {
                state.shut.read |= how.read;
                state.shut.write |= how.write;
            }
            let Some(connected) = connected else {
                drop(state);
                self.base.queue.wake(Events::all());
                return Ok(());
            };
            connected
        };
        if let Some(link) = link {
            if how.write {
                link.tx.finish();
            }
            if how.read {
                link.rx.refuse();
            }
        } else if self.base.kind == Kind::SeqPacket {
            let mut state = peer.state.lock();
            state.shut.read |= how.write;
            state.shut.write |= how.read;
        }
        self.base.queue.wake(Events::all());
        peer.base.queue.wake(Events::all());
        Ok(())
    }

    fn send(&self, message: &mut Outgoing<'_>) -> Result<usize, Errno> {
        if self.base.kind == Kind::Stream {
            self.send_stream(message)
        } else {
            self.send_message(message)
        }
    }

    fn receive(&self, dst: &mut dyn Sink, flags: u32) -> Result<Incoming, Errno> {
        if self.base.kind == Kind::Stream {
            self.receive_stream(dst, flags)
        } else {
            self.receive_message(dst, flags)
        }
    }

    fn poll(&self, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.base.queue);
            if self.base.kind != Kind::Stream {
                if let Some(peer) = self.peer() {
                    table.register(&peer.inbox.space);
                }
                for full in self.full.lock().drain(..).filter_map(|weak| weak.upgrade()) {
                    table.register(&full.inbox.space);
                }
            }
        }
        let mut events = match self.base.kind {
            Kind::Stream => self.poll_stream(),
            _ => self.poll_messages(),
        };
        if self.base.has_error() {
            events |= Events::ERR;
        }
        events
    }

    fn option(&self, level: i32, name: i32) -> Result<Vec<u8>, Errno> {
        match (level, name) {
            (options::SOL_SOCKET, SO_PEERCRED) => Ok(self.peer_credentials().to_bytes()),
            (options::SOL_SOCKET, SO_PEERGROUPS | SO_PEERPIDFD) => Err(Errno::ENODATA),
            (options::SOL_SOCKET, _) => Err(Errno::ENOPROTOOPT),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn set_option(&self, _: &CurrentTask, level: i32, _: i32, _: &[u8]) -> Result<(), Errno> {
        Err(if level == options::SOL_SOCKET {
            Errno::ENOPROTOOPT
        } else {
            Errno::EOPNOTSUPP
        })
    }

    fn buffers_changed(&self) {
        if let Some(link) = self.link() {
            link.tx.set_limit(self.stream_limit());
        }
    }

    fn readable_bytes(&self) -> Result<usize, Errno> {
        if matches!(self.state.lock().phase, Phase::Listening { .. }) {
            return Err(Errno::EINVAL);
        }
        Ok(match self.base.kind {
            Kind::Stream => self.link().map_or(0, |link| link.rx.len()),
            Kind::SeqPacket => self.inbox.total_len(),
            _ => self.inbox.next_len(),
        })
    }

    fn at_mark(&self) -> Result<bool, Errno> {
        if self.base.kind != Kind::Stream {
            return Err(Errno::EOPNOTSUPP);
        }
        Ok(self.link().is_some_and(|link| link.rx.at_mark()))
    }

    fn unsent_bytes(&self) -> Result<usize, Errno> {
        Ok(self.link().map_or(0, |link| link.tx.len()))
    }

    fn close(&self) {
        let (phase, name, inode) = {
            let mut state = self.state.lock();
            let phase = std::mem::replace(&mut state.phase, Phase::Closed);
            (phase, state.name.clone(), state.inode.take())
        };
        self.base.net.remove_unix(self.base.ino);
        self.release_name(name.as_ref(), inode);
        match phase {
            Phase::Listening { queue, .. } => {
                for waiting in queue {
                    // Whoever connected is told that nobody took it.
                    if let Some(peer) = waiting.peer() {
                        peer.base.fail(Errno::ECONNRESET);
                    }
                    waiting.close();
                }
            }
            Phase::Connected { peer, link } => self.close_connection(&peer, link),
            _ => {}
        }
        self.inbox.clear();
        self.base.queue.wake(Events::all());
    }
}
