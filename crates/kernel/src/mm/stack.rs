//! Growth of stacks on faults.

use abi::{PAGE_SIZE, UserAddr, page_down};
use platform::{Fault, MapOp};

use super::area::{AreaFlags, Backing};
use super::map::map_ops;
use super::{Limits, Mm, MmState, RLIMIT_STACK};
use crate::task::CurrentTask;

/// Pages kept free below a growing area (Linux's stack_guard_gap).
const GUARD_GAP: u64 = 256 * PAGE_SIZE;
/// A stack grows by at least this much: faults go through the kernel, which is slow.
const GROWTH_STEP: u64 = 128 << 10;

impl CurrentTask {
    /// Whether a fault was an access just below a stack, which has grown now: the guest tries again.
    pub(crate) fn grow_stack(&self, fault: &Fault) -> bool {
        const SIGSEGV: u32 = 11;
        const SEGV_MAPERR: i32 = 1;
        if fault.signal != SIGSEGV || fault.code != SEGV_MAPERR {
            return false;
        }
        let limit = self.group.rlimit(RLIMIT_STACK);
        self.mm_ref().grow_stack(fault.addr, limit, &Limits::of(self))
    }
}

impl Mm {
    /// Grows the area above a faulting address when it is one that grows down and RLIMIT_STACK (`stack_limit`)
    /// allows it. True: the access may be tried again.
    pub fn grow_stack(&self, fault: UserAddr, stack_limit: u64, limits: &Limits) -> bool {
        let mut state = self.state.lock();
        state
            .grow_stack(self, page_down(fault.0), stack_limit, limits)
            .is_some()
    }
}

impl MmState {
    fn grow_stack(&mut self, mm: &Mm, page: u64, stack_limit: u64, limits: &Limits) -> Option<()> {
        let area = self.areas.overlapping(page, u64::MAX).next()?.clone();
        if area.start <= page || !area.flags.contains(AreaFlags::GROWSDOWN) {
            return None;
        }
        let lowest = area.end.saturating_sub(stack_limit);
        let below = self.areas.overlapping(0, area.start).last();
        let floor = below.map_or(mm.range.start.0, |next| {
            let gap = if next.prot.is_empty() { 0 } else { GUARD_GAP };
            next.end.saturating_add(gap)
        });
        let lowest = lowest.max(floor);
        if page < lowest {
            return None;
        }
        let wanted = page.min(area.start.saturating_sub(GROWTH_STEP));
        let mut more = area.clone();
        (more.start, more.end) = (page_down(wanted.max(lowest)).min(page), area.start);
        if !matches!(area.backing, Backing::Anonymous) {
            return None;
        }
        limits.check(&self.areas, &more, 0).ok()?;
        let mut ops: Vec<MapOp> = Vec::new();
        map_ops(&more, &[], false, &mut ops);
        mm.apply(&ops).ok()?;
        self.areas.insert(more);
        Some(())
    }
}
