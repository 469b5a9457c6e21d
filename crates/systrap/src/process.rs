//! A guest process: the host process that holds one guest address space, its helper and its threads.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use abi::Errno;
use host::futex;
use host::process::{self, CpuSet, Exit};
use platform::{Death, Title};

use crate::channel::{Channel, Op};
use crate::cores::ticks;
use crate::engine::Engine;
use crate::layout::{
    COMMAND_ADDR, KICK_SIGNAL, OP_FORK, STUB_ADDR, USER_END, USER_START, area, command, state,
};
use crate::patch::Patches;
use crate::regions::Regions;
use crate::slot::{Slot, Slots};

/// A live or dead guest process.
#[derive(Debug)]
pub struct Process {
    /// Host process id; valid until reaped.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// What it shares with the others.
    pub engine: Arc<Engine>,
    channel: Mutex<Channel>,
    /// Where the helper is.
    helper_cpu: AtomicUsize,
    dead: AtomicBool,
    killed: AtomicBool,
    end: Mutex<Option<Exit>>,
    /// Thread areas of this process, in use or not.
    pub slots: Mutex<Slots>,
    regions: Mutex<Regions>,
    patches: Mutex<Patches>,
}

/// Bytes of `struct prctl_mm_map` (include/uapi/linux/prctl.h); the name comes behind it.
const TITLE_NAME: u64 = 104;

/// A `struct prctl_mm_map` and a name. Where code, data and heap are matters to nobody; the auxiliary vector and the program
/// stay as they are.
fn title_data(title: &Title) -> [u64; command::DATA_LEN / 8] {
    let inside = |(start, end): (u64, u64)| {
        let there = (USER_START..USER_END).contains(&start) && (start..USER_END).contains(&end);
        if there { [start, end] } else { [USER_START; 2] }
    };
    let mut data = [0; command::DATA_LEN / 8];
    data[..7].fill(STUB_ADDR);
    data[1] += 1;
    data[7..9].copy_from_slice(&inside(title.arguments));
    data[9..11].copy_from_slice(&inside(title.environment));
    // No auxiliary vector; its length is 0, and the descriptor of the program is -1.
    data[12] = 0xffff_ffff << 32;
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().take(15).zip(&title.name) {
        *to = *from;
    }
    for (slot, bytes) in data[13..].iter_mut().zip(name.chunks_exact(8)) {
        *slot = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    }
    data
}

impl Process {
    /// Takes charge of the child `pid`, whose helper listens to `channel`.
    pub fn adopt(
        pid: i32,
        channel: Channel,
        engine: Arc<Engine>,
        regions: Regions,
        patches: Patches,
    ) -> Result<Arc<Process>, Errno> {
        let pidfd = process::pidfd_open(pid).inspect_err(|_| {
            // Nobody would ever end it. Until it is reaped, the number is its own.
            let _ = process::tgkill(pid, pid, libc::SIGKILL);
            let _ = process::wait_pid(pid);
        })?;
        let process = Arc::new(Process {
            pid,
            pidfd,
            engine,
            channel: Mutex::new(channel),
            helper_cpu: AtomicUsize::new(usize::MAX),
            dead: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            end: Mutex::new(None),
            slots: Mutex::default(),
            regions: Mutex::new(regions),
            patches: Mutex::new(patches),
        });
        if let Err(error) = process.engine.reaper.register(&process) {
            process.kill();
            return Err(error);
        }
        Ok(process)
    }

    /// One without a helper: orders to it come to nothing unless somebody plays that. Its memory is that of `pid`; above every
    /// process id of Linux, nobody's.
    #[cfg(any(test, feature = "testing"))]
    pub fn unreal(pid: i32, engine: Arc<Engine>, nothing: OwnedFd) -> Result<Arc<Process>, Errno> {
        Ok(Arc::new(Process {
            pid,
            pidfd: nothing,
            engine,
            channel: Mutex::new(Channel::new()?),
            helper_cpu: AtomicUsize::new(usize::MAX),
            dead: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            end: Mutex::new(None),
            slots: Mutex::default(),
            regions: Mutex::default(),
            patches: Mutex::default(),
        }))
    }

