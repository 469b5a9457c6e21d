//! msync(2), mincore(2), membarrier(2): the state of pages, and order among threads.

use std::time::{Duration, Instant};

use abi::{Errno, PAGE_SIZE, UserAddr, page_up};
use platform::{MapFlags, MapOp, MapSource, Prot};

use super::area::{Area, AreaFlags, Backing};
use super::{Mm, TASK_SIZE};

/// Bytes of an address space of which residency is counted; more are not looked at.
const COUNT_MAX: u64 = 16 << 30;
/// Bytes asked about at once.
const COUNT_STEP: u64 = 64 << 20;

/// How long a count of resident pages is used again.
const FRESH: Duration = Duration::from_millis(10);

/// Bytes of the resident pages among these.
fn count_pages(pages: &[u8]) -> u64 {
    pages.iter().filter(|page| **page & 1 != 0).count() as u64 * PAGE_SIZE
}

impl Mm {
    /// Resident bytes of private anonymous areas and of all others. Pages of files count when the host has them in
    /// memory, whoever brought them there. An answer is good for a moment: each costs the engine some round trips.
    pub fn resident(&self) -> (u64, u64) {
        if let Some((at, known)) = *self.residency.lock()
            && at.elapsed() < FRESH
        {
            return known;
        }
        let counted = self.count_resident();
        *self.residency.lock() = Some((Instant::now(), counted));
        counted
    }

    fn count_resident(&self) -> (u64, u64) {
        let (mut anonymous, mut others, mut left) = (0, 0, COUNT_MAX);
        let areas = self.areas();
        let usable: Vec<&Area> = areas.iter().filter(|area| !area.prot.is_empty()).collect();
        // Neighbours are asked about together.
        for span in usable.chunk_by(|one, next| one.end == next.start) {
            let (Some(first), Some(last)) = (span.first(), span.last()) else {
                continue;
            };
            let len = last.end - first.start;
            if len > left {
                break;
            }
            left -= len;
            let whole = self.pages_in(first.start, last.end);
            for area in span {
                let bytes = match &whole {
                    Some(pages) => {
                        let from = ((area.start - first.start) / PAGE_SIZE) as usize;
                        let count = (area.len() / PAGE_SIZE) as usize;
                        count_pages(pages.get(from..from + count).unwrap_or_default())
                    }
                    None => self.resident_in(area.start, area.end),
                };
                if area.private_anonymous() {
                    anonymous += bytes;
                } else {
                    others += bytes;
                }
            }
        }
        (anonymous, others)
    }

    /// The state of each page of a range; `None` when a part of it is not mapped.
    fn pages_in(&self, start: u64, end: u64) -> Option<Vec<u8>> {
        let mut pages = Vec::new();
        let mut at = start;
        while at < end {
            let step = (end - at).min(COUNT_STEP);
            pages.extend(self.space.mincore(UserAddr(at), step).ok()?);
            at += step;
        }
        Some(pages)
    }

    /// Resident bytes of a range of areas.
    pub fn resident_in(&self, start: u64, end: u64) -> u64 {
        self.pages_in(start, end).map_or(0, |pages| count_pages(&pages))
    }

    /// msync(2): writes back shared file areas when `write`; `invalidate` refuses locked areas.
    pub fn sync(&self, addr: UserAddr, len: u64, write: bool, invalidate: bool) -> Result<(), Errno> {
        // As in Linux a length that is next to the largest wraps to nothing.
        let len = page_up(len).unwrap_or(0);
        let end = addr.0.checked_add(len).ok_or(Errno::ENOMEM)?;
        if len == 0 {
            return Ok(());
        }
        let state = self.state.lock();
        let mut ops = Vec::new();
        for area in state.areas.overlapping(addr.0, end) {
            if invalidate && area.flags.contains(AreaFlags::LOCKED) {
                return Err(Errno::EBUSY);
            }
            if write && area.shared() && matches!(area.backing, Backing::File { .. }) {
                let part = area.clipped(addr.0, end);
                ops.push(MapOp::Sync {
                    addr: UserAddr(part.start),
                    len: part.len(),
                });
            }
        }
        let whole = state.areas.covers(addr.0, end);
        // Writing back may take long: other threads may change the areas meanwhile, which the host sorts out.
        drop(state);
        if !ops.is_empty() {
            self.apply(&ops)?;
        }
        if whole { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// mincore(2) of at most a bounded piece: one byte per page.
    pub fn residency(&self, addr: UserAddr, len: u64) -> Result<Vec<u8>, Errno> {
        let end = addr.0.checked_add(len).filter(|end| *end <= TASK_SIZE);
        let end = end.ok_or(Errno::ENOMEM)?;
        let state = self.state.lock();
        if !state.areas.covers(addr.0, end) {
            return Err(Errno::ENOMEM);
        }
        self.space.mincore(addr, len)
    }

    /// Orders the memory accesses of every thread that runs in this address space against the caller's:
    /// taking the access to a page away makes the host interrupt each processor that runs one of them.
    pub fn barrier(&self) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let bounds = (self.range.start.0, self.layout_base(&state));
        let at = state
            .areas
            .gap_below(PAGE_SIZE, PAGE_SIZE, bounds, true)
            .ok_or(Errno::ENOMEM)?;
        let addr = UserAddr(at);
        let ops = [
            MapOp::Map {
                addr,
                len: PAGE_SIZE,
                prot: Prot::READ | Prot::WRITE,
                flags: MapFlags::POPULATE,
                source: MapSource::Anonymous,
            },
            MapOp::Protect {
                addr,
                len: PAGE_SIZE,
                prot: Prot::empty(),
            },
            MapOp::Unmap { addr, len: PAGE_SIZE },
        ];
        self.apply(&ops)
    }

    fn layout_base(&self, state: &super::MmState) -> u64 {
        state.layout.mmap_base.min(self.range.end.0)
    }
}
