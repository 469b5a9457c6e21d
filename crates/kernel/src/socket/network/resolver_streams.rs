//! TCP to the engine's name server: connections end here, and their queries go on over the one socket that there is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sync::{Events, PollTable, Waiter};

use super::edns;
use super::resolver::Asker;
use crate::Kernel;
use crate::io::VecSink;
use crate::socket::inet::TcpSocket;
use crate::socket::{NetNs, SocketOps};

/// Connections at the same time; more are closed at once.
const MOST_STREAMS: usize = 64;
/// How long a connection may be quiet.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes taken from a connection at once; also those of the largest query with its length.
const STEP: usize = 65_537;

/// The connections, served by a thread of their own.
pub struct ResolverStreams {
    net: Arc<NetNs>,
    listener: Arc<TcpSocket>,
    open: Vec<Stream>,
    next: u64,
}

struct Stream {
    number: u64,
    socket: Arc<TcpSocket>,
    /// Part of a query.
    begun: Vec<u8>,
    heard: Instant,
    ended: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.socket.close();
    }
}

impl ResolverStreams {
    /// `None` when there is no such name server.
    pub fn new(kernel: &Arc<Kernel>) -> Option<ResolverStreams> {
        let net = kernel.net.clone();
        let address = net.network.resolver.address()?;
        let listener = TcpSocket::listening_unseen(kernel, &net, address, MOST_STREAMS);
        let _ = net.network.resolver_listener.set(Arc::downgrade(&listener));
        Some(ResolverStreams {
            net,
            listener,
            open: Vec::new(),
            next: 0,
        })
    }

    /// Waits for something to do, and does it.
    pub fn turn(&mut self) {
        let waiter = Arc::new(Waiter::default());
        let mut table = PollTable::new(waiter.clone(), 0, Events::all());
        let mut ready = self.listener.poll(Some(&mut table)).intersects(Events::READABLE);
        for stream in self.open.iter().filter(|stream| !stream.ended) {
            ready |= stream.socket.poll(Some(&mut table)).intersects(Events::READABLE);
        }
        let _registered = table.into_registrations();
        if !ready {
            let deadline = self.open.iter().map(|stream| stream.heard + PATIENCE).min();
            waiter.wait(deadline);
        }
        while let Some(socket) = self.listener.next_connection() {
            if self.open.len() < MOST_STREAMS {
                self.next += 1;
                self.net.network.resolver.open(self.next, &socket);
                self.open.push(Stream {
                    number: self.next,
                    socket,
                    begun: Vec::new(),
                    heard: Instant::now(),
                    ended: false,
                });
            } else {
                socket.close();
            }
        }
        let network = &self.net.network;
        self.open.retain_mut(|stream| {
            let kept = stream.serve(&self.net);
            if !kept {
                network.resolver.close(stream.number);
            }
            kept
        });
    }
}

impl Stream {
    /// Takes queries; false when the connection has ended.
    fn serve(&mut self, net: &NetNs) -> bool {
        while !self.ended {
            let mut sink = VecSink::new(STEP);
            match self.socket.receive(&mut sink, 0) {
                Ok(got) if got.stored > 0 => {
                    self.heard = Instant::now();
                    self.begun.append(&mut sink.bytes);
                    if !self.ask(net) {
                        return false;
                    }
                }
                Err(abi::Errno::EAGAIN) => break,
                Ok(_) => self.ended = true,
                Err(_) => return false,
            }
        }
        let waits = !self.ended || net.network.resolver.owes(self.number);
        waits && self.heard.elapsed() < PATIENCE
    }

    /// Sends the whole queries on; false when what came is none.
    fn ask(&mut self, net: &NetNs) -> bool {
        while let Some((len, rest)) = self.begun.split_first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*len));
            let Some(query) = rest.get(..len) else {
                return true;
            };
            let mut query = query.to_vec();
            self.begun.drain(..2 + len);
            let Ok(widened) = edns::widen(&mut query) else {
                return false;
            };
            let asker = Asker::Stream {
                number: self.number,
                widened,
            };
            net.network.asks(asker, &query);
        }
        true
    }
}
