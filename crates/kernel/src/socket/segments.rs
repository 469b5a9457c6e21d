//! The bytes of a stream between two sockets, in segments that change hands: whoever fills or empties one owns it meanwhile, so
//! that writer and reader copy at the same time. Large ones come from a pool, since fresh memory is dearer than the copy.

use std::collections::VecDeque;

use sync::{Mutex, rank};

/// Bytes of a large segment: two of them stay in a core's cache between the copies in and out.
pub const SEGMENT: usize = 64 << 10;
/// From so many bytes on a piece gets a large segment of its own; smaller ones share.
pub const BULK: usize = 16 << 10;
/// First allocation of a shared segment.
const FIRST: usize = 4096;
/// Large segments that the pool keeps.
const POOLED: usize = 32;

static POOL: Mutex<Vec<Vec<u8>>> = Mutex::new(rank::LEAF, Vec::new());

/// A run of bytes.
#[derive(Debug, Default)]
pub struct Segment {
    /// All of it initialised.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Segment {
    /// An empty large one.
    pub fn large() -> Segment {
        let pooled = POOL.lock().pop();
        Segment {
            bytes: pooled.unwrap_or_else(|| vec![0; SEGMENT]),
            start: 0,
            end: 0,
        }
    }

    /// Room at its end.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// `count` bytes were put into the room.
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The first `count` are done with.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Adds `data` if it may have so much.
    fn append(&mut self, data: &[u8]) -> bool {
        let end = self.end + data.len();
        if end > self.bytes.len() {
            if end > SEGMENT {
                return false;
            }
            self.bytes.resize(end.next_power_of_two().max(FIRST), 0);
        }
        self.bytes[self.end..end].copy_from_slice(data);
        self.end = end;
        true
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.bytes.len() == SEGMENT {
            let mut pool = POOL.lock();
            if pool.len() < POOLED {
                pool.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

/// Segments in their order.
#[derive(Debug, Default)]
pub struct Segments {
    list: VecDeque<Segment>,
    /// An emptied small one, for the next small piece.
    spare: Option<Segment>,
}

impl Segments {
    /// Adds a copy of a few bytes, fewer than [`BULK`].
    pub fn append(&mut self, data: &[u8]) {
        if self.list.back_mut().is_some_and(|last| last.append(data)) {
            return;
        }
        let mut new = self.spare.take().unwrap_or_default();
        new.append(data);
        self.list.push_back(new);
    }

    /// Adds a segment.
    pub fn push(&mut self, segment: Segment) {
        self.list.push_back(segment);
    }

    /// Hands out the first segment; what is left of it comes back with [`Segments::give_back`].
    pub fn take(&mut self) -> Option<Segment> {
        self.list.pop_front()
    }

    /// See [`Segments::take`].
    pub fn give_back(&mut self, mut segment: Segment) {
        if !segment.bytes().is_empty() {
            self.list.push_front(segment);
        } else if segment.bytes.len() < BULK && self.spare.is_none() {
            (segment.start, segment.end) = (0, 0);
            self.spare = Some(segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_share_and_large_ones_stay_apart() {
        let mut segments = Segments::default();
        let mut sent = Vec::new();
        for step in 0..200u32 {
            let data: Vec<u8> = (0..step * 37 % 3000).map(|at| (at + step) as u8).collect();
            segments.append(&data);
            sent.extend_from_slice(&data);
            if step % 50 == 0 {
                let mut large = Segment::large();
                large.room()[..2].copy_from_slice(b"ab");
                large.filled(2);
                segments.push(large);
                sent.extend_from_slice(b"ab");
            }
        }
        let least = sent.len() / SEGMENT;
        assert!(segments.list.len() <= 2 * least + 12, "{}", segments.list.len());
        let mut got = Vec::new();
        while let Some(mut first) = segments.take() {
            let some = first.bytes().len().min(1001);
            got.extend_from_slice(&first.bytes()[..some]);
            first.consume(some);
            segments.give_back(first);
        }
        assert_eq!(got, sent);
    }
}
