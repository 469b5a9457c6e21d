//! Bytes of files in memory: one sparse host memory file, of which each file of the guest has a window.
//!
//! A window is larger than any file, so files grow in place and a mapping never has to be put together. Only pages that were written
//! cost memory. The numbers of dropped windows are used again.

use std::sync::Arc;

use abi::Errno;
use host::memfd::MemFile;
use kernel::file::{FileMemory, MemoryProvider};
use platform::HostFile;
use sync::{Mutex, rank};

/// Bits of an offset within a window: files in memory hold at most 1 TiB.
const WINDOW_BITS: u32 = 40;
/// Bytes of a window.
const WINDOW: u64 = 1 << WINDOW_BITS;
/// Windows of a sandbox: its files in memory at one time. Their end is the largest offset a host file can have.
const WINDOWS: u64 = 1 << 22;

/// The memory file of a sandbox.
pub struct SandboxMemory {
    pool: Arc<Pool>,
}

struct Pool {
    file: MemFile,
    /// The same file, for mappings.
    mappable: HostFile,
    free: Mutex<FreeWindows>,
}

#[derive(Default)]
struct FreeWindows {
    dropped: Vec<u64>,
    next: u64,
}

impl SandboxMemory {
    /// An empty memory file.
    pub fn new() -> Result<SandboxMemory, Errno> {
        let file = MemFile::new(c"tegmen-files", WINDOW * WINDOWS)?;
        let mappable = HostFile(Arc::new(file.descriptor()?));
        let free = Mutex::new(rank::LEAF, FreeWindows::default());
        Ok(SandboxMemory {
            pool: Arc::new(Pool { file, mappable, free }),
        })
    }
}

impl MemoryProvider for SandboxMemory {
    fn create(&self) -> Result<Arc<dyn FileMemory>, Errno> {
        let mut free = self.pool.free.lock();
        let number = match free.dropped.pop() {
            Some(number) => number,
            None if free.next < WINDOWS => {
                free.next += 1;
                free.next - 1
            }
            None => return Err(Errno::ENOSPC),
        };
        drop(free);
        Ok(Arc::new(Window {
            pool: self.pool.clone(),
            number,
        }))
    }
}

/// The bytes of one file.
struct Window {
    pool: Arc<Pool>,
    number: u64,
}

impl Window {
    /// The offset in the memory file of `[offset, offset + len)` of this file; `EFBIG` beyond the window.
    fn offset_of(&self, offset: u64, len: u64) -> Result<u64, Errno> {
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        if end > WINDOW {
            return Err(Errno::EFBIG);
        }
        Ok(self.base() + offset)
    }

    fn base(&self) -> u64 {
        self.number << WINDOW_BITS
    }
}

impl FileMemory for Window {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let len = buf.len() as u64;
        self.pool.file.read_at(self.offset_of(offset, len)?, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let place = self.offset_of(offset, data.len() as u64)?;
        // The host reports a lack of memory for its files as either.
        self.pool.file.write_at(place, data).map_err(|error| match error {
            Errno::ENOMEM => Errno::ENOSPC,
            other => other,
        })
    }

    fn punch(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let offset = offset.min(WINDOW);
        let len = len.min(WINDOW - offset);
        if len == 0 {
            return Ok(());
        }
        self.pool.file.punch(self.base() + offset, len)
    }

    fn allocated(&self) -> u64 {
        let (mut at, mut total) = (0, 0);
        while let Some(data) = self.seek(at, WINDOW, true) {
            let hole = self.seek(data, WINDOW, false).unwrap_or(WINDOW);
            total += hole - data;
            if hole <= at {
                break;
            }
            at = hole;
        }
        total
    }

    fn map(&self, offset: u64, len: u64) -> Result<Vec<(HostFile, u64, u64)>, Errno> {
        let place = self.offset_of(offset, len)?;
        Ok(vec![(self.pool.mappable.clone(), place, len)])
    }

    fn place(&self, offset: u64, len: u64) -> Option<(HostFile, u64)> {
        let place = self.offset_of(offset, len).ok()?;
        Some((self.pool.mappable.clone(), place))
    }

    fn map_beyond(&self, len: u64) -> Result<Vec<(HostFile, u64, u64)>, Errno> {
        // Behind the last window the host's file has ended, too.
        Ok(vec![(self.pool.mappable.clone(), WINDOW * WINDOWS, len)])
    }

    fn seek(&self, offset: u64, end: u64, data: bool) -> Option<u64> {
        let end = end.min(WINDOW);
        if offset >= end {
            return None;
        }
        let found = self
            .pool
            .file
            .seek(self.base() + offset, data)
            .ok()?
            .checked_sub(self.base())?;
        if found < end {
            Some(found)
        } else {
            (!data).then_some(end)
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // Were the memory not freed, the next user of the window would read it: then the window is not used again.
        if self.pool.file.punch(self.base(), WINDOW).is_ok() {
            self.pool.free.lock().dropped.push(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_apart_and_come_back_empty() {
        let memory = SandboxMemory::new().unwrap();
        let (a, b) = (memory.create().unwrap(), memory.create().unwrap());
        a.write_at(WINDOW - 3, b"end").unwrap();
        b.write_at(0, b"start").unwrap();
        assert_eq!(a.write_at(WINDOW - 2, b"end"), Err(Errno::EFBIG));
        let mut buf = [9; 6];
        b.read_at(3, &mut buf).unwrap();
        assert_eq!(&buf, b"rt\0\0\0\0");
        drop(a);
        let again = memory.create().unwrap();
        let mut buf = [9; 3];
        again.read_at(WINDOW - 3, &mut buf).unwrap();
        assert_eq!(buf, [0; 3]);
    }

    #[test]
    fn holes_cost_nothing_and_are_found() {
        let memory = SandboxMemory::new().unwrap();
        let file = memory.create().unwrap();
        assert_eq!(file.allocated(), 0);
        file.write_at(1 << 20, &[1; 8192]).unwrap();
        assert_eq!(file.allocated(), 8192);
        assert_eq!(file.seek(0, 2 << 20, true), Some(1 << 20));
        assert_eq!(file.seek(1 << 20, 2 << 20, false), Some((1 << 20) + 8192));
        assert_eq!(file.seek(0, 1 << 20, true), None);
        assert_eq!(file.seek(0, 1 << 19, false), Some(0));
        file.punch(1 << 20, u64::MAX).unwrap();
        assert_eq!(file.allocated(), 0);
    }
}
