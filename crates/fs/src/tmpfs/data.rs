//! Open regular files of a tmpfs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use kernel::file::{FileDescription, FileMemory, FileOps, MapPiece, Whence};
use kernel::io::{Sink, Source};
use kernel::vfs::now_ns;
use platform::{MapSource, Prot};

use super::node::Node;
use crate::hostfs::transfer::{read_into, write_from};

const FALLOC_FL_KEEP_SIZE: u32 = 1;
const FALLOC_FL_PUNCH_HOLE: u32 = 2;
const FALLOC_FL_ZERO_RANGE: u32 = 0x10;
/// A day: with relatime the access time is renewed at least that often.
const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// An open regular file.
pub struct TmpData(pub Arc<Node>);

impl TmpData {
    fn bytes(&self) -> Result<&Arc<dyn FileMemory>, Errno> {
        self.0.bytes()
    }

    /// relatime: renewed when it is older than the last change, or a day old.
    fn accessed(&self) {
        let now = now_ns();
        let mut state = self.0.state.lock();
        if state.atime <= state.mtime || state.atime <= state.ctime || state.atime + DAY_NS < now {
            state.atime = now;
        }
    }
}

impl FileOps for TmpData {
    fn read(&self, _: &FileDescription, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let bytes = self.bytes()?;
        self.accessed();
        read_into(dst, offset, |buffer, at| {
            let size = self.0.state.lock().size;
            let len = usize::try_from(size.saturating_sub(at))
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            bytes.read_at(at, &mut buffer[..len])?;
            Ok(len)
        })
    }

    fn write(&self, _: &FileDescription, offset: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        write_from(src, |data, done| {
            let at = offset.checked_add(done).ok_or(Errno::EFBIG)?;
            self.0.store(Some(at), data).map(|_| data.len())
        })
    }

    fn append(&self, _: &FileDescription, src: &mut dyn Source) -> Result<(usize, u64), Errno> {
        let mut end = self.0.state.lock().size;
        let done = write_from(src, |data, _| {
            end = self.0.store(None, data)?;
            Ok(data.len())
        })?;
        Ok((done, end))
    }

    fn seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        let size = self.0.state.lock().size;
        let base = match whence {
            Whence::Set => 0,
            Whence::Current => current,
            Whence::End => size,
            Whence::Data | Whence::Hole => {
                let at = u64::try_from(offset)
                    .ok()
                    .filter(|at| *at < size)
                    .ok_or(Errno::ENXIO)?;
                let data = whence == Whence::Data;
                return self.bytes()?.seek(at, size, data).ok_or(Errno::ENXIO);
            }
        };
        let at = base.checked_add_signed(offset).ok_or(Errno::EINVAL)?;
        i64::try_from(at).map(|_| at).map_err(|_| Errno::EOVERFLOW)
    }

    fn pollable(&self) -> bool {
        false
    }

    fn map(
        &self,
        _: &FileDescription,
        offset: u64,
        len: u64,
        _: bool,
        _: Prot,
    ) -> Result<Vec<MapPiece>, Errno> {
        self.0.mapped.store(true, Ordering::Relaxed);
        let piece = |(file, offset, len)| MapPiece {
            len,
            source: MapSource::File { file, offset },
        };
        Ok(self.bytes()?.map(offset, len)?.into_iter().map(piece).collect())
    }

    fn fsync(&self, _: &FileDescription, _: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn fallocate(&self, _: &FileDescription, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        if mode & !(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        if mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) != 0 {
            self.bytes()?.punch(offset, len)?;
        }
        if end > self.0.fs.size {
            return Err(Errno::ENOSPC);
        }
        let mut state = self.0.state.lock();
        if mode & FALLOC_FL_KEEP_SIZE == 0 {
            state.size = state.size.max(end);
        }
        state.ctime = now_ns();
        Ok(())
    }
}