    /// A copy of the descriptor over which it gets its orders.
    #[cfg(any(test, feature = "testing"))]
    pub fn orders(&self) -> std::io::Result<OwnedFd> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel.file().try_clone()
    }

    /// It has ended.
    #[cfg(any(test, feature = "testing"))]
    pub fn vanish(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Whether it has ended or was told to.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst) || self.killed.load(Ordering::SeqCst)
    }

    /// Whether the host process has ended and been reaped: no thread of it exists.
    pub fn is_reaped(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Why it ended.
    pub fn death(&self) -> Death {
        if self.killed.load(Ordering::SeqCst) {
            return Death::Killed;
        }
        match *self.end.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Exit::Signal(signal)) => Death::Signal(signal),
            _ => Death::Protocol,
        }
    }

    /// Carries out orders; see [`Channel::execute`].
    pub fn execute(&self, ops: &[Op]) -> Result<u32, (usize, Errno)> {
        if self.is_dead() {
            return Err((0, Errno::ESRCH));
        }
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        self.fetch_helper(&mut channel);
        channel.execute(ops, || self.is_dead())
    }

    /// Names the process for the host's tools: prctl(2) by its helper, which is its first thread.
    pub fn show_as(&self, title: &Title) -> Result<(), Errno> {
        if self.is_dead() {
            return Err(Errno::ESRCH);
        }
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel.store(&title_data(title));
        let at = COMMAND_ADDR + command::DATA as u64;
        let ops = [
            Op::call(
                libc::SYS_prctl,
                [libc::PR_SET_NAME as u64, at + TITLE_NAME, 0, 0, 0, 0],
            ),
            Op::call(
                libc::SYS_prctl,
                [
                    libc::PR_SET_MM as u64,
                    libc::PR_SET_MM_MAP as u64,
                    at,
                    TITLE_NAME,
                    0,
                    0,
                ],
            ),
        ];
        self.fetch_helper(&mut channel);
        let done = channel.execute(&ops, || self.is_dead());
        done.map(drop).map_err(|(_, error)| error)
    }

    /// Orders a copy-on-write copy that listens to `channel`; somebody will [`Process::collect`] its id. The helper, and
    /// so the copy, runs where the host likes.
    pub fn post_fork(&self, channel: &Channel) {
        let mut own = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        own.post(&[fork_order(channel)]);
    }

    /// The answer to what was posted last.
    pub fn collect(&self) -> Result<u32, Errno> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel.collect(|| self.is_dead()).map_err(|(_, e)| e)
    }

    /// Brings the helper to the caller's core: there it runs when the caller waits, and no idle core is woken.
    fn fetch_helper(&self, channel: &mut Channel) {
        let cpu = process::current_cpu();
        channel.allow_turns(self.engine.cores.allows_turns(cpu, ticks()));
        if self.helper_cpu.swap(cpu, Ordering::Relaxed) != cpu {
            let _ = process::set_affinity(self.pid, &CpuSet::one(cpu));
        }
    }

    /// Lets a new guest thread, which starts with the helper's core, run on any.
    pub fn release(&self, tid: i32) {
        let _ = process::set_affinity(tid, &self.engine.cores.all);
    }

    /// A copy-on-write copy of the process, without its guest threads.
    pub fn fork(&self) -> Result<Arc<Process>, Errno> {
        let mut channel = Channel::new()?;
        // Held until the child is there: its memory must be of one moment with the record of it.
        let (regions, patches) = (self.regions(), self.patches());
        let pid = match self.execute(&[fork_order(&channel)]) {
            Ok(pid) => pid,
            Err((_, error)) => {
                // The helper may have been killed after it forked: let the child, if there is one, go.
                channel.post(&[Op::call(libc::SYS_exit, [0; 6])]);
                return Err(error);
            }
        };
        let (regions, patches) = (regions.clone(), patches.clone());
        let child = Process::adopt(pid as i32, channel, self.engine.clone(), regions, patches)?;
        // The child's helper starts where this one is.
        child
            .helper_cpu
            .store(self.helper_cpu.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(child)
    }

    /// What is mapped. Lock order: regions, patches, slots or channel.
    pub fn regions(&self) -> MutexGuard<'_, Regions> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Likewise, unless somebody is about to change it.
    pub fn try_regions(&self) -> Option<MutexGuard<'_, Regions>> {
        self.regions.try_lock().ok()
    }

    /// Its patched call sites.
    pub fn patches(&self) -> MutexGuard<'_, Patches> {
        self.patches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether at most one thread can run guest code.
    pub fn has_one_thread(&self) -> bool {
        let slots = self.slots();
        slots.all.len() <= slots.parked.len() + slots.exiting.len() + slots.idle.len() + 1
    }

    /// The thread areas.
    pub fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a signal to one of its threads; `ESRCH` when the thread is gone.
    pub fn signal_thread(&self, tid: i32, signal: i32) -> Result<(), Errno> {
        // The lock keeps the pid from being reaped, and so reused, meanwhile.
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_some() {
            return Err(Errno::ESRCH);
        }
        process::tgkill(self.pid, tid, signal)
    }

    /// Interrupts a thread that runs guest code.
    pub fn kick(&self, slot: &Slot) {
        slot.area.word(area::KICK).store(1, Ordering::SeqCst);
        if self
            .signal_thread(slot.tid.load(Ordering::SeqCst), KICK_SIGNAL)
            .is_err()
        {
            // A thread that is gone without the sentry's order: whoever waits for it must not wait on.
            slot.area.word(area::STATE).store(state::DEAD, Ordering::SeqCst);
            futex::wake(slot.area.word(area::STATE), u32::MAX >> 1);
        }
    }

    /// Kills every thread. The reaper does the rest.
    pub fn kill(&self) {
        if !self.killed.swap(true, Ordering::SeqCst) {
            let _ = process::pidfd_send_signal(&self.pidfd, libc::SIGKILL);
        }
    }

    /// Reaps the process if it has ended, and wakes its waiters. False: not yet.
    pub fn reap(&self) -> bool {
        {
            let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            if end.is_some() {
                return true;
            }
            match process::reap(&self.pidfd) {
                Ok(None) => return false,
                Ok(Some(exit)) => *end = Some(exit),
                // Nobody else reaps it, so this cannot be; it is gone in any case.
                Err(_) => *end = Some(Exit::Code(0)),
            }
            self.dead.store(true, Ordering::SeqCst);
        }
        for slot in &self.slots().all {
            slot.area.word(area::STATE).store(state::DEAD, Ordering::SeqCst);
            futex::wake(slot.area.word(area::STATE), u32::MAX >> 1);
        }
        true
    }

    /// Waits until the helper answers, before there is a reaper.
    pub fn await_start(&self) -> Result<(), Errno> {
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel
            .execute(&[], || self.reap())
            .map(|_| ())
            .map_err(|(_, e)| e)
    }

    /// Starts the reaper's thread if need be.
    pub fn start_reaper(&self) -> Result<(), Errno> {
        self.engine.reaper.start()
    }
}

fn fork_order(channel: &Channel) -> Op {
    Op {
        nr: OP_FORK,
        args: [channel.number(), 0, 0, 0, 0, 0],
    }
}
