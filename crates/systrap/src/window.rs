//! The windows of a thread area: guest memory that the stub copied in when the call came, and bytes that it copies
//! out before guest code continues. Both spare a system call of the host for each copy.
//!
//! The guest can write both at any time: what it forges is its own memory, read or written by its own hand. What is
//! pending, and where it goes, the sentry keeps for itself; a copy that faults comes back as an event.

use std::sync::atomic::Ordering;

use abi::Errno;

use crate::area::Area;
use crate::layout::{self as l, USER_END, USER_START, area};
use crate::regions::Regions;
use crate::stub::{self, Argument};
use platform::{Prot, Registers};

/// Guest memory of which the area has a copy, as it was when the call came.
#[derive(Clone, Copy, Debug)]
struct Prefetched {
    start: u64,
    len: usize,
    /// Where the copy is.
    at: usize,
}

/// Bytes on their way out.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    to: u64,
    len: usize,
    /// Where they are.
    at: usize,
}

/// Both windows of one thread.
#[derive(Debug, Default)]
pub struct Windows {
    prefetched: Vec<Prefetched>,
    chunks: Vec<Chunk>,
    used: usize,
}

impl Windows {
    /// A call came through a patched site: takes note of what the stub has copied for it.
    pub fn call(&mut self, memory: &Area, regs: &Registers) {
        self.prefetched.clear();
        let Some(argument) = stub::prefetched(regs.rax) else {
            return;
        };
        let len = memory.word(area::WINDOW_LEN).load(Ordering::Relaxed) as usize;
        let (at, max) = match argument {
            Argument::Buffer if regs.rdx > area::WINDOW_MAX as u64 => (area::BULK, area::BULK_MAX),
            _ => (area::WINDOW, area::WINDOW_MAX),
        };
        let start = match argument {
            Argument::First => regs.rdi,
            Argument::Second | Argument::Buffer => regs.rsi,
            Argument::Third => regs.rdx,
            Argument::Fourth => regs.r10,
            Argument::Vector => return self.vector(memory, regs.rsi, len),
            Argument::Message | Argument::Header if len == 0 => return,
            Argument::Message | Argument::Header => {
                let vector = memory.get(area::WINDOW + l::HEADER_VECTOR);
                self.note(regs.rsi, l::HEADER_LEN, area::WINDOW);
                return self.vector(memory, vector, len);
            }
        };
        self.note(start, len.min(max), at);
    }

    /// The stub has copied an array of buffers, of `len` bytes, and perhaps gathered what is in them.
    fn vector(&mut self, memory: &Area, start: u64, len: usize) {
        let count = (len / 16).min(area::VECTOR_MAX);
        self.note(start, count * 16, area::VECTOR);
        let entry = |index: usize| {
            let at = area::VECTOR + index * 16;
            (memory.get(at), memory.get(at + 8))
        };
        // Each is read once more: what lies where is decided here, and only from lengths that fit.
        let entries: [(u64, u64); area::VECTOR_MAX] = std::array::from_fn(entry);
        let mut gathered = memory.word(area::GATHERED).load(Ordering::Relaxed) as usize;
        gathered = gathered.min(area::BULK_MAX);
        let mut used = 0;
        for (start, len) in &entries[..count] {
            // The last may have been too long for the rest of the room.
            let len = usize::try_from(*len).map_or(gathered - used, |len| len.min(gathered - used));
            self.note(*start, len, area::BULK + used);
            used += len;
        }
    }

    fn note(&mut self, start: u64, len: usize, at: usize) {
        if len > 0 && (USER_START..USER_END).contains(&start) {
            self.prefetched.push(Prefetched { start, len, at });
        }
    }

    /// Forgets what was copied in: it may be out of date.
    pub fn forget(&mut self) {
        self.prefetched.clear();
    }

    /// Reads guest memory from the copies, as far as one of them goes; returns how many bytes that were.
    pub fn read(&self, memory: &Area, addr: u64, buf: &mut [u8]) -> usize {
        let found = self.prefetched.iter().find_map(|copy| {
            let skip = usize::try_from(addr.checked_sub(copy.start)?).ok()?;
            let rest = copy.len.checked_sub(skip).filter(|rest| *rest > 0)?;
            Some((copy.at + skip, rest))
        });
        let Some((from, rest)) = found else { return 0 };
        let len = buf.len().min(rest);
        memory.copy_out(from, &mut buf[..len]);
        len
    }

    /// Whether some of these bytes are on their way out.
    pub fn touches(&self, addr: u64, len: usize) -> bool {
        let end = addr.saturating_add(len as u64);
        let chunks = self.chunks.iter();
        chunks
            .clone()
            .any(|chunk| addr < chunk.to + chunk.len as u64 && chunk.to < end)
    }

    /// Puts bytes on their way to guest memory that can be written now; false when there is no room, or no such memory.
    pub fn write(&mut self, memory: &Area, regions: &Regions, to: u64, data: &[u8]) -> bool {
        let Some(at) = self.room(regions, to, data.len()) else {
            return false;
        };
        memory.copy_in(at, data);
        self.put(to, data.len());
        true
    }

    /// Where in the area up to `len` bytes for `to` can be put, on their way out with [`Windows::put`].
    pub fn room(&self, regions: &Regions, to: u64, len: usize) -> Option<usize> {
        let end = to.saturating_add(len as u64);
        if len > area::OUT_MAX - self.used || to < USER_START || end > USER_END {
            return None;
        }
        if !self.follows(to) && self.chunks.len() == area::OUT_CHUNKS {
            return None;
        }
        regions
            .allow(to, end, Prot::WRITE)
            .then_some(area::OUT + self.used)
    }

    fn follows(&self, to: u64) -> bool {
        let last = self.chunks.last();
        last.is_some_and(|last| last.to + last.len as u64 == to)
    }

    /// The `len` bytes where there was room are on their way.
    pub fn put(&mut self, to: u64, len: usize) {
        let (follows, at) = (self.follows(to), area::OUT + self.used);
        self.used += len;
        match self.chunks.last_mut() {
            Some(last) if follows => last.len += len,
            _ => self.chunks.push(Chunk { to, len, at }),
        }
    }

    /// Has the stub copy what is pending when the thread continues.
    pub fn order(&mut self, memory: &Area) {
        for (index, chunk) in self.chunks.iter().enumerate() {
            let entry = area::OUT_TABLE + index * area::OUT_ENTRY;
            memory.set(entry, chunk.to);
            memory.set(entry + 8, chunk.len as u64 | (chunk.at as u64) << 32);
        }
        let bytes = (self.chunks.len() * area::OUT_ENTRY) as u32;
        memory.word(area::OUT_LEN).store(bytes, Ordering::Relaxed);
        self.chunks.clear();
        self.used = 0;
    }

    /// Copies what is pending out by `write`, which returns how many bytes it stored.
    pub fn flush(
        &mut self,
        memory: &Area,
        mut write: impl FnMut(u64, &[u8]) -> Result<usize, Errno>,
    ) -> Result<(), Errno> {
        self.prefetched.clear();
        self.used = 0;
        let mut done = Ok(());
        for chunk in self.chunks.drain(..) {
            let mut bytes = vec![0; chunk.len];
            memory.copy_out(chunk.at, &mut bytes);
            match write(chunk.to, &bytes) {
                Ok(stored) if stored == chunk.len => {}
                Ok(_) => done = Err(Errno::EFAULT),
                Err(error) => done = Err(error),
            }
        }
        done
    }
}
