//! pipe(7): a byte ring between two kinds of ends, also what is behind a fifo.
//!
//! Reads and writes hold the ring's lock while guest memory is copied; poll looks at published counters only.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use abi::fcntl::{O_DIRECT, O_RDONLY, O_WRONLY};
use abi::{Errno, PAGE_SIZE, UserAddr};
use sync::{Events, Mutex, PollTable, WaitQueue, rank};

use super::ring::ByteRing;
use super::{FileDescription, FileOps};
use crate::Kernel;
use crate::io::{Sink, Source, VecSink};
use crate::signal::send_sigpipe;
use crate::task::CurrentTask;
use crate::vfs::FileKind;

/// Writes up to this many bytes are atomic (PIPE_BUF).
pub const PIPE_BUF: usize = 4096;
/// Capacity of a new pipe.
pub const DEFAULT_CAPACITY: usize = 64 << 10;
/// Largest capacity, for everyone: a pipe's memory is the sentry's (/proc/sys/fs/pipe-max-size).
pub const MAX_CAPACITY: usize = 1 << 20;

/// ioctl: bytes that can be read.
const FIONREAD: u32 = 0x541b;

/// A piece of the ring with its kind; kept only once packets are in use.
struct Segment {
    len: usize,
    packet: bool,
}

struct Content {
    ring: ByteRing,
    /// Empty: the ring is plain bytes.
    segments: VecDeque<Segment>,
}

impl Content {
    /// Room for one more write of some kind: Linux says writable when a page slot is free.
    fn has_room(&self) -> bool {
        self.ring.free() >= PIPE_BUF && self.segments.len() < self.ring.limit() / PIPE_BUF
    }

