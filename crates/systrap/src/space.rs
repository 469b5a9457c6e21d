//! A guest address space: mapping changes as orders to its process, and access to its memory.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use abi::{Errno, PAGE_SIZE, UserAddr};
use host::{process, vm};
use platform::{
    AddressSpace, Advice, Context, HostFile, MapFlags, MapOp, MapSource, Prot, Registers, Title, XState,
};

use crate::channel::Op;
use crate::clock;
use crate::context::Thread;
use crate::layout::{self as l, OP_CAS, USER_END, USER_START, command};
use crate::patch;
use crate::process::Process;
use crate::regions::{Access, Regions};
use crate::slot::{Parked, Slot, Slots};
use crate::vdso;

/// From this length on, memory that should be huge is advised so.
const HUGE_PAGE: u64 = 2 << 20;
/// Bytes of `mincore` results fetched at once: a part of the helper's scratch stack.
const MINCORE_PAGES: u64 = 0x4000;

/// The address space; dropping it kills its process.
pub struct Space {
    process: Arc<Process>,
}

impl Space {
    /// Wraps a process that holds no guest thread yet.
    pub fn new(process: Arc<Process>) -> Space {
        Space { process }
    }

    /// The process, for tests and statistics.
    pub fn pid(&self) -> i32 {
        self.process.pid
    }

    fn orders(&self, orders: &[(usize, Op)]) -> Result<(), (usize, Errno)> {
        for batch in orders.chunks(command::MAX_OPS) {
            let ops: Vec<Op> = batch.iter().map(|(_, op)| *op).collect();
            self.process.execute(&ops).map_err(|(at, error)| {
                let index = batch.get(at).map_or(0, |(index, _)| *index);
                (index, error)
            })?;
        }
        Ok(())
    }

    /// A thread for a new context: one that waits for it, or a new one.
    fn thread(&self) -> Result<Parked, Errno> {
        let process = &self.process;
        let mut slots = process.slots();
        if let Some(parked) = slots.parked.pop() {
            return Ok(parked);
        }
        retire(process, &mut slots);
        let (slot, mapped) = match slots.idle.pop() {
            Some(slot) => (slot, true),
            None => {
                let slot = Slot::take(&process.engine)?;
                slots.all.push(slot.clone());
                (slot, false)
            }
        };
        drop(slots);
        let (uc, ops) = slot.birth(&process.engine, mapped);
        match process.execute(&ops) {
            Ok(tid) => {
                slot.tid.store(tid as i32, Ordering::SeqCst);
                process.release(tid as i32);
            }
            Err((at, error)) => {
                if at + 1 == ops.len() {
                    process.slots().idle.push(slot);
                } else if at == 0 && error != Errno::ESRCH {
                    process.slots().all.retain(|other| !Arc::ptr_eq(other, &slot));
                } else {
                    process.kill();
                }
                return Err(error);
            }
        }
        Ok(Parked {
            slot,
            uc,
            starting: true,
            far: false,
        })
    }

    /// Takes patches back before their trampolines are unmapped or replaced.
    fn give_way(&self, ops: &[MapOp]) {
        let mut patches = self.process.patches();
        let touched = ops.iter().any(|op| match op {
            MapOp::Map { addr, len, .. } | MapOp::Unmap { addr, len } => {
                patches.touches(addr.0, addr.0.saturating_add(*len))
            }
            MapOp::Protect { addr, len, .. } => patches.touches(addr.0, addr.0.saturating_add(*len)),
            MapOp::Remap {
                old,
                old_len,
                new,
                new_len,
                ..
            } => {
                patches.touches(old.0, old.0.saturating_add(*old_len))
                    || patches.touches(new.0, new.0.saturating_add(*new_len))
            }
            MapOp::Advise { .. } | MapOp::Sync { .. } => false,
        });
        if touched {
            patches.undo(&self.process);
        }
    }

    fn clamp(addr: UserAddr, len: usize) -> Result<usize, Errno> {
        if addr.0 < USER_START || addr.0 >= USER_END {
            return Err(Errno::EFAULT);
        }
        Ok(len.min(usize::try_from(USER_END - addr.0).unwrap_or(usize::MAX)))
    }

    fn translate(&self, error: Errno) -> Errno {
        if self.process.is_dead() {
            Errno::ESRCH
        } else {
            error
        }
    }
}

/// Moves areas of threads that have exited to the idle ones.
fn retire(process: &Process, slots: &mut Slots) {
    let gone =
        |slot: &Arc<Slot>| process.signal_thread(slot.tid.load(Ordering::SeqCst), 0) == Err(Errno::ESRCH);
    let (done, rest): (Vec<_>, Vec<_>) = slots.exiting.drain(..).partition(gone);
    slots.exiting = rest;
    slots.idle.extend(done);
}

