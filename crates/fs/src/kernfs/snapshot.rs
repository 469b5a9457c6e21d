//! Generated contents that open files keep between reads, within one bound for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi::Errno;
use sync::{Mutex, rank};

/// Bytes that open files keep together. Beyond, each read generates its content anew: a guest with many
/// half-read files costs time, not memory.
const KEPT_MAX: usize = 64 << 20;

static KEPT: AtomicUsize = AtomicUsize::new(0);

struct Kept<T> {
    value: Arc<T>,
    bytes: usize,
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        KEPT.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What one open file has generated.
pub(super) struct Snapshot<T>(Mutex<Option<Kept<T>>>);

impl<T> Snapshot<T> {
    pub fn new() -> Snapshot<T> {
        Snapshot(Mutex::new(rank::LEAF, None))
    }

    /// What was generated before, or with `restart` (or nothing kept) something new, of the size that `size` tells.
    pub fn get(
        &self,
        restart: bool,
        make: impl FnOnce() -> Result<T, Errno>,
        size: impl FnOnce(&T) -> usize,
    ) -> Result<Arc<T>, Errno> {
        if !restart && let Some(kept) = &*self.0.lock() {
            return Ok(kept.value.clone());
        }
        let value = Arc::new(make()?);
        let bytes = size(&value);
        let fits = KEPT.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= KEPT_MAX;
        let kept = Kept {
            value: value.clone(),
            bytes,
        };
        let before = std::mem::replace(&mut *self.0.lock(), fits.then_some(kept));
        drop(before);
        Ok(value)
    }

    /// Forgets it.
    pub fn clear(&self) {
        let before = self.0.lock().take();
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_contents_are_not_kept() {
        let snapshot = Snapshot::new();
        let get = |value: u32, bytes| *snapshot.get(false, || Ok(value), |_| bytes).unwrap();
        assert_eq!(get(1, KEPT_MAX + 1), 1);
        assert_eq!(get(2, 4), 2, "the first was not kept");
        assert_eq!(get(3, 4), 2);
        snapshot.clear();
        assert_eq!(get(4, 4), 4);
    }
}
