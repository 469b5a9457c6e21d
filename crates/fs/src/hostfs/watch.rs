//! Shared trees: what the host changes in them is heard of, so that names and directories can be remembered until then.
//!
//! The sentry marks each directory whose names it remembers (fanotify(7)). Events of its own making are told by their process
//! id; any other one begins a new *generation*, and what was remembered in an earlier one is asked of the host again. Events
//! are looked at when something remembered is used, at most every [`FRESH`]. Where marks cannot be had (a network's or a
//! user's file system, none left) nothing is remembered. Data and sizes of files are never remembered: writes through
//! mappings raise no events.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use host::fanotify;
use sync::{Mutex, rank};

/// A change by the host is seen this much later at most. No message of its maker to the guest is faster.
const FRESH: Duration = Duration::from_micros(20);
/// Most directories marked. Beyond, all marks are taken off and begun anew: each keeps an inode of the host in memory.
const MARKS_MAX: u64 = 32 << 10;

/// File systems whose changes all pass through this host's kernel: ext, xfs, btrfs, tmpfs, overlay, f2fs, bcachefs, zfs.
const LOCAL: &[u64] = &[
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x794c_7630,
    0xf2f5_2010,
    0xca45_1a4e,
    0x2fc1_2fc1,
];

static WATCH: OnceLock<Watch> = OnceLock::new();

/// The sandbox's queue of changes.
pub struct Watch {
    group: OwnedFd,
    own: u32,
    began: Instant,
    /// Nanoseconds after `began` when events were last looked at.
    looked: AtomicU64,
    generation: AtomicU64,
    /// Counts how often all marks were taken off, from 1 on.
    epoch: AtomicU64,
    /// Marks of this epoch; held while marks are set or taken off.
    marks: Mutex<u64>,
    /// Held while events are taken.
    taking: Mutex<()>,
}

/// Makes the sandbox's queue of changes, if the host gives one; without it shared trees are asked about everything again.
/// To be called before the filter of host calls closes.
pub fn start() {
    if WATCH.get().is_some() {
        return;
    }
    let Ok(group) = fanotify::new_group() else { return };
    let _ = WATCH.set(Watch {
        group,
        own: std::process::id(),
        began: Instant::now(),
        looked: AtomicU64::new(0),
        generation: AtomicU64::new(1),
        epoch: AtomicU64::new(1),
        marks: Mutex::new(rank::LEAF, 0),
        taking: Mutex::new(rank::LEAF, ()),
    });
}

/// The queue for a tree on a file system of this type (statfs(2)), if its changes can be heard of.
pub fn of(magic: u64) -> Option<&'static Watch> {
    LOCAL.contains(&magic).then(|| WATCH.get()).flatten()
}

impl Watch {
    /// The present generation.
    pub fn generation(&self) -> u64 {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let looked = self.looked.load(Ordering::SeqCst);
        if now.saturating_sub(looked) >= FRESH.as_nanos() as u64 {
            self.look(now);
        }
        self.generation.load(Ordering::SeqCst)
    }

    fn look(&self, now: u64) {
        // Whoever takes them now does it for us too.
        let Some(_taking) = self.taking.try_lock() else {
            return;
        };
        // A queue that fails tells nothing: as if everything had changed.
        if fanotify::others_changed(self.group.as_fd(), self.own).unwrap_or(true) {
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
        self.looked.store(now, Ordering::SeqCst);
    }

    /// The generation, if the directory that was marked in `epoch` still is.
    pub fn marked(&self, epoch: u64) -> Option<u64> {
        // In this order: taking off the marks begins a new epoch first, then a new generation.
        let generation = self.generation();
        (self.epoch.load(Ordering::SeqCst) == epoch).then_some(generation)
    }

    /// Marks a directory; returns the epoch.
    pub fn mark(&self, dir: BorrowedFd<'_>) -> Option<u64> {
        let mut marks = self.marks.lock();
        if *marks >= MARKS_MAX {
            self.epoch.fetch_add(1, Ordering::SeqCst);
            let _ = fanotify::unmark_all(self.group.as_fd());
            self.generation.fetch_add(1, Ordering::SeqCst);
            *marks = 0;
        }
        fanotify::mark(self.group.as_fd(), dir).ok()?;
        *marks += 1;
        Some(self.epoch.load(Ordering::SeqCst))
    }
}
