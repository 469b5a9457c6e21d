//! Thread areas: memory shared between one guest thread and the sentry.
//!
//! The guest can write its area at any time, so every value is read once and checked, and nothing in it is a host
//! pointer. A slot belongs to one guest process until that process has been reaped; then it is wiped.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use abi::Errno;
use host::mem::{self, Shared};

use crate::layout::{AREA_BASE, AREA_LEN, MAX_AREAS};

/// All thread areas of a platform.
#[derive(Debug)]
pub struct Areas {
    /// The file that holds them; its number is named in mapping commands.
    pub file: OwnedFd,
    memory: Shared,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    slots: Vec<u32>,
    next: u32,
}

impl Areas {
    /// Makes the (sparse) file and maps it.
    pub fn new() -> Result<Arc<Areas>, Errno> {
        let len = MAX_AREAS * AREA_LEN;
        let file = mem::memfd(c"tegmen-areas", len as u64)?;
        let memory = Shared::map(&file, 0, len)?;
        Ok(Arc::new(Areas {
            file,
            memory,
            free: Mutex::default(),
        }))
    }

    /// Takes a free slot, which is all zeroes.
    pub fn take(self: &Arc<Self>) -> Result<Area, Errno> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match free.slots.pop() {
            Some(slot) => slot,
            None if (free.next as usize) < MAX_AREAS => {
                free.next += 1;
                free.next - 1
            }
            None => return Err(Errno::EAGAIN),
        };
        Ok(Area {
            areas: self.clone(),
            slot,
        })
    }
}

/// One thread area. Dropping it gives the slot back: only when no guest process maps it any more.
#[derive(Debug)]
pub struct Area {
    areas: Arc<Areas>,
    slot: u32,
}

impl Area {
    /// Its address in the guest process.
    pub fn address(&self) -> u64 {
        AREA_BASE + u64::from(self.slot) * AREA_LEN as u64
    }

    /// Its offset in the areas' file.
    pub fn file_offset(&self) -> u64 {
        u64::from(self.slot) * AREA_LEN as u64
    }

    fn pointer(&self, at: usize, len: usize, align: usize) -> *mut u8 {
        assert!(
            at.is_multiple_of(align) && at + len <= AREA_LEN,
            "offset in a thread area"
        );
        let start = self.slot as usize * AREA_LEN + at;
        // SAFETY: slots are below MAX_AREAS and the offset was checked, so this lies in the mapping.
        unsafe { self.areas.memory.start().add(start) }
    }

    /// The 32-bit word at `at`.
    pub fn word(&self, at: usize) -> &AtomicU32 {
        // SAFETY: inside the mapping, aligned, and shared memory is only accessed through atomics.
        unsafe { AtomicU32::from_ptr(self.pointer(at, 4, 4).cast()) }
    }

    /// The 64-bit word at `at`.
    pub fn quad(&self, at: usize) -> &AtomicU64 {
        // SAFETY: as for `word`.
        unsafe { AtomicU64::from_ptr(self.pointer(at, 8, 8).cast()) }
    }

    /// Reads the 64-bit word at `at`.
    pub fn get(&self, at: usize) -> u64 {
        self.quad(at).load(Ordering::Relaxed)
    }

    /// Writes the 64-bit word at `at`.
    pub fn set(&self, at: usize, value: u64) {
        self.quad(at).store(value, Ordering::Relaxed);
    }

    /// Copies out of the area; the bytes may be torn if the guest writes them meanwhile.
    pub fn copy_out(&self, at: usize, to: &mut [u8]) {
        let from = self.pointer(at, to.len(), 1);
        // SAFETY: the source lies in the shared mapping, the destination is an exclusive buffer elsewhere; racing
        // guest writes give arbitrary bytes, which callers check. The copy is opaque to the optimiser (libc call).
        unsafe { libc::memcpy(to.as_mut_ptr().cast(), from.cast(), to.len()) };
    }

    /// Copies into the area.
    pub fn copy_in(&self, at: usize, from: &[u8]) {
        let to = self.pointer(at, from.len(), 1);
        // SAFETY: the destination lies in the shared mapping, to which no Rust reference but atomics exists.
        unsafe { libc::memcpy(to.cast(), from.as_ptr().cast(), from.len()) };
    }
}

impl Area {
    /// Fills `len` bytes at `at` with what `file` holds at `offset`; returns how many there were.
    pub fn fill(&self, at: usize, len: usize, file: BorrowedFd<'_>, offset: u64) -> Result<usize, Errno> {
        if at.checked_add(len).is_none_or(|end| end > AREA_LEN) {
            return Err(Errno::EINVAL);
        }
        let start = self.slot as usize * AREA_LEN + at;
        self.areas.memory.fill(start, len, file, offset)
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        let at = self.slot as usize * AREA_LEN;
        if self.areas.memory.punch(at, AREA_LEN).is_ok() {
            let mut free = self.areas.free.lock().unwrap_or_else(PoisonError::into_inner);
            free.slots.push(self.slot);
        }
    }
}
