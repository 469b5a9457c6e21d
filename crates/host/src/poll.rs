//! Readiness of host descriptors: poll(2) for now, epoll(7) for later.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use abi::Errno;

use crate::call::check;

/// EPOLLIN, POLLIN.
pub const IN: u32 = libc::EPOLLIN as u32;
/// EPOLLOUT, POLLOUT.
pub const OUT: u32 = libc::EPOLLOUT as u32;
/// EPOLLERR.
pub const ERR: u32 = libc::EPOLLERR as u32;
/// EPOLLHUP, POLLHUP: nobody is at the other end.
pub const HUP: u32 = libc::EPOLLHUP as u32;

/// What the descriptor is ready for now, out of `events` (and errors and hang-ups).
pub fn ready(fd: BorrowedFd<'_>, events: u32) -> Result<u32, Errno> {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: events as i16,
        revents: 0,
    };
    // SAFETY: one entry is passed.
    check(unsafe { libc::poll(&mut entry, 1, 0) }.into())?;
    Ok(u32::from(entry.revents as u16))
}

/// Waits until the descriptor can be read or has ended; false when a signal came first.
pub fn wait(fd: impl std::os::fd::AsFd) -> Result<bool, Errno> {
    let mut entry = libc::pollfd {
        fd: fd.as_fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry is passed.
    match check(unsafe { libc::poll(&mut entry, 1, -1) }.into()) {
        Err(Errno::EINTR) => Ok(false),
        other => other.map(|ready| ready > 0),
    }
}

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl std::os::fd::AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Events taken from the host at once.
const BATCH: usize = 64;

impl Epoll {
    /// An instance without watches.
    pub fn new() -> Result<Epoll, Errno> {
        // SAFETY: no memory is passed.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.into())?;
        // SAFETY: a new descriptor that nobody else owns.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    fn control(&self, op: i32, fd: BorrowedFd<'_>, token: u64, events: u32) -> Result<(), Errno> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: the event is initialised.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), op, fd.as_raw_fd(), &mut event) }.into()).map(drop)
    }

    /// Adds a descriptor, not armed. `EPERM` for files that are always ready.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> Result<(), Errno> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, libc::EPOLLONESHOT as u32)
    }

    /// Adds a descriptor whose becoming readable or writable is reported each time (EPOLLET).
    pub fn add_edges(&self, fd: BorrowedFd<'_>, token: u64) -> Result<(), Errno> {
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        self.control(libc::EPOLL_CTL_ADD, fd, token, events as u32)
    }

    /// Has the next of `events` reported, once.
    pub fn arm(&self, fd: BorrowedFd<'_>, token: u64, events: u32) -> Result<(), Errno> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, events | libc::EPOLLONESHOT as u32)
    }

    /// Takes a descriptor out.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    /// Waits for events and gives token and events of each to `report`.
    pub fn wait(&self, report: impl FnMut(u64, u32)) -> Result<(), Errno> {
        self.wait_until(None, report)
    }

    /// The same, at most for `timeout`: milliseconds, rounded up.
    pub fn wait_until(
        &self,
        timeout: Option<std::time::Duration>,
        mut report: impl FnMut(u64, u32),
    ) -> Result<(), Errno> {
        let millis = timeout.map_or(-1, |time| {
            i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        // SAFETY: pointer and length describe `events`.
        let got = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), BATCH as i32, millis) };
        let got = match check(got.into()) {
            Err(Errno::EINTR) => 0,
            other => other? as usize,
        };
        for event in &events[..got] {
            report(event.u64, event.events);
        }
        Ok(())
    }
}
