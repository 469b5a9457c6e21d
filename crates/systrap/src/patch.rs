//! Patched call sites: `mov $nr,%eax; syscall` becomes a jump into the stub, without a signal.
//!
//! Only the five bytes of the `mov` change, to a jump of the same length; the `syscall` behind it stays, so a thread
//! between the two, a jump to it, and the kernel's way of restarting a call (two bytes back) all still work.
//! A site is patched after [`THRESHOLD`] traps, if it lies in private text within reach of the process's trampolines,
//! which follow the vDSO. This is an optimisation over the filter, never the boundary.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use abi::{Errno, PAGE_SIZE, page_down};
use host::mem::{self, Shared};
use host::vm;
use platform::Prot;

use crate::channel::Op;
use crate::layout::OP_CAS64;
use crate::process::Process;
use crate::stub;

/// Bytes for trampolines in each address space.
pub const LEN: u64 = 2 * PAGE_SIZE;
/// Bytes of one trampoline.
const SLOT: u64 = 32;
/// Traps at one site before it is patched: short-lived processes are not worth it.
const THRESHOLD: u32 = 24;
/// Most sites that are counted.
const MAX_COUNTED: usize = 1024;
/// Bytes of a site.
const SITE: u64 = 7;
/// How far a jump with a 32-bit offset reaches, with some room.
const REACH: u64 = (1 << 31) - (1 << 20);

/// The trampolines of an address space and of those forked from it.
#[derive(Debug)]
pub struct Trampolines {
    file: OwnedFd,
    map: Shared,
    /// Their address.
    at: u64,
    sites: Mutex<Vec<Site>>,
}

#[derive(Clone, Copy, Debug)]
struct Site {
    address: u64,
    nr: u32,
}

/// What a process knows of its sites.
#[derive(Clone, Debug, Default)]
pub struct Patches {
    /// Where trampolines may go: reserved behind the vDSO.
    room: Option<u64>,
    trampolines: Option<Arc<Trampolines>>,
    traps: HashMap<u64, u32>,
    /// Patched sites and their first eight bytes before.
    patched: HashMap<u64, [u8; 8]>,
}

impl Trampolines {
    fn new(at: u64) -> Result<Trampolines, Errno> {
        let file = mem::memfd(c"tegmen-sites", LEN)?;
        let map = Shared::map(&file, 0, LEN as usize)?;
        // Processes that fork from each other share these pages: none may make them writable for itself.
        mem::seal_future_writes(&file)?;
        Ok(Trampolines {
            file,
            map,
            at,
            sites: Mutex::default(),
        })
    }

    fn sites(&self) -> std::sync::MutexGuard<'_, Vec<Site>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trampoline of a site, made if need be; `None` when all are taken.
    fn slot(&self, site: Site) -> Option<u64> {
        let mut sites = self.sites();
        let known = sites
            .iter()
            .position(|s| s.address == site.address && s.nr == site.nr);
        let index = match known {
            Some(index) => index,
            None if (sites.len() as u64) < LEN / SLOT => {
                self.write(sites.len() as u64 * SLOT, site);
                sites.push(site);
                sites.len() - 1
            }
            None => return None,
        };
        Some(self.at + index as u64 * SLOT)
    }

    /// `mov eax, nr; lea rcx, [site + 7]; jmp [entry]`.
    fn write(&self, offset: u64, site: Site) {
        let mut code = vec![0xb8];
        code.extend(site.nr.to_le_bytes());
        let next = self.at + offset + 12;
        let distance = (site.address + SITE).wrapping_sub(next) as u32;
        code.extend([0x48, 0x8d, 0x0d]);
        code.extend(distance.to_le_bytes());
        code.extend([0xff, 0x25]);
        code.extend(6u32.to_le_bytes());
        code.resize(24, 0xcc);
        code.extend(stub::fast_entry(site.nr).to_le_bytes());
        for (n, word) in code.chunks_exact(8).enumerate() {
            let mut raw = [0; 8];
            raw.copy_from_slice(word);
            let at = offset as usize + 8 * n;
            assert!(at + 8 <= LEN as usize, "offset in the trampolines");
            // SAFETY: inside the mapping, aligned; shared memory is accessed through atomics only.
            let slot = unsafe { AtomicU64::from_ptr(self.map.start().add(at).cast()) };
            slot.store(u64::from_le_bytes(raw), Ordering::SeqCst);
        }
    }

