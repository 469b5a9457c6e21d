//! The receive queue of a TCP socket: pieces of memory with bytes in order. Small segments share pieces; the frame that a large
//! one came in becomes a piece itself, so that its bytes are copied once, to whoever reads them.

use std::collections::VecDeque;

/// First allocation of a piece.
const SMALLEST: usize = 2048;
/// Largest piece that segments share.
const SHARED: usize = 64 << 10;
/// An emptied piece up to this long stays for the next segment.
const KEPT: usize = 16 << 10;

/// Buffers of frames for the next ones, and the frame that is being taken in.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    spare: Vec<Vec<u8>>,
    /// Address and length of the buffer of a frame that may be kept.
    lent: Option<(usize, usize)>,
    /// A queue waits for it.
    pub kept: bool,
}

impl Frames {
    /// Buffers that are kept for the next frames.
    const SPARE: usize = 32;

    /// This buffer may be kept from now on, or none any more.
    pub(crate) fn lend(&mut self, buffer: Option<&[u8]>) {
        self.lent = buffer.map(|buffer| (buffer.as_ptr() as usize, buffer.len()));
        self.kept = false;
    }

    /// Where `data` lies in the lent buffer, if it fills so much of it that it is better kept than copied.
    fn place(&self, data: &[u8]) -> Option<usize> {
        let (start, len) = self.lent?;
        let at = (data.as_ptr() as usize).checked_sub(start)?;
        (at + data.len() <= len && data.len() > len / 2).then_some(at)
    }

    /// A buffer for the next frame: what it has is arbitrary, it may be empty.
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        if buffer.len() >= SHARED && self.spare.len() < Self::SPARE {
            self.spare.push(buffer);
        }
    }

    /// Gives most of the memory back.
    pub(crate) fn trim(&mut self) {
        self.spare.truncate(1);
    }
}

#[derive(Debug, Default)]
struct Piece {
    /// Empty as long as the frame is being taken in.
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }

    /// Appends the first bytes of `data`; returns how many.
    fn append(&mut self, data: &[u8]) -> usize {
        let count = data.len().min(SHARED.saturating_sub(self.end));
        let end = self.end + count;
        if end > self.memory.len() {
            self.memory.resize(end.next_power_of_two().max(SMALLEST), 0);
        }
        self.memory[self.end..end].copy_from_slice(&data[..count]);
        self.end = end;
        count
    }
}

