//! Regular files in memory: the content of tmpfs files and of memfd_create(2).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::fcntl::O_NOATIME;
use abi::{Errno, PAGE_SIZE};
use platform::{MapSource, Prot};
use sync::{Mutex, rank};

use super::page_quota::PageQuota;
use super::page_set::PageSet;
use super::times::FileTimes;
use super::{FileDescription, FileMemory, FileOps, MapPiece, MemoryProvider, Whence};
use crate::io::{self, Sink, Source};
use crate::task::{self, Task};
use crate::vfs::MountFlags;

/// F_SEAL_SEAL: no more seals.
pub const F_SEAL_SEAL: u32 = 1;
/// F_SEAL_SHRINK.
pub const F_SEAL_SHRINK: u32 = 2;
/// F_SEAL_GROW.
pub const F_SEAL_GROW: u32 = 4;
/// F_SEAL_WRITE.
pub const F_SEAL_WRITE: u32 = 8;
/// F_SEAL_FUTURE_WRITE.
pub const F_SEAL_FUTURE_WRITE: u32 = 0x10;
/// F_SEAL_EXEC: the permission bits stay.
pub const F_SEAL_EXEC: u32 = 0x20;
/// Every seal there is.
const SEALS: u32 = 0x3f;

/// Largest file: what every storage can address.
const SIZE_LIMIT: u64 = 1 << 40;
/// Bytes written at a time.
const STEP: usize = 64 << 10;
/// Bytes read at a time.
const READ_STEP: usize = 256 << 10;
/// FALLOC_FL_KEEP_SIZE.
const KEEP_SIZE: u32 = 1;
/// FALLOC_FL_PUNCH_HOLE.
const PUNCH_HOLE: u32 = 2;

#[derive(Debug)]
struct State {
    pages: PageSet,
    seals: u32,
    /// It was mapped shared and writable: the guest may have filled holes behind our back.
    mapped: bool,
    /// It was mapped at all: mappings must follow its size.
    shown: bool,
}

/// The content of a regular file in memory.
pub struct MemoryFile {
    memory: Arc<dyn FileMemory>,
    quota: Option<Arc<PageQuota>>,
    size: AtomicU64,
    /// Times; the owner of the inode sets and shows them.
    pub times: FileTimes,
    /// Held over changes of content and size.
    state: Mutex<State>,
}

fn pages_of(offset: u64, len: u64) -> Range<u64> {
    offset / PAGE_SIZE..(offset + len).div_ceil(PAGE_SIZE)
}

