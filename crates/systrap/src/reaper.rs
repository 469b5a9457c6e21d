//! One sentry thread that learns of ended guest processes, reaps them and wakes whoever waits for them.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use abi::Errno;
use host::process::ExitWatch;

use crate::process::Process;

/// The registry of live guest processes.
#[derive(Debug)]
pub struct Reaper {
    watch: ExitWatch,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    processes: HashMap<u64, Arc<Process>>,
    running: bool,
}

impl Reaper {
    /// A reaper without its thread.
    pub fn new() -> Result<Arc<Reaper>, Errno> {
        Ok(Arc::new(Reaper {
            watch: ExitWatch::new()?,
            state: Mutex::default(),
        }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `process` until it has ended.
    pub fn register(&self, process: &Arc<Process>) -> Result<(), Errno> {
        let mut state = self.state();
        let token = state.next;
        state.next += 1;
        self.watch.add(process.pidfd.as_fd(), token)?;
        state.processes.insert(token, process.clone());
        Ok(())
    }

    /// Starts the thread unless it runs. It ends when no process is left.
    pub fn start(self: &Arc<Self>) -> Result<(), Errno> {
        let mut state = self.state();
        if state.running {
            return Ok(());
        }
        let reaper = self.clone();
        std::thread::Builder::new()
            .name("tegmen-reaper".into())
            .spawn(move || reaper.run())
            .map_err(Errno::from)?;
        state.running = true;
        Ok(())
    }

    fn run(&self) {
        let mut tokens = Vec::new();
        loop {
            if self.watch.wait(&mut tokens).is_err() {
                // Only EINTR is possible for a live epoll descriptor.
                continue;
            }
            for token in tokens.drain(..) {
                let process = self.state().processes.get(&token).cloned();
                let Some(process) = process else { continue };
                if process.reap() {
                    self.watch.remove(process.pidfd.as_fd());
                    self.state().processes.remove(&token);
                }
            }
            let mut state = self.state();
            if state.processes.is_empty() {
                state.running = false;
                return;
            }
        }
    }
}
