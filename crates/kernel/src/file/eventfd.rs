//! eventfd(2): a counter that can be waited for.

use abi::Errno;
use sync::{Events, Mutex, PollTable, WaitQueue, rank};

use super::{FileDescription, FileOps};
use crate::io::{Sink, Source};

/// The counter never reaches the largest value.
const MAX: u64 = u64::MAX - 1;

/// An eventfd.
pub struct EventFd {
    count: Mutex<u64>,
    semaphore: bool,
    queue: WaitQueue,
}

impl EventFd {
    /// A counter at `initial`; `semaphore`: reads take one (EFD_SEMAPHORE).
    pub fn new(initial: u64, semaphore: bool) -> EventFd {
        EventFd {
            count: Mutex::new(rank::FILE_STATE, initial),
            semaphore,
            queue: WaitQueue::new(),
        }
    }

    /// Adds to the counter from inside the kernel: it may overflow, which poll(2) calls an error.
    pub fn signal(&self, add: u64) {
        {
            let mut count = self.count.lock();
            *count = count.saturating_add(add);
        }
        self.queue.wake(Events::READABLE);
    }
}

impl FileOps for EventFd {
    fn read(&self, _: &FileDescription, _: u64, dst: &mut dyn Sink) -> Result<usize, Errno> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let value = {
            let mut count = self.count.lock();
            let value = match (*count, self.semaphore) {
                (0, _) => return Err(Errno::EAGAIN),
                (_, true) => 1,
                (all, false) => all,
            };
            *count -= value;
            value
        };
        self.queue.wake(Events::WRITABLE);
        match dst.write(&value.to_le_bytes())? {
            8 => Ok(8),
            _ => Err(Errno::EFAULT),
        }
    }

    fn write(&self, file: &FileDescription, _: u64, src: &mut dyn Source) -> Result<usize, Errno> {
        if src.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        // Retried after `EAGAIN`, when the source was consumed: look before reading it.
        let full = *self.count.lock() >= MAX;
        if full && !file.nonblocking() {
            return Err(Errno::EAGAIN);
        }
        let mut raw = [0; 8];
        if src.read(&mut raw)? < 8 {
            return Err(Errno::EFAULT);
        }
        let add = u64::from_le_bytes(raw);
        if add == u64::MAX {
            return Err(Errno::EINVAL);
        }
        {
            let mut count = self.count.lock();
            if MAX.checked_sub(*count).is_none_or(|room| room < add) {
                return Err(Errno::EAGAIN);
            }
            *count += add;
        }
        self.queue.wake(Events::READABLE);
        Ok(8)
    }

    fn poll(&self, _: &FileDescription, table: Option<&mut PollTable>) -> Events {
        if let Some(table) = table {
            table.register(&self.queue);
        }
        let count = *self.count.lock();
        let mut events = Events::empty();
        if count > 0 {
            events |= Events::READABLE;
        }
        if count < MAX {
            events |= Events::WRITABLE;
        }
        if count == u64::MAX {
            events |= Events::ERR;
        }
        events
    }

    fn fdinfo(&self, _: &FileDescription) -> String {
        format!("eventfd-count: {:16x}\n", *self.count.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semaphore_gives_one_at_a_time() {
        let event = EventFd::new(2, true);
        event.signal(u64::MAX);
        assert_eq!(*event.count.lock(), u64::MAX);
    }
}
