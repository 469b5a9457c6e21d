//! The areas of an address space, ordered, never overlapping; joined where they can be.

use std::collections::BTreeMap;

use abi::Errno;

use super::area::{Area, AreaFlags};

/// Most areas of an address space (Linux's default vm.max_map_count).
pub const MAX_AREAS: usize = 65530;

/// Areas by start address, with the sums that limits need.
#[derive(Clone, Default)]
pub struct AreaMap {
    areas: BTreeMap<u64, Area>,
    total: u64,
    data: u64,
    locked: u64,
    /// No gap of `hint_len` bytes or more lies between `hint_top` and the top; see `gap_below`.
    hint_top: u64,
    hint_len: u64,
}

impl AreaMap {
    /// Number of areas.
    pub fn len(&self) -> usize {
        self.areas.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    /// Bytes of all areas.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that count for RLIMIT_DATA.
    pub fn data(&self) -> u64 {
        self.data
    }

    /// Bytes that count for RLIMIT_MEMLOCK.
    pub fn locked(&self) -> u64 {
        self.locked
    }

    /// All areas in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Area> {
        self.areas.values()
    }

    /// The area that holds `addr`.
    pub fn find(&self, addr: u64) -> Option<&Area> {
        let (_, area) = self.areas.range(..=addr).next_back()?;
        (addr < area.end).then_some(area)
    }

    /// The areas that overlap `[start, end)`, in order.
    pub fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Area> {
        let first = self.find(start).map_or(start, |area| area.start);
        self.areas.range(first..end.max(first)).map(|(_, area)| area)
    }

    /// Whether nothing is mapped in `[start, end)`.
    pub fn is_free(&self, start: u64, end: u64) -> bool {
        self.overlapping(start, end).next().is_none()
    }

    /// Whether `[start, end)` has no hole.
    pub fn covers(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        for area in self.overlapping(start, end) {
            if area.start > at {
                return false;
            }
            at = area.end;
        }
        at >= end
    }

    /// Fails with `ENOMEM` when `more` areas would be too many.
    pub fn check_count(&self, more: usize) -> Result<(), Errno> {
        if self.areas.len() + more > MAX_AREAS {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }

    /// How many areas `[start, end)` being carved out would add by splitting.
    pub fn splits(&self, start: u64, end: u64) -> usize {
        let cuts = |at: u64| self.find(at).is_some_and(|area| area.start < at);
        usize::from(cuts(start)) + usize::from(cuts(end))
    }

    fn put(&mut self, area: Area) {
        self.total += area.len();
        if area.is_data() {
            self.data += area.len();
        }
        if area.flags.contains(AreaFlags::LOCKED) {
            self.locked += area.len();
        }
        self.areas.insert(area.start, area);
    }

    fn take(&mut self, start: u64) -> Option<Area> {
        let area = self.areas.remove(&start)?;
        self.total -= area.len();
        if area.is_data() {
            self.data -= area.len();
        }
        if area.flags.contains(AreaFlags::LOCKED) {
            self.locked -= area.len();
        }
        Some(area)
    }

    /// Adds an area to a free range and joins it with its neighbours where it continues them.
    pub fn insert(&mut self, mut area: Area) {
        if let Some((&before, previous)) = self.areas.range(..area.start).next_back()
            && previous.joins(&area)
            && let Some(previous) = self.take(before)
        {
            area.backing = previous.backing;
            area.start = previous.start;
        }
        if let Some(next) = self.areas.get(&area.end)
            && area.joins(next)
            && let Some(next) = self.take(area.end)
        {
            area.end = next.end;
        }
        self.put(area);
    }

    /// Takes everything in `[start, end)` out, splitting at the ends; returns the parts in order.
    pub fn remove(&mut self, start: u64, end: u64) -> Vec<Area> {
        let parts = self.carve(start, end);
        // Gaps up to the next area may have grown.
        let gap_end = self.areas.range(end..).next().map_or(u64::MAX, |(at, _)| *at);
        self.hint_top = self.hint_top.max(gap_end);
        parts
    }

    fn carve(&mut self, start: u64, end: u64) -> Vec<Area> {
        let starts: Vec<u64> = self.overlapping(start, end).map(|area| area.start).collect();
        let mut parts = Vec::with_capacity(starts.len());
        for at in starts {
            let Some(area) = self.take(at) else { continue };
            if area.start < start {
                self.put(area.clipped(area.start, start));
            }
            if area.end > end {
                self.put(area.clipped(end, area.end));
            }
            if area.start >= start && area.end <= end {
                parts.push(area);
            } else {
                parts.push(area.clipped(start, end));
            }
        }
        parts
    }

    /// Changes every area part in `[start, end)` and joins what fits together.
    pub fn update(&mut self, start: u64, end: u64, mut change: impl FnMut(&mut Area)) {
        for mut part in self.carve(start, end) {
            change(&mut part);
            self.insert(part);
        }
        // The part after the range may now continue the last one.
        if let Some(next) = self.areas.get(&end).map(|area| area.start)
            && let Some(area) = self.take(next)
        {
            self.insert(area);
        }
    }

    /// The highest free range of `len` bytes, aligned, inside `[low, high)`. `usual`: `high` is the address
    /// space's fixed top, so that what was learnt about gaps below it may be used and kept.
    pub fn gap_below(&mut self, len: u64, align: u64, (low, high): (u64, u64), usual: bool) -> Option<u64> {
        let mut top = high;
        // Only plain requests keep and use the hint: alignment could skip a gap that is large enough.
        let plain = usual && align <= abi::PAGE_SIZE;
        if plain && len >= self.hint_len && self.hint_len > 0 {
            top = top.min(self.hint_top);
        }
        for area in self.areas.range(..top).rev().map(|(_, area)| area) {
            if area.end < top
                && let Some(at) = fit_below(len, align, area.end.max(low), top)
            {
                self.remember(plain, len, top);
                return Some(at);
            }
            top = top.min(area.start);
            if top <= low {
                return None;
            }
        }
        let at = fit_below(len, align, low, top)?;
        self.remember(plain, len, top);
        Some(at)
    }

    fn remember(&mut self, plain: bool, len: u64, top: u64) {
        if plain {
            (self.hint_len, self.hint_top) = (len, top);
        }
    }

    /// The lowest free range of `len` bytes, aligned, inside `[low, high)`.
    pub fn gap_above(&self, len: u64, align: u64, low: u64, high: u64) -> Option<u64> {
        let up = |at: u64| at.checked_next_multiple_of(align);
        let mut at = up(low)?;
        for area in self.overlapping(low, high) {
            if area.start >= at.checked_add(len)? {
                break;
            }
            at = up(area.end.max(at))?;
        }
        (at.checked_add(len)? <= high).then_some(at)
    }
}

/// The highest aligned start of `len` bytes inside `[low, high)`.
fn fit_below(len: u64, align: u64, low: u64, high: u64) -> Option<u64> {
    let at = high.checked_sub(len)? & !(align - 1);
    (at >= low).then_some(at)
}
