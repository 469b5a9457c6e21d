//! The thread that waits for host descriptors on behalf of all guests.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use host::poll::{self, Epoll};
use sync::{Events, Mutex, WaitQueue, rank};

/// Waits for host descriptors. Its thread ends with the process.
pub struct Poller {
    epoll: Epoll,
    watches: Mutex<HashMap<u64, Weak<Watch>>>,
    next: AtomicU64,
}

/// A descriptor that may be waited for.
pub struct Watch {
    poller: Arc<Poller>,
    token: u64,
    fd: OwnedFd,
    /// Woken when the host reports something.
    pub queue: WaitQueue,
    /// What the host was asked to report and has not yet. Held while the host is asked: of two that ask at once the later
    /// must ask for what both want.
    armed: Mutex<u32>,
    /// Regular files and the like: always ready, and the host does not watch them.
    always_ready: bool,
}

impl Poller {
    /// Starts the thread.
    pub fn start() -> Result<Arc<Poller>, Errno> {
        let poller = Arc::new(Poller {
            epoll: Epoll::new()?,
            watches: Mutex::new(rank::LEAF, HashMap::new()),
            next: AtomicU64::new(1),
        });
        let own = poller.clone();
        let builder = std::thread::Builder::new().name("host-poll".into());
        builder.spawn(move || own.run()).map_err(|_| Errno::EAGAIN)?;
        Ok(poller)
    }

    fn run(&self) {
        let report = |token, events| {
            let watch = self.watches.lock().get(&token).and_then(Weak::upgrade);
            if let Some(watch) = watch {
                watch.fired(events);
            }
        };
        // An error means that the instance is gone, with the process.
        while self.epoll.wait(report).is_ok() {}
    }

    /// Makes a descriptor waitable.
    pub fn watch(self: &Arc<Self>, fd: OwnedFd) -> Arc<Watch> {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        let always_ready = self.epoll.add(fd.as_fd(), token).is_err();
        let watch = Arc::new(Watch {
            poller: self.clone(),
            token,
            fd,
            queue: WaitQueue::new(),
            armed: Mutex::new(rank::LEAF, 0),
            always_ready,
        });
        self.watches.lock().insert(token, Arc::downgrade(&watch));
        watch
    }
}

impl Watch {
    /// The descriptor.
    pub fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What it is ready for now, out of `wanted`; wakes the queue later for what it is not.
    pub fn ready(&self, wanted: Events) -> Events {
        if self.always_ready {
            return Events::READABLE | Events::WRITABLE;
        }
        let wanted = to_host(wanted);
        let now = poll::ready(self.fd(), wanted).unwrap_or(0);
        let missing = wanted & !now;
        if missing != 0 {
            self.arm(missing);
        }
        to_guest(now)
    }

    /// The host reported `events`; what else was asked for is asked for again.
    fn fired(&self, events: u32) {
        let asked = std::mem::take(&mut *self.armed.lock());
        let ended = to_guest(events).intersects(Events::ALWAYS);
        self.queue.wake(to_guest(events));
        let left = asked & !events;
        // After a hang-up the host would report that again at once; and everyone was woken for it.
        if left != 0 && !ended {
            self.arm(left);
        }
    }

    fn arm(&self, events: u32) {
        let mut armed = self.armed.lock();
        if *armed & events == events {
            return;
        }
        *armed |= events;
        // It was added, so arming it can only fail for want of memory; then a wake-up now makes the waiters try again.
        if self.poller.epoll.arm(self.fd(), self.token, *armed).is_err() {
            *armed = 0;
            drop(armed);
            self.queue.wake(to_guest(events));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.poller.watches.lock().remove(&self.token);
        if !self.always_ready {
            // The descriptor may be shared with other processes, so closing it would not take it out.
            let _ = self.poller.epoll.remove(self.fd.as_fd());
        }
    }
}

fn to_host(events: Events) -> u32 {
    // These have the host's numbers.
    let mut host = (events & (Events::PRI | Events::RDHUP)).bits();
    if events.intersects(Events::READABLE) {
        host |= poll::IN;
    }
    if events.intersects(Events::WRITABLE) {
        host |= poll::OUT;
    }
    host
}

fn to_guest(host: u32) -> Events {
    let mut events = Events::from_bits_truncate(host);
    if host & poll::IN != 0 {
        events |= Events::READABLE;
    }
    if host & poll::OUT != 0 {
        events |= Events::WRITABLE;
    }
    events
}
