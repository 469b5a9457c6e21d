//! A guest thread: handing it its registers, waiting for its next event, reading what happened.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use abi::{Errno, UserAddr};
use host::vm;
use platform::{Context, Death, Event, Fault, HostFile, Interrupter, LocalAnswers, Registers, Rseq, XState};

use crate::frame;
use crate::handoff::Pair;
use crate::layout::{self as l, area, state, uc};
use crate::patch;
use crate::process::Process;
use crate::rseq::Registration;
use crate::slot::{Parked, Slot};
use crate::stub;
use crate::window::Windows;

/// Threads without a context that a process keeps for the next one.
const MAX_PARKED: usize = 32;
/// How long to wait for the host to report the end of a process whose thread is known to be gone.
const DEATH_WAIT: Duration = Duration::from_millis(300);
/// One past the lower half of the address space, where canonical user addresses end.
const CANONICAL_END: u64 = 1 << 47;
/// `si_code` of a signal sent by the host's kernel for a general protection fault.
const SI_KERNEL: i32 = 0x80;
/// x86 trap number of a general protection fault.
const TRAP_GP: u64 = 13;
/// Error code of `int 0x80` where that gate does not exist.
const INT80_ERROR: u64 = 0x80 * 8 + 2;
/// `si_code` of a SIGSYS made by seccomp.
const SYS_SECCOMP: i32 = 1;
/// The x86-64 architecture word of seccomp.
const ARCH_X86_64: u32 = host::seccomp::ARCH_X86_64;

/// clock_gettime, gettimeofday and time: the vDSO's way out when its page is out of date.
const CLOCK_CALLS: [u64; 3] = [228, 96, 201];

/// A guest thread as its sentry thread drives it.
pub struct Thread {
    process: Arc<Process>,
    slot: Arc<Slot>,
    kicker: Arc<Kicker>,
    regs: Registers,
    /// Offset of the current frame in the area.
    uc: usize,
    /// `regs` was handed out to be changed.
    dirty: bool,
    /// `rax` alone was changed.
    returned: bool,
    /// Where the extended state is.
    xplace: Extended,
    /// The extended state was to be loaded when the thread was last continued.
    xloading: bool,
    windows: Windows,
    /// Bytes were to be copied out when the thread was last continued, as part of more than a call's result.
    out_matters: bool,
    /// The segment bases that are loaded in the guest thread.
    bases: (u64, u64),
    /// The thread has yet to report that it is ready.
    starting: bool,
    rseq: Registration,
    pair: Pair,
    death: Option<Death>,
}

/// Where a stopped guest thread's extended state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extended {
    /// In the signal frame, loaded from there when the thread continues.
    Frame,
    /// In the processor: the call came through a patched site.
    Live,
    /// Likewise, with a copy in the area.
    Saved,
    /// In the area, to be loaded when the thread continues.
    Changed,
}

impl Extended {
    fn of(uc: usize) -> Extended {
        if uc == area::FAST {
            Extended::Live
        } else {
            Extended::Frame
        }
    }
}

/// How long a guest thread may ignore what it was asked: it must have had the time to answer.
#[derive(Default)]
struct Patience {
    looks: u32,
    /// Looks since the first at which its process had run since the look before.
    active: u32,
    first: Duration,
    last: Duration,
}

impl Patience {
    /// Looks before a guest thread is taken for hostile: some 15 seconds, lest a host with thousands of runnable
    /// threads starves an honest one for so long.
    const LOOKS: u32 = 60;
    /// Time its process must have had on a processor meanwhile.
    const CPU_TIME: Duration = Duration::from_millis(100);

    /// A thread that takes its kicks and goes back to sleep in the stub uses next to no time, but runs at each kick;
    /// an honest one answers the first time it runs.
    fn has_ended(&mut self, process: &Process) -> bool {
        let now = host::process::cpu_time(process.pid).unwrap_or(Duration::MAX);
        if self.looks == 0 {
            self.first = now;
        } else if now > self.last {
            self.active = self.active.saturating_add(1);
        }
        self.last = now;
        self.looks = self.looks.saturating_add(1);
        let used = now.saturating_sub(self.first) >= Self::CPU_TIME;
        self.looks > Self::LOOKS && (used || self.active > Self::LOOKS)
    }
}

