//! epoll(7): a set of watched files and the list of those that became ready.
//!
//! An item on a file's wait queue puts itself on the ready list when it is woken; a harvest asks each listed file what
//! it is ready for. Level-triggered items go back to the end of the list as long as they are.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use abi::Errno;
use sync::{Events, Mutex, PollTable, WaitQueue, rank};

use super::{FileDescription, FileOps};
use crate::task::{CurrentTask, Deadline};

mod item;
mod nesting;
#[cfg(test)]
mod tests;

use item::Item;

/// Watches that all epoll instances of the sandbox may hold together (/proc/sys/fs/epoll/max_user_watches).
pub const MAX_WATCHES: usize = 1 << 20;
/// Fewest items at which watches of closed files are looked for.
const PURGE_FROM: usize = 64;

/// EPOLLEXCLUSIVE: of the instances that watch a file so, one with a waiting thread is woken.
pub const EPOLLEXCLUSIVE: u32 = 1 << 28;
/// EPOLLWAKEUP: ignored, nothing here suspends.
pub const EPOLLWAKEUP: u32 = 1 << 29;
/// EPOLLONESHOT.
pub const EPOLLONESHOT: u32 = 1 << 30;
/// EPOLLET.
pub const EPOLLET: u32 = 1 << 31;
const FLAGS: u32 = EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET;

/// What epoll_ctl(2) asks for and epoll_wait(2) gives back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpollEvent {
    /// Events and EPOLL* flags.
    pub events: u32,
    /// The caller's own value.
    pub data: u64,
}

/// An epoll instance.
pub struct Epoll {
    me: Weak<Epoll>,
    /// By the open file's id and the descriptor it was added with.
    items: Mutex<BTreeMap<(u64, i32), Arc<Item>>>,
    /// Held by the one thread that asks the listed files.
    harvest: Mutex<()>,
    ready: Mutex<VecDeque<Arc<Item>>>,
    /// Threads in epoll_wait(2): one is woken at a time.
    waiters: WaitQueue,
    /// Others that poll the instance itself.
    pollers: WaitQueue,
    /// Instances that watch this one.
    watched_by: Mutex<Vec<Weak<Epoll>>>,
    /// Items at which to look for closed files next.
    purge_at: AtomicUsize,
}

impl Epoll {
    fn new() -> Arc<Epoll> {
        Arc::new_cyclic(|me| Epoll {
            me: me.clone(),
            items: Mutex::new(rank::FILE_STATE, BTreeMap::new()),
            harvest: Mutex::new(rank::EPOLL, ()),
            ready: Mutex::new(rank::EPOLL_READY, VecDeque::new()),
            waiters: WaitQueue::new(),
            pollers: WaitQueue::new(),
            watched_by: Mutex::new(rank::LEAF, Vec::new()),
            purge_at: AtomicUsize::new(PURGE_FROM),
        })
    }

    /// EPOLL_CTL_ADD. `EEXIST`, `ENOSPC`; `ELOOP` when it would watch itself.
    pub fn add(&self, fd: i32, file: &Arc<FileDescription>, event: EpollEvent) -> Result<(), Errno> {
        self.purge();
        if self.items.lock().contains_key(&(file.id(), fd)) {
            return Err(Errno::EEXIST);
        }
        let me = self.me.upgrade().ok_or(Errno::EBADF)?;
        let inner = file.ops_as::<EpollFile>();
        if let Some(inner) = inner {
            nesting::link(&me, inner.epoll())?;
        }
        let item = Item::new(self.me.clone(), fd, file, event)?;
        let added = {
            let mut items = self.items.lock();
            let free = !items.contains_key(&(file.id(), fd));
            if free {
                items.insert((file.id(), fd), item.clone());
            }
            free
        };
        if !added {
            if let Some(inner) = inner {
                nesting::unlink(&me, inner.epoll());
            }
            return Err(Errno::EEXIST);
        }
        item.arm(file, item.mask());
        Ok(())
    }

    /// EPOLL_CTL_MOD. `ENOENT`; `EINVAL` for an item that was added with EPOLLEXCLUSIVE.
    pub fn modify(&self, fd: i32, file: &Arc<FileDescription>, event: EpollEvent) -> Result<(), Errno> {
        let item = self
            .items
            .lock()
            .get(&(file.id(), fd))
            .cloned()
            .ok_or(Errno::ENOENT)?;
        if item.given().events & EPOLLEXCLUSIVE != 0 {
            return Err(Errno::EINVAL);
        }
        // Not between a harvest's look at the file and its disarming of a one-shot.
        let _harvest = self.harvest.lock_nested();
        item.change(file, event);
        Ok(())
    }

    /// EPOLL_CTL_DEL. `ENOENT`.
    pub fn delete(&self, fd: i32, file: &Arc<FileDescription>) -> Result<(), Errno> {
        let item = self.items.lock().remove(&(file.id(), fd)).ok_or(Errno::ENOENT)?;
        if let (Some(inner), Some(me)) = (file.ops_as::<EpollFile>(), self.me.upgrade()) {
            nesting::unlink(&me, inner.epoll());
        }
        self.forget(&item);
        Ok(())
    }

    /// Takes an item that is no longer in the map off all lists.
    fn forget(&self, item: &Arc<Item>) {
        item.remove();
        let mut ready = self.ready.lock();
        if item.queued.swap(false, Ordering::Relaxed) {
            ready.retain(|other| !Arc::ptr_eq(other, item));
        }
    }