/// Bytes in order.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pieces: VecDeque<Piece>,
    len: usize,
    /// Bytes of memory in the pieces.
    allocated: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that the queue holds.
    pub(crate) fn allocated(&self) -> usize {
        self.allocated
    }

    /// Up to `max` bytes from `offset` on, as far as they lie in two pieces.
    pub(crate) fn slices(&self, mut offset: usize, max: usize) -> (&[u8], &[u8]) {
        let mut pieces = self.pieces.iter().map(Piece::bytes).filter(|p| !p.is_empty());
        for piece in pieces.by_ref() {
            if offset < piece.len() {
                let first = &piece[offset..];
                let first = &first[..first.len().min(max)];
                let second = pieces.next().unwrap_or_default();
                return (first, &second[..second.len().min(max - first.len())]);
            }
            offset -= piece.len();
        }
        (&[], &[])
    }

    /// Appends `data`: the frame in which it lies, if that is to be kept (then [`Queue::keep`] follows), or else a copy.
    pub(crate) fn push(&mut self, mut data: &[u8], frames: &mut Frames) {
        self.len += data.len();
        if let Some(start) = frames.place(data) {
            frames.kept = true;
            self.pieces.push_back(Piece {
                memory: Vec::new(),
                start,
                end: start + data.len(),
            });
            return;
        }
        while !data.is_empty() {
            let streams = !self.pieces.is_empty();
            if self.pieces.back().is_none_or(|last| last.end >= SHARED) {
                let memory = if streams { frames.buffer() } else { Vec::new() };
                self.allocated += memory.len();
                self.pieces.push_back(Piece {
                    memory,
                    ..Piece::default()
                });
            }
            if let Some(last) = self.pieces.back_mut() {
                let before = last.memory.len();
                let count = last.append(data);
                self.allocated += last.memory.len() - before;
                data = &data[count..];
            }
        }
    }

    /// The buffer of the frame that was pushed last.
    pub(crate) fn keep(&mut self, memory: Vec<u8>) {
        if let Some(last) = self.pieces.back_mut().filter(|last| last.memory.is_empty()) {
            self.allocated += memory.len();
            last.memory = memory;
        }
    }

    /// Drops `count` bytes from the front.
    pub(crate) fn consume(&mut self, count: usize, frames: &mut Frames) {
        let mut left = count.min(self.len);
        self.len -= left;
        let mut pieces = self.pieces.len();
        while let Some(first) = self.pieces.front_mut() {
            let here = left.min(first.end - first.start);
            first.start += here;
            left -= here;
            if first.start < first.end {
                return;
            }
            if pieces == 1 && first.memory.len() <= KEPT {
                (first.start, first.end) = (0, 0);
                return;
            }
            let memory = std::mem::take(&mut first.memory);
            self.pieces.pop_front();
            pieces -= 1;
            self.allocated -= memory.len();
            frames.give_back(memory);
        }
    }

    /// Gives the memory of an empty queue back.
    pub(crate) fn trim(&mut self) {
        if self.len == 0 {
            *self = Queue::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As [`crate::Stack::receive_kept`] does.
    fn arrive(queue: &mut Queue, frames: &mut Frames, buffer: &mut Vec<u8>, from: usize, len: usize) {
        frames.lend(Some(buffer));
        queue.push(&buffer[from..from + len], frames);
        if std::mem::take(&mut frames.kept) {
            queue.keep(std::mem::take(buffer));
            *buffer = frames.buffer();
        }
        frames.lend(None);
    }

    #[test]
    fn bytes_come_out_in_order_copied_or_not() {
        let (mut queue, mut frames, mut buffer) = (Queue::default(), Frames::default(), Vec::new());
        let (mut wrote, mut read, mut kept) = (0u32, 0u32, 0);
        for step in 0..3000usize {
            buffer.resize(66_000, 0);
            let len = if step % 7 == 0 {
                60_000 - step
            } else {
                step * 31 % 9000
            };
            for byte in &mut buffer[100..100 + len] {
                *byte = (wrote % 251) as u8;
                wrote += 1;
            }
            arrive(&mut queue, &mut frames, &mut buffer, 100, len);
            kept += usize::from(buffer.is_empty());
            let want = step * 7919 % 23_000;
            let (first, second) = queue.slices(0, want);
            let seen = [first, second].concat();
            for byte in &seen {
                assert_eq!(*byte, (read % 251) as u8);
                read += 1;
            }
            queue.consume(seen.len(), &mut frames);
            assert_eq!(queue.len() as u32, wrote - read);
            let held: usize = queue.pieces.iter().map(|piece| piece.memory.len()).sum();
            assert_eq!(queue.allocated(), held);
        }
        assert!(kept > 5);
        let (first, second) = queue.slices(queue.len() - 10, usize::MAX);
        assert_eq!(first.len() + second.len(), 10);
        queue.consume(usize::MAX, &mut frames);
        queue.trim();
        assert_eq!((queue.len(), queue.allocated()), (0, 0));
    }

    #[test]
    fn an_emptied_small_piece_serves_the_next_segment() {
        let (mut queue, mut frames) = (Queue::default(), Frames::default());
        for _ in 0..1000 {
            queue.push(&[1; 700], &mut frames);
            queue.consume(700, &mut frames);
            assert_eq!(queue.allocated(), SMALLEST);
        }
    }
}
