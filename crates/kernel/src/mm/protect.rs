//! Changing access: mprotect(2), mseal(2).

use abi::{Errno, UserAddr, page_up};
use platform::{MapOp, Prot};

use super::{AreaFlags, Mm, MmState};

/// The page-aligned range of a call on existing areas: `EINVAL` for a crooked start, `ENOMEM` beyond all addresses.
pub(super) fn checked_range(addr: UserAddr, len: u64) -> Result<(u64, u64), Errno> {
    if !addr.is_page_aligned() {
        return Err(Errno::EINVAL);
    }
    let len = page_up(len).ok_or(Errno::ENOMEM)?;
    let end = addr.0.checked_add(len).ok_or(Errno::ENOMEM)?;
    Ok((addr.0, end))
}

impl MmState {
    /// How far from `start` on the areas follow each other without a hole and allow `allowed`; and why not further.
    fn extent(
        &self,
        start: u64,
        end: u64,
        allowed: impl Fn(&super::Area) -> Result<(), Errno>,
    ) -> (u64, Result<(), Errno>) {
        let mut at = start;
        for area in self.areas.overlapping(start, end) {
            if area.start > at {
                return (at, Err(Errno::ENOMEM));
            }
            if let Err(errno) = allowed(area) {
                return (at, Err(errno));
            }
            at = area.end.min(end);
        }
        if at < end {
            (at, Err(Errno::ENOMEM))
        } else {
            (at, Ok(()))
        }
    }
}

impl Mm {
    /// mprotect(2). As in Linux, what precedes a failing area has been changed.
    pub fn protect(&self, addr: UserAddr, len: u64, prot: Prot) -> Result<(), Errno> {
        let (start, end) = checked_range(addr, len)?;
        if start == end {
            return Ok(());
        }
        let mut state = self.state.lock();
        let (reach, outcome) = state.extent(start, end, |area| {
            if area.flags.contains(AreaFlags::SEALED) {
                Err(Errno::EPERM)
            } else if area.max_prot.contains(prot) {
                self.check_exec_gain(area.prot, prot)
            } else {
                Err(Errno::EACCES)
            }
        });
        if outcome == Err(Errno::EPERM) {
            return outcome;
        }
        let changes = reach > start
            && state
                .areas
                .overlapping(start, reach)
                .any(|area| area.prot != prot);
        if changes {
            state.areas.check_count(state.areas.splits(start, reach))?;
            let op = MapOp::Protect {
                addr: UserAddr(start),
                len: reach - start,
                prot,
            };
            if let Err(errno) = self.apply(&[op]) {
                state.restore_protection(self, start, reach);
                return Err(errno);
            }
            state.areas.update(start, reach, |area| area.prot = prot);
        }
        outcome
    }

    /// mprotect(2) with PROT_GROWSDOWN: from the start of the growing area on. `EINVAL` when it does not grow.
    pub fn protect_down(&self, addr: UserAddr, len: u64, prot: Prot) -> Result<(), Errno> {
        let (_, end) = checked_range(addr, len)?;
        let start = {
            let state = self.state.lock();
            let area = state.areas.overlapping(addr.0, end).next().ok_or(Errno::ENOMEM)?;
            if !area.flags.contains(AreaFlags::GROWSDOWN) {
                return Err(Errno::EINVAL);
            }
            area.start
        };
        self.protect(UserAddr(start), end - start, prot)
    }

    /// mseal(2): no change of mapping or access any more.
    pub fn seal(&self, addr: UserAddr, len: u64) -> Result<(), Errno> {
        let (start, end) = checked_range(addr, len)?;
        let mut state = self.state.lock();
        let (_, outcome) = state.extent(start, end, |_| Ok(()));
        outcome?;
        state.areas.check_count(state.areas.splits(start, end))?;
        state
            .areas
            .update(start, end, |area| area.flags |= AreaFlags::SEALED);
        Ok(())
    }
}

impl MmState {
    /// Commands what the books say, after a change that the engine carried out in part.
    fn restore_protection(&self, mm: &Mm, start: u64, end: u64) {
        for area in self.areas.overlapping(start, end) {
            let part = area.clipped(start, end);
            let _ = mm.apply(&[MapOp::Protect {
                addr: UserAddr(part.start),
                len: part.len(),
                prot: part.prot,
            }]);
        }
    }
}
