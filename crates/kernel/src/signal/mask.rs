//! The signal mask of the running task (sigprocmask(2)) and temporary masks (ppoll(2), sigsuspend(2)).

use std::sync::atomic::Ordering;

use super::queue::numbers;
use super::{SigSet, UNBLOCKABLE, send};
use crate::task::CurrentTask;

impl CurrentTask {
    /// Replaces the mask of blocked signals; SIGKILL and SIGSTOP stay unblocked. Signals that became deliverable are
    /// looked at before the guest continues (and end a blocking call). Returns the old mask.
    pub fn set_signal_mask(&self, mask: SigSet) -> SigSet {
        let mask = mask.without(UNBLOCKABLE);
        let group = self.group.signals.lock();
        let (old, due) = {
            let mut own = self.signals.lock_nested();
            let old = std::mem::replace(&mut own.blocked, mask);
            let waiting = numbers(&own.pending).union(numbers(&group.pending));
            (old, waiting.without(mask))
        };
        if due != SigSet::default() {
            self.attention.store(true, Ordering::SeqCst);
        }
        let newly = mask.without(old);
        if newly.0 & numbers(&group.pending).0 != 0 {
            send::retarget(&group);
        }
        old
    }

    /// The mask of blocked signals.
    pub fn signal_mask(&self) -> SigSet {
        self.signals.lock().blocked
    }

    /// Blocks `mask` for the duration of this system call (ppoll, pselect, epoll_pwait, sigsuspend). The run loop
    /// restores the old mask: after a handler's frame was made when the call ended by a signal, else at its end.
    pub fn set_temporary_mask(&self, mask: SigSet) {
        let old = self.set_signal_mask(mask);
        self.signals.lock().saved_mask.get_or_insert(old);
        self.temporary_mask.set(true);
    }

    /// Puts the mask back that [`CurrentTask::set_temporary_mask`] replaced; false when there was none.
    pub(crate) fn restore_mask(&self) -> bool {
        self.temporary_mask.set(false);
        let saved = self.signals.lock().saved_mask.take();
        if let Some(mask) = saved {
            self.set_signal_mask(mask);
        }
        saved.is_some()
    }
}
