//! sigaltstack(2).

use abi::{Errno, UserAddr};

use crate::signal::StackT;
use crate::task::CurrentTask;

/// sigaltstack(2).
pub fn sigaltstack(task: &CurrentTask, new: UserAddr, old: UserAddr) -> Result<(), Errno> {
    let new: Option<StackT> = if new.is_null() {
        None
    } else {
        Some(task.read_struct(new)?)
    };
    let sp = task.context.borrow().regs().rsp;
    let report = {
        let mut signals = task.signals.lock();
        let report = signals.altstack_report(sp);
        if let Some(new) = &new {
            signals.set_altstack(new, sp)?;
        }
        report
    };
    if old.is_null() {
        return Ok(());
    }
    task.write_struct(old, &report)
}
