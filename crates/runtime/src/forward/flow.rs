//! One forwarded connection: a client of the host's network, and a stream to the sandbox. Neither is waited for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use abi::Errno;
use host::{inet, poll};
use sandbox::pieces::{Incoming, Item, Outgoing};
use sandbox::words::{MAX_LINE, one_line};

/// Bytes that are passed on in one direction before others have their turn.
const TURN: usize = 256 << 10;

/// What becomes of a flow.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// It waits for its sockets.
    Stay,
    /// There is more to do now.
    Again,
    /// It is over on both sides.
    Done,
    /// One side is gone: the other is to be told by a reset.
    Broken,
    /// The sandbox made no connection, and why.
    Refused(String),
}

/// A connection.
pub struct Flow {
    client: OwnedFd,
    inside: OwnedFd,
    incoming: Incoming,
    outgoing: Outgoing,
    /// What the sandbox has said so far; `None`: that the connection is there.
    answer: Option<Vec<u8>>,
    client_ready: Ready,
    inside_ready: Ready,
    client_ended: bool,
    inside_ended: bool,
    /// When a byte moved last, or it was made.
    pub last: Instant,
    /// It is in the queue of those with something to do.
    pub queued: bool,
}

/// What a socket may do without waiting.
#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    read: bool,
    write: bool,
    /// Nobody is at the other end any more.
    gone: bool,
}

impl Ready {
    fn add(&mut self, what: u32) {
        self.gone |= what & (poll::ERR | poll::HUP) != 0;
        self.read |= what & !poll::OUT != 0;
        self.write |= what & poll::OUT != 0 || self.gone;
    }
}

/// Turns a result of a socket into what it moved. `None`: it would wait, which `ready` now says.
fn moved(result: Result<usize, Errno>, ready: &mut bool) -> Result<Option<usize>, Next> {
    match result {
        Ok(len) => Ok(Some(len)),
        Err(Errno::EAGAIN) => {
            *ready = false;
            Ok(None)
        }
        Err(Errno::EINTR) => Ok(None),
        Err(_) => Err(Next::Broken),
    }
}

impl Flow {
    /// Of two connected streams. The sandbox is to answer.
    pub fn new(client: OwnedFd, inside: OwnedFd) -> Flow {
        Flow {
            client,
            inside,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            answer: Some(Vec::new()),
            client_ready: Ready::default(),
            inside_ready: Ready::default(),
            client_ended: false,
            inside_ended: false,
            last: Instant::now(),
            queued: false,
        }
    }

    /// Its sockets: the client's, the sandbox's.
    pub fn sockets(&self) -> [BorrowedFd<'_>; 2] {
        [self.client.as_fd(), self.inside.as_fd()]
    }

    /// The sandbox has not answered.
    pub fn is_asking(&self) -> bool {
        self.answer.is_some()
    }

    /// Something happened to the client's socket (or the sandbox's).
    pub fn happened(&mut self, to_client: bool, what: u32) {
        if to_client {
            self.client_ready.add(what);
        } else {
            self.inside_ready.add(what);
        }
    }

    /// Passes on what can be passed on.
    pub fn pump(&mut self) -> Next {
        let outcome = self.outwards().and_then(|more| Ok(self.inwards()? || more));
        let more = match outcome {
            Ok(more) => more,
            Err(next) => return next,
        };
        let sent = self.outgoing.rest().is_empty();
        if self.inside_ended && (self.client_ended && sent || self.inside_ready.gone) {
            Next::Done
        } else if self.client_ready.gone && !self.inside_ended {
            // Both directions at once: a reset, as the other had not ended.
            Next::Broken
        } else if more {
            Next::Again
        } else {
            Next::Stay
        }
    }

    /// What the sandbox sends. True: there may be more.
    fn outwards(&mut self) -> Result<bool, Next> {
        let mut turn = TURN;
        while !self.inside_ended {
            let item = self.incoming.item().map_err(|_| Next::Broken)?;
            match (item, &mut self.answer) {
                (Item::More, _) if !self.inside_ready.read => return Ok(false),
                (Item::More, _) => {
                    let room = self.incoming.room();
                    let got = inet::receive(self.inside.as_fd(), room);
                    match moved(got, &mut self.inside_ready.read)? {
                        Some(0) => return Err(Next::Broken),
                        Some(len) => self.incoming.filled(len),
                        None => {}
                    }
                }
                (Item::End, Some(_)) => {
                    self.answer = None;
                    self.last = Instant::now();
                }
                (Item::Bytes(bytes), Some(answer)) => {
                    answer.extend(bytes.iter().take(MAX_LINE.saturating_sub(answer.len())));
                    let len = bytes.len();
                    if self.incoming.take(len) {
                        return Err(Next::Refused(refusal(&self.answer)));
                    }
                }
                (Item::Bytes(_), None) if !self.client_ready.write => return Ok(false),
                (Item::Bytes(_), None) if turn == 0 => return Ok(true),
                (Item::Bytes(bytes), None) => {
                    let sent = inet::send(self.client.as_fd(), bytes);
                    if let Some(len) = moved(sent, &mut self.client_ready.write)? {
                        self.incoming.take(len);
                        turn = turn.saturating_sub(len);
                        self.last = Instant::now();
                    }
                }
                (Item::End, None) => {
                    self.inside_ended = true;
                    let _ = inet::end(self.client.as_fd());
                }
                (Item::Reset, _) => return Err(Next::Broken),
            }
        }
        Ok(false)
    }

    /// What the client sends. True: there may be more.
    fn inwards(&mut self) -> Result<bool, Next> {
        let mut turn = TURN;
        while self.answer.is_none() {
            let rest = self.outgoing.rest();
            if rest.is_empty() {
                if self.client_ended || !self.client_ready.read {
                    break;
                }
                if turn == 0 {
                    return Ok(true);
                }
                let got = inet::receive(self.client.as_fd(), self.outgoing.room());
                if let Some(len) = moved(got, &mut self.client_ready.read)? {
                    self.client_ended = len == 0;
                    self.outgoing.filled(len);
                    turn = turn.saturating_sub(len);
                    self.last = Instant::now();
                }
            } else {
                if !self.inside_ready.write {
                    break;
                }
                let sent = inet::send(self.inside.as_fd(), rest);
                if let Some(len) = moved(sent, &mut self.inside_ready.write)? {
                    self.outgoing.sent(len);
                    self.last = Instant::now();
                }
            }
        }
        Ok(false)
    }

    /// Closes the client's connection by a reset.
    pub fn reset(self) {
        inet::reset(self.client);
    }
}

fn refusal(answer: &Option<Vec<u8>>) -> String {
    let bytes = answer.as_deref().unwrap_or_default();
    one_line(&String::from_utf8_lossy(bytes), MAX_LINE)
}

#[cfg(test)]
mod tests;
