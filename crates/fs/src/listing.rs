//! The entries of a directory, kept in one piece of memory for all names: by directories and their open files, and
//! counted together, since a guest decides how many there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi::Errno;
use kernel::vfs::FileKind;

/// Entries in all listings of one file system; about 40 bytes each.
const MAX_ENTRIES: usize = 8 << 20;
/// Most entries of one directory that are listed.
const MAX_LISTED: usize = 4 << 20;
/// Longest listing that is remembered with its directory.
const MAX_REMEMBERED: usize = 4096;

/// How many entries are kept.
#[derive(Debug, Default)]
pub struct Budget(AtomicUsize);

/// An entry: its name is in the listing's, where that of the one before ends.
#[derive(Debug)]
struct Slot {
    ino: u64,
    end: u32,
    kind: FileKind,
}

/// A listing under way.
#[derive(Debug, Default)]
pub struct Entries {
    names: Vec<u8>,
    slots: Vec<Slot>,
}

/// A listing.
#[derive(Debug)]
pub struct Listing {
    entries: Entries,
    budget: Arc<Budget>,
}

impl Entries {
    /// Adds an entry. `ENOMEM` when there are too many.
    pub fn push(&mut self, name: &[u8], ino: u64, kind: FileKind) -> Result<(), Errno> {
        let end = self.names.len() + name.len();
        let end = u32::try_from(end).map_err(|_| Errno::ENOMEM)?;
        if self.slots.len() == MAX_LISTED {
            return Err(Errno::ENOMEM);
        }
        self.names.extend_from_slice(name);
        self.slots.push(Slot { ino, end, kind });
        Ok(())
    }
}

impl Budget {
    /// Counts a new listing. `ENOMEM` when there are too many.
    pub fn keep(self: &Arc<Self>, mut entries: Entries) -> Result<Arc<Listing>, Errno> {
        entries.names.shrink_to_fit();
        entries.slots.shrink_to_fit();
        let before = self.0.fetch_add(entries.slots.len(), Ordering::Relaxed);
        let listing = Listing {
            entries,
            budget: self.clone(),
        };
        // Dropping it takes it off the count again.
        if before.saturating_add(listing.len()) > MAX_ENTRIES {
            return Err(Errno::ENOMEM);
        }
        Ok(Arc::new(listing))
    }

    /// Whether a listing may be kept for later: half of the budget is for open directories.
    pub fn remembers(&self, listing: &Listing) -> bool {
        listing.len() <= MAX_REMEMBERED && self.0.load(Ordering::Relaxed) < MAX_ENTRIES / 2
    }
}

impl Listing {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names, numbers and types from the entry `first` on.
    pub fn from(&self, first: usize) -> impl Iterator<Item = (&[u8], u64, FileKind)> {
        let Entries { names, slots } = &self.entries;
        let first = first.min(slots.len());
        let mut start = slots[..first].last().map_or(0, |slot| slot.end as usize);
        slots[first..].iter().map(move |slot| {
            let name = &names[start..slot.end as usize];
            start = slot.end as usize;
            (name, slot.ino, slot.kind)
        })
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[&str]) -> Entries {
        let mut entries = Entries::default();
        for (ino, name) in (1..).zip(names) {
            entries.push(name.as_bytes(), ino, FileKind::Regular).unwrap();
        }
        entries
    }

    #[test]
    fn names_come_back_from_any_place() {
        let listing = Arc::new(Budget::default())
            .keep(entries(&["a", "", "long", "z"]))
            .unwrap();
        let names = |first| -> Vec<_> {
            listing
                .from(first)
                .map(|(name, ino, _)| (name.to_vec(), ino))
                .collect()
        };
        assert_eq!(names(0).len(), 4);
        assert_eq!(names(2), [(b"long".to_vec(), 3), (b"z".to_vec(), 4)]);
        assert_eq!(names(4), []);
        assert_eq!(names(usize::MAX), []);
    }

    #[test]
    fn dropped_listings_make_room() {
        let budget = Arc::new(Budget::default());
        let first = budget.keep(entries(&["a"])).unwrap();
        budget.0.fetch_add(MAX_ENTRIES - 1, Ordering::Relaxed);
        assert!(!budget.remembers(&first));
        assert_eq!(budget.keep(entries(&["b"])).err(), Some(Errno::ENOMEM));
        drop(first);
        assert_eq!(budget.keep(entries(&["b"])).unwrap().len(), 1);
        budget.0.fetch_sub(MAX_ENTRIES - 1, Ordering::Relaxed);
        assert!(budget.remembers(&budget.keep(entries(&["c"])).unwrap()));
    }
}