fn advise(addr: u64, len: u64, advice: i32) -> Op {
    Op::call(libc::SYS_madvise, [addr, len, advice as u64, 0, 0, 0])
}

fn check_range(addr: UserAddr, len: u64) -> Result<(), Errno> {
    let end = addr.0.checked_add(len).ok_or(Errno::EINVAL)?;
    let aligned = addr.is_page_aligned() && len.is_multiple_of(PAGE_SIZE);
    if len == 0 || !aligned || addr.0 < USER_START || end > USER_END {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

fn map_op(addr: UserAddr, len: u64, prot: Prot, flags: MapFlags, source: &MapSource) -> Result<Op, Errno> {
    let mut host = libc::MAP_FIXED | libc::MAP_NORESERVE;
    host |= if flags.contains(MapFlags::SHARED) {
        libc::MAP_SHARED
    } else {
        libc::MAP_PRIVATE
    };
    if flags.contains(MapFlags::POPULATE) {
        host |= libc::MAP_POPULATE;
    }
    let (fd, offset) = match source {
        MapSource::Anonymous => {
            host |= libc::MAP_ANONYMOUS;
            (u64::MAX, 0)
        }
        MapSource::File {
            file: HostFile(fd),
            offset,
        } => (fd.as_raw_fd() as u64, *offset),
        MapSource::Vdso => return Err(Errno::EINVAL),
    };
    let args = [addr.0, len, u64::from(prot.bits()), host as u64, fd, offset];
    Ok(Op::call(libc::SYS_mmap, args))
}

fn remap_op(old: UserAddr, old_len: u64, new: UserAddr, new_len: u64, keep_old: bool) -> Result<Op, Errno> {
    check_range(old, old_len.max(PAGE_SIZE))?;
    check_range(new, new_len)?;
    let mut flags = 0;
    if new != old {
        flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    }
    if keep_old {
        flags |= libc::MREMAP_DONTUNMAP;
    }
    let args = [old.0, old_len, new_len, flags as u64, new.0, 0];
    Ok(Op::call(libc::SYS_mremap, args))
}

const fn advice_number(advice: Advice) -> i32 {
    match advice {
        Advice::DontNeed => libc::MADV_DONTNEED,
        Advice::Free => libc::MADV_FREE,
        Advice::Remove => libc::MADV_REMOVE,
        Advice::WillNeed => libc::MADV_WILLNEED,
        Advice::HugePage => libc::MADV_HUGEPAGE,
        Advice::NoHugePage => libc::MADV_NOHUGEPAGE,
        Advice::DontFork => libc::MADV_DONTFORK,
        Advice::DoFork => libc::MADV_DOFORK,
        Advice::WipeOnFork => libc::MADV_WIPEONFORK,
        Advice::KeepOnFork => libc::MADV_KEEPONFORK,
        Advice::PopulateRead => libc::MADV_POPULATE_READ,
        Advice::PopulateWrite => libc::MADV_POPULATE_WRITE,
    }
}

/// The clock page, shared and read-only; the image behind it, private as the text of any library.
fn vdso_ops(addr: u64, len: u64, index: usize, fd: u64, out: &mut Vec<(usize, Op)>) -> Result<(), Errno> {
    let (page, image) = (clock::PAGE_LEN as u64, vdso::IMAGE_LEN as u64);
    if len != page + image + patch::LEN {
        return Err(Errno::EINVAL);
    }
    let parts = [
        (addr, page, libc::PROT_READ, libc::MAP_SHARED, 0),
        (
            addr + page,
            image,
            libc::PROT_READ | libc::PROT_EXEC,
            libc::MAP_PRIVATE,
            page,
        ),
    ];
    for (at, len, prot, flags, offset) in parts {
        let args = [at, len, prot as u64, (flags | libc::MAP_FIXED) as u64, fd, offset];
        out.push((index, Op::call(libc::SYS_mmap, args)));
    }
    // Trampolines come later, if any.
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    let args = [
        addr + page + image,
        patch::LEN,
        libc::PROT_NONE as u64,
        flags as u64,
        u64::MAX,
        0,
    ];
    out.push((index, Op::call(libc::SYS_mmap, args)));
    Ok(())
}

/// The orders for one change.
fn translate_op(op: &MapOp, index: usize, vdso: u64, out: &mut Vec<(usize, Op)>) -> Result<(), Errno> {
    match op {
        MapOp::Map {
            addr,
            len,
            prot,
            flags,
            source,
        } => {
            check_range(*addr, *len)?;
            if matches!(source, MapSource::Vdso) {
                return vdso_ops(addr.0, *len, index, vdso, out);
            }
            out.push((index, map_op(*addr, *len, *prot, *flags, source)?));
            let anonymous = matches!(source, MapSource::Anonymous) && !flags.contains(MapFlags::SHARED);
            if flags.contains(MapFlags::HUGE) && anonymous && *len >= HUGE_PAGE {
                out.push((index, advise(addr.0, *len, libc::MADV_HUGEPAGE)));
            }
        }
        MapOp::Unmap { addr, len } => {
            check_range(*addr, *len)?;
            out.push((index, Op::call(libc::SYS_munmap, [addr.0, *len, 0, 0, 0, 0])));
        }
        MapOp::Protect { addr, len, prot } => {
            check_range(*addr, *len)?;
            out.push((index, protect(addr.0, *len, *prot)));
        }
        MapOp::Remap {
            old,
            old_len,
            new,
            new_len,
            keep_old,
        } => out.push((index, remap_op(*old, *old_len, *new, *new_len, *keep_old)?)),
        MapOp::Advise { addr, len, advice } => {
            check_range(*addr, *len)?;
            out.push((index, advise(addr.0, *len, advice_number(*advice))));
        }
        MapOp::Sync { addr, len } => {
            check_range(*addr, *len)?;
            let flags = libc::MS_SYNC as u64;
            out.push((index, Op::call(libc::SYS_msync, [addr.0, *len, flags, 0, 0, 0])));
        }
    }
    Ok(())
}

fn protect(addr: u64, len: u64, prot: Prot) -> Op {
    Op::call(libc::SYS_mprotect, [addr, len, u64::from(prot.bits()), 0, 0, 0])
}

/// Notes a change that was carried out.
fn record(regions: &mut Regions, op: &MapOp) {
    match op {
        MapOp::Map {
            addr,
            source: MapSource::Vdso,
            ..
        } => {
            // The clock page is not listed: nobody writes it by force.
            let image = addr.0 + clock::PAGE_LEN as u64;
            regions.clear(addr.0, image);
            let prot = Prot::READ | Prot::EXEC;
            regions.set(
                image,
                image + vdso::IMAGE_LEN as u64,
                Access { prot, shared: false },
            );
        }
        MapOp::Map {
            addr,
            len,
            prot,
            flags,
            ..
        } => {
            let shared = flags.contains(MapFlags::SHARED);
            regions.set(addr.0, addr.0 + len, Access { prot: *prot, shared });
        }
        MapOp::Unmap { addr, len } => regions.clear(addr.0, addr.0 + len),
        MapOp::Protect { addr, len, prot } => regions.protect(addr.0, addr.0 + len, *prot),
        MapOp::Remap {
            old,
            old_len,
            new,
            new_len,
            keep_old,
        } => regions.remap(old.0, *old_len, new.0, *new_len, *keep_old),
        MapOp::Advise { .. } | MapOp::Sync { .. } => {}
    }
}

impl AddressSpace for Space {
    fn apply(&self, ops: &[MapOp]) -> Result<(), (usize, Errno)> {
        let mut orders = Vec::with_capacity(ops.len() + 2);
        let mut bad = None;
        let vdso = self.process.engine.clock.file.as_raw_fd() as u64;
        for (index, op) in ops.iter().enumerate() {
            if let Err(error) = translate_op(op, index, vdso, &mut orders) {
                bad = Some((index, error));
                break;
            }
        }
        let mut regions = self.process.regions();
        self.give_way(ops);
        let result = self.orders(&orders).and_then(|()| bad.map_or(Ok(()), Err));
        let done = result.as_ref().map_or_else(|(index, _)| *index, |()| ops.len());
        for op in ops.iter().take(done) {
            record(&mut regions, op);
            if let MapOp::Map {
                addr,
                source: MapSource::Vdso,
                ..
            } = op
            {
                let room = addr.0 + (clock::PAGE_LEN + vdso::IMAGE_LEN) as u64;
                self.process.patches().offer_room(room);
            }
        }
        result
    }

    fn read(&self, addr: UserAddr, buf: &mut [u8]) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        let len = Self::clamp(addr, buf.len())?;
        vm::read(self.process.pid, addr.0, &mut buf[..len]).map_err(|e| self.translate(e))
    }

    fn write(&self, addr: UserAddr, data: &[u8]) -> Result<usize, Errno> {
        if data.is_empty() {
            return Ok(0);
        }
        let len = Self::clamp(addr, data.len())?;
        vm::write(self.process.pid, addr.0, &data[..len]).map_err(|e| self.translate(e))
    }

    fn write_force(&self, addr: UserAddr, data: &[u8]) -> Result<usize, Errno> {
        if data.is_empty() {
            return Ok(0);
        }
        let len = Self::clamp(addr, data.len())?;
        let start = abi::page_down(addr.0);
        let end = abi::page_up(addr.0 + len as u64)
            .unwrap_or(USER_END)
            .min(USER_END);
        // The lock keeps mappings as they are until the old access is back.
        let regions = self.process.regions();
        let closed: Vec<_> = regions
            .pieces(start, end)
            .into_iter()
            .filter(|(_, _, access)| !access.shared && !access.prot.contains(Prot::WRITE | Prot::READ))
            .collect();
        let order = |writable: bool| -> Vec<(usize, Op)> {
            let access = |prot: Prot| {
                if writable {
                    prot | Prot::READ | Prot::WRITE
                } else {
                    prot
                }
            };
            closed
                .iter()
                .map(|(s, e, a)| (0, protect(*s, e - s, access(a.prot))))
                .collect()
        };
        self.orders(&order(true)).map_err(|(_, e)| e)?;
        let written = vm::write(self.process.pid, addr.0, &data[..len]).map_err(|e| self.translate(e));
        self.orders(&order(false)).map_err(|(_, e)| e)?;
        written
    }

    fn load_u32(&self, addr: UserAddr) -> Result<u32, Errno> {
        // An aligned word lies in one page, and the host copies it with one load.
        let mut word = [0; 4];
        if !addr.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        match self.read(addr, &mut word)? {
            4 => Ok(u32::from_le_bytes(word)),
            _ => Err(Errno::EFAULT),
        }
    }

    fn compare_exchange_u32(&self, addr: UserAddr, old: u32, new: u32) -> Result<u32, Errno> {
        if !addr.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        Self::clamp(addr, 4)?;
        let op = Op {
            nr: OP_CAS,
            args: [addr.0, u64::from(old), u64::from(new), 0, 0, 0],
        };
        self.process.execute(&[op]).map_err(|(_, e)| e)
    }

    fn fork(&self) -> Result<Arc<dyn AddressSpace>, Errno> {
        Ok(Arc::new(Space::new(self.process.fork()?)))
    }

    fn new_context(&self, regs: &Registers, xstate: &XState) -> Result<Box<dyn Context>, Errno> {
        let parked = self.thread()?;
        if self.process.is_reaped() {
            return Err(Errno::ESRCH);
        }
        let thread = Thread::new(self.process.clone(), parked, regs, xstate)?;
        Ok(Box::new(thread))
    }

    fn futex_wake(&self, addr: UserAddr, count: u32, bitset: u32) -> Result<u32, Errno> {
        Self::clamp(addr, 4)?;
        let count = count.min(i32::MAX as u32);
        let operation = (libc::FUTEX_WAKE_BITSET | libc::FUTEX_PRIVATE_FLAG) as u64;
        let args = [addr.0, operation, u64::from(count), 0, 0, u64::from(bitset)];
        self.process
            .execute(&[Op::call(libc::SYS_futex, args)])
            .map_err(|(_, e)| e)
    }

    fn resident_bytes(&self) -> u64 {
        process::resident_bytes(self.process.pid).unwrap_or(0)
    }

    fn mincore(&self, addr: UserAddr, len: u64) -> Result<Vec<u8>, Errno> {
        check_range(addr, len)?;
        let mut result = Vec::with_capacity(usize::try_from(len / PAGE_SIZE).map_err(|_| Errno::ENOMEM)?);
        // The helper's scratch stack is shared by all that ask: hold the regions' lock meanwhile.
        let _lock = self.process.regions();
        let mut at = addr.0;
        while at < addr.0 + len {
            let piece = (addr.0 + len - at).min(MINCORE_PAGES * PAGE_SIZE);
            let args = [at, piece, l::HELPER_STACK, 0, 0, 0];
            self.process
                .execute(&[Op::call(libc::SYS_mincore, args)])
                .map_err(|(_, e)| e)?;
            let mut bytes = vec![0; (piece / PAGE_SIZE) as usize];
            if vm::read(self.process.pid, l::HELPER_STACK, &mut bytes)? < bytes.len() {
                return Err(Errno::EFAULT);
            }
            result.extend(bytes.iter().map(|b| b & 1));
            at += piece;
        }
        Ok(result)
    }

    fn cpu_time(&self) -> Duration {
        process::cpu_time(self.process.pid).unwrap_or(Duration::ZERO)
    }

    fn show_as(&self, title: &Title) -> Option<i32> {
        // A host that does not let processes rename themselves shows another name, and is right otherwise.
        let _ = self.process.show_as(title);
        (!self.process.is_dead()).then_some(self.process.pid)
    }

    fn kill(&self) {
        self.process.kill();
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.process.kill();
    }
}
