//! Waiting for any of several files: what poll(2), select(2) and their kin share.

use std::sync::Arc;
use std::time::Instant;

use abi::Errno;
use sync::{Events, PollTable};

use super::FileDescription;
use crate::task::{CurrentTask, Deadline};

/// A file and what is wanted of it.
pub struct Watch {
    /// The file; `None`: not an open descriptor, which counts as an event of its own.
    pub file: Option<Arc<FileDescription>>,
    /// What to wait for, and nothing else: poll(2) adds errors and hang-ups.
    pub wanted: Events,
    /// What happened.
    pub found: Events,
}

impl Watch {
    fn look(&mut self, table: Option<&mut PollTable>) -> bool {
        if let Some(file) = &self.file {
            self.found = file.ops().poll(file, table) & self.wanted;
        }
        !self.found.is_empty()
    }
}

/// Waits until at least one of the files has an event or `deadline` passes; returns how many have.
/// `ERESTARTNOHAND` when a signal came first.
pub fn wait(task: &CurrentTask, watches: &mut [Watch], deadline: Deadline) -> Result<usize, Errno> {
    let mut ready = 0;
    for watch in watches.iter_mut() {
        ready += usize::from(watch.look(None));
    }
    if ready > 0 || deadline.is_some_and(|at| at <= Instant::now()) {
        return Ok(ready);
    }
    task.waiter.reset();
    let mut registrations = Vec::with_capacity(watches.len());
    for watch in watches.iter_mut() {
        let mut table = PollTable::new(task.waiter.clone(), 0, watch.wanted);
        ready += usize::from(watch.look(Some(&mut table)));
        registrations.push(table.into_registrations());
    }
    while ready == 0 {
        let slept = task.sleep(deadline);
        for watch in watches.iter_mut() {
            ready += usize::from(watch.look(None));
        }
        match slept {
            Ok(()) => {}
            Err(_) if ready > 0 => {}
            Err(Errno::ETIMEDOUT) => break,
            Err(_) => return Err(Errno::ERESTARTNOHAND),
        }
    }
    Ok(ready)
}
