//! Patched call sites: a jump into the stub takes the place of a call, without a signal.
//!
//! Of `mov $nr,%eax; syscall` only the five bytes of the `mov` change, to a jump of the same length; the `syscall`
//! stays, so a thread between the two, a jump to it, and the kernel's way of restarting a call (two bytes back) all
//! still work. Elsewhere the two bytes of the `syscall` itself become a short jump to bytes nearby that are never
//! executed (see [`crate::text`]), which hold the long jump. A site is patched after [`THRESHOLD`] traps, if it lies
//! in private text within reach of the process's trampolines, which follow the vDSO. This is an optimisation over the
//! filter, never the boundary.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use abi::{Errno, PAGE_SIZE, page_down};
use host::mem::{self, Shared};
use host::vm;
use platform::Prot;

use crate::channel::Op;
use crate::layout::{AREA_BASE, OP_CAS64};
use crate::process::Process;
use crate::{stub, text};

/// Bytes for trampolines in each address space.
pub const LEN: u64 = 4 * PAGE_SIZE;
/// Bytes of one trampoline.
const SLOT: u64 = 64;
/// Where in it the address of the stub's entry is.
const ENTRY: usize = 56;
/// Traps at one site before it is patched: short-lived processes are not worth it.
const THRESHOLD: u32 = 16;
/// Most sites that are counted.
const MAX_COUNTED: usize = 1024;
/// Bytes of `mov $nr,%eax; syscall`.
const LONG: u64 = 7;
/// Bytes of `syscall`.
const SHORT: u64 = 2;
/// Bytes of a long jump.
const JUMP: usize = 5;
/// How far behind a site the bytes for its long jump may start.
const NEAR: usize = 127;
/// Bytes of text that are looked at for them.
const LOOK: usize = NEAR + 32;
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

/// A place where calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Site {
    /// Its first byte: the `mov` or the `syscall`.
    address: u64,
    /// The call that the `mov` names; none where only the `syscall` is replaced.
    nr: Option<u32>,
}

impl Site {
    fn len(self) -> u64 {
        if self.nr.is_some() { LONG } else { SHORT }
    }

    /// The address behind the call.
    fn end(self) -> u64 {
        self.address + self.len()
    }
}

/// What was there before a patch.
#[derive(Clone, Copy, Debug)]
struct Old {
    bytes: [u8; 8],
    /// How many of them were replaced.
    len: usize,
}

/// What a process knows of its sites.
#[derive(Clone, Debug, Default)]
pub struct Patches {
    /// Where trampolines may go: reserved behind the vDSO.
    room: Option<u64>,
    trampolines: Option<Arc<Trampolines>>,
    traps: HashMap<u64, u32>,
    /// Patched sites by their first replaced byte.
    patched: HashMap<u64, Old>,
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
        let known = sites.iter().position(|known| *known == site);
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

