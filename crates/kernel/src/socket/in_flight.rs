//! Open files on their way through a unix socket (SCM_RIGHTS).
//!
//! A socket may carry itself or its peer: such a loop is never received and never closed. Instead of collecting loops,
//! the number of files in flight is bounded ([`MAX_IN_FLIGHT`]), so a guest can only lose that many.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi::Errno;

use crate::file::FileDescription;

/// Files in flight in the whole sandbox.
const MAX_IN_FLIGHT: usize = 16 << 10;

static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Files that this thread is about to drop; `Some` while it does.
    static CLOSING: RefCell<Option<Vec<Arc<FileDescription>>>> = const { RefCell::new(None) };
}

/// Files in a message. Counted until they are received or dropped.
#[derive(Default)]
pub struct InFlight(Vec<Arc<FileDescription>>);

impl InFlight {
    /// Sends the files off. `ETOOMANYREFS` when too many are under way (`limit`: the sender's own).
    pub fn new(files: Vec<Arc<FileDescription>>, limit: u64) -> Result<InFlight, Errno> {
        let count = files.len();
        let before = IN_FLIGHT.fetch_add(count, Ordering::Relaxed);
        let bound = usize::try_from(limit).unwrap_or(MAX_IN_FLIGHT).min(MAX_IN_FLIGHT);
        if before + count > bound {
            IN_FLIGHT.fetch_sub(count, Ordering::Relaxed);
            drop_files(files);
            return Err(Errno::ETOOMANYREFS);
        }
        Ok(InFlight(files))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Receives them.
    pub fn take(&mut self) -> Vec<Arc<FileDescription>> {
        IN_FLIGHT.fetch_sub(self.0.len(), Ordering::Relaxed);
        std::mem::take(&mut self.0)
    }

    /// The same files, while these stay (MSG_PEEK).
    pub fn peek(&self) -> Vec<Arc<FileDescription>> {
        self.0.clone()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let files = self.take();
        if !files.is_empty() {
            drop_files(files);
        }
    }
}

/// Drops files one after the other: a file may be a socket that holds files that are sockets, to any depth.
pub fn drop_files(files: Vec<Arc<FileDescription>>) {
    let mut waiting = Some(files);
    let nested = CLOSING.try_with(|closing| {
        let mut closing = closing.borrow_mut();
        let files = waiting.take().unwrap_or_default();
        match &mut *closing {
            Some(list) => {
                list.extend(files);
                None
            }
            None => {
                *closing = Some(Vec::new());
                Some(files)
            }
        }
    });
    match nested {
        // The thread is ending: nothing is nested any more.
        Err(_) => drop(waiting),
        Ok(None) => {}
        Ok(Some(files)) => drop_all(files),
    }
}

/// The outermost of nested drops on this thread.
fn drop_all(mut files: Vec<Arc<FileDescription>>) {
    while !files.is_empty() {
        for file in files.drain(..) {
            drop(file);
        }
        files = CLOSING.with_borrow_mut(|closing| closing.as_mut().map(std::mem::take).unwrap_or_default());
    }
    CLOSING.set(None);
}
