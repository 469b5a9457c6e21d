//! io_getevents(2), io_pgetevents(2).

use abi::{AbiField, Errno, UserAddr, abi_struct};
use sync::Events;

use super::poll::{read_mask, read_timeout, with_mask};
use crate::file::aio::{AioContext, IoEvent};
use crate::task::{CurrentTask, Deadline};

/// Most events copied out in one step.
const STEP: usize = 1024;

abi_struct! {
    /// `struct __aio_sigset`.
    struct AioSigset { mask: UserAddr, size: u64 }
}

/// io_getevents(2).
pub fn io_getevents(
    task: &CurrentTask,
    id: UserAddr,
    least: i64,
    most: i64,
    events: UserAddr,
    timeout: UserAddr,
) -> Result<u64, Errno> {
    let deadline = read_timeout(task, timeout)?;
    get_events(task, id, (least, most), events, deadline)
}

/// io_pgetevents(2).
pub fn io_pgetevents(
    task: &CurrentTask,
    id: UserAddr,
    least: i64,
    most: i64,
    events: UserAddr,
    timeout: UserAddr,
    sigset: UserAddr,
) -> Result<u64, Errno> {
    let deadline = read_timeout(task, timeout)?;
    let mask = if sigset.is_null() {
        None
    } else {
        let given: AioSigset = task.read_struct(sigset)?;
        read_mask(task, given.mask, given.size as usize)?
    };
    with_mask(task, mask, || {
        get_events(task, id, (least, most), events, deadline)
    })
}

fn get_events(
    task: &CurrentTask,
    id: UserAddr,
    (least, most): (i64, i64),
    out: UserAddr,
    deadline: Deadline,
) -> Result<u64, Errno> {
    let context = task.mm_ref().aio.get(id)?;
    if least < 0 || least > most {
        return Err(Errno::EINVAL);
    }
    let (least, most) = (least as u64, most as u64);
    let mut done = 0;
    loop {
        let changes = context.changes();
        let attempt = || {
            done += deliver(task, &context, most - done, out.add(done.saturating_mul(SIZE))?)?;
            match done >= least {
                true => Ok(true),
                false if context.changes() != changes => Ok(false),
                false => Err(Errno::EAGAIN),
            }
        };
        match task.blocking_op(deadline, |table| context.register(table), Events::all(), attempt) {
            Ok(false) => {}
            Ok(true) | Err(Errno::ETIMEDOUT) => return Ok(done),
            Err(_) if done > 0 => return Ok(done),
            Err(error) if error.is_restart() => return Err(Errno::EINTR),
            Err(error) => return Err(error),
        }
    }
}

/// Bytes of an event.
const SIZE: u64 = <IoEvent as AbiField>::SIZE as u64;

/// Copies events that are there to `out`; returns how many.
fn deliver(task: &CurrentTask, context: &AioContext, most: u64, out: UserAddr) -> Result<u64, Errno> {
    let mut done = 0;
    while done < most {
        let want = usize::try_from(most - done).unwrap_or(STEP).min(STEP);
        let taken = context.take(want)?;
        if taken.is_empty() {
            break;
        }
        let mut bytes = vec![0; taken.len() * IoEvent::SIZE];
        for (raw, event) in bytes.chunks_exact_mut(IoEvent::SIZE).zip(&taken) {
            event.put(raw);
        }
        if let Err(error) = task.copy_out(out.add(done.saturating_mul(SIZE))?, &bytes) {
            context.put_back(&taken);
            return if done > 0 { Ok(done) } else { Err(error) };
        }
        done += taken.len() as u64;
    }
    Ok(done)
}
