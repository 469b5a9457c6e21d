//! The urgent byte of a direction (MSG_OOB).

use std::sync::atomic::Ordering;

use abi::Errno;
use sync::Events;

use super::{Channel, Content, Wants};
use crate::io::{Sink, SliceSource, Source};
use crate::socket::{Control, Incoming, msg};

/// TCP's urgent byte: it lies in the ring, but is read apart from the bytes around it.
pub(super) struct Urgent {
    pub at: u64,
    byte: u8,
    taken: bool,
}

/// Bytes that one call sends with an urgent one.
const URGENT_WITH: usize = 64 << 10;

impl Urgent {
    /// Nobody has asked for it yet.
    pub fn waits(&self) -> bool {
        !self.taken
    }
}

impl Channel {
    /// Sends bytes of which the last one is urgent (MSG_OOB).
    pub fn send_urgent(&self, src: &mut dyn Source) -> Result<usize, Errno> {
        let mut bytes = vec![0; src.remaining().min(URGENT_WITH)];
        let len = src.read(&mut bytes)?;
        let bytes = &bytes[..len];
        let Some(byte) = bytes.last().copied() else {
            return Ok(0);
        };
        let done = self.send(&mut SliceSource(bytes), &mut Control::default(), None)?;
        if done == len {
            let mut content = self.content.lock();
            content.urgent = Some(Urgent {
                at: content.written.saturating_sub(1),
                byte,
                taken: false,
            });
            self.publish(&content);
        }
        self.reader.wake(Events::PRI | Events::READABLE);
        Ok(done)
    }

    /// The urgent byte. `EINVAL` when there is none (any more).
    pub fn receive_urgent(&self, dst: &mut dyn Sink, peek: bool) -> Result<Incoming, Errno> {
        let _turn = self.receiving.lock();
        let (at, byte) = {
            let content = self.content.lock();
            let urgent = content.urgent.as_ref().filter(|urgent| !urgent.taken);
            let urgent = urgent.filter(|urgent| urgent.at >= content.read);
            urgent
                .map(|urgent| (urgent.at, urgent.byte))
                .ok_or(Errno::EINVAL)?
        };
        let stored = dst.write(&[byte])?;
        let mut content = self.content.lock();
        if let Some(urgent) = content.urgent.as_mut().filter(|urgent| urgent.at == at) {
            urgent.taken |= !peek;
        }
        self.publish(&content);
        Ok(Incoming {
            stored,
            full: stored,
            flags: msg::OOB,
            ..Incoming::default()
        })
    }

    /// Whether an urgent byte waits (POLLPRI).
    pub fn urgent(&self) -> bool {
        self.urgent.load(Ordering::SeqCst)
    }

    /// Whether reading has come to the urgent byte (SIOCATMARK).
    pub fn at_mark(&self) -> bool {
        let content = self.content.lock();
        content
            .urgent
            .as_ref()
            .is_some_and(|urgent| urgent.at == content.read)
    }

    /// Reading goes on behind an urgent byte only with the next call.
    pub(super) fn pass_urgent(&self, content: &mut Content, wants: Wants) {
        let urgent = content.urgent.as_ref();
        if urgent.is_some_and(|urgent| urgent.at == content.read) && !wants.inline {
            if let Some(mut first) = content.segments.take() {
                first.consume(1);
                content.segments.give_back(first);
            }
            content.read += 1;
            content.urgent = None;
            self.publish(content);
        }
    }
}
