//! The alternate signal stack (sigaltstack(2)).

use abi::signal::*;
use abi::{Errno, UserAddr};

use super::TaskSignals;

abi::abi_struct! {
    /// `stack_t`.
    pub struct StackT { pub sp: UserAddr, pub flags: u32, pub pad: u32, pub size: u64 }
}

impl TaskSignals {
    /// Whether a stack pointer is on the alternate stack (with SS_AUTODISARM never: it is disarmed in a handler).
    pub fn on_altstack(&self, sp: u64) -> bool {
        let (start, size, flags) = self.altstack;
        flags & SS_AUTODISARM == 0 && within(sp, start.0, size)
    }

    /// SS_DISABLE, SS_ONSTACK or 0 for this stack pointer.
    pub fn altstack_flags(&self, sp: u64) -> u32 {
        if self.altstack.1 == 0 {
            SS_DISABLE
        } else if self.on_altstack(sp) {
            SS_ONSTACK
        } else {
            0
        }
    }

    /// The stack as sigaltstack(2) reports it.
    pub fn altstack_report(&self, sp: u64) -> StackT {
        StackT {
            sp: self.altstack.0,
            flags: self.altstack_flags(sp) | (self.altstack.2 & SS_AUTODISARM),
            pad: 0,
            size: self.altstack.1,
        }
    }

    /// sigaltstack(2)'s change. `EPERM` while running on it, `EINVAL` for unknown flags, `ENOMEM` when too small.
    pub fn set_altstack(&mut self, new: &StackT, sp: u64) -> Result<(), Errno> {
        if self.on_altstack(sp) {
            return Err(Errno::EPERM);
        }
        let mode = new.flags & !SS_AUTODISARM;
        if !matches!(mode, 0 | SS_DISABLE | SS_ONSTACK) {
            return Err(Errno::EINVAL);
        }
        self.altstack = if mode == SS_DISABLE {
            (UserAddr::NULL, 0, new.flags)
        } else if new.size < MINSIGSTKSZ {
            return Err(Errno::ENOMEM);
        } else {
            (new.sp, new.size, new.flags)
        };
        Ok(())
    }
}

/// Whether `sp` lies above `start` and at most `size` bytes from it.
pub(super) fn within(sp: u64, start: u64, size: u64) -> bool {
    sp > start && sp - start <= size
}
