//! A byte ring: the buffer of pipes and of stream sockets. Grows with use up to its limit; empty ones start over at
//! the front so that small exchanges touch the same lines of memory.

use abi::Errno;

use crate::io::{Sink, Source};

/// First allocation, in bytes.
const FIRST: usize = 4096;
/// An emptied buffer above this many bytes is given back.
const KEEP: usize = 64 << 10;

/// Bytes, first in first out.
#[derive(Debug, Default)]
pub struct ByteRing {
    storage: Vec<u8>,
    head: usize,
    len: usize,
    limit: usize,
}

impl ByteRing {
    /// Holds at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        ByteRing {
            limit,
            ..ByteRing::default()
        }
    }

    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Most bytes it takes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes it still takes.
    pub fn free(&self) -> usize {
        self.limit.saturating_sub(self.len)
    }

    /// Changes the limit; what is in it stays even when that is more.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    fn reserve(&mut self, want: usize) {
        let need = self.len + want;
        if need <= self.storage.len() {
            return;
        }
        let size = need.max(FIRST).next_power_of_two();
        let mut grown = vec![0; size];
        let (first, second) = self.slices();
        grown[..first.len()].copy_from_slice(first);
        grown[first.len()..first.len() + second.len()].copy_from_slice(second);
        self.storage = grown;
        self.head = 0;
    }

    /// The content as two slices.
    fn slices(&self) -> (&[u8], &[u8]) {
        let first = self.len.min(self.storage.len() - self.head);
        (
            &self.storage[self.head..self.head + first],
            &self.storage[..self.len - first],
        )
    }

    /// Takes up to `max` bytes of `src`, as far as there is room; returns how many. Fails only when the first cannot be read.
    pub fn fill(&mut self, src: &mut dyn Source, max: usize) -> Result<usize, Errno> {
        let want = src.remaining().min(max).min(self.free());
        self.reserve(want);
        let mut done = 0;
        while done < want {
            let mut tail = self.head + self.len;
            if tail >= self.storage.len() {
                tail -= self.storage.len();
            }
            let end = self.storage.len().min(tail + want - done);
            match src.read(&mut self.storage[tail..end]) {
                Ok(0) => break,
                Ok(got) => {
                    self.len += got;
                    done += got;
                    if got < end - tail {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Adds as much of `data` as there is room for; returns how much.
    pub fn push(&mut self, data: &[u8]) -> usize {
        self.fill(&mut crate::io::SliceSource(data), data.len())
            .unwrap_or(0)
    }

    /// Copies up to `max` bytes after the first `skip` to `dst`, leaving them; returns how many.
    pub fn peek(&self, skip: usize, dst: &mut dyn Sink, max: usize) -> Result<usize, Errno> {
        let (first, second) = self.slices();
        let mut done = 0;
        for (slice, start) in [(first, 0), (second, first.len())] {
            let from = skip.saturating_sub(start).min(slice.len());
            let take = (slice.len() - from).min(max - done).min(dst.remaining());
            if take == 0 {
                continue;
            }
            match dst.write(&slice[from..from + take]) {
                Ok(put) => {
                    done += put;
                    if put < take {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Drops the first `count` bytes (all, when there are fewer).
    pub fn discard(&mut self, count: usize) {
        let count = count.min(self.len);
        self.len -= count;
        self.head += count;
        if self.head >= self.storage.len() {
            self.head -= self.storage.len();
        }
        if self.len == 0 {
            self.head = 0;
            if self.storage.len() > KEEP {
                self.storage = Vec::new();
            }
        }
    }

    /// Moves up to `max` bytes to `dst`; returns how many. Fails only when the first cannot be stored.
    pub fn drain(&mut self, dst: &mut dyn Sink, max: usize) -> Result<usize, Errno> {
        let done = self.peek(0, dst, max)?;
        self.discard(done);
        Ok(done)
    }

    /// Forgets everything and frees the memory.
    pub fn clear(&mut self) {
        self.storage = Vec::new();
        self.head = 0;
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::VecSink;

    #[test]
    fn bytes_come_out_in_order_across_wraps_and_growth() {
        let mut ring = ByteRing::new(10_000);
        let (mut next_in, mut next_out) = (0u32, 0u32);
        let mut step = 1usize;
        for _ in 0..2000 {
            step = (step * 7 + 3) % 5000;
            let data: Vec<u8> = (0..step).map(|i| (next_in as usize + i) as u8).collect();
            next_in += ring.push(&data) as u32;
            let mut sink = VecSink::new((step * 3) % 4001);
            let got = ring.drain(&mut sink, usize::MAX).unwrap();
            for byte in &sink.bytes {
                assert_eq!(*byte, next_out as u8);
                next_out += 1;
            }
            assert_eq!(got, sink.bytes.len());
            assert_eq!(ring.len() as u32, next_in - next_out);
            assert!(ring.len() <= 10_000);
        }
    }

    #[test]
    fn peek_skips_and_leaves() {
        let mut ring = ByteRing::new(16);
        ring.push(b"hello world");
        let mut sink = VecSink::new(5);
        assert_eq!(ring.peek(6, &mut sink, 100), Ok(5));
        assert_eq!(sink.bytes, b"world");
        assert_eq!(ring.len(), 11);
        assert_eq!(ring.push(b"123456789"), 5);
    }
}
