//! Sending and receiving on unix sockets.

use std::sync::Arc;

use abi::Errno;

use super::{Phase, UnixSocket};
use crate::io::Sink;
use crate::socket::address::{UnixName, encode_unix};
use crate::socket::channel::Wants;
use crate::socket::filter::Beside;
use crate::socket::inbox::read_message;
use crate::socket::{Incoming, Kind, Outgoing, Ucred, msg};

/// Receivers remembered as full.
const MOST_FULL: usize = 4;
/// Bytes of a message that the send buffer does not give (its header).
const HEADER: usize = 32;

impl UnixSocket {
    /// send(2) on a stream.
    pub(super) fn send_stream(&self, message: &mut Outgoing<'_>) -> Result<usize, Errno> {
        let urgent = message.flags & msg::OOB != 0;
        if urgent && message.src.remaining() == 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if message.to.is_some_and(|to| !to.is_empty()) {
            let connected = matches!(self.state.lock().phase, Phase::Connected { .. });
            return Err(if connected {
                Errno::EISCONN
            } else {
                Errno::EOPNOTSUPP
            });
        }
        let link = self.link().ok_or(Errno::ENOTCONN)?;
        let cred = message.control.cred.unwrap_or_else(Ucred::current);
        if urgent {
            let sent = link.tx.send_urgent(message.src);
            if let (Ok(1..), Some(peer)) = (&sent, self.peer()) {
                peer.base.signal_urgent();
            }
            return sent;
        }
        link.tx.send(message.src, &mut message.control, Some(cred))
    }

    /// recv(2) on a stream.
    pub(super) fn receive_stream(&self, dst: &mut dyn Sink, flags: u32) -> Result<Incoming, Errno> {
        let Some(link) = self.link() else {
            return Err(Errno::EINVAL);
        };
        let (credentials, inline) = {
            let options = self.base.options.lock();
            (options.pass_credentials(), options.oob_inline())
        };
        if flags & msg::OOB != 0 {
            // Among the others there is none to be read apart.
            return match inline {
                true => Err(Errno::EINVAL),
                false => link.rx.receive_urgent(dst, flags & msg::PEEK != 0),
            };
        }
        if link.rx.len() == 0 {
            self.base.take_error()?;
        }
        let wants = Wants { credentials, inline };
        let mut incoming = link.rx.receive(dst, flags, wants)?;
        // Most peers are unnamed and then there is no address to give.
        incoming.from = self.peer().and_then(|peer| {
            let name = peer.state.lock().name.clone()?;
            Some(encode_unix(Some(&name)))
        });
        Ok(incoming)
    }

    /// send(2) of a whole message.
    pub(super) fn send_message(&self, message: &mut Outgoing<'_>) -> Result<usize, Errno> {
        if message.flags & msg::OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        self.base.take_error()?;
        if self.base.kind == Kind::SeqPacket && self.peer().is_none() {
            return Err(Errno::ENOTCONN);
        }
        if self.state.lock().shut.write {
            return Err(Errno::EPIPE);
        }
        let target = self.target(message)?;
        let limit = self.base.options.lock().send_buffer;
        if message.src.remaining() > limit.saturating_sub(HEADER) {
            return Err(Errno::EMSGSIZE);
        }
        {
            let state = target.state.lock();
            if state.shut.read {
                return Err(Errno::EPIPE);
            }
            if matches!(state.phase, Phase::Closed) {
                drop(state);
                return Err(self.lost_peer());
            }
        }
        if self.base.kind == Kind::Datagram && !target.accepts_from(self) {
            return Err(Errno::EPERM);
        }
        // Looked at before the bytes are taken, so that a retry finds them: the inbox may get one message too many.
        if !target.inbox.has_room(message.src.remaining(), limit) {
            let mut full = self.full.lock();
            if full.len() >= MOST_FULL {
                full.remove(0);
            }
            full.push(Arc::downgrade(&target));
            return Err(Errno::EAGAIN);
        }
        let mut data = read_message(message.src, limit)?;
        let sent = data.len();
        match target.base.filtered(&data, Beside::default()) {
            Some(kept) => data.truncate(kept),
            // The sender does not learn of it.
            None if !data.is_empty() => return Ok(sent),
            None => {}
        }
        let from = self.state.lock().name.clone();
        let from = from.map(|name| encode_unix(Some(&name)));
        let cred = message.control.cred.unwrap_or_else(Ucred::current);
        target.inbox.push(data, from, Some(cred), &mut message.control);
        Ok(sent)
    }

    /// Where a message goes.
    fn target(&self, message: &Outgoing<'_>) -> Result<Arc<UnixSocket>, Errno> {
        match message.to.filter(|to| !to.is_empty()) {
            None => self.peer().ok_or(Errno::ENOTCONN),
            Some(_) if self.base.kind == Kind::SeqPacket => {
                // The address of a connected packet socket is ignored.
                self.peer().ok_or(Errno::ENOTCONN)
            }
            Some(to) => {
                let name = UnixName::decode(to)?.ok_or(Errno::EINVAL)?;
                if self.base.options.lock().pass_credentials() {
                    self.autobind()?;
                }
                let target = self.find(message.task.ok_or(Errno::EINVAL)?, &name)?;
                if target.base.kind != Kind::Datagram {
                    return Err(Errno::EPROTOTYPE);
                }
                Ok(target)
            }
        }
    }

    /// The connected datagram peer was closed: it is forgotten.
    fn lost_peer(&self) -> Errno {
        if self.base.kind != Kind::Datagram {
            return Errno::EPIPE;
        }
        let old = {
            let mut state = self.state.lock();
            match state.phase {
                Phase::Connected { .. } => Some(std::mem::replace(&mut state.phase, Phase::Idle)),
                _ => None,
            }
        };
        drop(old);
        Errno::ECONNREFUSED
    }

    /// recv(2) of a whole message.
    pub(super) fn receive_message(&self, dst: &mut dyn Sink, flags: u32) -> Result<Incoming, Errno> {
        let packets = self.base.kind == Kind::SeqPacket;
        if packets && self.peer().is_none() {
            return Err(Errno::ENOTCONN);
        }
        if flags & msg::OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        match self.inbox.receive(dst, flags) {
            Err(Errno::EAGAIN) => {
                self.base.take_error()?;
                // Of datagrams there is an end for those only who would wait.
                if self.state.lock().shut.read && (packets || flags & msg::DONTWAIT == 0) {
                    Ok(Incoming::default())
                } else {
                    Err(Errno::EAGAIN)
                }
            }
            other => other,
        }
    }
}
