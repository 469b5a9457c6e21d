//! poll(2), ppoll(2).

use std::time::{Duration, Instant};

use abi::{AbiField, Errno, UserAddr, abi_struct};
use sync::Events;

use crate::file::readiness::{self, Watch};
use crate::signal::SigSet;
use crate::task::{CurrentTask, Deadline};

abi_struct! {
    struct PollFd { fd: i32, events: u16, revents: u16 }
}

abi_struct! {
    /// `struct timespec`.
    pub(super) struct TimeSpec { pub(super) sec: i64, pub(super) nsec: i64 }
}

/// Most descriptors in one call, whatever RLIMIT_NOFILE says: bounds the sentry's memory.
const MAX_FDS: u32 = 1 << 20;

/// poll(2). `timeout` in milliseconds; negative: for ever.
pub fn poll(task: &CurrentTask, fds: UserAddr, count: u32, timeout: i32) -> Result<usize, Errno> {
    let deadline = milliseconds(task, timeout);
    goes_on(task, deadline, do_poll(task, fds, count, deadline))
}

/// The deadline of a timeout in milliseconds; negative: none.
pub(super) fn milliseconds(task: &CurrentTask, timeout: i32) -> Deadline {
    let ms = u64::try_from(timeout).ok()?;
    Some(task.deadline_after(Duration::from_millis(ms)))
}

/// A wait that a signal without a handler interrupted goes on until its first deadline.
pub(super) fn goes_on<T>(
    task: &CurrentTask,
    deadline: Deadline,
    result: Result<T, Errno>,
) -> Result<T, Errno> {
    match (result, deadline) {
        (Err(Errno::ERESTARTNOHAND), Some(at)) => Err(task.interrupted_until(at)),
        (other, _) => other,
    }
}

/// ppoll(2).
pub fn ppoll(
    task: &CurrentTask,
    fds: UserAddr,
    count: u32,
    timeout: UserAddr,
    mask: UserAddr,
    mask_size: usize,
) -> Result<usize, Errno> {
    let deadline = read_timeout(task, timeout)?;
    let mask = read_mask(task, mask, mask_size)?;
    let result = with_mask(task, mask, || do_poll(task, fds, count, deadline));
    write_remaining(task, timeout, deadline);
    result
}

fn do_poll(task: &CurrentTask, fds: UserAddr, count: u32, deadline: Deadline) -> Result<usize, Errno> {
    if count > MAX_FDS || u64::from(count) > task.group.fd_limit() {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; count as usize * PollFd::SIZE];
    task.copy_in(fds, &mut bytes)?;
    let table = task.files();
    let mut watches: Vec<Watch> = bytes
        .chunks_exact(PollFd::SIZE)
        .map(|raw| {
            let wanted = PollFd::get(raw);
            let file = table
                .get(wanted.fd)
                .ok()
                .filter(|file| file.flags() & abi::fcntl::O_PATH == 0);
            let found = match file {
                None if wanted.fd >= 0 => Events::NVAL,
                _ => Events::empty(),
            };
            Watch {
                file,
                wanted: Events::from_bits_truncate(u32::from(wanted.events)) | Events::ALWAYS,
                found,
            }
        })
        .collect();
    // Descriptors that are not open count as ready; they have no file to ask again.
    let invalid = watches.iter().any(|watch| !watch.found.is_empty());
    let deadline = if invalid { Some(Instant::now()) } else { deadline };
    let ready = readiness::wait(task, &mut watches, deadline)?;
    for (raw, watch) in bytes.chunks_exact_mut(PollFd::SIZE).zip(&watches) {
        let revents = u16::try_from(watch.found.bits()).unwrap_or(u16::MAX);
        if let Some(field) = raw.get_mut(6..) {
            revents.put(field);
        }
    }
    task.copy_out(fds, &bytes)?;
    Ok(ready)
}

/// A relative timeout at `addr` as a deadline; `None` for a null address.
pub(super) fn read_timeout(task: &CurrentTask, addr: UserAddr) -> Result<Deadline, Errno> {
    if addr.is_null() {
        return Ok(None);
    }
    let time: TimeSpec = task.read_struct(addr)?;
    let (Ok(sec), Ok(nsec)) = (u64::try_from(time.sec), u32::try_from(time.nsec)) else {
        return Err(Errno::EINVAL);
    };
    if nsec >= 1_000_000_000 {
        return Err(Errno::EINVAL);
    }
    // Too far away to be represented: for ever.
    Ok(Instant::now().checked_add(Duration::new(sec, nsec)))
}

/// Writes what is left of a timeout, as Linux does; a bad address is ignored.
pub(super) fn write_remaining(task: &CurrentTask, addr: UserAddr, deadline: Deadline) {
    if let (false, Some(at)) = (addr.is_null(), deadline) {
        let left = at.saturating_duration_since(Instant::now());
        let time = TimeSpec {
            sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            nsec: i64::from(left.subsec_nanos()),
        };
        let _ = task.write_struct(addr, &time);
    }
}

/// A signal mask argument; `None` for a null address. `EINVAL` for a wrong size.
pub(super) fn read_mask(task: &CurrentTask, addr: UserAddr, size: usize) -> Result<Option<SigSet>, Errno> {
    if addr.is_null() {
        return Ok(None);
    }
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    task.read_struct(addr).map(|bits| Some(SigSet(bits)))
}

/// Runs a wait with another signal mask; the run loop puts the old one back.
pub(super) fn with_mask<T>(
    task: &CurrentTask,
    mask: Option<SigSet>,
    wait: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Errno> {
    if let Some(mask) = mask {
        task.set_temporary_mask(mask);
    }
    wait()
}
