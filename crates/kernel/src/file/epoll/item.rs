//! A file that an epoll instance watches: sits on the file's wait queues, and on the ready list when woken.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::{Events, Mutex, PollTable, Registrations, Wake, rank};

use super::{EPOLLEXCLUSIVE, Epoll, EpollEvent, FLAGS, MAX_WATCHES};
use crate::file::FileDescription;

static WATCHES: AtomicUsize = AtomicUsize::new(0);

/// A watched file.
pub(super) struct Item {
    me: Weak<Item>,
    pub fd: i32,
    pub file: Weak<FileDescription>,
    pub epoll: Weak<Epoll>,
    /// Events and flags in force; 0 while a one-shot has fired and after removal.
    pub interest: AtomicU32,
    /// Whether it is on the ready list; changed under that list's lock only.
    pub queued: AtomicBool,
    state: Mutex<ItemState>,
}

#[derive(Default)]
struct ItemState {
    /// As epoll_ctl(2) gave it last.
    given: EpollEvent,
    removed: bool,
    registered: Events,
    registrations: Registrations,
}

impl Item {
    /// A watch without effect yet. `ENOSPC` when the sandbox has too many.
    pub fn new(
        epoll: Weak<Epoll>,
        fd: i32,
        file: &Arc<FileDescription>,
        event: EpollEvent,
    ) -> Result<Arc<Item>, Errno> {
        if WATCHES.fetch_add(1, Ordering::Relaxed) >= MAX_WATCHES {
            WATCHES.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        let state = ItemState {
            given: event,
            ..ItemState::default()
        };
        Ok(Arc::new_cyclic(|me| Item {
            me: me.clone(),
            fd,
            file: Arc::downgrade(file),
            epoll,
            interest: AtomicU32::new(event.events),
            queued: AtomicBool::new(false),
            state: Mutex::new(rank::LEAF, state),
        }))
    }

    /// The events that count now; none while disabled.
    pub fn mask(&self) -> Events {
        match self.interest.load(Ordering::SeqCst) & !FLAGS {
            0 if self.interest.load(Ordering::SeqCst) == 0 => Events::empty(),
            events => Events::from_bits_truncate(events) | Events::ALWAYS,
        }
    }

    /// As epoll_ctl(2) gave it last.
    pub fn given(&self) -> EpollEvent {
        self.state.lock().given
    }

    /// EPOLL_CTL_MOD.
    pub fn change(&self, file: &Arc<FileDescription>, event: EpollEvent) {
        let registered = {
            let mut state = self.state.lock();
            if state.removed {
                return;
            }
            state.given = event;
            self.interest.store(event.events, Ordering::SeqCst);
            state.registered
        };
        let mask = self.mask();
        if registered.contains(mask) {
            if file.ops().poll(file, None).intersects(mask) {
                self.list();
            }
        } else {
            self.arm(file, mask | registered);
        }
    }

    /// Registers on the file's queues for `mask`, and lists the item when it is ready already.
    pub fn arm(&self, file: &Arc<FileDescription>, mask: Events) {
        let Some(me) = self.me.upgrade() else { return };
        let mut table = PollTable::new(me, 0, mask);
        let found = file.ops().poll(file, Some(&mut table));
        let fresh = table.into_registrations();
        let unneeded = {
            let mut state = self.state.lock();
            if state.removed {
                fresh
            } else {
                state.registered = mask;
                std::mem::replace(&mut state.registrations, fresh)
            }
        };
        drop(unneeded);
        if found.intersects(self.mask()) {
            self.list();
        }
    }

    /// Puts it on the ready list and wakes those who wait there.
    /// Returns whether somebody waited.
    pub fn list(&self) -> bool {
        let (Some(epoll), Some(me)) = (self.epoll.upgrade(), self.me.upgrade()) else {
            return false;
        };
        epoll.enlist(&me);
        epoll.wake()
    }

    /// Takes it off the file's queues for good.
    pub fn remove(&self) {
        let registrations = {
            let mut state = self.state.lock();
            state.removed = true;
            self.interest.store(0, Ordering::SeqCst);
            std::mem::take(&mut state.registrations)
        };
        drop(registrations);
    }
}

impl Wake for Item {
    fn is_exclusive(&self) -> bool {
        self.interest.load(Ordering::Relaxed) & EPOLLEXCLUSIVE != 0
    }

    fn wake_sleeper(&self, _: u64, events: Events) -> bool {
        events.intersects(self.mask()) && self.list()
    }

    fn wake(&self, _: u64, events: Events) {
        if events.intersects(self.mask()) {
            self.list();
        }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        WATCHES.fetch_sub(1, Ordering::Relaxed);
    }
}
