//! io_setup(2), io_destroy(2).

use abi::{Errno, PAGE_SIZE, UserAddr};
use platform::Prot;

use crate::file::aio::AIO_MAX_NR;
use crate::mm::{Limits, MapRequest, Place};
use crate::task::CurrentTask;

/// Most events of a context whatever the limit of the system says.
const EVENTS_MAX: u32 = 0x1000_0000 / 32;

/// Linux makes room for more than what was asked for, so that each processor can keep some.
const EVENTS_LEAST: u32 = 8;

/// io_setup(2). The context's name is the address of a page, as on Linux. It stays zero, which tells libaio to take
/// the events with io_getevents(2).
pub fn io_setup(task: &CurrentTask, events: u32, out: UserAddr) -> Result<(), Errno> {
    let now: u64 = task.read_struct(out)?;
    if now != 0 || events == 0 || events > EVENTS_MAX {
        return Err(Errno::EINVAL);
    }
    if events > AIO_MAX_NR {
        return Err(Errno::EAGAIN);
    }
    let mm = task.mm_ref();
    mm.aio.check_room(events)?;
    let page = MapRequest::anonymous(Place::Hint(0), PAGE_SIZE, Prot::READ | Prot::WRITE);
    let id = mm.map(page, &Limits::of(task))?;
    mm.aio.insert(id, events, events.max(EVENTS_LEAST) * 2);
    if let Err(error) = task.write_struct(out, &id.0) {
        io_destroy(task, id)?;
        return Err(error);
    }
    Ok(())
}

/// io_destroy(2).
pub fn io_destroy(task: &CurrentTask, id: UserAddr) -> Result<(), Errno> {
    let mm = task.mm_ref();
    mm.aio.remove(id)?;
    // The guest may have unmapped it itself.
    let _ = mm.unmap(id, PAGE_SIZE);
    Ok(())
}