    /// The site whose trampoline holds `rip`.
    fn site_at(&self, rip: u64) -> Option<u64> {
        let offset = rip.checked_sub(self.at).filter(|o| *o < LEN)?;
        self.sites().get((offset / SLOT) as usize).map(|s| s.address)
    }
}

impl Patches {
    /// A vDSO was mapped, with room for trampolines at `room`.
    pub fn offer_room(&mut self, room: u64) {
        *self = Patches {
            room: Some(room),
            ..Patches::default()
        };
    }

    /// Whether `[start, end)` touches the trampolines.
    pub fn touches(&self, start: u64, end: u64) -> bool {
        self.room.is_some_and(|room| start < room + LEN && end > room)
    }

    /// The site on the way from which an interrupted thread is: in a trampoline, or in the stub with the return
    /// address in `rcx`.
    pub fn way_back(&self, rip: u64, rcx: u64) -> Option<u64> {
        let trampolines = self.trampolines.as_ref()?;
        if stub::on_the_way(rip) {
            let site = rcx.wrapping_sub(SITE);
            return trampolines
                .sites()
                .iter()
                .any(|s| s.address == site)
                .then_some(site);
        }
        trampolines.site_at(rip)
    }

    /// Whether `rip` may lie in a trampoline.
    pub fn in_trampolines(&self, rip: u64) -> bool {
        self.trampolines
            .as_ref()
            .is_some_and(|t| (t.at..t.at + LEN).contains(&rip))
    }

    /// Counts a trap of call `nr` that returns to `rip`. True: the site is to be patched.
    fn count(&mut self, rip: u64) -> bool {
        let Some(room) = self.room else { return false };
        if rip.abs_diff(room) > REACH || rip < SITE {
            return false;
        }
        if self.traps.len() >= MAX_COUNTED && !self.traps.contains_key(&rip) {
            return false;
        }
        let traps = self.traps.entry(rip).or_insert(0);
        *traps = traps.saturating_add(1);
        *traps == THRESHOLD
    }
}

fn call(process: &Process, ops: &[Op]) -> Result<(), Errno> {
    process.execute(ops).map(|_| ()).map_err(|(_, error)| error)
}

fn protect(page: u64, len: u64, prot: i32) -> Op {
    Op::call(libc::SYS_mprotect, [page, len, prot as u64, 0, 0, 0])
}

/// Notes that the call `nr` trapped, to return to `rip`, and patches its site when that pays.
pub fn trapped(process: &Process, nr: u64, rip: u64) {
    let pays = process.engine.tuning.patches && process.patches().count(rip);
    let Ok(nr) = u32::try_from(nr) else { return };
    if pays {
        // Failure leaves the site as it is: slower, nothing else.
        let _ = patch(
            process,
            Site {
                address: rip - SITE,
                nr,
            },
        );
    }
}