    fn write_packets(&mut self, src: &mut dyn Source) -> Result<usize, Errno> {
        if self.segments.is_empty() && !self.ring.is_empty() {
            self.segments.push_back(Segment {
                len: self.ring.len(),
                packet: false,
            });
        }
        let mut done = 0;
        while src.remaining() > 0 && self.has_room() {
            match self.ring.fill(src, PIPE_BUF) {
                Ok(0) => break,
                Ok(len) => {
                    self.segments.push_back(Segment { len, packet: true });
                    done += len;
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        if done == 0 && src.remaining() > 0 {
            return Err(Errno::EAGAIN);
        }
        Ok(done)
    }

    fn write_bytes(&mut self, src: &mut dyn Source) -> Result<usize, Errno> {
        let want = src.remaining();
        let free = self.ring.free();
        if free == 0 || (want <= PIPE_BUF && free < want) {
            return Err(Errno::EAGAIN);
        }
        let done = self.ring.fill(src, free)?;
        if !self.segments.is_empty() {
            match self.segments.back_mut() {
                Some(last) if !last.packet => last.len += done,
                _ => self.segments.push_back(Segment {
                    len: done,
                    packet: false,
                }),
            }
        }
        Ok(done)
    }

    fn read(&mut self, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if self.segments.is_empty() {
            return self.ring.drain(dst, usize::MAX);
        }
        let mut done = 0;
        while dst.remaining() > 0
            && let Some(front) = self.segments.front_mut()
        {
            let got = match self.ring.drain(dst, front.len) {
                Ok(got) => got,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            done += got;
            front.len -= got;
            if front.packet {
                // What the reader had no room for is lost.
                self.ring.discard(front.len);
                self.segments.pop_front();
                break;
            }
            if front.len > 0 {
                break;
            }
            self.segments.pop_front();
        }
        Ok(done)
    }

    fn discard(&mut self, mut count: usize) {
        self.ring.discard(count);
        while let Some(front) = self.segments.front_mut() {
            let take = front.len.min(count);
            front.len -= take;
            count -= take;
            if front.len > 0 {
                break;
            }
            self.segments.pop_front();
        }
    }
}

/// The object between the ends.
pub struct Pipe {
    content: Mutex<Content>,
    /// Bytes in the ring and whether there is room, for poll.
    bytes: AtomicUsize,
    room: AtomicU32,
    readers: AtomicU32,
    writers: AtomicU32,
    /// How often it was opened for reading and for writing (open(2) of a fifo waits for a change).
    pub(super) reader_opens: AtomicU32,
    /// See `reader_opens`.
    pub(super) writer_opens: AtomicU32,
    /// Woken when it becomes readable or the last writer goes.
    readable: WaitQueue,
    /// Woken when it becomes writable or the last reader goes.
    writable: WaitQueue,
    /// Woken when an end is opened.
    pub(super) opened: WaitQueue,
}

impl Pipe {
    /// An empty pipe without ends.
    pub fn new() -> Arc<Pipe> {
        let content = Content {
            ring: ByteRing::new(DEFAULT_CAPACITY),
            segments: VecDeque::new(),
        };
        Arc::new(Pipe {
            content: Mutex::new(rank::FILE_OP, content),
            bytes: AtomicUsize::new(0),
            room: AtomicU32::new(1),
            readers: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            reader_opens: AtomicU32::new(0),
            writer_opens: AtomicU32::new(0),
            readable: WaitQueue::new(),
            writable: WaitQueue::new(),
            opened: WaitQueue::new(),
        })
    }

    /// Ends open for reading.
    pub fn readers(&self) -> u32 {
        self.readers.load(Ordering::SeqCst)
    }

    /// Ends open for writing.
    pub fn writers(&self) -> u32 {
        self.writers.load(Ordering::SeqCst)
    }

    /// Bytes that can be read now.
    pub fn len(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Whether nothing can be read now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn publish(&self, content: &Content) {
        self.bytes.store(content.ring.len(), Ordering::SeqCst);
        self.room.store(u32::from(content.has_room()), Ordering::SeqCst);
    }

    /// Moves bytes to `dst`: 0 at the end, `EAGAIN` when empty while there are writers.
    pub fn read(&self, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let mut content = self.content.lock();
        if content.ring.is_empty() {
            return if self.writers() == 0 {
                Ok(0)
            } else {
                Err(Errno::EAGAIN)
            };
        }
        let had_room = content.has_room();
        let done = content.read(dst);
        self.publish(&content);
        let wake = !had_room && content.has_room();
        drop(content);
        if wake {
            self.writable.wake(Events::WRITABLE);
        }
        done
    }

    /// Takes bytes of `src`: `EAGAIN` without room, `EPIPE` (without the signal) without readers.
    pub fn write(&self, src: &mut dyn Source, packets: bool) -> Result<usize, Errno> {
        if src.remaining() == 0 {
            return Ok(0);
        }
        let mut content = self.content.lock();
        if self.readers() == 0 {
            return Err(Errno::EPIPE);
        }
        let done = if packets {
            content.write_packets(src)?
        } else {
            content.write_bytes(src)?
        };
        self.publish(&content);
        drop(content);
        // Also when it was not empty: edge-triggered pollers hear of every write.
        self.readable.wake(Events::READABLE);
        Ok(done)
    }

    /// Up to `max` bytes, left in the pipe (tee(2)). `EAGAIN` when empty while there are writers.
    pub fn peek(&self, max: usize) -> Result<Vec<u8>, Errno> {
        let content = self.content.lock();
        if content.ring.is_empty() && self.writers() > 0 {
            return Err(Errno::EAGAIN);
        }
        let mut sink = VecSink::new(max.min(content.ring.len()));
        content.ring.peek(0, &mut sink, max)?;
        Ok(sink.bytes)
    }

    /// Takes up to `max` bytes out (splice(2)); empty at the end, `EAGAIN` when empty while there are writers.
    pub fn take(&self, max: usize) -> Result<Vec<u8>, Errno> {
        let mut sink = VecSink::new(max.min(MAX_CAPACITY));
        self.read(&mut sink)?;
        Ok(sink.bytes)
    }

    /// Drops up to `count` bytes from the front (what a splice of a `peek` has moved).
    pub fn discard(&self, count: usize) {
        let mut content = self.content.lock();
        let had_room = content.has_room();
        content.discard(count);
        self.publish(&content);
        let wake = !had_room && content.has_room();
        drop(content);
        if wake {
            self.writable.wake(Events::WRITABLE);
        }
    }

    /// Adds as much of `data` as there is room for: `EAGAIN` for none, `EPIPE` without readers.
    pub fn push(&self, data: &[u8]) -> Result<usize, Errno> {
        let mut src = crate::io::SliceSource(data.get(..self.free().max(1)).unwrap_or(data));
        self.write(&mut src, false)
    }

    /// Bytes that can be written now.
    pub fn free(&self) -> usize {
        self.content.lock().ring.free()
    }

    /// F_GETPIPE_SZ.
    pub fn capacity(&self) -> usize {
        self.content.lock().ring.limit()
    }

    /// F_SETPIPE_SZ: rounds up to a power of two pages and returns the size set.
    /// `EPERM` beyond [`MAX_CAPACITY`], `EBUSY` when it holds more.
    pub fn set_capacity(&self, bytes: usize) -> Result<usize, Errno> {
        if i32::try_from(bytes).is_err() {
            return Err(Errno::EINVAL);
        }
        let size = bytes.max(PAGE_SIZE as usize).next_power_of_two();
        if size > MAX_CAPACITY {
            return Err(Errno::EPERM);
        }
        let mut content = self.content.lock();
        if content.ring.len() > size || content.segments.len() > size / PIPE_BUF {
            return Err(Errno::EBUSY);
        }
        content.ring.set_limit(size);
        self.publish(&content);
        drop(content);
        self.writable.wake(Events::WRITABLE);
        Ok(size)
    }

    /// An end of it.
    pub fn end(self: &Arc<Pipe>, reads: bool, writes: bool) -> PipeEnd {
        // What was written before an open for reading alone does not hang up that reader.
        let writer_opens = self.writer_opens.load(Ordering::SeqCst);
        if reads {
            self.readers.fetch_add(1, Ordering::SeqCst);
            self.reader_opens.fetch_add(1, Ordering::SeqCst);
        }
        if writes {
            self.writers.fetch_add(1, Ordering::SeqCst);
            self.writer_opens.fetch_add(1, Ordering::SeqCst);
        }
        self.opened.wake(Events::all());
        PipeEnd {
            pipe: self.clone(),
            reads,
            writes,
            seen_writers: writer_opens,
        }
    }

    fn close(&self, reads: bool, writes: bool) {
        let last_reader = reads && self.readers.fetch_sub(1, Ordering::SeqCst) == 1;
        let last_writer = writes && self.writers.fetch_sub(1, Ordering::SeqCst) == 1;
        if (last_reader || last_writer) && self.readers() == 0 && self.writers() == 0 {
            let mut content = self.content.lock();
            // A fifo may have been opened again meanwhile.
            if self.readers() == 0 && self.writers() == 0 {
                content.ring.clear();
                content.ring.set_limit(DEFAULT_CAPACITY);
                content.segments.clear();
                self.publish(&content);
            }
        }
        if last_reader {
            self.writable.wake(Events::WRITABLE | Events::ERR);
        }
        if last_writer {
            self.readable.wake(Events::READABLE | Events::HUP);
        }
    }
}

/// An open end of a pipe or fifo.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    /// Opens for writing when this end was opened: a fifo's reader is hung up only by a writer that came later.
    seen_writers: u32,
}

impl PipeEnd {
    /// The pipe it is an end of.
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        self.pipe.close(self.reads, self.writes);
    }
}

impl FileOps for PipeEnd {
    fn writes_all(&self) -> bool {
        true
    }

    fn read(&self, _: &FileDescription, _: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        self.pipe.read(dst)
    }

    fn write(&self, file: &FileDescription, _: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        let done = self.pipe.write(src, file.flags() & O_DIRECT != 0);
        if done == Err(Errno::EPIPE) {
            raise_sigpipe();
        }
        done
    }

    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            if self.reads {
                table.register(&self.pipe.readable);
            }
            if self.writes {
                table.register(&self.pipe.writable);
            }
        }
        let mut events = Events::empty();
        if self.reads {
            if !self.pipe.is_empty() {
                events |= Events::READABLE;
            }
            if self.pipe.writers() == 0 && self.pipe.writer_opens.load(Ordering::SeqCst) != self.seen_writers
            {
                events |= Events::HUP;
            }
        }
        if self.writes {
            if self.pipe.room.load(Ordering::SeqCst) != 0 {
                events |= Events::WRITABLE;
            }
            if self.pipe.readers() == 0 {
                events |= Events::ERR;
            }
        }
        events
    }

    fn ioctl(&self, _: &FileDescription, task: &CurrentTask, command: u32, arg: u64) -> Result<i64, Errno> {
        match command {
            FIONREAD => {
                let bytes = i32::try_from(self.pipe.len()).unwrap_or(i32::MAX);
                task.write_struct(UserAddr(arg), &bytes).map(|()| 0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }
}

/// The pipe behind an open file, when it is one.
pub fn pipe_of(file: &FileDescription) -> Option<&Arc<Pipe>> {
    file.ops_as::<PipeEnd>().map(PipeEnd::pipe)
}

/// Sends SIGPIPE to the task that this thread serves.
pub fn raise_sigpipe() {
    if let Some(task) = crate::task::current() {
        send_sigpipe(&task);
    }
}

/// pipe2(2): the end to read from and the end to write to. `flags`: O_NONBLOCK, O_DIRECT.
pub fn open_pair(kernel: &Kernel, flags: u32) -> (Arc<FileDescription>, Arc<FileDescription>) {
    let pipe = Pipe::new();
    let ino = kernel.next_ino();
    let path = crate::vfs::anon_path(kernel, &format!("pipe:[{ino}]"), ino, FileKind::Fifo, 0o600);
    if let Ok(inode) = path.inode() {
        // Opening /proc/PID/fd/N opens the same pipe again, as a fifo.
        inode.attached.lock().objects.push(pipe.clone());
    }
    // The reader first: it then counts the writer as a later one.
    let (reader, writer) = (pipe.end(true, false), pipe.end(false, true));
    (
        FileDescription::new(path.clone(), Box::new(reader), flags | O_RDONLY),
        FileDescription::new(path, Box::new(writer), flags | O_WRONLY),
    )
}

#[cfg(test)]
#[path = "pipe/tests.rs"]
mod tests;
