//! select(2), pselect6(2).

use std::time::{Duration, Instant};

use abi::{Errno, UserAddr, abi_struct};
use sync::Events;

use super::poll::{read_mask, read_timeout, with_mask, write_remaining};
use crate::file::readiness::{self, Watch};
use crate::task::{CurrentTask, Deadline};

/// Descriptors beyond this are ignored: none has such a number.
const MAX_FDS: usize = 1 << 20;

abi_struct! {
    struct TimeVal { sec: i64, usec: i64 }
}
abi_struct! {
    struct MaskArgument { mask: UserAddr, size: u64 }
}

// What select(2) calls readable, writable and exceptional (POLLIN_SET and so on of fs/select.c).
const READ: Events = Events::IN
    .union(Events::RDNORM)
    .union(Events::RDBAND)
    .union(Events::HUP)
    .union(Events::ERR);
const WRITE: Events = Events::OUT
    .union(Events::WRNORM)
    .union(Events::WRBAND)
    .union(Events::ERR);
const EXCEPT: Events = Events::PRI;

/// The addresses of the three sets.
struct Sets([UserAddr; 3]);

/// select(2).
pub fn select(
    task: &CurrentTask,
    count: i32,
    read: UserAddr,
    write: UserAddr,
    except: UserAddr,
    timeout: UserAddr,
) -> Result<usize, Errno> {
    let mut deadline = None;
    if !timeout.is_null() {
        let time: TimeVal = task.read_struct(timeout)?;
        let (Ok(sec), Ok(usec)) = (u64::try_from(time.sec), u64::try_from(time.usec)) else {
            return Err(Errno::EINVAL);
        };
        let length = Duration::from_secs(sec).saturating_add(Duration::from_micros(usec));
        deadline = Instant::now().checked_add(length);
    }
    let result = do_select(task, count, &Sets([read, write, except]), deadline);
    if let (false, Some(at)) = (timeout.is_null(), deadline) {
        let left = at.saturating_duration_since(Instant::now());
        let time = TimeVal {
            sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            usec: i64::from(left.subsec_micros()),
        };
        let _ = task.write_struct(timeout, &time);
    }
    result
}

/// pselect6(2): the last argument points to the mask's address and size.
pub fn pselect6(
    task: &CurrentTask,
    count: i32,
    read: UserAddr,
    write: UserAddr,
    except: UserAddr,
    timeout: UserAddr,
    mask: UserAddr,
) -> Result<usize, Errno> {
    let mask = if mask.is_null() {
        None
    } else {
        let argument: MaskArgument = task.read_struct(mask)?;
        let size = usize::try_from(argument.size).map_err(|_| Errno::EINVAL)?;
        read_mask(task, argument.mask, size)?
    };
    let deadline = read_timeout(task, timeout)?;
    let sets = Sets([read, write, except]);
    let result = with_mask(task, mask, || do_select(task, count, &sets, deadline));
    write_remaining(task, timeout, deadline);
    result
}

fn do_select(task: &CurrentTask, count: i32, sets: &Sets, deadline: Deadline) -> Result<usize, Errno> {
    let table = task.files();
    let highest = table.numbers().last().map_or(0, |fd| *fd as usize + 1);
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    // Linux looks at no more than the table's size, which is at least 64 bits.
    let count = count.min(highest.next_multiple_of(64).max(64)).min(MAX_FDS);
    let bytes = count.div_ceil(64) * 8;
    let mut wanted = [vec![0; bytes], vec![0; bytes], vec![0; bytes]];
    for (addr, set) in sets.0.iter().zip(wanted.iter_mut()) {
        if !addr.is_null() {
            task.copy_in(*addr, set)?;
        }
    }
    let mut numbers = Vec::new();
    let mut watches = Vec::new();
    for fd in 0..count {
        let mut events = Events::empty();
        for (set, meaning) in wanted.iter().zip([READ, WRITE, EXCEPT]) {
            if bit(set, fd) {
                events |= meaning;
            }
        }
        if events.is_empty() {
            continue;
        }
        let file = table.get(i32::try_from(fd).map_err(|_| Errno::EBADF)?)?;
        numbers.push(fd);
        watches.push(Watch {
            file: Some(file),
            wanted: events,
            found: Events::empty(),
        });
    }
    readiness::wait(task, &mut watches, deadline)?;
    let mut out = [vec![0u8; bytes], vec![0; bytes], vec![0; bytes]];
    let mut bits = 0;
    for (fd, watch) in numbers.iter().zip(&watches) {
        for ((set, asked), meaning) in out.iter_mut().zip(&wanted).zip([READ, WRITE, EXCEPT]) {
            if bit(asked, *fd) && watch.found.intersects(meaning) {
                if let Some(byte) = set.get_mut(fd / 8) {
                    *byte |= 1 << (fd % 8);
                }
                bits += 1;
            }
        }
    }
    for (addr, set) in sets.0.iter().zip(&out) {
        if !addr.is_null() {
            task.copy_out(*addr, set)?;
        }
    }
    Ok(bits)
}

fn bit(set: &[u8], fd: usize) -> bool {
    set.get(fd / 8).is_some_and(|byte| *byte & (1 << (fd % 8)) != 0)
}
