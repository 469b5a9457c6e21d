//! One direction of a connection: bytes in order, with files and credentials at places in them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use abi::Errno;
use sync::{Events, Mutex, WaitQueue, rank};

use super::in_flight::InFlight;
use super::segments::{BULK, SEGMENT, Segment, Segments};
use super::{Control, Ucred};
use crate::io::{Source, with_buffer};

mod receive;
#[cfg(test)]
mod tests;
mod urgent;

use urgent::Urgent;

/// Files that were sent with the bytes from `start` to `end`.
struct Mark {
    start: u64,
    end: u64,
    files: InFlight,
}

/// The bytes from `start` on came from `cred`.
struct Run {
    start: u64,
    cred: Ucred,
}

struct Content {
    segments: Segments,
    limit: usize,
    urgent: Option<Urgent>,
    /// Bytes ever read and written.
    read: u64,
    written: u64,
    marks: VecDeque<Mark>,
    runs: VecDeque<Run>,
}

impl Content {
    fn len(&self) -> usize {
        usize::try_from(self.written - self.read).unwrap_or(usize::MAX)
    }

    fn free(&self) -> usize {
        self.limit.saturating_sub(self.len())
    }

    /// Room enough to tell writers: not for every byte that is read.
    fn roomy(&self) -> bool {
        self.free() > 0 && self.free() >= self.limit / 3
    }

    /// Drops the senders of bytes that were read.
    fn forget_runs(&mut self) {
        while self.runs.get(1).is_some_and(|next| next.start <= self.read) {
            self.runs.pop_front();
        }
    }

    /// The end of what one call may read together. `first`: it has read nothing yet.
    fn readable_to(&self, wants: Wants, first: bool) -> u64 {
        let mut end = self.written;
        if wants.credentials
            && let Some(next) = self.runs.get(1)
        {
            end = end.min(next.start);
        }
        if let Some(mark) = self.marks.front() {
            end = end.min(mark.end);
        }
        if let Some(urgent) = &self.urgent
            && (urgent.at > self.read || urgent.at == self.read && !first)
        {
            end = end.min(urgent.at);
        }
        end
    }
}

/// How a reader wants its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wants {
    /// Bytes of different senders apart (SO_PASSCRED).
    pub credentials: bool,
    /// Urgent bytes among the others (SO_OOBINLINE).
    pub inline: bool,
}

/// One direction of a connection.
pub struct Channel {
    /// Held by the one writer, and by the one reader, who copies; the content is not locked meanwhile.
    sending: Mutex<()>,
    receiving: Mutex<()>,
    content: Mutex<Content>,
    bytes: AtomicUsize,
    roomy: AtomicBool,
    /// An urgent byte waits.
    urgent: AtomicBool,
    /// The writer will send no more: the reader gets the end after the bytes.
    finished: AtomicBool,
    /// The reader takes no more: the writer gets `EPIPE`.
    refused: AtomicBool,
    /// The reading socket's queue.
    reader: WaitQueue,
    /// The writing socket's queue.
    writer: WaitQueue,
}

impl Channel {
    /// An empty channel of at most `limit` bytes that wakes these queues.
    pub fn new(limit: usize, reader: &WaitQueue, writer: &WaitQueue) -> Arc<Channel> {
        let content = Content {
            segments: Segments::default(),
            limit,
            urgent: None,
            read: 0,
            written: 0,
            marks: VecDeque::new(),
            runs: VecDeque::new(),
        };
        Arc::new(Channel {
            sending: Mutex::new(rank::FILE_OP, ()),
            receiving: Mutex::new(rank::FILE_OP, ()),
            content: Mutex::new(rank::FILE_STATE, content),
            bytes: AtomicUsize::new(0),
            roomy: AtomicBool::new(true),
            urgent: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            reader: reader.clone(),
            writer: writer.clone(),
        })
    }

    /// Bytes to be read.
    pub fn len(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Bytes that it holds at most.
    pub fn limit(&self) -> usize {
        self.content.lock().limit
    }

    /// Whether a writer should try.
    pub fn roomy(&self) -> bool {
        self.roomy.load(Ordering::SeqCst)
    }

    /// Whether the writer has ended.
    pub fn finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }

