//! timerfd_create(2), timerfd_settime(2), timerfd_gettime(2).

use std::sync::Arc;

use abi::fcntl::{O_CLOEXEC, O_NONBLOCK, O_RDWR};
use abi::{Errno, UserAddr};

use super::arg::{Fd, Flags};
use super::timer_create::to_user;
use crate::cred::Caps;
use crate::file::FileDescription;
use crate::task::CurrentTask;
use crate::time::{Clock, Grade, ITimerSpec, TimerFd};

/// Accepted: no guest sets the real-time clock, so nothing is ever cancelled.
const TFD_TIMER_CANCEL_ON_SET: u32 = 2;

/// timerfd_create(2).
pub fn timerfd_create(task: &CurrentTask, id: i32, flags: Flags) -> Result<Fd, Errno> {
    if flags.0 & !(O_CLOEXEC | O_NONBLOCK) != 0 || !matches!(id, 0 | 1 | 7 | 8 | 9) {
        return Err(Errno::EINVAL);
    }
    let (clock, grade) = Clock::from_id(task, id)?;
    if grade == Grade::Alarm && !task.cred().has(Caps::WAKE_ALARM) {
        return Err(Errno::EPERM);
    }
    let file = crate::vfs::anon_file(
        &task.kernel,
        "anon_inode:[timerfd]",
        Box::new(TimerFd::new(&task.kernel, clock)),
        O_RDWR | (flags.0 & O_NONBLOCK),
    );
    let (cloexec, limit) = (flags.0 & O_CLOEXEC != 0, task.group.fd_limit());
    task.files().install(file, cloexec, 0, limit).map(Fd)
}

/// Runs `with` on the timer behind a descriptor. `EINVAL` when it is something else.
fn with_timer<T>(
    file: &Arc<FileDescription>,
    with: impl FnOnce(&TimerFd) -> Result<T, Errno>,
) -> Result<T, Errno> {
    with(file.ops_as::<TimerFd>().ok_or(Errno::EINVAL)?)
}

/// timerfd_settime(2).
pub fn timerfd_settime(
    task: &CurrentTask,
    fd: Fd,
    flags: Flags,
    new: UserAddr,
    old: UserAddr,
) -> Result<(), Errno> {
    let setting: ITimerSpec = task.read_struct(new)?;
    if flags.0 & !(TimerFd::ABSOLUTE | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let (value, interval) = (setting.value.to_ns()?, setting.interval.to_ns()?);
    let file = task.fd(fd.0)?;
    let before = with_timer(&file, |timer| timer.set(value, interval, flags.0))?;
    if !old.is_null() {
        task.write_struct(old, &to_user(before))?;
    }
    Ok(())
}

/// timerfd_gettime(2).
pub fn timerfd_gettime(task: &CurrentTask, fd: Fd, current: UserAddr) -> Result<(), Errno> {
    let file = task.fd(fd.0)?;
    let now = with_timer(&file, TimerFd::get)?;
    task.write_struct(current, &to_user(now))
}