    /// Drops watches of files that were closed everywhere; they have no one to remove them.
    fn purge(&self) {
        let gone: Vec<Arc<Item>> = {
            let mut items = self.items.lock();
            if items.len() < self.purge_at.load(Ordering::Relaxed) {
                return;
            }
            let mut gone = Vec::new();
            items.retain(|_, item| {
                let alive = item.file.strong_count() > 0;
                if !alive {
                    gone.push(item.clone());
                }
                alive
            });
            let next = (items.len() * 2).max(PURGE_FROM);
            self.purge_at.store(next, Ordering::Relaxed);
            gone
        };
        for item in &gone {
            self.forget(item);
        }
    }

    fn watched_files(&self) -> Vec<Arc<FileDescription>> {
        let items = self.items.lock();
        items.values().filter_map(|item| item.file.upgrade()).collect()
    }

    /// Puts an item on the ready list unless it is there.
    fn enlist(&self, item: &Arc<Item>) {
        let mut ready = self.ready.lock();
        if !item.queued.swap(true, Ordering::Relaxed) {
            ready.push_back(item.clone());
        }
    }

    /// Returns whether somebody waited.
    fn wake(&self) -> bool {
        let waiters = self.waiters.wake_some(Events::READABLE, 1);
        let watched = !self.pollers.is_empty();
        self.pollers.wake(Events::READABLE);
        waiters > 0 || watched
    }

    fn next_listed(&self) -> Option<Arc<Item>> {
        let mut ready = self.ready.lock();
        let item = ready.pop_front()?;
        item.queued.store(false, Ordering::Relaxed);
        Some(item)
    }

    /// Asks the listed files, at most once each, and returns up to `max` events.
    fn collect(&self, max: usize) -> Vec<EpollEvent> {
        let mut out = Vec::new();
        // Dropped after the lock: closing a file may be the last thing this does.
        let mut held = Vec::new();
        let harvest = self.harvest.lock_nested();
        let mut budget = self.ready.lock().len();
        while budget > 0 && out.len() < max {
            budget -= 1;
            let Some(item) = self.next_listed() else { break };
            let Some(file) = item.file.upgrade() else { continue };
            let mask = item.mask();
            let found = file.ops().poll(&file, None) & mask;
            held.push(file);
            if found.is_empty() {
                continue;
            }
            let flags = item.interest.load(Ordering::SeqCst);
            if flags & EPOLLONESHOT != 0 {
                // Only if nobody changed it meanwhile: a MOD arms it again.
                let _ = item
                    .interest
                    .compare_exchange(flags, 0, Ordering::SeqCst, Ordering::SeqCst);
            } else if flags & EPOLLET == 0 {
                self.enlist(&item);
            }
            out.push(EpollEvent {
                events: found.bits(),
                data: item.given().data,
            });
        }
        drop(harvest);
        drop(held);
        if !self.waiters.is_empty() && !self.ready.lock().is_empty() {
            self.waiters.wake_some(Events::READABLE, 1);
        }
        out
    }

    /// epoll_wait(2): up to `max` events; none when `deadline` passes. `ERESTARTNOHAND` for a signal.
    pub fn wait(&self, task: &CurrentTask, max: usize, deadline: Deadline) -> Result<Vec<EpollEvent>, Errno> {
        let attempt = || match self.collect(max) {
            none if none.is_empty() => Err(Errno::EAGAIN),
            events => Ok(events),
        };
        if deadline.is_some_and(|at| at <= Instant::now()) {
            return Ok(self.collect(max));
        }
        match task.wait_on(&self.waiters, deadline, attempt) {
            Ok(events) => Ok(events),
            Err(error) => {
                // A wake-up may have been meant for us: pass it on.
                if !self.ready.lock().is_empty() {
                    self.waiters.wake_some(Events::READABLE, 1);
                }
                match error {
                    Errno::ETIMEDOUT => Ok(self.collect(max)),
                    Errno::ERESTARTSYS => Err(Errno::ERESTARTNOHAND),
                    other => Err(other),
                }
            }
        }
    }

    /// Whether a listed file is ready indeed.
    fn has_ready(&self) -> bool {
        let mut held = Vec::new();
        let harvest = self.harvest.lock_nested();
        let mut budget = self.ready.lock().len();
        let mut found = false;
        while !found && budget > 0 {
            budget -= 1;
            let Some(item) = self.next_listed() else { break };
            let Some(file) = item.file.upgrade() else { continue };
            found = file.ops().poll(&file, None).intersects(item.mask());
            held.push(file);
            if found {
                self.enlist(&item);
            }
        }
        drop(harvest);
        found
    }
}

/// An open epoll instance.
pub struct EpollFile(Arc<Epoll>);

impl EpollFile {
    /// A new instance.
    pub fn new() -> EpollFile {
        EpollFile(Epoll::new())
    }

    /// The instance.
    pub fn epoll(&self) -> &Arc<Epoll> {
        &self.0
    }
}

impl Default for EpollFile {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for EpollFile {
    fn drop(&mut self) {
        // An item and the queue that it is on hold each other: take all off.
        let items = std::mem::take(&mut *self.0.items.lock());
        for item in items.values() {
            if let Some(inner) = item.file.upgrade()
                && let Some(inner) = inner.ops_as::<EpollFile>()
            {
                nesting::unlink(&self.0, inner.epoll());
            }
            self.0.forget(item);
        }
    }
}

impl FileOps for EpollFile {
    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.0.pollers);
        }
        if self.0.has_ready() {
            Events::READABLE
        } else {
            Events::empty()
        }
    }

    fn fdinfo(&self, _: &FileDescription) -> String {
        let mut text = String::new();
        for item in self.0.items.lock().values() {
            let given = item.given();
            let _ = writeln!(
                text,
                "tfd: {:8} events: {:8x} data: {:16x}",
                item.fd, given.events, given.data
            );
        }
        text
    }
}
