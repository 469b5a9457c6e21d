//! epoll_wait(2), epoll_pwait(2), epoll_pwait2(2).

use abi::{AbiField, Errno, UserAddr};

use super::arg::Fd;
use super::epoll_ctl::UserEpollEvent;
use super::poll::{goes_on, milliseconds, read_mask, read_timeout, with_mask};
use crate::file::epoll::EpollFile;
use crate::task::{CurrentTask, Deadline};

/// Most events that one call may ask for (EP_MAX_EVENTS).
const MAX_EVENTS: i32 = i32::MAX / UserEpollEvent::SIZE as i32;
/// Most events that one call delivers here: bounds the buffer.
const MAX_DELIVERED: usize = 4096;

/// epoll_wait(2).
pub fn epoll_wait(
    task: &CurrentTask,
    epfd: Fd,
    events: UserAddr,
    max: i32,
    timeout: i32,
) -> Result<usize, Errno> {
    let deadline = milliseconds(task, timeout);
    goes_on(task, deadline, do_wait(task, epfd, events, max, deadline))
}

/// epoll_pwait(2).
pub fn epoll_pwait(
    task: &CurrentTask,
    epfd: Fd,
    events: UserAddr,
    max: i32,
    timeout: i32,
    mask: UserAddr,
    mask_size: usize,
) -> Result<usize, Errno> {
    let mask = read_mask(task, mask, mask_size)?;
    let deadline = milliseconds(task, timeout);
    let result = with_mask(task, mask, || do_wait(task, epfd, events, max, deadline));
    goes_on(task, deadline, result)
}

/// epoll_pwait2(2).
pub fn epoll_pwait2(
    task: &CurrentTask,
    epfd: Fd,
    events: UserAddr,
    max: i32,
    timeout: UserAddr,
    mask: UserAddr,
    mask_size: usize,
) -> Result<usize, Errno> {
    let deadline = read_timeout(task, timeout)?;
    let mask = read_mask(task, mask, mask_size)?;
    with_mask(task, mask, || do_wait(task, epfd, events, max, deadline))
}

fn do_wait(
    task: &CurrentTask,
    epfd: Fd,
    events: UserAddr,
    max: i32,
    deadline: Deadline,
) -> Result<usize, Errno> {
    if max <= 0 || max > MAX_EVENTS {
        return Err(Errno::EINVAL);
    }
    let file = task.files().get(epfd.0)?;
    let epoll = file.ops_as::<EpollFile>().ok_or(Errno::EINVAL)?.epoll();
    let max = usize::try_from(max).unwrap_or(1).min(MAX_DELIVERED);
    let found = epoll.wait(task, max, deadline)?;
    let mut bytes = vec![0; found.len() * UserEpollEvent::SIZE];
    for (raw, event) in bytes.chunks_exact_mut(UserEpollEvent::SIZE).zip(&found) {
        let user = UserEpollEvent {
            events: event.events,
            data: event.data,
        };
        user.put(raw);
    }
    task.copy_out(events, &bytes)?;
    Ok(found.len())
}
