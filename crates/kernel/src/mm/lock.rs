//! mlock(2) and its kin: accounting, and faulting pages in. The host may still reclaim them.

use abi::{Errno, PAGE_SIZE, UserAddr, page_down};
use platform::{Advice, MapOp, Prot};

use super::{AreaFlags, Limits, Mm};

/// The pages that `[addr, addr + len)` touches.
fn touched(addr: UserAddr, len: u64) -> Result<(u64, u64), Errno> {
    let start = page_down(addr.0);
    // As in Linux a length that is next to the largest wraps to nothing.
    let len = page_down(len.wrapping_add(addr.0 - start).wrapping_add(PAGE_SIZE - 1));
    let end = start.checked_add(len).ok_or(Errno::EINVAL)?;
    Ok((start, end))
}

impl Mm {
    /// mlock(2), mlock2(2). `populate`: bring the pages in now.
    pub fn lock(&self, addr: UserAddr, len: u64, populate: bool, limits: &Limits) -> Result<(), Errno> {
        if limits.locked == 0 {
            return Err(Errno::EPERM);
        }
        let (start, end) = touched(addr, len)?;
        let mut state = self.state.lock();
        let mut already = 0;
        for area in state.areas.overlapping(start, end) {
            if area.flags.contains(AreaFlags::LOCKED) {
                already += area.end.min(end) - area.start.max(start);
            }
        }
        let more = (end - start).saturating_sub(already);
        if state.areas.locked().saturating_add(more) > limits.locked {
            return Err(Errno::ENOMEM);
        }
        if !state.areas.covers(start, end) {
            return Err(Errno::ENOMEM);
        }
        state.areas.check_count(state.areas.splits(start, end))?;
        let mut closed = false;
        if populate {
            let mut ops = Vec::new();
            for area in state.areas.overlapping(start, end) {
                let part = area.clipped(start, end);
                let advice = if part.prot.contains(Prot::WRITE)
                    && !(part.shared() && part.prot.contains(Prot::READ))
                {
                    Advice::PopulateWrite
                } else if part.prot.contains(Prot::READ) {
                    Advice::PopulateRead
                } else {
                    closed |= part.prot.is_empty();
                    continue;
                };
                ops.push(MapOp::Advise {
                    addr: UserAddr(part.start),
                    len: part.len(),
                    advice,
                });
            }
            // As in Linux: pages that cannot be brought in (beyond a file's end) do not undo the lock.
            let _ = self.apply(&ops);
        }
        state
            .areas
            .update(start, end, |area| area.flags |= AreaFlags::LOCKED);
        // They are locked all the same.
        if closed { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// munlock(2).
    pub fn unlock(&self, addr: UserAddr, len: u64) -> Result<(), Errno> {
        let (start, end) = touched(addr, len)?;
        let mut state = self.state.lock();
        if !state.areas.covers(start, end) {
            return Err(Errno::ENOMEM);
        }
        state.areas.check_count(state.areas.splits(start, end))?;
        state
            .areas
            .update(start, end, |area| area.flags.remove(AreaFlags::LOCKED));
        Ok(())
    }

    /// mlockall(2): what is mapped now, what will be mapped later.
    pub fn lock_all(&self, current: bool, future: bool, limits: &Limits) -> Result<(), Errno> {
        if limits.locked == 0 {
            return Err(Errno::EPERM);
        }
        let mut state = self.state.lock();
        if current && state.areas.total() > limits.locked {
            return Err(Errno::ENOMEM);
        }
        state.lock_future = future;
        if current {
            state
                .areas
                .update(0, u64::MAX, |area| area.flags |= AreaFlags::LOCKED);
        }
        Ok(())
    }

    /// munlockall(2).
    pub fn unlock_all(&self) {
        let mut state = self.state.lock();
        state.lock_future = false;
        state
            .areas
            .update(0, u64::MAX, |area| area.flags.remove(AreaFlags::LOCKED));
    }
}