    /// Makes a trampoline.
    fn write(&self, offset: u64, site: Site) {
        let at = self.at + offset;
        let mut code = Vec::with_capacity(SLOT as usize);
        let entry = match site.nr {
            Some(nr) => {
                // mov eax, nr
                code.push(0xb8);
                code.extend(nr.to_le_bytes());
                stub::fast_entry(nr)
            }
            None => {
                // A guest that uses GS for itself makes its call here, since there is none at the site any more:
                // rdgsbase rcx; shr rcx, 32; cmp ecx, AREA_TOP; jne slow
                code.extend([0xf3, 0x48, 0x0f, 0xae, 0xc9, 0x48, 0xc1, 0xe9, 0x20, 0x81, 0xf9]);
                code.extend(((AREA_BASE >> 32) as u32).to_le_bytes());
                code.extend([0x75, 13]);
                stub::any_entry()
            }
        };
        // lea rcx, [end]; jmp [entry]; slow: syscall
        let distance = site.end().wrapping_sub(at + code.len() as u64 + 7) as u32;
        code.extend([0x48, 0x8d, 0x0d]);
        code.extend(distance.to_le_bytes());
        let distance = (ENTRY - code.len() - 6) as u32;
        code.extend([0xff, 0x25]);
        code.extend(distance.to_le_bytes());
        code.extend([0x0f, 0x05]);
        code.resize(ENTRY, 0xcc);
        code.extend(entry.to_le_bytes());
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
    fn site_at(&self, rip: u64) -> Option<Site> {
        let offset = rip.checked_sub(self.at).filter(|o| *o < LEN)?;
        self.sites().get((offset / SLOT) as usize).copied()
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

    /// How many sites are patched.
    #[cfg(any(test, feature = "testing"))]
    pub fn len(&self) -> usize {
        self.patched.len()
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
            let sites = trampolines.sites();
            return sites.iter().find(|s| s.end() == rcx).map(|s| s.address);
        }
        trampolines.site_at(rip).map(|s| s.address)
    }

    /// Where a call made in a trampoline itself is to return to.
    pub fn return_of(&self, rip: u64) -> Option<u64> {
        let site = self.trampolines.as_ref()?.site_at(rip)?;
        site.nr.is_none().then(|| site.end())
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
        if rip.abs_diff(room) > REACH || rip < LONG {
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
    if !pays {
        return;
    }
    // Failure leaves the site as it is: slower, nothing else.
    let long = u32::try_from(nr).map_err(|_| Errno::EINVAL).and_then(|nr| {
        let site = Site {
            address: rip - LONG,
            nr: Some(nr),
        };
        patch(process, site)
    });
    if long.is_err() {
        let site = Site {
            address: rip - SHORT,
            nr: None,
        };
        let _ = patch(process, site);
    }
}

fn read_text(process: &Process, address: u64, text: &mut [u8]) -> Result<usize, Errno> {
    vm::read(process.pid, address, text)
}

/// A change of text: bytes to be replaced all at once at `address`, and others before that nobody executes.
struct Change {
    address: u64,
    old: Old,
    new: Vec<u8>,
    ahead: Option<(u64, Vec<u8>)>,
}

impl Change {
    /// The pages that it touches.
    fn pages(&self) -> (u64, u64) {
        let last = self
            .ahead
            .as_ref()
            .map_or(0, |(at, bytes)| at + bytes.len() as u64);
        let end = last.max(self.address + LONG);
        (page_down(self.address), page_down(end) + PAGE_SIZE)
    }
}

/// A jump to `to` from `at`.
fn jump(at: u64, to: u64) -> Vec<u8> {
    let mut code = vec![0xe9];
    code.extend((to.wrapping_sub(at + JUMP as u64) as u32).to_le_bytes());
    code
}

/// What is to change at a site, if it is what it should be.
fn plan(process: &Process, patches: &mut Patches, site: Site) -> Result<Change, Errno> {
    let mut bytes = [0; 8];
    if read_text(process, site.address, &mut bytes)? < 8 {
        return Err(Errno::EFAULT);
    }
    let old = |len| Old { bytes, len };
    let Some(nr) = site.nr else {
        if bytes[..2] != [0x0f, 0x05] {
            return Err(Errno::EINVAL);
        }
        let mut text = [0; LOOK];
        let got = read_text(process, site.end(), &mut text)?;
        let text = text.get(..got).unwrap_or_default();
        let start = text::unreachable(text, site.end(), JUMP, NEAR).ok_or(Errno::ENOSPC)?;
        let at = site.end() + start as u64;
        return Ok(Change {
            address: site.address,
            old: old(2),
            new: vec![0xeb, start as u8],
            ahead: Some((at, jump(at, patches.trampoline(process, site)?))),
        });
    };
    if bytes[0] != 0xb8 || bytes[1..5] != nr.to_le_bytes() || bytes[5..7] != [0x0f, 0x05] {
        return Err(Errno::EINVAL);
    }
    Ok(Change {
        address: site.address,
        old: old(JUMP),
        new: jump(site.address, patches.trampoline(process, site)?),
        ahead: None,
    })
}

fn patch(process: &Process, site: Site) -> Result<(), Errno> {
    // Mappings stay as they are until the old access is back.
    let regions = process.regions();
    let mut patches = process.patches();
    if patches.patched.contains_key(&site.address) {
        return Err(Errno::EINVAL);
    }
    // All bytes change at once: within one aligned word, or while no other thread is there to see.
    let len = if site.nr.is_some() { JUMP as u64 } else { SHORT };
    let aligned = site.address % 8 + len <= 8;
    if !aligned && !process.has_one_thread() {
        return Err(Errno::EAGAIN);
    }
    let change = plan(process, &mut patches, site)?;
    let (start, end) = change.pages();
    let text = Prot::READ | Prot::EXEC;
    let pieces = regions.pieces(start, end);
    let private_text = pieces
        .iter()
        .all(|(_, _, access)| access.prot == text && !access.shared)
        && pieces.iter().map(|(s, e, _)| e - s).sum::<u64>() == end - start;
    if !private_text {
        return Err(Errno::EINVAL);
    }
    let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    let open = protect(start, end - start, all);
    let close = protect(start, end - start, libc::PROT_READ | libc::PROT_EXEC);
    call(process, &[open])?;
    let written = carry_out(process, &change, aligned);
    call(process, &[close])?;
    written?;
    patches.patched.insert(change.address, change.old);
    Ok(())
}

/// Writes the bytes, into text that is open.
fn carry_out(process: &Process, change: &Change, aligned: bool) -> Result<(), Errno> {
    let whole = |at: u64, bytes: &[u8]| match vm::write(process.pid, at, bytes)? {
        done if done == bytes.len() => Ok(()),
        _ => Err(Errno::EFAULT),
    };
    if let Some((at, bytes)) = &change.ahead {
        whole(*at, bytes)?;
    }
    if !aligned {
        return whole(change.address, &change.new);
    }
    let (word, before, after) = word_around(process, change)?;
    let exchange = Op {
        nr: OP_CAS64,
        args: [word, before, after, 0, 0, 0],
    };
    call(process, &[exchange])
}

/// The aligned word that holds the bytes of a change, before and after it.
fn word_around(process: &Process, change: &Change) -> Result<(u64, u64, u64), Errno> {
    let (word, within) = (change.address & !7, (change.address & 7) as usize);
    let mut raw = [0; 8];
    if vm::read(process.pid, word, &mut raw)? < 8 {
        return Err(Errno::EFAULT);
    }
    let (before, end) = (u64::from_le_bytes(raw), within + change.new.len());
    let place = raw.get_mut(within..end).ok_or(Errno::EINVAL)?;
    // Somebody may have changed the text since it was looked at.
    if place != &change.old.bytes[..change.old.len] {
        return Err(Errno::EAGAIN);
    }
    place.copy_from_slice(&change.new);
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
            let (start, end) = (page_down(site), page_down(site + LONG) + PAGE_SIZE);
            let open = protect(
                start,
                end - start,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            );
            let close = protect(start, end - start, libc::PROT_READ | libc::PROT_EXEC);
            let mut now = [0; 8];
            let first = if old.len == JUMP { 0xe9 } else { 0xeb };
            let mine = vm::read(process.pid, site, &mut now) == Ok(8)
                && now[0] == first
                && (old.len != JUMP || now[5..] == old.bytes[5..]);
            if mine && call(process, &[open]).is_ok() {
                let _ = vm::write(process.pid, site, &old.bytes[..old.len]);
                let _ = call(process, &[close]);
            }
        }
        *self = Patches::default();
    }
}
