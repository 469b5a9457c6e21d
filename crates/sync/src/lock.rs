//! Mutex and RwLock with a rank.

use std::ops::{Deref, DerefMut};

use crate::Rank;

#[cfg(debug_assertions)]
mod held {
    use std::cell::RefCell;

    use crate::Rank;

    thread_local! {
        static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    pub fn enter(rank: Rank, nested: bool) {
        HELD.with_borrow_mut(|held| {
            if let Some(top) = held.iter().max() {
                let fine = *top < rank || (nested && *top == rank);
                assert!(
                    fine || std::thread::panicking(),
                    "lock order: {rank:?} taken while {held:?} held"
                );
            }
            held.push(rank);
        });
    }

    pub fn leave(rank: Rank) {
        // During thread teardown the list may be gone; then nothing is left to check.
        let _ = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            if let Some(at) = held.iter().rposition(|r| *r == rank) {
                held.remove(at);
            }
        });
    }
}

#[cfg(not(debug_assertions))]
mod held {
    use crate::Rank;
    #[inline]
    pub fn enter(_: Rank, _: bool) {}
    #[inline]
    pub fn leave(_: Rank) {}
}

/// A mutual exclusion lock with a place in the lock order.
#[derive(Debug)]
pub struct Mutex<T: ?Sized> {
    rank: Rank,
    inner: parking_lot::Mutex<T>,
}

impl<T> Mutex<T> {
    /// A lock around `value` with the place `rank`.
    pub const fn new(rank: Rank, value: T) -> Self {
        Mutex {
            rank,
            inner: parking_lot::Mutex::new(value),
        }
    }

    /// The value, when the lock is no longer shared.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock. Panics in debug builds when that breaks the order of [`crate::rank`].
    pub fn lock(&self) -> MutexGuard<'_, T> {
        held::enter(self.rank, false);
        MutexGuard {
            rank: self.rank,
            inner: self.inner.lock(),
        }
    }

    /// Takes the lock while another of the same rank is held; the caller guarantees an order among them.
    pub fn lock_nested(&self) -> MutexGuard<'_, T> {
        held::enter(self.rank, true);
        MutexGuard {
            rank: self.rank,
            inner: self.inner.lock(),
        }
    }

    /// Takes the lock if it is free; never blocks, so it needs no place in the order.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let inner = self.inner.try_lock()?;
        held::enter(Rank(u16::MAX), true);
        Some(MutexGuard {
            rank: Rank(u16::MAX),
            inner,
        })
    }

    /// Access without locking, by exclusive reference.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

/// A held [`Mutex`].
#[derive(Debug)]
pub struct MutexGuard<'a, T: ?Sized> {
    rank: Rank,
    inner: parking_lot::MutexGuard<'a, T>,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        held::leave(self.rank);
    }
}

/// A reader-writer lock with a place in the lock order.
#[derive(Debug)]
pub struct RwLock<T: ?Sized> {
    rank: Rank,
    inner: parking_lot::RwLock<T>,
}

impl<T> RwLock<T> {
    /// A lock around `value` with the place `rank`.
    pub const fn new(rank: Rank, value: T) -> Self {
        RwLock {
            rank,
            inner: parking_lot::RwLock::new(value),
        }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock to read.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        held::enter(self.rank, false);
        RwLockReadGuard {
            rank: self.rank,
            inner: self.inner.read(),
        }
    }

    /// Takes the lock to write.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        held::enter(self.rank, false);
        RwLockWriteGuard {
            rank: self.rank,
            inner: self.inner.write(),
        }
    }
}

/// A [`RwLock`] held to read.
#[derive(Debug)]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    rank: Rank,
    inner: parking_lot::RwLockReadGuard<'a, T>,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        held::leave(self.rank);
    }
}

/// A [`RwLock`] held to write.
#[derive(Debug)]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    rank: Rank,
    inner: parking_lot::RwLockWriteGuard<'a, T>,
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        held::leave(self.rank);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank;

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "lock order")]
    fn taking_an_outer_lock_inside_an_inner_one_panics() {
        let inner = Mutex::new(rank::LEAF, ());
        let outer = Mutex::new(rank::MM, ());
        let _held = inner.lock();
        let _wrong = outer.lock();
    }
}
