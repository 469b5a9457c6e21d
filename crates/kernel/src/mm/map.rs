//! Making and removing mappings: mmap(2), munmap(2), brk(2).

use abi::{Errno, PAGE_SIZE, UserAddr, page_down, page_up};
use platform::{MapFlags, MapOp, MapSource, Prot};

use super::area::{Area, AreaFlags, AreaName, Backing};
use super::{Limits, Mm, MmState, TASK_SIZE};
use crate::file::MapPiece;

/// Private anonymous areas from this size on ask the host for huge pages, and are aligned to them.
pub const HUGE_PAGE: u64 = 2 << 20;
/// MAP_32BIT places mappings inside the first two gigabytes, above the low programs.
const LOW_RANGE: (u64, u64) = (0x4000_0000, 0x8000_0000);

/// Where a mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this page-aligned address if it is free (0: anywhere).
    Hint(u64),
    /// MAP_32BIT, with a hint.
    Low(u64),
    /// MAP_FIXED: here, in place of what is there.
    Fixed(u64),
    /// MAP_FIXED_NOREPLACE: here or `EEXIST`.
    NoReplace(u64),
}

/// A mapping to be made.
pub struct MapRequest {
    /// Where.
    pub place: Place,
    /// Bytes; a multiple of the page size, not 0.
    pub len: u64,
    /// Access.
    pub prot: Prot,
    /// What mprotect(2) may allow later.
    pub max_prot: Prot,
    /// Properties.
    pub flags: AreaFlags,
    /// Content, for the books.
    pub backing: Backing,
    /// Content, for the engine: what a file's `map` gave; empty for anonymous memory.
    pub pieces: Vec<MapPiece>,
    /// Prefault.
    pub populate: bool,
    /// Name in /proc.
    pub name: AreaName,
}

impl MapRequest {
    /// Private anonymous memory.
    pub fn anonymous(place: Place, len: u64, prot: Prot) -> MapRequest {
        MapRequest {
            place,
            len,
            prot,
            max_prot: Prot::all(),
            flags: AreaFlags::empty(),
            backing: Backing::Anonymous,
            pieces: Vec::new(),
            populate: false,
            name: AreaName::None,
        }
    }
}

/// The commands that show `pieces` (or anonymous memory) as `area` says.
pub(super) fn map_ops(area: &Area, pieces: &[MapPiece], populate: bool, ops: &mut Vec<MapOp>) {
    let mut flags = MapFlags::empty();
    flags.set(MapFlags::SHARED, area.shared());
    flags.set(MapFlags::POPULATE, populate);
    flags.set(MapFlags::HUGE, area.flags.contains(AreaFlags::HUGE));
    let mut at = area.start;
    for piece in pieces {
        let len = piece.len.min(area.end - at);
        if len > 0 {
            ops.push(MapOp::Map {
                addr: UserAddr(at),
                len,
                prot: area.prot,
                flags,
                source: piece.source.clone(),
            });
        }
        at += len;
    }
    if pieces.is_empty() {
        ops.push(MapOp::Map {
            addr: UserAddr(area.start),
            len: area.len(),
            prot: area.prot,
            flags,
            source: MapSource::Anonymous,
        });
    }
}

impl MmState {
    /// Chooses the address of a mapping.
    fn place(&mut self, mm: &Mm, place: Place, len: u64, align: u64) -> Result<u64, Errno> {
        let (low, high) = (mm.range.start.0, mm.range.end.0);
        if len > high - low {
            return Err(Errno::ENOMEM);
        }
        let inside = |at: u64| at >= low && at.checked_add(len).is_some_and(|end| end <= high);
        match place {
            Place::Fixed(at) | Place::NoReplace(at) => {
                if !at.is_multiple_of(PAGE_SIZE) {
                    return Err(Errno::EINVAL);
                }
                if at < low {
                    return Err(Errno::EPERM);
                }
                if !inside(at) {
                    return Err(Errno::ENOMEM);
                }
                if matches!(place, Place::NoReplace(_)) && !self.areas.is_free(at, at + len) {
                    return Err(Errno::EEXIST);
                }
                Ok(at)
            }
            Place::Hint(hint) => {
                let at = page_down(hint);
                if at != 0 && inside(at) && self.areas.is_free(at, at + len) {
                    return Ok(at);
                }
                let top = self.layout.mmap_base.min(high);
                self.areas
                    .gap_below(len, align, (low, top), true)
                    .or_else(|| self.areas.gap_above(len, PAGE_SIZE, top, high))
                    .ok_or(Errno::ENOMEM)
            }
            Place::Low(hint) => {
                let at = page_down(hint);
                if at != 0
                    && inside(at)
                    && at.saturating_add(len) <= LOW_RANGE.1
                    && self.areas.is_free(at, at + len)
                {
                    return Ok(at);
                }
                self.areas
                    .gap_above(len, PAGE_SIZE, LOW_RANGE.0.max(low), LOW_RANGE.1.min(high))
                    .ok_or(Errno::ENOMEM)
            }
        }
    }

    /// Whether any area in the range is sealed (mseal(2)).
    pub(super) fn check_unsealed(&self, start: u64, end: u64) -> Result<(), Errno> {
        let mut areas = self.areas.overlapping(start, end);
        if areas.any(|area| area.flags.contains(AreaFlags::SEALED)) {
            Err(Errno::EPERM)
        } else {
            Ok(())
        }
    }

    /// Bytes mapped in a range.
    pub(super) fn mapped_bytes(&self, start: u64, end: u64) -> u64 {
        let parts = self.areas.overlapping(start, end);
        parts.map(|area| area.end.min(end) - area.start.max(start)).sum()
    }
}

