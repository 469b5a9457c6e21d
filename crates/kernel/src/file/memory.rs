//! Bytes of files that live in memory (tmpfs, memfd, shared anonymous memory), kept where guests can map them.
//!
//! The kernel makes no host call, so the embedding program provides the storage (one sparse host memory file per
//! sandbox); tests use [`HeapMemory`].

use std::sync::Arc;

use abi::Errno;
use platform::HostFile;
use sync::{Mutex, rank};

/// Gives out storage for files in memory.
pub trait MemoryProvider: Send + Sync {
    /// An empty, zero-filled storage object. Its pages cost memory only once written.
    fn create(&self) -> Result<Arc<dyn FileMemory>, Errno>;
}

/// The bytes of one file: sparse, zero-filled, without a length of its own (the inode keeps the size).
pub trait FileMemory: Send + Sync {
    /// Fills `buf` from `offset`; holes read as zeroes.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Errno>;
    /// Stores `data` at `offset`. `ENOSPC` when no memory is left, `EFBIG` beyond the largest offset.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), Errno>;
    /// Makes `[offset, offset+len)` a hole (reads as zeroes, pages freed). Not limited to page bounds.
    fn punch(&self, offset: u64, len: u64) -> Result<(), Errno>;
    /// Bytes of memory in use.
    fn allocated(&self) -> u64;
    /// The host file pieces that show `[offset, offset+len)` (page aligned), in order: host file, offset in it, length.
    fn map(&self, offset: u64, len: u64) -> Result<Vec<(HostFile, u64, u64)>, Errno>;
    /// The host file that holds `[offset, offset+len)` and the offset there, for reading. `None`: it is in no host file.
    fn place(&self, offset: u64, len: u64) -> Option<(HostFile, u64)> {
        let _ = (offset, len);
        None
    }
    /// `len` bytes that no access may touch: what a mapping shows beyond the file's end (SIGBUS). Pieces as of [`FileMemory::map`].
    fn map_beyond(&self, len: u64) -> Result<Vec<(HostFile, u64, u64)>, Errno>;
    /// First data (or hole) at or after `offset` and before `end`, for SEEK_DATA and SEEK_HOLE. `None`: there is none.
    fn seek(&self, offset: u64, end: u64, data: bool) -> Option<u64> {
        if data {
            (offset < end).then_some(offset)
        } else {
            Some(end)
        }
    }
}

/// Storage on the sentry's heap, for tests: it cannot be mapped.
#[derive(Debug, Default)]
pub struct HeapMemory;

/// Bytes a heap file may hold.
const HEAP_FILE_LIMIT: u64 = 64 << 20;

struct HeapFile(Mutex<Vec<u8>>);

impl MemoryProvider for HeapMemory {
    fn create(&self) -> Result<Arc<dyn FileMemory>, Errno> {
        Ok(Arc::new(HeapFile(Mutex::new(rank::LEAF, Vec::new()))))
    }
}

impl FileMemory for HeapFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Errno> {
        let bytes = self.0.lock();
        buf.fill(0);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let take = buf.len().min(bytes.len() - start);
        buf[..take].copy_from_slice(&bytes[start..start + take]);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let end = offset
            .checked_add(data.len() as u64)
            .filter(|end| *end <= HEAP_FILE_LIMIT)
            .ok_or(Errno::EFBIG)?;
        let mut bytes = self.0.lock();
        if bytes.len() < end as usize {
            bytes.resize(end as usize, 0);
        }
        bytes[offset as usize..end as usize].copy_from_slice(data);
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let mut bytes = self.0.lock();
        let size = bytes.len() as u64;
        let (start, end) = (
            offset.min(size) as usize,
            offset.saturating_add(len).min(size) as usize,
        );
        bytes[start..end].fill(0);
        Ok(())
    }

    fn allocated(&self) -> u64 {
        self.0.lock().len() as u64
    }

    fn map(&self, _: u64, _: u64) -> Result<Vec<(HostFile, u64, u64)>, Errno> {
        Err(Errno::ENODEV)
    }

    fn map_beyond(&self, _: u64) -> Result<Vec<(HostFile, u64, u64)>, Errno> {
        Err(Errno::ENODEV)
    }
}