/// Interrupts a [`Thread`].
pub struct Kicker {
    process: Arc<Process>,
    slot: Arc<Slot>,
    pending: AtomicBool,
}

impl Interrupter for Kicker {
    fn interrupt(&self) {
        self.pending.store(true, Ordering::SeqCst);
        let running = self.slot.area.word(area::STATE).load(Ordering::SeqCst) & !state::SLEEP == state::RUN;
        if running && !self.slot.kicked.swap(true, Ordering::SeqCst) {
            self.process.kick(&self.slot);
        }
    }
}

impl Thread {
    /// Takes over a guest thread that waits in the stub (or will soon).
    pub fn new(
        process: Arc<Process>,
        parked: Parked,
        regs: &Registers,
        xstate: &XState,
    ) -> Result<Thread, Errno> {
        let kicker = Arc::new(Kicker {
            process: process.clone(),
            slot: parked.slot.clone(),
            pending: AtomicBool::new(false),
        });
        let pair = Pair::new(&process.engine.cores, parked.far);
        let mut thread = Thread {
            process,
            slot: parked.slot,
            kicker,
            regs: *regs,
            uc: parked.uc,
            dirty: true,
            returned: false,
            xplace: Extended::of(parked.uc),
            xloading: false,
            windows: Windows::default(),
            out_matters: false,
            bases: (u64::MAX, u64::MAX),
            starting: parked.starting,
            rseq: Registration::default(),
            pair,
            death: None,
        };
        thread.slot.area.word(area::LOCAL).store(0, Ordering::Relaxed);
        thread.set_xstate(xstate)?;
        Ok(thread)
    }

    /// Writes changed registers into the frame. A fault: they cannot be loaded.
    fn write_back(&mut self) -> Result<(), Event> {
        let memory = &self.slot.area;
        let mut resume = 0;
        if self.dirty {
            if self.regs.rip >= CANONICAL_END {
                return Err(Event::Fault(Fault {
                    signal: libc::SIGSEGV as u32,
                    code: SI_KERNEL,
                    addr: UserAddr::NULL,
                    trap: TRAP_GP,
                    error: 0,
                }));
            }
            // As arch_prctl(2) does, a base outside user space is refused; no caller should come with one.
            for base in [&mut self.regs.fs_base, &mut self.regs.gs_base] {
                if *base >= l::TASK_END {
                    *base = 0;
                }
            }
            frame::write(memory, self.uc, &self.regs);
            if self.regs.fs_base != self.bases.0 {
                memory.set(area::FS_BASE, self.regs.fs_base);
                resume |= l::RESUME_FS;
            }
            // A guest that has no use for GS has the area there, by which patched sites find it.
            let gs_base = if self.regs.gs_base == 0 {
                memory.address()
            } else {
                self.regs.gs_base
            };
            if gs_base != self.bases.1 {
                memory.set(area::GS_BASE, gs_base);
                resume |= l::RESUME_GS;
            }
        } else if self.returned {
            memory.set(self.uc + uc::RAX, self.regs.rax);
        }
        if matches!(self.xplace, Extended::Live | Extended::Saved) {
            resume |= l::RESUME_LIVE;
            if !self.dirty && frame::is_simple(&self.regs) {
                resume |= l::RESUME_SIMPLE;
            }
        }
        self.xloading = self.xplace == Extended::Changed;
        self.out_matters = self.dirty;
        self.windows.order(memory);
        if self.rseq.order(memory) {
            resume |= l::RESUME_RSEQ;
        }
        memory.set(area::UC, memory.address() + self.uc as u64);
        memory.word(area::RESUME).store(resume, Ordering::Relaxed);
        memory.word(area::KICK).store(0, Ordering::Relaxed);
        self.slot.kicked.store(false, Ordering::SeqCst);
        (self.dirty, self.returned) = (false, false);
        Ok(())
    }

    /// Waits until the guest thread gives its area back. An error: it is gone.
    fn wait(&mut self, order: u32) -> Result<(), Death> {
        let tid = self.slot.tid.load(Ordering::Relaxed);
        let mut patience = Patience::default();
        loop {
            let now = self
                .pair
                .take(&self.process.engine.cores, &self.slot.area, tid, order)
                & !state::SLEEP;
            match now {
                state::EVENT => return Ok(()),
                state::DEAD => return Err(self.await_death()),
                same if same == order => {}
                _ => return Err(Death::Protocol),
            }
            // Nothing yet: a guest that computes, or one that spins where it ignores us.
            let asked = order != state::RUN || self.starting || self.kicker.pending.load(Ordering::SeqCst);
            if asked && patience.has_ended(&self.process) {
                return Err(Death::Protocol);
            }
            if asked && order == state::RUN && !self.starting {
                self.process.kick(&self.slot);
            }
        }
    }

