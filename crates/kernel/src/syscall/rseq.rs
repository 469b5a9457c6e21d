//! rseq(2): restartable sequences, which the engine keeps.

use abi::{Errno, UserAddr};
use platform::{Rseq, RseqFeatures};

use super::arg::Flags;
use crate::kernel::Kernel;
use crate::task::CurrentTask;

const UNREGISTER: u32 = 1;
/// Bytes, and alignment, of the first version of `struct rseq`.
const FIRST_SIZE: u32 = 32;
/// Offset of `rseq_cs` in `struct rseq`.
const RSEQ_CS: u64 = 8;

/// What guests may use of the engine's rseq(2): nothing where processor numbers would not be those that they know.
pub fn features(kernel: &Kernel) -> Option<RseqFeatures> {
    let rseq = kernel.platform.rseq();
    rseq.filter(|_| kernel.processors_are_the_engines())
}

/// rseq(2).
pub fn rseq(task: &CurrentTask, addr: UserAddr, len: u32, flags: Flags, signature: u32) -> Result<(), Errno> {
    let features = features(&task.kernel).ok_or(Errno::ENOSYS)?;
    let asked = Rseq { addr, len, signature };
    let now = task.state.lock().rseq;
    let same = now.addr == addr && now.len == len;
    if flags.0 & UNREGISTER != 0 {
        if flags.0 != UNREGISTER || now.addr.is_null() || !same {
            return Err(Errno::EINVAL);
        }
        if now.signature != signature {
            return Err(Errno::EPERM);
        }
        task.state.lock().rseq = Rseq::default();
        task.context.borrow_mut().set_rseq(None);
        return Ok(());
    }
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    if !now.addr.is_null() {
        return Err(match (same, now.signature == signature) {
            (false, _) => Errno::EINVAL,
            (true, false) => Errno::EPERM,
            (true, true) => Errno::EBUSY,
        });
    }
    check_area(&asked, features)?;
    // As Linux since 6.15: what lies there from earlier is no critical section.
    task.copy_out(UserAddr(addr.0 + RSEQ_CS), &[0; 8])?;
    task.state.lock().rseq = asked;
    task.context.borrow_mut().set_rseq(Some(asked));
    Ok(())
}

/// Length and alignment as the man page has them: those of the first version, or those that the auxiliary vector tells.
fn check_area(asked: &Rseq, features: RseqFeatures) -> Result<(), Errno> {
    let (size, align) = match features.size {
        0 => (FIRST_SIZE, FIRST_SIZE),
        size => (size, features.align.max(1)),
    };
    let fits = match asked.len {
        FIRST_SIZE => asked.addr.0.is_multiple_of(u64::from(FIRST_SIZE)),
        len => {
            features.size != 0 && len >= size.max(FIRST_SIZE) && asked.addr.0.is_multiple_of(u64::from(align))
        }
    };
    if !fits {
        return Err(Errno::EINVAL);
    }
    match asked.addr.0.checked_add(u64::from(asked.len)) {
        Some(end) if end <= crate::mm::TASK_SIZE => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}