impl MemoryFile {
    /// An empty file. `quota` bounds its pages together with those of other files.
    pub fn new(
        provider: &dyn MemoryProvider,
        quota: Option<Arc<PageQuota>>,
    ) -> Result<Arc<MemoryFile>, Errno> {
        let state = State {
            pages: PageSet::default(),
            seals: F_SEAL_SEAL,
            mapped: false,
            shown: false,
        };
        Ok(Arc::new(MemoryFile {
            memory: provider.create()?,
            quota,
            size: AtomicU64::new(0),
            times: FileTimes::now(),
            state: Mutex::new(rank::FS_INNER, state),
        }))
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// 512-byte blocks that hold data.
    pub fn blocks(&self) -> u64 {
        self.state.lock().pages.count() * (PAGE_SIZE / 512)
    }

    /// Pages of `pages` that hold data.
    pub fn pages_in(&self, pages: Range<u64>) -> u64 {
        let all = pages.end.saturating_sub(pages.start);
        all - self.state.lock().pages.missing(pages).min(all)
    }

    /// Lets it be sealed (memfd_create(2) with MFD_ALLOW_SEALING), with these seals to begin with.
    pub fn allow_seals(&self, seals: u32) {
        self.state.lock().seals = seals & SEALS;
    }

    /// Its seals.
    pub fn seals(&self) -> u32 {
        self.state.lock().seals
    }

    /// Reads at `offset`; 0 at the end.
    pub fn read(&self, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let mut done = 0;
        loop {
            let at = offset.saturating_add(done as u64);
            let left = self.size().saturating_sub(at);
            let all = dst.remaining().min(usize::try_from(left).unwrap_or(usize::MAX));
            let want = all.min(READ_STEP);
            if want == 0 {
                return Ok(done);
            }
            // Only all at once: there may be no room for a second piece.
            let place = self
                .memory
                .place(at, want as u64)
                .filter(|_| done == 0 && want == all);
            let direct = place.and_then(|(file, place)| dst.write_from_file(&file, place, want));
            let took = direct.unwrap_or_else(|| {
                io::with_buffer(want, |buf| {
                    self.memory.read_at(at, buf)?;
                    dst.write(buf)
                })
            });
            match took {
                Ok(took) => {
                    done += took;
                    if took < want {
                        return Ok(done);
                    }
                }
                Err(_) if done > 0 => return Ok(done),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes at `offset`, or at the end for `None`; returns the bytes and the position after them.
    pub fn write(&self, offset: Option<u64>, src: &mut dyn Source) -> Result<(usize, u64), Errno> {
        let mut state = self.state.lock();
        let old = self.size();
        let start = offset.unwrap_or(old);
        let mut done = 0;
        let result = loop {
            let at = start.saturating_add(done as u64);
            let want = src.remaining().min(STEP);
            if want == 0 {
                break Ok(());
            }
            match self.write_step(&mut state, at, want, src) {
                Ok(took) => {
                    done += took;
                    if took < want {
                        break Ok(());
                    }
                }
                Err(error) => break Err(error),
            }
        };
        drop(state);
        if done > 0 {
            self.times.modified();
            self.follow_size(old);
        }
        match result {
            Err(error) if done == 0 => Err(error),
            _ => Ok((done, start.saturating_add(done as u64))),
        }
    }

    fn write_step(
        &self,
        state: &mut State,
        at: u64,
        want: usize,
        src: &mut dyn Source,
    ) -> Result<usize, Errno> {
        let end = at
            .checked_add(want as u64)
            .filter(|end| *end <= SIZE_LIMIT)
            .ok_or(Errno::EFBIG)?;
        if state.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0
            || (state.seals & F_SEAL_GROW != 0 && end > self.size())
        {
            return Err(Errno::EPERM);
        }
        if end > self.size() {
            self.clear_tail(state)?;
        }
        // Near the limit as much as fits, page by page.
        let want = match self.claim(state, pages_of(at, want as u64)) {
            Ok(()) => want,
            Err(error) => {
                let first = (PAGE_SIZE - at % PAGE_SIZE).min(want as u64);
                if first == want as u64 {
                    return Err(error);
                }
                self.claim(state, pages_of(at, first))?;
                first as usize
            }
        };
        io::with_buffer(want, |buf| {
            let got = src.read(buf)?;
            self.memory.write_at(at, &buf[..got])?;
            self.size.fetch_max(at + got as u64, Ordering::AcqRel);
            Ok(got)
        })
    }

    /// Counts pages as filled, within the quota.
    fn claim(&self, state: &mut State, pages: Range<u64>) -> Result<(), Errno> {
        let new = state.pages.missing(pages.clone());
        if new > 0 {
            if let Some(quota) = &self.quota {
                quota.charge(new)?;
            }
            state.pages.insert(pages);
        }
        Ok(())
    }

    fn give_back(&self, state: &mut State, pages: Range<u64>) {
        let gone = state.pages.remove(pages);
        if let Some(quota) = &self.quota {
            quota.release(gone);
        }
    }

    /// Sets the size; what is cut off is freed.
    pub fn truncate(&self, size: u64) -> Result<(), Errno> {
        if size > SIZE_LIMIT {
            return Err(Errno::EFBIG);
        }
        let mut state = self.state.lock();
        let old = self.size();
        if (size < old && state.seals & F_SEAL_SHRINK != 0) || (size > old && state.seals & F_SEAL_GROW != 0)
        {
            return Err(Errno::EPERM);
        }
        if size < old {
            self.size.store(size, Ordering::Release);
            let end = old.div_ceil(PAGE_SIZE) * PAGE_SIZE;
            self.memory.punch(size, end - size)?;
            self.give_back(&mut state, size.div_ceil(PAGE_SIZE)..u64::MAX / PAGE_SIZE);
        } else {
            self.clear_tail(&state)?;
            self.size.store(size, Ordering::Release);
        }
        drop(state);
        self.times.modified();
        self.follow_size(old);
        Ok(())
    }

    /// What a mapping left behind the end reads as zeroes once the file grows over it.
    fn clear_tail(&self, state: &State) -> Result<(), Errno> {
        let size = self.size();
        if !state.mapped || size.is_multiple_of(PAGE_SIZE) {
            return Ok(());
        }
        self.memory.punch(size, PAGE_SIZE - size % PAGE_SIZE)
    }

    /// fallocate(2): plain, KEEP_SIZE, and PUNCH_HOLE | KEEP_SIZE.
    pub fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        if mode & !(KEEP_SIZE | PUNCH_HOLE) != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        let mut state = self.state.lock();
        if mode & PUNCH_HOLE != 0 {
            if state.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0 {
                return Err(Errno::EPERM);
            }
            let end = end.min(self.size().div_ceil(PAGE_SIZE) * PAGE_SIZE);
            if offset < end {
                self.memory.punch(offset, end - offset)?;
                let inner = offset.div_ceil(PAGE_SIZE)..end / PAGE_SIZE;
                if !inner.is_empty() {
                    self.give_back(&mut state, inner);
                }
            }
            self.times.modified();
            return Ok(());
        }
        if end > SIZE_LIMIT {
            return Err(Errno::EFBIG);
        }
        let grows = mode & KEEP_SIZE == 0 && end > self.size();
        if grows && state.seals & F_SEAL_GROW != 0 {
            return Err(Errno::EPERM);
        }
        self.claim(&mut state, pages_of(offset, len))?;
        if grows {
            self.clear_tail(&state)?;
            let old = self.size.swap(end, Ordering::AcqRel);
            drop(state);
            self.follow_size(old);
        }
        self.times.changed();
        Ok(())
    }

    /// SEEK_DATA and SEEK_HOLE. `ENXIO` beyond the end.
    pub fn seek_data(&self, offset: u64, data: bool) -> Result<u64, Errno> {
        let size = self.size();
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        let state = self.state.lock();
        let found = if state.mapped {
            self.memory.seek(offset, size, data)
        } else {
            let next = state.pages.next(offset / PAGE_SIZE, data);
            next.map(|page| (page * PAGE_SIZE).max(offset))
        };
        match found.filter(|at| *at < size) {
            Some(at) => Ok(at),
            None if data => Err(Errno::ENXIO),
            None => Ok(size),
        }
    }

    /// What a mapping shows.
    pub fn map(&self, offset: u64, len: u64, shared: bool, prot: Prot) -> Result<Vec<MapPiece>, Errno> {
        let mut state = self.state.lock();
        if shared && prot.contains(Prot::WRITE) {
            if state.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) != 0 {
                return Err(Errno::EPERM);
            }
            state.mapped = true;
        }
        state.shown = true;
        self.pieces(offset, len)
    }

    /// What `[offset, offset + len)` shows with the size of now: pages beyond the last one may not be touched.
    pub fn pieces(&self, offset: u64, len: u64) -> Result<Vec<MapPiece>, Errno> {
        let end = abi::page_up(self.size()).ok_or(Errno::EFBIG)?;
        let inside = end.saturating_sub(offset).min(len);
        let mut pieces = Vec::new();
        if inside > 0 {
            pieces = self.memory.map(offset, inside)?;
        }
        if inside < len {
            pieces.extend(self.memory.map_beyond(len - inside)?);
        }
        let piece = |(file, offset, len)| MapPiece {
            len,
            source: MapSource::File { file, offset },
        };
        Ok(pieces.into_iter().map(piece).collect())
    }

    /// Has the mappings follow a size that was `old`; called without the lock.
    fn follow_size(&self, old: u64) {
        let pages = |size: u64| size.div_ceil(PAGE_SIZE) * PAGE_SIZE;
        let (old, new) = (pages(old), pages(self.size()));
        if old != new
            && self.state.lock().shown
            && let Some(task) = task::current()
        {
            task.kernel.show_resized(self, old.min(new)..old.max(new));
        }
    }

    /// F_ADD_SEALS; `executable`: the file has an execute permission.
    fn add_seals(&self, add: u32, executable: bool) -> Result<u32, Errno> {
        if add & !SEALS != 0 {
            return Err(Errno::EINVAL);
        }
        let mut state = self.state.lock();
        if state.seals & F_SEAL_SEAL != 0 {
            return Err(Errno::EPERM);
        }
        state.seals |= add;
        // A file that stays executable cannot be changed any more.
        if add & F_SEAL_EXEC != 0 && executable {
            state.seals |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
        }
        Ok(state.seals)
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if let Some(quota) = &self.quota {
            quota.release(self.state.get_mut().pages.count());
        }
    }
}

/// An open file in memory.
pub struct OpenMemoryFile(pub Arc<MemoryFile>);

/// lseek(2) on a file of `size` bytes, without SEEK_DATA and SEEK_HOLE.
pub fn seek_to(current: u64, whence: Whence, offset: i64, size: u64) -> Result<u64, Errno> {
    let base = match whence {
        Whence::Set => 0,
        Whence::Current => current,
        Whence::End => size,
        Whence::Data | Whence::Hole => return Err(Errno::EINVAL),
    };
    let base = i64::try_from(base).map_err(|_| Errno::EOVERFLOW)?;
    let new = base.checked_add(offset).ok_or(Errno::EINVAL)?;
    u64::try_from(new).map_err(|_| Errno::EINVAL)
}

impl FileOps for OpenMemoryFile {
    fn read(&self, file: &FileDescription, offset: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        let done = self.0.read(offset, dst)?;
        let quiet = file.flags() & O_NOATIME != 0
            || file
                .path()
                .mount
                .flags()
                .intersects(MountFlags::NOATIME | MountFlags::RDONLY);
        if done > 0 && !quiet {
            self.0.times.accessed();
        }
        Ok(done)
    }

    fn write(&self, _: &FileDescription, offset: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        self.0.write(Some(offset), src).map(|(done, _)| done)
    }

    fn append(&self, _: &FileDescription, src: &mut dyn Source) -> Result<(usize, u64), Errno> {
        self.0.write(None, src)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &FileDescription, current: u64, whence: Whence, offset: i64) -> Result<u64, Errno> {
        match whence {
            Whence::Data | Whence::Hole => {
                let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                self.0.seek_data(offset, whence == Whence::Data)
            }
            _ => seek_to(current, whence, offset, self.0.size()),
        }
    }

    fn pollable(&self) -> bool {
        false
    }

    fn map(
        &self,
        _: &FileDescription,
        offset: u64,
        len: u64,
        shared: bool,
        prot: Prot,
    ) -> Result<Vec<MapPiece>, Errno> {
        self.0.map(offset, len, shared, prot)
    }

    fn fsync(&self, _: &FileDescription, _: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn fallocate(&self, _: &FileDescription, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        self.0.allocate(mode, offset, len)
    }

    fn seals(&self, file: &FileDescription, add: Option<u32>) -> Result<u32, Errno> {
        // Below an overlay it is the overlay's file, which takes none.
        if file.path().inode()?.sb.ops.name() == "overlay" {
            return Err(Errno::EINVAL);
        }
        match add {
            None => Ok(self.0.seals()),
            Some(_) if !file.writable() => Err(Errno::EPERM),
            Some(add) => {
                let inode = file.path().inode()?;
                let mapped = |task: Arc<Task>| task.kernel.mapped_writable(&inode);
                if add & F_SEAL_WRITE != 0
                    && self.0.seals() & (F_SEAL_SEAL | F_SEAL_WRITE) == 0
                    && task::current().is_some_and(mapped)
                {
                    return Err(Errno::EBUSY);
                }
                self.0.add_seals(add, inode.attr()?.perm & 0o111 != 0)
            }
        }
    }
}