    /// Has the guest thread, which stays in the stub, do something: [`state::SAVE`], [`state::RSEQ`].
    fn order(&mut self, order: u32) -> Option<Death> {
        if self.death.is_some() || self.process.is_reaped() {
            return Some(self.process.death());
        }
        let tid = self.slot.tid.load(Ordering::Relaxed);
        self.pair
            .give(&self.process.engine.cores, &self.slot.area, tid, order);
        if self.process.is_reaped() {
            return Some(self.process.death());
        }
        self.wait(order).err()
    }

    /// The thread is gone: waits for the host to tell how its process ended.
    fn await_death(&self) -> Death {
        let start = Instant::now();
        while !self.process.is_dead() && !self.process.reap() && start.elapsed() < DEATH_WAIT {
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.process.is_dead() {
            self.process.death()
        } else {
            Death::Protocol
        }
    }

    fn died(&mut self, death: Death) -> Event {
        if death == Death::Protocol {
            // A guest that broke the protocol loses its whole process: nothing in it can be relied on.
            self.process.kill();
        }
        self.death = Some(death);
        Event::Died(death)
    }

    /// Reads the event that the guest thread reported. `None`: nothing the kernel should hear of.
    fn event(&mut self) -> Result<Option<Event>, Death> {
        let memory = &self.slot.area;
        let signal = memory.word(area::SIG).load(Ordering::Relaxed);
        self.uc = frame::check(memory, memory.get(area::UC)).ok_or(Death::Protocol)?;
        self.regs = frame::read(memory, self.uc);
        self.bases = (self.regs.fs_base, self.regs.gs_base);
        self.windows.forget();
        if self.regs.gs_base == memory.address() {
            self.regs.gs_base = 0;
        }
        self.xplace = match Extended::of(self.uc) {
            // The kick undid the leaving: the state that was to be loaded may or may not have been.
            Extended::Live if self.xloading && undone(signal) => Extended::Changed,
            place => place,
        };
        if !self.step_back(signal)? {
            return Ok(None);
        }
        let memory = &self.slot.area;
        let info = self.uc + uc::SIGINFO;
        let code = memory.get(info + 8) as i32;
        Ok(match signal as i32 {
            _ if signal == l::SIG_FAST => {
                self.windows.call(memory, &self.regs);
                Some(self.called())
            }
            _ if signal == l::SIG_OUT_FAILED => self.out_failed(),
            l::KICK_SIGNAL => self
                .kicker
                .pending
                .swap(false, Ordering::SeqCst)
                .then_some(Event::Interrupted),
            libc::SIGSYS if code == SYS_SECCOMP => Some(self.syscall((memory.get(info + 24) >> 32) as u32)),
            libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL | libc::SIGTRAP if code > 0 => {
                Some(Event::Fault(Fault {
                    signal,
                    code,
                    addr: UserAddr(memory.get(info + 16)),
                    trap: memory.get(self.uc + uc::TRAPNO),
                    error: memory.get(self.uc + uc::ERR),
                }))
            }
            // Somebody outside sent the signal: not the guest's business.
            libc::SIGSYS | libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL | libc::SIGTRAP => None,
            _ => return Err(Death::Protocol),
        })
    }

    /// The guest has no such memory any more, though it had when the bytes were put on their way.
    fn out_failed(&mut self) -> Option<Event> {
        if !self.out_matters {
            self.set_return((-i64::from(Errno::EFAULT.raw())) as u64);
            return None;
        }
        // Not the result of a call but, say, a signal's frame.
        Some(Event::Fault(Fault {
            signal: libc::SIGSEGV as u32,
            code: SI_KERNEL,
            addr: UserAddr::NULL,
            trap: TRAP_GP,
            error: 0,
        }))
    }

    /// An interrupted thread on its way from a patched site to the stub goes back to the site. False: it is to go on.
    fn step_back(&mut self, signal: u32) -> Result<bool, Death> {
        let (rip, rcx) = (self.regs.rip, self.regs.rcx);
        if signal as i32 != l::KICK_SIGNAL && signal as i32 != libc::SIGTRAP {
            return Ok(true);
        }
        let patches = self.process.patches();
        if !stub::on_the_way(rip) && !patches.in_trampolines(rip) {
            return Ok(true);
        }
        if signal as i32 == libc::SIGTRAP {
            return Ok(false);
        }
        let site = patches.way_back(rip, rcx).ok_or(Death::Protocol)?;
        drop(patches);
        self.regs.rip = site;
        self.dirty = true;
        Ok(true)
    }

    fn syscall(&mut self, arch: u32) -> Event {
        if arch != ARCH_X86_64 {
            // 32-bit entry does not exist here; `int 0x80` faults as it does on a kernel without it.
            self.regs.rip = self.regs.rip.wrapping_sub(2);
            self.dirty = true;
            return Event::Fault(Fault {
                signal: libc::SIGSEGV as u32,
                code: SI_KERNEL,
                addr: UserAddr::NULL,
                trap: TRAP_GP,
                error: INT80_ERROR,
            });
        }
        let (nr, rip) = (self.regs.rax, self.regs.rip);
        let back = self.process.patches().return_of(rip);
        if let Some(back) = back {
            // Made in a trampoline for want of GS: to the guest it was made at the site.
            (self.regs.rip, self.regs.rcx) = (back, back);
            self.dirty = true;
        } else {
            patch::trapped(&self.process, nr, rip);
        }
        self.called()
    }

    fn called(&mut self) -> Event {
        self.regs.orig_rax = self.regs.rax;
        if CLOCK_CALLS.contains(&self.regs.rax) {
            self.process.engine.clock.refresh();
        }
        Event::Syscall
    }

    fn run_once(&mut self) -> Result<Option<Event>, Death> {
        if self.starting {
            self.wait(state::RUN)?;
            // What the thread reported is only that it is there; its frame is the one made for it.
            self.starting = false;
        }
        if let Err(event) = self.write_back() {
            return Ok(Some(event));
        }
        let tid = self.slot.tid.load(Ordering::Relaxed);
        self.pair
            .give(&self.process.engine.cores, &self.slot.area, tid, state::RUN);
        if self.kicker.pending.load(Ordering::SeqCst) && !self.slot.kicked.swap(true, Ordering::SeqCst) {
            self.process.kick(&self.slot);
        }
        if self.process.is_reaped() {
            return Err(self.process.death());
        }
        self.wait(state::RUN)?;
        self.event()
    }
}

/// Whether the report says that leaving the stub came to nothing.
fn undone(signal: u32) -> bool {
    signal as i32 == l::KICK_SIGNAL || signal == l::SIG_OUT_FAILED
}

impl Context for Thread {
    fn run(&mut self) -> Event {
        if let Some(death) = self.death {
            return Event::Died(death);
        }
        if self.process.is_dead() {
            let death = self.process.death();
            return self.died(death);
        }
        loop {
            if self.kicker.pending.swap(false, Ordering::SeqCst) {
                return Event::Interrupted;
            }
            match self.run_once() {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(death) => return self.died(death),
            }
        }
    }

