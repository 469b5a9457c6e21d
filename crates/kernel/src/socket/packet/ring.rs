//! The ring of frames that a packet socket shares with its program (PACKET_RX_RING, version 2).

use std::sync::Arc;

use abi::{AbiField, Errno, PAGE_SIZE};
use platform::MapSource;

use crate::file::{FileMemory, MapPiece, MemoryProvider};

/// TPACKET_V2, the only version.
pub const VERSION: i32 = 1;
/// Bytes of struct tpacket2_hdr.
pub const HEADER_BYTES: u32 = 32;
/// PACKET_RESERVE at most.
pub const MOST_RESERVE: usize = 1024;
/// Bytes of one ring: four times what libpcap asks for.
const MOST_BYTES: usize = 8 << 20;
/// Bytes of the header and the address after it.
const HEADERS: usize = 52;
/// Room for a link-layer header at least.
const LINK: usize = 16;
const ETHERNET: usize = 14;

const STATUS_KERNEL: u32 = 0;
const STATUS_USER: u32 = 1;
const STATUS_LOSING: u32 = 1 << 2;

/// A ring.
pub struct Ring {
    memory: Arc<dyn FileMemory>,
    block: usize,
    frame: usize,
    in_block: usize,
    count: usize,
    reserve: usize,
    /// The next slot to fill.
    next: usize,
    losing: bool,
}

impl Ring {
    /// From struct tpacket_req: bytes and number of blocks, bytes and number of frames. No blocks: no ring.
    pub fn new(
        provider: &dyn MemoryProvider,
        [block, blocks, frame, count]: [usize; 4],
        reserve: usize,
    ) -> Result<Option<Ring>, Errno> {
        if blocks == 0 {
            return if count == 0 { Ok(None) } else { Err(Errno::EINVAL) };
        }
        let page = usize::try_from(PAGE_SIZE).unwrap_or(4096);
        if block == 0 || block % page != 0 || frame < HEADERS + LINK + reserve || frame % 16 != 0 {
            return Err(Errno::EINVAL);
        }
        let in_block = block / frame;
        if in_block == 0 || in_block.checked_mul(blocks) != Some(count) {
            return Err(Errno::EINVAL);
        }
        if block.checked_mul(blocks).is_none_or(|bytes| bytes > MOST_BYTES) {
            return Err(Errno::ENOMEM);
        }
        Ok(Some(Ring {
            memory: provider.create()?,
            block,
            frame,
            in_block,
            count,
            reserve,
            next: 0,
            losing: false,
        }))
    }

    fn offset(&self, slot: usize) -> u64 {
        (slot / self.in_block * self.block + slot % self.in_block * self.frame) as u64
    }

    fn status(&self, slot: usize) -> u32 {
        let mut word = [0; 4];
        match self.memory.read_at(self.offset(slot), &mut word) {
            Ok(()) => u32::get(&word),
            Err(_) => STATUS_USER,
        }
    }

    /// Whether the program has frames to read.
    pub fn has_frames(&self) -> bool {
        self.status((self.next + self.count - 1) % self.count) != STATUS_KERNEL
    }

    /// Puts a frame without its first `skip` bytes into the next slot; false when the program has not emptied it.
    pub fn put(&mut self, data: &[u8], skip: usize, from: &[u8], time: i64) -> bool {
        if self.status(self.next) != STATUS_KERNEL {
            self.losing = true;
            return false;
        }
        let network = (HEADERS + LINK).next_multiple_of(16) + self.reserve;
        let start = if skip == 0 { network - ETHERNET } else { network };
        let data = data.get(skip..).unwrap_or_default();
        let kept = &data[..data.len().min(self.frame.saturating_sub(start))];
        let word = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let half = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes();
        let (seconds, nanos) = (time.div_euclid(1_000_000_000), time.rem_euclid(1_000_000_000));
        // Everything but the status, which comes last.
        let mut slot = word(data.len()).to_vec();
        slot.extend(word(kept.len()));
        slot.extend(half(start));
        slot.extend(half(network));
        slot.extend((seconds as u32).to_le_bytes());
        slot.extend((nanos as u32).to_le_bytes());
        slot.extend([0; 8]);
        slot.extend_from_slice(from);
        slot.resize(start - 4, 0);
        slot.extend_from_slice(kept);
        // Room that the program reserved before the frame may leave none in its slot.
        slot.truncate(self.frame - 4);
        let at = self.offset(self.next);
        let losing = if std::mem::take(&mut self.losing) {
            STATUS_LOSING
        } else {
            0
        };
        let status = (STATUS_USER | losing).to_le_bytes();
        if self.memory.write_at(at + 4, &slot).is_err() || self.memory.write_at(at, &status).is_err() {
            return false;
        }
        self.next = (self.next + 1) % self.count;
        true
    }

    /// mmap(2) of all of it.
    pub fn map(&self, len: u64) -> Result<Vec<MapPiece>, Errno> {
        let blocks = self.count / self.in_block;
        if len != (self.block * blocks) as u64 {
            return Err(Errno::EINVAL);
        }
        let pieces = self.memory.map(0, len)?;
        let piece = |(file, offset, len)| MapPiece {
            len,
            source: MapSource::File { file, offset },
        };
        Ok(pieces.into_iter().map(piece).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::HeapMemory;

    #[test]
    fn a_frame_without_room_leaves_the_next_slot_alone() {
        // What is reserved before the frame goes beyond the end of its slot.
        let ring = Ring::new(&HeapMemory, [4096, 1, 80, 51], 12).unwrap();
        let mut ring = ring.unwrap();
        for _ in 0..51 {
            assert!(ring.put(&[7; 100], 14, &[1; 20], 0));
        }
        assert!(!ring.put(&[7; 100], 14, &[1; 20], 0));
        ring.memory.write_at(0, &STATUS_KERNEL.to_le_bytes()).unwrap();
        assert!(ring.put(&[7; 100], 14, &[1; 20], 0));
        assert_eq!(ring.status(1), STATUS_USER);
        assert!(!ring.put(&[7; 100], 14, &[1; 20], 0));
    }
}
