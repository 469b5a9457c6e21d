//! A platform for tests: plain memory, and contexts that return the events a test queued.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use abi::{Errno, PAGE_SIZE, UserAddr};

use crate::{
    AddressSpace, Context, Death, Event, Interrupter, LocalAnswers, MapOp, MapSource, Platform, Prot,
    Registers, Title, UserRange, Vdso, XState,
};

/// Makes scripted address spaces. File mappings show zeroes: no host file is read.
#[derive(Debug, Default)]
pub struct Scripted;

impl Platform for Scripted {
    fn new_address_space(&self) -> Result<Arc<dyn AddressSpace>, Errno> {
        Ok(Arc::new(ScriptedSpace::default()))
    }
    fn user_range(&self) -> UserRange {
        UserRange {
            start: UserAddr(0x10000),
            end: UserAddr(0x7fff_0000_0000),
        }
    }
    fn xstate_layout(&self) -> (usize, u64) {
        (832, 7)
    }
    fn vdso(&self) -> Option<Vdso> {
        None
    }
}

#[derive(Clone, Debug)]
struct Page {
    prot: Prot,
    bytes: Vec<u8>,
}

/// Most pages of one mapping: their buffers are real memory.
const MAX_PAGES: u64 = 16384;

/// Memory of a scripted guest: one buffer per mapped page.
#[derive(Debug, Default)]
pub struct ScriptedSpace {
    pages: Mutex<BTreeMap<u64, Page>>,
    dead: AtomicBool,
}

impl ScriptedSpace {
    fn pages(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `each` on the pieces of `[addr, addr+len)` page by page until one is missing or forbids `need`.
    fn walk(
        &self,
        addr: UserAddr,
        len: usize,
        need: Prot,
        mut each: impl FnMut(&mut [u8], usize),
    ) -> Result<usize, Errno> {
        let mut pages = self.pages();
        let mut done = 0usize;
        while done < len {
            let at = addr.0.wrapping_add(done as u64);
            let (page, offset) = (at / PAGE_SIZE, (at % PAGE_SIZE) as usize);
            let piece = (PAGE_SIZE as usize - offset).min(len - done);
            match pages.get_mut(&page) {
                Some(p) if p.prot.contains(need) => each(&mut p.bytes[offset..offset + piece], done),
                _ => break,
            }
            done += piece;
        }
        if done == 0 && len > 0 {
            Err(Errno::EFAULT)
        } else {
            Ok(done)
        }
    }
}

impl AddressSpace for ScriptedSpace {
    fn show_as(&self, _: &Title) -> Option<i32> {
        None
    }

    fn apply(&self, ops: &[MapOp]) -> Result<(), (usize, Errno)> {
        let mut pages = self.pages();
        for (index, op) in ops.iter().enumerate() {
            if let MapOp::Map { len, .. } | MapOp::Remap { new_len: len, .. } = op
                && *len / PAGE_SIZE > MAX_PAGES
            {
                return Err((index, Errno::ENOMEM));
            }
            match op {
                MapOp::Map {
                    addr,
                    len,
                    prot,
                    source,
                    ..
                } => {
                    let _zeroes = matches!(source, MapSource::Anonymous);
                    for page in addr.0 / PAGE_SIZE..(addr.0 + len) / PAGE_SIZE {
                        pages.insert(
                            page,
                            Page {
                                prot: *prot,
                                bytes: vec![0; PAGE_SIZE as usize],
                            },
                        );
                    }
                }
                MapOp::Unmap { addr, len } => {
                    // By what is there: a guest may unmap all that it could ever have.
                    let range = addr.0 / PAGE_SIZE..(addr.0 + len) / PAGE_SIZE;
                    let gone: Vec<u64> = pages.range(range).map(|(page, _)| *page).collect();
                    for page in gone {
                        pages.remove(&page);
                    }
                }
                MapOp::Protect { addr, len, prot } => {
                    let range = addr.0 / PAGE_SIZE..(addr.0 + len) / PAGE_SIZE;
                    for (_, page) in pages.range_mut(range) {
                        page.prot = *prot;
                    }
                }
                MapOp::Remap {
                    old,
                    old_len,
                    new,
                    new_len,
                    ..
                } => {
                    let moved: Vec<Option<Page>> = (old.0 / PAGE_SIZE..(old.0 + old_len) / PAGE_SIZE)
                        .map(|p| pages.remove(&p))
                        .collect();
                    let prot = moved.iter().flatten().next().map_or(Prot::READ, |p| p.prot);
                    for index in 0..new_len / PAGE_SIZE {
                        let page = moved.get(index as usize).cloned().flatten();
                        let page = page.unwrap_or_else(|| Page {
                            prot,
                            bytes: vec![0; PAGE_SIZE as usize],
                        });
                        pages.insert(new.0 / PAGE_SIZE + index, page);
                    }
                }
                MapOp::Advise { .. } | MapOp::Sync { .. } => {}
            }
        }
        Ok(())
    }