fn patch(process: &Process, site: Site) -> Result<(), Errno> {
    let (start, end) = (page_down(site.address), page_down(site.address + 7) + PAGE_SIZE);
    // Mappings stay as they are until the old access is back.
    let regions = process.regions();
    let text = Prot::READ | Prot::EXEC;
    let private_text = regions
        .pieces(start, end)
        .iter()
        .all(|(_, _, access)| access.prot == text && !access.shared)
        && regions
            .pieces(start, end)
            .iter()
            .map(|(s, e, _)| e - s)
            .sum::<u64>()
            == end - start;
    let mut patches = process.patches();
    if !private_text || patches.patched.contains_key(&site.address) {
        return Err(Errno::EINVAL);
    }
    let mut old = [0; 8];
    if vm::read(process.pid, site.address, &mut old)? < 8 {
        return Err(Errno::EFAULT);
    }
    let nr = site.nr.to_le_bytes();
    if old[0] != 0xb8 || old[1..5] != nr || old[5..7] != [0x0f, 0x05] {
        return Err(Errno::EINVAL);
    }
    // Five bytes change at once: within one aligned word, or while no other thread is there to see.
    let aligned = site.address % 8 <= 3;
    if !aligned && !process.has_one_thread() {
        return Err(Errno::EAGAIN);
    }
    let trampoline = patches.trampoline(process, site)?;
    let distance = trampoline.wrapping_sub(site.address + 5) as u32;
    let mut new = old;
    new[0] = 0xe9;
    new[1..5].copy_from_slice(&distance.to_le_bytes());
    let open = protect(
        start,
        end - start,
        libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
    );
    let close = protect(start, end - start, libc::PROT_READ | libc::PROT_EXEC);
    if aligned {
        let (word, before, after) = word_around(process, site.address, &new)?;
        let exchange = Op {
            nr: OP_CAS64,
            args: [word, before, after, 0, 0, 0],
        };
        call(process, &[open, exchange, close])?;
    } else {
        call(process, &[open])?;
        let written = vm::write(process.pid, site.address, &new[..5]);
        call(process, &[close])?;
        if written? < 5 {
            return Err(Errno::EFAULT);
        }
    }
    patches.patched.insert(site.address, old);
    Ok(())
}

/// The aligned word that holds the first five bytes at `address`, before and after they become those of `new`.
fn word_around(process: &Process, address: u64, new: &[u8; 8]) -> Result<(u64, u64, u64), Errno> {
    let (word, within) = (address & !7, (address & 7) as usize);
    let mut raw = [0; 8];
    if vm::read(process.pid, word, &mut raw)? < 8 {
        return Err(Errno::EFAULT);
    }
    let before = u64::from_le_bytes(raw);
    raw[within..within + 5].copy_from_slice(&new[..5]);
    Ok((word, before, u64::from_le_bytes(raw)))
}

impl Patches {
    /// The trampoline for a site; the first one makes the file and maps it.
    fn trampoline(&mut self, process: &Process, site: Site) -> Result<u64, Errno> {
        let room = self.room.ok_or(Errno::ENOSPC)?;
        let trampolines = match &self.trampolines {
            Some(trampolines) => trampolines.clone(),
            None => {
                let new = Arc::new(Trampolines::new(room)?);
                let (prot, flags) = (
                    libc::PROT_READ | libc::PROT_EXEC,
                    libc::MAP_SHARED | libc::MAP_FIXED,
                );
                let fd = new.file.as_raw_fd() as u64;
                let args = [room, LEN, prot as u64, flags as u64, fd, 0];
                call(process, &[Op::call(libc::SYS_mmap, args)])?;
                self.trampolines = Some(new.clone());
                new
            }
        };
        trampolines.slot(site).ok_or(Errno::ENOSPC)
    }

    /// Takes all patches back: the guest is about to unmap or replace the trampolines. With other threads running
    /// this is not atomic; a guest that unmaps its vDSO has stopped them.
    pub fn undo(&mut self, process: &Process) {
        for (site, old) in self.patched.drain() {
            let (start, end) = (page_down(site), page_down(site + 7) + PAGE_SIZE);
            let open = protect(
                start,
                end - start,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            );
            let close = protect(start, end - start, libc::PROT_READ | libc::PROT_EXEC);
            let mut now = [0; 8];
            let mine =
                vm::read(process.pid, site, &mut now) == Ok(8) && now[0] == 0xe9 && now[5..] == old[5..];
            if mine && call(process, &[open]).is_ok() {
                let _ = vm::write(process.pid, site, &old[..5]);
                let _ = call(process, &[close]);
            }
        }
        *self = Patches::default();
    }
}
