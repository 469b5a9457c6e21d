//! Guest processes made ahead of need, each with a guest thread: the host takes about as long to make them as for all
//! else of execve(2), and has another core for it more often than not.
//!
//! A birth is posted and nobody waits: the zygote's helper forks, and the child finds its first orders, which start the
//! thread, in its command page. What went wrong shows when the process is wanted; then one is made while the caller waits.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use abi::Errno;

use crate::channel::Channel;
use crate::engine::Engine;
use crate::patch::Patches;
use crate::process::Process;
use crate::regions::Regions;
use crate::slot::{Parked, Slot};

/// The zygote, and the process that it is making or has made.
#[derive(Debug)]
pub struct Spares {
    engine: Arc<Engine>,
    zygote: Arc<Process>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody has asked before: a sandbox of one process needs no spare one.
    wanted: bool,
    birth: Option<Birth>,
}

/// A process whose making was ordered.
#[derive(Debug)]
struct Birth {
    channel: Channel,
    slot: Arc<Slot>,
    uc: usize,
}

impl Spares {
    /// None yet. Nobody else gives orders to `zygote` from now on.
    pub fn new(engine: Arc<Engine>, zygote: Arc<Process>) -> Spares {
        Spares {
            engine,
            zygote,
            state: Mutex::default(),
        }
    }

    /// An empty guest process; from the second on, the next one is made meanwhile.
    pub fn take(&self) -> Result<Arc<Process>, Errno> {
        self.zygote.start_reaper()?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = state.birth.take().and_then(|birth| self.finish(birth).ok());
        let process = match spare {
            Some(process) => process,
            None => self.begin().and_then(|birth| self.finish(birth))?,
        };
        if std::mem::replace(&mut state.wanted, true) {
            // Without a spare one the next caller waits, and learns why.
            state.birth = self.begin().ok();
        }
        Ok(process)
    }

    fn begin(&self) -> Result<Birth, Errno> {
        let mut channel = Channel::new()?;
        let slot = Slot::take(&self.engine)?;
        let (uc, orders) = slot.birth(&self.engine, false);
        channel.post(&orders);
        self.zygote.post_fork(&channel);
        Ok(Birth { channel, slot, uc })
    }

    fn finish(&self, birth: Birth) -> Result<Arc<Process>, Errno> {
        let Birth { channel, slot, uc } = birth;
        let pid = match self.zygote.collect() {
            Ok(pid) => pid as i32,
            Err(error) => {
                if self.zygote.is_dead() {
                    // There may be a child that uses the area.
                    std::mem::forget(slot);
                }
                return Err(error);
            }
        };
        let (regions, patches) = (Regions::default(), Patches::default());
        let process = Process::adopt(pid, channel, self.engine.clone(), regions, patches)?;
        process.slots().all.push(slot.clone());
        match process.collect() {
            Ok(tid) => slot.tid.store(tid as i32, Ordering::SeqCst),
            Err(error) => {
                process.kill();
                return Err(error);
            }
        }
        // It may have waited for long: the host's memory killer, say, had its time.
        if process.reap() {
            return Err(Errno::ESRCH);
        }
        process.slots().parked.push(Parked {
            slot,
            uc,
            starting: true,
            far: true,
        });
        Ok(process)
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = state.birth.take().and_then(|birth| self.finish(birth).ok()) {
            process.kill();
        }
        self.zygote.kill();
    }
}