    fn regs(&self) -> &Registers {
        &self.regs
    }

    fn regs_mut(&mut self) -> &mut Registers {
        self.dirty = true;
        &mut self.regs
    }

    fn set_return(&mut self, value: u64) {
        self.regs.rax = value;
        self.returned = true;
    }

    fn xstate(&mut self) -> Result<XState, Errno> {
        if self.xplace == Extended::Live {
            if let Some(death) = self.order(state::SAVE) {
                self.died(death);
                return Err(Errno::ESRCH);
            }
            self.xplace = Extended::Saved;
        }
        frame::read_xstate(&self.slot.area, self.uc, self.process.engine.layout).map(XState)
    }

    fn set_xstate(&mut self, state: &XState) -> Result<(), Errno> {
        frame::write_xstate(&self.slot.area, self.uc, self.process.engine.layout, &state.0)?;
        if self.xplace != Extended::Frame {
            self.xplace = Extended::Changed;
        }
        Ok(())
    }

    fn read(&mut self, addr: UserAddr, buf: &mut [u8]) -> Result<usize, Errno> {
        let got = self.windows.read(&self.slot.area, addr.0, buf);
        if got > 0 {
            return Ok(got);
        }
        if self.windows.touches(addr.0, buf.len()) {
            self.flush()?;
        }
        Err(Errno::ENOSYS)
    }