    fn read(&self, addr: UserAddr, buf: &mut [u8]) -> Result<usize, Errno> {
        let len = buf.len();
        self.walk(addr, len, Prot::READ, |page, at| {
            buf[at..at + page.len()].copy_from_slice(page)
        })
    }

    fn write(&self, addr: UserAddr, data: &[u8]) -> Result<usize, Errno> {
        self.walk(addr, data.len(), Prot::WRITE, |page, at| {
            page.copy_from_slice(&data[at..at + page.len()])
        })
    }

    fn write_force(&self, addr: UserAddr, data: &[u8]) -> Result<usize, Errno> {
        self.walk(addr, data.len(), Prot::empty(), |page, at| {
            page.copy_from_slice(&data[at..at + page.len()])
        })
    }

    fn load_u32(&self, addr: UserAddr) -> Result<u32, Errno> {
        let mut raw = [0; 4];
        if self.read(addr, &mut raw)? < 4 {
            Err(Errno::EFAULT)
        } else {
            Ok(u32::from_le_bytes(raw))
        }
    }

    fn compare_exchange_u32(&self, addr: UserAddr, old: u32, new: u32) -> Result<u32, Errno> {
        let mut seen = 0;
        let done = self.walk(addr, 4, Prot::WRITE, |page, _| {
            let mut raw = [0; 4];
            raw.copy_from_slice(&page[..4]);
            seen = u32::from_le_bytes(raw);
            if seen == old {
                page[..4].copy_from_slice(&new.to_le_bytes());
            }
        })?;
        if done < 4 { Err(Errno::EFAULT) } else { Ok(seen) }
    }

    fn fork(&self) -> Result<Arc<dyn AddressSpace>, Errno> {
        Ok(Arc::new(ScriptedSpace {
            pages: Mutex::new(self.pages().clone()),
            dead: AtomicBool::new(false),
        }))
    }

    fn new_context(&self, regs: &Registers, xstate: &XState) -> Result<Box<dyn Context>, Errno> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(Errno::ESRCH);
        }
        Ok(Box::new(ScriptedContext {
            regs: *regs,
            xstate: xstate.clone(),
            ..ScriptedContext::default()
        }))
    }

    fn futex_wake(&self, _: UserAddr, _: u32, _: u32) -> Result<u32, Errno> {
        Ok(0)
    }

    fn resident_bytes(&self) -> u64 {
        self.pages().len() as u64 * PAGE_SIZE
    }

    fn mincore(&self, addr: UserAddr, len: u64) -> Result<Vec<u8>, Errno> {
        let pages = self.pages();
        Ok((addr.0 / PAGE_SIZE..(addr.0 + len) / PAGE_SIZE)
            .map(|p| u8::from(pages.contains_key(&p)))
            .collect())
    }

    fn cpu_time(&self) -> Duration {
        Duration::ZERO
    }

    fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }
}

#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Interrupter for Flag {
    fn interrupt(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A context whose `run` returns queued events; with none left it reports [`Death::Killed`].
#[derive(Default)]
pub struct ScriptedContext {
    regs: Registers,
    xstate: XState,
    /// Events to come, with the registers rax, rdi, rsi and rdx that a system call stops with.
    pub events: VecDeque<(Event, [u64; 4])>,
    interrupted: Arc<Flag>,
}

impl ScriptedContext {
    /// Adds an event; for a system call with its number and first three arguments.
    pub fn queue(&mut self, event: Event, registers: [u64; 4]) {
        self.events.push_back((event, registers));
    }
}

impl Context for ScriptedContext {
    fn run(&mut self) -> Event {
        if self.interrupted.0.swap(false, Ordering::SeqCst) {
            return Event::Interrupted;
        }
        let Some((event, [rax, rdi, rsi, rdx])) = self.events.pop_front() else {
            return Event::Died(Death::Killed);
        };
        if event == Event::Syscall {
            (self.regs.rax, self.regs.orig_rax) = (rax, rax);
            (self.regs.rdi, self.regs.rsi, self.regs.rdx) = (rdi, rsi, rdx);
        }
        event
    }
    fn regs(&self) -> &Registers {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Registers {
        &mut self.regs
    }
    fn set_return(&mut self, value: u64) {
        self.regs.rax = value;
    }
    fn xstate(&mut self) -> Result<XState, Errno> {
        Ok(self.xstate.clone())
    }
    fn set_xstate(&mut self, state: &XState) -> Result<(), Errno> {
        self.xstate = state.clone();
        Ok(())
    }
    fn read(&mut self, _: UserAddr, _: &mut [u8]) -> Result<usize, Errno> {
        // No window: the kernel falls back on the address space.
        Err(Errno::ENOSYS)
    }
    fn write(&mut self, _: UserAddr, _: &[u8]) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }
    fn flush(&mut self) -> Result<(), Errno> {
        Ok(())
    }
    fn set_local_answers(&mut self, _: &LocalAnswers) {}
    fn interrupter(&self) -> Arc<dyn Interrupter> {
        self.interrupted.clone()
    }
    fn cpu_time(&self) -> Duration {
        Duration::ZERO
    }
}