    /// Whether the reader has ended.
    pub fn refused(&self) -> bool {
        self.refused.load(Ordering::SeqCst)
    }

    /// Ends the writing side.
    pub fn finish(&self) {
        if !self.finished.swap(true, Ordering::SeqCst) {
            self.reader.wake(Events::READABLE | Events::RDHUP | Events::HUP);
        }
    }

    /// Ends the reading side.
    pub fn refuse(&self) {
        if !self.refused.swap(true, Ordering::SeqCst) {
            self.writer.wake(Events::WRITABLE | Events::HUP | Events::ERR);
        }
    }

    /// Forgets what was not read. Returns whether there was anything.
    pub fn clear(&self) -> bool {
        let turn = self.receiving.lock();
        let mut content = self.content.lock();
        let any = content.len() > 0;
        let segments = std::mem::take(&mut content.segments);
        content.read = content.written;
        let marks = std::mem::take(&mut content.marks);
        self.publish(&content);
        drop(content);
        drop(turn);
        drop((segments, marks));
        any
    }

    /// Changes how many bytes fit.
    pub fn set_limit(&self, limit: usize) {
        let mut content = self.content.lock();
        content.limit = limit;
        self.publish(&content);
        drop(content);
        self.writer.wake(Events::WRITABLE);
    }

    fn publish(&self, content: &Content) {
        self.bytes.store(content.len(), Ordering::SeqCst);
        self.roomy.store(content.roomy(), Ordering::SeqCst);
        let urgent = content.urgent.as_ref().is_some_and(Urgent::waits);
        self.urgent.store(urgent, Ordering::SeqCst);
    }

    /// Takes bytes. `EPIPE` after either side has ended, `EAGAIN` when it is full. `cred`: kept for the reader.
    pub fn send(
        &self,
        src: &mut dyn Source,
        control: &mut Control,
        cred: Option<Ucred>,
    ) -> Result<usize, Errno> {
        let _turn = self.sending.lock();
        let mut done = 0;
        let result = loop {
            match self.send_piece(src, control, cred) {
                Ok(0) => break Ok(done),
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break Ok(done),
            }
        };
        // Once for all: to wake a reader costs as much as some pieces.
        if done > 0 {
            self.reader.wake(Events::READABLE);
        }
        result
    }

    /// Takes one segment at most.
    fn send_piece(
        &self,
        src: &mut dyn Source,
        control: &mut Control,
        cred: Option<Ucred>,
    ) -> Result<usize, Errno> {
        if self.finished() || self.refused() {
            return Err(Errno::EPIPE);
        }
        if src.remaining() == 0 {
            return Ok(0);
        }
        let free = self.content.lock().free();
        if free == 0 {
            return Err(Errno::EAGAIN);
        }
        let want = src.remaining().min(free);
        if want < BULK {
            return with_buffer(want, |buffer| {
                let got = src.read(buffer)?;
                let bytes = &buffer[..got];
                self.publish_sent(got, |segments| segments.append(bytes), control, cred)
            });
        }
        let mut segment = Segment::large();
        let got = src.read(&mut segment.room()[..want.min(SEGMENT)])?;
        segment.filled(got);
        self.publish_sent(got, |segments| segments.push(segment), control, cred)
    }

    /// `count` bytes, which `add` puts behind the others, can be read. `EPIPE`: they came too late.
    fn publish_sent(
        &self,
        count: usize,
        add: impl FnOnce(&mut Segments),
        control: &mut Control,
        cred: Option<Ucred>,
    ) -> Result<usize, Errno> {
        if count == 0 {
            return Ok(0);
        }
        let mut content = self.content.lock();
        if self.finished() || self.refused() {
            return Err(Errno::EPIPE);
        }
        add(&mut content.segments);
        let start = content.written;
        content.written += count as u64;
        if let Some(cred) = cred
            && content.runs.back().is_none_or(|run| run.cred != cred)
        {
            content.runs.push_back(Run { start, cred });
        }
        if !control.files.is_empty() {
            let (end, files) = (content.written, std::mem::take(&mut control.files));
            content.marks.push_back(Mark { start, end, files });
        }
        self.publish(&content);
        Ok(count)
    }
}