/// Whether an area is to have huge pages without being asked: large private memory that is meant to be used.
fn wants_huge(request: &MapRequest) -> bool {
    matches!(request.backing, Backing::Anonymous)
        && request.len >= HUGE_PAGE
        && !request
            .flags
            .intersects(AreaFlags::SHARED | AreaFlags::STACK | AreaFlags::GROWSDOWN | AreaFlags::NORESERVE)
}

impl Mm {
    /// Makes a mapping and returns its address.
    pub fn map(&self, mut request: MapRequest, limits: &Limits) -> Result<UserAddr, Errno> {
        self.check_exec_gain(request.prot, request.prot)?;
        let mut align = PAGE_SIZE;
        if wants_huge(&request) {
            request.flags |= AreaFlags::HUGE;
            align = HUGE_PAGE;
        }
        let mut state = self.state.lock();
        let start = state.place(self, request.place, request.len, align)?;
        let end = start + request.len;
        state.areas.check_count(1 + state.areas.splits(start, end))?;
        state.check_unsealed(start, end)?;
        if state.lock_future {
            request.flags |= AreaFlags::LOCKED;
        }
        let area = Area {
            start,
            end,
            prot: request.prot,
            max_prot: request.max_prot,
            flags: request.flags,
            backing: request.backing,
            name: request.name,
        };
        limits.check(&state.areas, &area, state.mapped_bytes(start, end))?;
        let populate = request.populate || area.flags.contains(AreaFlags::LOCKED);
        let mut ops = Vec::with_capacity(request.pieces.len().max(1));
        map_ops(&area, &request.pieces, populate, &mut ops);
        let done = self.apply(&ops);
        let gone = state.areas.remove(start, end);
        match done {
            Ok(()) => state.areas.insert(area),
            Err(_) => {
                // Some of the range may have been replaced: what is left of it is nothing, for both sides.
                let _ = self.apply(&[MapOp::Unmap {
                    addr: UserAddr(start),
                    len: end - start,
                }]);
            }
        }
        drop(state);
        // Files may be released here: never under the lock.
        drop(gone);
        done.map(|()| UserAddr(start))
    }

    /// munmap(2).
    pub fn unmap(&self, addr: UserAddr, len: u64) -> Result<(), Errno> {
        let len = page_up(len).ok_or(Errno::EINVAL)?;
        if !addr.is_page_aligned() || addr.0 > TASK_SIZE || len > TASK_SIZE - addr.0 || len == 0 {
            return Err(Errno::EINVAL);
        }
        let (start, end) = (addr.0, addr.0 + len);
        let mut state = self.state.lock();
        let gone = state.unmap(self, start, end)?;
        drop(state);
        drop(gone);
        Ok(())
    }

    /// brk(2): moves the end of the heap and returns where it is now (unchanged when that is impossible).
    pub fn set_brk(&self, wanted: UserAddr, limits: &Limits) -> UserAddr {
        let mut state = self.state.lock();
        let mut gone = Vec::new();
        if state.move_brk(self, wanted.0, limits, &mut gone).is_ok() {
            state.layout.brk = wanted.0;
        }
        let brk = UserAddr(state.layout.brk);
        drop(state);
        drop(gone);
        brk
    }
}

impl MmState {
    /// Unmaps a range and returns the areas' parts, to be dropped outside the lock.
    pub(super) fn unmap(&mut self, mm: &Mm, start: u64, end: u64) -> Result<Vec<Area>, Errno> {
        let mut parts = self.areas.overlapping(start, end);
        let Some(first) = parts.next() else {
            return Ok(Vec::new());
        };
        let last_end = parts.last().unwrap_or(first).end.min(end);
        let from = first.start.max(start);
        self.check_unsealed(start, end)?;
        // Linux counts after the split: unmapping the middle of an area needs room for one more.
        if self.areas.splits(start, end) == 2 {
            self.areas.check_count(1)?;
        }
        mm.apply(&[MapOp::Unmap {
            addr: UserAddr(from),
            len: last_end - from,
        }])?;
        Ok(self.areas.remove(start, end))
    }

    fn move_brk(&mut self, mm: &Mm, wanted: u64, limits: &Limits, gone: &mut Vec<Area>) -> Result<(), Errno> {
        let (start, old) = (self.layout.start_brk, self.layout.brk);
        if wanted < start {
            return Err(Errno::EINVAL);
        }
        let old_end = page_up(old).ok_or(Errno::ENOMEM)?;
        let new_end = page_up(wanted).ok_or(Errno::ENOMEM)?;
        if new_end <= old_end {
            if new_end < old_end {
                *gone = self.unmap(mm, new_end, old_end)?;
            }
            return Ok(());
        }
        let data = self.layout.end_data.saturating_sub(self.layout.start_data);
        if (wanted - start).saturating_add(data) > limits.data || new_end > mm.range.end.0 {
            return Err(Errno::ENOMEM);
        }
        // One page stays free before the next area, as Linux keeps it.
        if !self.areas.is_free(old_end, new_end.saturating_add(PAGE_SIZE)) {
            return Err(Errno::ENOMEM);
        }
        let mut flags = AreaFlags::empty();
        flags.set(AreaFlags::LOCKED, self.lock_future);
        let area = Area {
            start: old_end,
            end: new_end,
            prot: Prot::READ | Prot::WRITE,
            max_prot: Prot::all(),
            flags,
            backing: Backing::Anonymous,
            name: AreaName::Heap,
        };
        self.areas.check_count(1)?;
        limits.check(&self.areas, &area, 0)?;
        let mut ops = Vec::new();
        map_ops(&area, &[], false, &mut ops);
        mm.apply(&ops)?;
        self.areas.insert(area);
        Ok(())
    }
}
