//! A queue of whole messages: datagrams and sequenced packets, as their receiver has them.

use std::collections::VecDeque;

use abi::Errno;
use sync::{Events, Mutex, WaitQueue, rank};

use super::in_flight::InFlight;
use super::{Control, Incoming, Ucred, msg};
use crate::io::{Sink, Source};

/// What Linux counts for a message besides its bytes.
const OVERHEAD: usize = 256;

/// How a datagram came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The address it was sent to.
    pub to: std::net::IpAddr,
    /// Index of the interface it came by.
    pub interface: u32,
    /// Hop limit.
    pub hops: i32,
    /// Type of service, traffic class.
    pub class: i32,
    /// When, in nanoseconds since the epoch.
    pub time: i64,
}

/// A message with what came with it.
struct Message {
    arrival: Option<Arrival>,
    data: Vec<u8>,
    from: Option<Vec<u8>>,
    cred: Option<Ucred>,
    files: InFlight,
}

#[derive(Default)]
struct Content {
    messages: VecDeque<Message>,
    bytes: usize,
}

/// Limits and messages of a receiver.
pub struct Inbox {
    content: Mutex<Content>,
    /// Most messages.
    most: usize,
    /// The receiving socket's queue.
    reader: WaitQueue,
    /// Senders that wait for room.
    pub space: WaitQueue,
}

/// Reads a whole message. `EMSGSIZE` beyond `max`, `EFAULT` when a part cannot be read.
pub fn read_message(src: &mut dyn Source, max: usize) -> Result<Vec<u8>, Errno> {
    let len = src.remaining();
    if len > max {
        return Err(Errno::EMSGSIZE);
    }
    let mut data = vec![0; len];
    let mut done = 0;
    while done < len {
        match src.read(&mut data[done..])? {
            0 => return Err(Errno::EFAULT),
            got => done += got,
        }
    }
    Ok(data)
}

impl Inbox {
    /// Holds at most `most` messages and wakes `reader`.
    pub fn new(most: usize, reader: &WaitQueue) -> Inbox {
        Inbox {
            content: Mutex::new(rank::FILE_STATE_PEER, Content::default()),
            most,
            reader: reader.clone(),
            space: WaitQueue::new(),
        }
    }

    /// Whether a message of `len` bytes fits into `limit` bytes; an empty inbox takes any.
    pub fn has_room(&self, len: usize, limit: usize) -> bool {
        let content = self.content.lock();
        content.messages.is_empty()
            || (content.messages.len() < self.most && content.bytes + len + OVERHEAD <= limit)
    }

    /// Whether there is a message.
    pub fn is_empty(&self) -> bool {
        self.content.lock().messages.is_empty()
    }

    /// Bytes of the next message.
    pub fn next_len(&self) -> usize {
        self.content
            .lock()
            .messages
            .front()
            .map_or(0, |message| message.data.len())
    }

    /// Bytes of all messages.
    pub fn total_len(&self) -> usize {
        let content = self.content.lock();
        content.messages.iter().map(|message| message.data.len()).sum()
    }

    /// Delivers a message.
    pub fn push(&self, data: Vec<u8>, from: Option<Vec<u8>>, cred: Option<Ucred>, control: &mut Control) {
        self.push_arrival(data, from, cred, control, None);
    }

    /// Delivers a datagram of an internet family.
    pub fn push_arrival(
        &self,
        data: Vec<u8>,
        from: Option<Vec<u8>>,
        cred: Option<Ucred>,
        control: &mut Control,
        arrival: Option<Arrival>,
    ) {
        let message = Message {
            arrival,
            data,
            from,
            cred,
            files: std::mem::take(&mut control.files),
        };
        {
            let mut content = self.content.lock();
            content.bytes += message.data.len() + OVERHEAD;
            content.messages.push_back(message);
        }
        self.reader.wake(Events::READABLE);
    }

    /// Gives the next message, cut to what `dst` takes; `EAGAIN` when there is none.
    pub fn receive(&self, dst: &mut dyn Sink, flags: u32) -> Result<Incoming, Errno> {
        let message = if flags & msg::PEEK != 0 {
            let content = self.content.lock();
            let front = content.messages.front().ok_or(Errno::EAGAIN)?;
            let copy = Message {
                arrival: front.arrival,
                data: front.data.clone(),
                from: front.from.clone(),
                cred: front.cred,
                files: InFlight::default(),
            };
            let files = front.files.peek();
            drop(content);
            Message {
                files: InFlight::new(files, u64::MAX)?,
                ..copy
            }
        } else {
            let mut content = self.content.lock();
            let front = content.messages.pop_front().ok_or(Errno::EAGAIN)?;
            content.bytes = content.bytes.saturating_sub(front.data.len() + OVERHEAD);
            drop(content);
            self.space.wake(Events::WRITABLE);
            front
        };
        let take = message.data.len().min(dst.remaining());
        let stored = if take == 0 {
            0
        } else {
            dst.write(&message.data[..take])?
        };
        if stored < take {
            return Err(Errno::EFAULT);
        }
        let cut = stored < message.data.len();
        Ok(Incoming {
            stored,
            full: message.data.len(),
            from: message.from,
            flags: if cut { msg::TRUNC } else { 0 },
            control: Control {
                files: message.files,
                cred: message.cred,
                ..Control::default()
            },
            arrival: message.arrival,
        })
    }

    /// Forgets all messages. Returns whether there were any.
    pub fn clear(&self) -> bool {
        let messages = {
            let mut content = self.content.lock();
            content.bytes = 0;
            std::mem::take(&mut content.messages)
        };
        self.space.wake(Events::WRITABLE | Events::ERR);
        !messages.is_empty()
    }
}
