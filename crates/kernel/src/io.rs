//! Bytes on their way between a file and whoever reads or writes it: guest memory or a kernel buffer.

use std::cell::RefCell;

use abi::Errno;
use platform::HostFile;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with `len` bytes of scratch memory (their content is arbitrary), kept by the thread for the next use.
pub fn with_buffer<R>(len: usize, f: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = BUFFER.take();
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    let result = f(&mut buffer[..len]);
    BUFFER.set(buffer);
    result
}

/// Takes bytes that a file delivers.
pub trait Sink {
    /// Bytes it still takes.
    fn remaining(&self) -> usize;
    /// Takes up to `data.len()` bytes and returns how many it took: fewer at the end of its room or
    /// at a bad guest address after some bytes; `EFAULT` when the very first byte cannot be stored.
    fn write(&mut self, data: &[u8]) -> Result<usize, Errno>;
    /// Takes up to `len` bytes (no more than remain) of the host file from `offset` on, without a buffer in between; returns
    /// how many there were: less than `len` at the end of the file only. `None`: not possible now, read and [`Sink::write`].
    fn write_from_file(&mut self, file: &HostFile, offset: u64, len: usize) -> Option<Result<usize, Errno>> {
        let _ = (file, offset, len);
        None
    }
    /// Whether its addresses can be user space's at all, asked before the file is (access_ok): `EFAULT`.
    fn check(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// Gives bytes that a file takes.
pub trait Source {
    /// Bytes it still has.
    fn remaining(&self) -> usize;
    /// Fills up to `buf.len()` bytes and returns how many; `EFAULT` like [`Sink::write`].
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno>;
    /// Takes the last `bytes` that were read back, to give them again. False: it takes nothing back.
    fn unread(&mut self, bytes: usize) -> bool {
        let _ = bytes;
        false
    }
    /// As [`Sink::check`].
    fn check(&self) -> Result<(), Errno> {
        Ok(())
    }
}

/// A sink in kernel memory with a limit.
#[derive(Debug)]
pub struct VecSink {
    /// What arrived.
    pub bytes: Vec<u8>,
    limit: usize,
}

impl VecSink {
    /// Takes at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        VecSink {
            bytes: Vec::new(),
            limit,
        }
    }
}

impl Sink for VecSink {
    fn remaining(&self) -> usize {
        self.limit - self.bytes.len()
    }
    fn write(&mut self, data: &[u8]) -> Result<usize, Errno> {
        let take = data.len().min(self.remaining());
        self.bytes.extend_from_slice(&data[..take]);
        Ok(take)
    }
}

/// A source in kernel memory.
#[derive(Debug)]
pub struct SliceSource<'a>(pub &'a [u8]);

impl Source for SliceSource<'_> {
    fn remaining(&self) -> usize {
        self.0.len()
    }
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        let take = buf.len().min(self.0.len());
        let (now, later) = self.0.split_at(take);
        buf[..take].copy_from_slice(now);
        self.0 = later;
        Ok(take)
    }
}
