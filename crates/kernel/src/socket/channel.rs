//! One direction of a connection: bytes in order, with files and credentials at places in them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use abi::Errno;
use sync::{Events, Mutex, WaitQueue, rank};

use super::in_flight::InFlight;
use super::{Control, Incoming, Ucred, msg};
use crate::file::ring::ByteRing;
use crate::io::{Sink, Source};

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

/// TCP's urgent byte: it lies in the ring, but is read apart from the bytes around it.
struct Urgent {
    at: u64,
    byte: u8,
    taken: bool,
}

/// Bytes that one call sends with an urgent one.
const URGENT_WITH: usize = 64 << 10;

struct Content {
    ring: ByteRing,
    urgent: Option<Urgent>,
    /// Bytes ever read and written.
    read: u64,
    written: u64,
    marks: VecDeque<Mark>,
    runs: VecDeque<Run>,
}

impl Content {
    /// Room enough to tell writers: not for every byte that is read.
    fn roomy(&self) -> bool {
        self.ring.free() > 0 && self.ring.free() >= self.ring.limit() / 3
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
            ring: ByteRing::new(limit),
            urgent: None,
            read: 0,
            written: 0,
            marks: VecDeque::new(),
            runs: VecDeque::new(),
        };
        Arc::new(Channel {
            content: Mutex::new(rank::FILE_OP, content),
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
        self.content.lock().ring.limit()
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

    /// Sends bytes of which the last one is urgent (MSG_OOB).
    pub fn send_urgent(&self, src: &mut dyn Source) -> Result<usize, Errno> {
        let mut bytes = vec![0; src.remaining().min(URGENT_WITH)];
        let len = src.read(&mut bytes)?;
        let bytes = &bytes[..len];
        let Some(byte) = bytes.last().copied() else {
            return Ok(0);
        };
        let done = self.send(&mut crate::io::SliceSource(bytes), &mut Control::default(), None)?;
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
        let mut content = self.content.lock();
        let read = content.read;
        let urgent = content.urgent.as_mut().filter(|urgent| !urgent.taken);
        let urgent = urgent.filter(|urgent| urgent.at >= read).ok_or(Errno::EINVAL)?;
        let stored = dst.write(&[urgent.byte])?;
        urgent.taken |= !peek;
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
        let mut content = self.content.lock();
        let any = !content.ring.is_empty();
        content.ring.clear();
        content.read = content.written;
        let marks = std::mem::take(&mut content.marks);
        self.publish(&content);
        drop(content);
        drop(marks);
        any
    }

    /// Changes how many bytes fit.
    pub fn set_limit(&self, limit: usize) {
        let mut content = self.content.lock();
        content.ring.set_limit(limit);
        self.publish(&content);
        drop(content);
        self.writer.wake(Events::WRITABLE);
    }

    fn publish(&self, content: &Content) {
        self.bytes.store(content.ring.len(), Ordering::SeqCst);
        self.roomy.store(content.roomy(), Ordering::SeqCst);
        let urgent = content.urgent.as_ref().is_some_and(|urgent| !urgent.taken);
        self.urgent.store(urgent, Ordering::SeqCst);
    }

    /// Takes bytes. `EPIPE` after either side has ended, `EAGAIN` when it is full. `cred`: kept for the reader.
    pub fn send(
        &self,
        src: &mut dyn Source,
        control: &mut Control,
        cred: Option<Ucred>,
    ) -> Result<usize, Errno> {
        let mut content = self.content.lock();
        if self.finished() || self.refused() {
            return Err(Errno::EPIPE);
        }
        if src.remaining() == 0 {
            return Ok(0);
        }
        let free = content.ring.free();
        if free == 0 {
            return Err(Errno::EAGAIN);
        }
        let done = content.ring.fill(src, free)?;
        let start = content.written;
        content.written += done as u64;
        if let Some(cred) = cred
            && content.runs.back().is_none_or(|run| run.cred != cred)
        {
            content.runs.push_back(Run { start, cred });
        }
        if done > 0 && !control.files.is_empty() {
            let (end, files) = (content.written, std::mem::take(&mut control.files));
            content.marks.push_back(Mark { start, end, files });
        }
        self.publish(&content);
        drop(content);
        self.reader.wake(Events::READABLE);
        Ok(done)
    }

    /// Gives bytes: 0 at the end, `EAGAIN` when there are none yet. Bytes of different senders are not mixed when
    /// `credentials` are wanted; bytes behind those that came with files wait for the next call.
    pub fn receive(&self, dst: &mut dyn Sink, flags: u32, wants: Wants) -> Result<Incoming, Errno> {
        let mut content = self.content.lock();
        // Reading goes on behind an urgent byte only with the next call.
        if content
            .urgent
            .as_ref()
            .is_some_and(|urgent| urgent.at == content.read)
            && !wants.inline
        {
            content.ring.discard(1);
            content.read += 1;
            content.urgent = None;
            self.publish(&content);
        }
        if content.ring.is_empty() {
            return if self.finished() || self.refused() {
                Ok(Incoming::default())
            } else {
                Err(Errno::EAGAIN)
            };
        }
        let Wants { credentials, .. } = wants;
        let at = content.read;
        while content.runs.get(1).is_some_and(|next| next.start <= at) {
            content.runs.pop_front();
        }
        let mut end = content.written;
        if credentials && let Some(next) = content.runs.get(1) {
            end = end.min(next.start);
        }
        if let Some(mark) = content.marks.front() {
            end = end.min(mark.end);
        }
        if let Some(urgent) = &content.urgent
            && urgent.at > at
        {
            end = end.min(urgent.at);
        }
        let max = usize::try_from(end - at).unwrap_or(usize::MAX);
        let stored = content.ring.peek(0, dst, max)?;
        let mut incoming = Incoming {
            stored,
            full: stored,
            ..Incoming::default()
        };
        incoming.control.cred = content.runs.front().map(|run| run.cred);
        let reached = at + stored as u64;
        let with_files = content.marks.front().is_some_and(|mark| mark.start < reached);
        if flags & msg::PEEK != 0 {
            if with_files && let Some(mark) = content.marks.front() {
                // Counted once more while the copy is on its way.
                let files = mark.files.peek();
                drop(content);
                incoming.control.files = InFlight::new(files, u64::MAX)?;
            }
            return Ok(incoming);
        }
        if with_files && let Some(mark) = content.marks.pop_front() {
            incoming.control.files = mark.files;
        }
        let was_roomy = content.roomy();
        content.ring.discard(stored);
        content.read = reached;
        self.publish(&content);
        let wake = !was_roomy && content.roomy();
        drop(content);
        if wake {
            self.writer.wake(Events::WRITABLE);
        }
        Ok(incoming)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use sync::Waiter;

    use super::*;
    use crate::io::{SliceSource, VecSink};

    fn wait_for<T>(queue: &WaitQueue, mut attempt: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        let waiter = Arc::new(Waiter::default());
        let id = queue.add(waiter.clone(), 0, Events::READABLE | Events::WRITABLE);
        let end = Instant::now() + Duration::from_secs(20);
        let result = loop {
            match attempt() {
                Err(Errno::EAGAIN) => assert!(waiter.wait(Some(end)), "a wake-up was lost"),
                done => break done,
            }
        };
        queue.remove(id);
        result
    }

    #[test]
    fn no_wake_up_is_lost_between_a_reader_and_writers() {
        const EACH: usize = 1 << 20;
        let (reader, writer) = (WaitQueue::new(), WaitQueue::new());
        let channel = Channel::new(10_000, &reader, &writer);
        let total: usize = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..2)
                .map(|index| {
                    let (channel, writer) = (&channel, &writer);
                    scope.spawn(move || {
                        let block = vec![1; 700 + index * 5000];
                        let mut left = EACH;
                        while left > 0 {
                            let bytes = &block[..block.len().min(left)];
                            left -= wait_for(writer, || {
                                channel.send(&mut SliceSource(bytes), &mut Control::default(), None)
                            })
                            .unwrap();
                        }
                    })
                })
                .collect();
            let consumer = scope.spawn(|| {
                let mut got = 0;
                loop {
                    let mut sink = VecSink::new(3000);
                    let incoming =
                        wait_for(&reader, || channel.receive(&mut sink, 0, Wants::default())).unwrap();
                    if incoming.stored == 0 {
                        return got;
                    }
                    got += incoming.stored;
                }
            });
            for writer in writers {
                writer.join().unwrap();
            }
            channel.finish();
            consumer.join().unwrap()
        });
        assert_eq!(total, 2 * EACH);
    }
}
