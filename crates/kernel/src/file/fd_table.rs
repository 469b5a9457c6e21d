//! A descriptor table (Linux's files_struct), shared by tasks cloned with CLONE_FILES.

use std::sync::Arc;

use abi::Errno;
use sync::{Mutex, rank};

use super::FileDescription;

/// One descriptor.
#[derive(Clone)]
pub struct FdEntry {
    /// The open file.
    pub file: Arc<FileDescription>,
    /// FD_CLOEXEC.
    pub cloexec: bool,
}

/// Descriptors by number.
pub struct FdTable {
    slots: Mutex<Slots>,
}

#[derive(Clone, Default)]
struct Slots {
    entries: Vec<Option<FdEntry>>,
    /// No free number is below this.
    first_free: usize,
}

impl Default for FdTable {
    fn default() -> Self {
        FdTable {
            slots: Mutex::new(rank::FDS, Slots::default()),
        }
    }
}

impl FdTable {
    /// A copy with the same open files (fork(2)).
    pub fn duplicate(&self) -> FdTable {
        FdTable {
            slots: Mutex::new(rank::FDS, self.slots.lock().clone()),
        }
    }

    /// The open file of a descriptor. `EBADF` when there is none.
    pub fn get(&self, fd: i32) -> Result<Arc<FileDescription>, Errno> {
        self.entry(fd).map(|entry| entry.file)
    }

    /// The descriptor's entry. `EBADF` when there is none.
    pub fn entry(&self, fd: i32) -> Result<FdEntry, Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        self.slots
            .lock()
            .entries
            .get(index)
            .cloned()
            .flatten()
            .ok_or(Errno::EBADF)
    }

    /// Puts `file` at the lowest free number at or above `from` and below `limit` (RLIMIT_NOFILE). `EMFILE` when there is none.
    pub fn install(
        &self,
        file: Arc<FileDescription>,
        cloexec: bool,
        from: usize,
        limit: u64,
    ) -> Result<i32, Errno> {
        let limit = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(i32::MAX as usize);
        let mut slots = self.slots.lock();
        let mut index = from.max(slots.first_free);
        while slots.entries.get(index).is_some_and(Option::is_some) {
            index += 1;
        }
        if index >= limit {
            return Err(Errno::EMFILE);
        }
        if slots.entries.len() <= index {
            slots.entries.resize(index + 1, None);
        }
        if from <= slots.first_free {
            slots.first_free = index + 1;
        }
        if let Some(slot) = slots.entries.get_mut(index) {
            *slot = Some(FdEntry { file, cloexec });
        }
        i32::try_from(index).map_err(|_| Errno::EMFILE)
    }

    /// Puts `entry` at exactly `fd` (dup2(2)); returns what was there. `EBADF` at or beyond `limit`.
    pub fn replace(&self, fd: i32, entry: FdEntry, limit: u64) -> Result<Option<FdEntry>, Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        if index as u64 >= limit {
            return Err(Errno::EBADF);
        }
        let mut slots = self.slots.lock();
        if slots.entries.len() <= index {
            slots.entries.resize(index + 1, None);
        }
        Ok(slots.entries.get_mut(index).and_then(|slot| slot.replace(entry)))
    }

    /// Takes the descriptor out. `EBADF` when there is none. The caller flushes and drops it outside all locks.
    pub fn remove(&self, fd: i32) -> Result<FdEntry, Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let mut slots = self.slots.lock();
        let entry = slots
            .entries
            .get_mut(index)
            .and_then(Option::take)
            .ok_or(Errno::EBADF)?;
        slots.first_free = slots.first_free.min(index);
        Ok(entry)
    }

    /// Sets or clears FD_CLOEXEC.
    pub fn set_cloexec(&self, fd: i32, cloexec: bool) -> Result<(), Errno> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let mut slots = self.slots.lock();
        let entry = slots
            .entries
            .get_mut(index)
            .and_then(Option::as_mut)
            .ok_or(Errno::EBADF)?;
        entry.cloexec = cloexec;
        Ok(())
    }

    /// Takes out all descriptors that `which` chooses (close-on-exec, close_range, exit), for the caller to flush and drop.
    pub fn remove_where(&self, mut which: impl FnMut(i32, &FdEntry) -> bool) -> Vec<FdEntry> {
        let mut slots = self.slots.lock();
        let mut gone = Vec::new();
        let mut lowest = slots.first_free;
        for (index, slot) in slots.entries.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|entry| which(index as i32, entry)) {
                gone.extend(slot.take());
                lowest = lowest.min(index);
            }
        }
        slots.first_free = lowest;
        gone
    }

    /// The numbers in use, ascending.
    pub fn numbers(&self) -> Vec<i32> {
        let slots = self.slots.lock();
        slots
            .entries
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.is_some())
            .map(|(index, _)| index as i32)
            .collect()
    }
}