    fn write(&mut self, addr: UserAddr, data: &[u8]) -> Result<usize, Errno> {
        // The copy may be out of date now.
        self.windows.forget();
        if self.process.engine.tuning.windows
            && let Some(regions) = self.process.try_regions()
            && self.windows.write(&self.slot.area, &regions, addr.0, data)
        {
            return Ok(data.len());
        }
        if self.windows.touches(addr.0, data.len()) {
            self.flush()?;
        }
        Err(Errno::ENOSYS)
    }

    fn write_from_file(
        &mut self,
        addr: UserAddr,
        len: usize,
        file: &HostFile,
        offset: u64,
    ) -> Result<usize, Errno> {
        if !self.process.engine.tuning.windows {
            return Err(Errno::ENOSYS);
        }
        // Not held while the host reads, which may take long. What goes meanwhile is noticed when the bytes are copied out.
        let room = self
            .process
            .try_regions()
            .and_then(|regions| self.windows.room(&regions, addr.0, len));
        let at = room.ok_or(Errno::ENOSYS)?;
        self.windows.forget();
        let got = self.slot.area.fill(at, len, file.0.as_fd(), offset)?;
        if got > 0 {
            self.windows.put(addr.0, got);
        }
        Ok(got)
    }

    fn flush(&mut self) -> Result<(), Errno> {
        let pid = self.process.pid;
        self.windows
            .flush(&self.slot.area, |to, bytes| vm::write(pid, to, bytes))
    }

    fn will_sleep(&mut self) {
        self.pair.will_sleep(&self.process.engine.cores);
    }

    fn set_local_answers(&mut self, answers: &LocalAnswers) {
        let memory = &self.slot.area;
        let ask = u32::MAX;
        let values = [
            (area::PID, answers.pid),
            (area::TID, answers.tid),
            (area::PPID, if answers.ppid == 0 { ask } else { answers.ppid }),
            (area::UID, answers.uid),
            (area::EUID, answers.euid),
            (area::GID, answers.gid),
            (area::EGID, answers.egid),
            (area::LOCAL, u32::from(answers.enabled)),
        ];
        for (at, value) in values {
            memory.word(at).store(value, Ordering::Relaxed);
        }
    }

    fn set_rseq(&mut self, rseq: Option<Rseq>) {
        if let Some(rseq) = rseq {
            self.rseq.want(rseq);
        } else if self.rseq.withdraw(&self.slot.area) {
            match self.order(state::RSEQ) {
                Some(death) => {
                    self.died(death);
                }
                None => self.rseq.withdrawn(&self.slot.area),
            }
        }
    }

    fn set_processors(&mut self, mask: u64) {
        let tid = self.slot.tid.load(Ordering::Relaxed);
        self.pair.allow(&self.process.engine.cores, tid, mask);
    }

    fn processor(&self) -> Option<u32> {
        Some(self.slot.area.word(area::CPU).load(Ordering::Relaxed))
    }

    fn local_calls(&self) -> u64 {
        self.slot.area.get(area::LOCAL_CALLS)
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        self.kicker.clone()
    }

    fn cpu_time(&self) -> Duration {
        self.pair.guest_time(&self.process.engine.cores)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        let tid = self.slot.tid.load(Ordering::Relaxed);
        self.pair.end(&self.process.engine.cores, tid);
        if self.death.is_some() || self.process.is_dead() {
            return;
        }
        let mut slots = self.process.slots();
        // One that the host writes to is of no use to others: its memory may have gone.
        if slots.parked.len() < MAX_PARKED && !self.rseq.is_with_host() {
            slots.parked.push(Parked {
                slot: self.slot.clone(),
                uc: self.uc,
                starting: self.starting,
                far: false,
            });
        } else {
            slots.exiting.push(self.slot.clone());
            if self.starting {
                // It has not reported yet, and its report would overwrite the order.
                let _ = self
                    .pair
                    .take(&self.process.engine.cores, &self.slot.area, tid, state::RUN);
            }
            self.pair
                .give(&self.process.engine.cores, &self.slot.area, tid, state::EXIT);
        }
    }
}
