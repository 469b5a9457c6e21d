//! Listings that directories and their open files keep, counted together: a guest decides how many there are.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi::Errno;

/// Entries in all listings of one file system; about 100 bytes each.
const MAX_ENTRIES: usize = 8 << 20;

/// How many entries are kept.
#[derive(Debug, Default)]
pub struct Budget(AtomicUsize);

/// A listing.
#[derive(Debug)]
pub struct Snapshot<T> {
    entries: Vec<T>,
    budget: Arc<Budget>,
}

impl Budget {
    /// Counts a new listing. `ENOMEM` when there are too many.
    pub fn keep<T>(self: &Arc<Self>, entries: Vec<T>) -> Result<Arc<Snapshot<T>>, Errno> {
        let before = self.0.fetch_add(entries.len(), Ordering::Relaxed);
        let snapshot = Snapshot {
            entries,
            budget: self.clone(),
        };
        // Dropping it takes it off the count again.
        if before.saturating_add(snapshot.entries.len()) > MAX_ENTRIES {
            return Err(Errno::ENOMEM);
        }
        Ok(Arc::new(snapshot))
    }

    /// Whether listings may be kept for later: half of the budget is for open directories.
    pub fn has_room(&self) -> bool {
        self.0.load(Ordering::Relaxed) < MAX_ENTRIES / 2
    }
}

impl<T> Deref for Snapshot<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.entries
    }
}

impl<T> Drop for Snapshot<T> {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.entries.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_listings_make_room() {
        let budget = Arc::new(Budget::default());
        let first = budget.keep(vec![(); MAX_ENTRIES]).unwrap();
        assert!(!budget.has_room());
        assert_eq!(budget.keep(vec![()]).err(), Some(Errno::ENOMEM));
        drop(first);
        assert!(budget.has_room());
        assert_eq!(budget.keep(vec![1, 2]).unwrap().len(), 2);
    }
}
